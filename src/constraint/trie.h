/* The texts of a vocabulary's tokens as a tree, in which what tokens begin with in common stands once: a set of tokens
 * is found by walking it together with an automaton, and what cannot go on is left with all that is below it. */
#ifndef EL_CONSTRAINT_TRIE_H
#define EL_CONSTRAINT_TRIE_H

#include "edgelora.h"

/* A token with a longer text is never allowed. */
enum { EL_MAX_TOKEN_BYTES = 1024 };

typedef struct el_trie_node {
  uint32_t end;   /* nodes [this + 1, end) are below it */
  uint32_t first; /* tokens[first .. the next node's first) end here */
  uint16_t depth; /* bytes from the root to here: 1 at least */
  unsigned char byte;
} el_trie_node;

typedef struct el_trie {
  const el_tokenizer *tokenizer;
  el_trie_node *nodes; /* [n_nodes + 1] depth first, without the root; the last one ends the tokens of the one before */
  int32_t *tokens;     /* [n_tokens] those whose text is shown, by text */
  int32_t *ends;       /* [n_ends] those that end the generation; not among `tokens` */
  /* [n_spaced] where a tokenizer puts a space in front of a text, and a token gives none there, those that keep theirs
   * all the same. strips false: there is no such tokenizer. */
  int32_t *spaced;
  uint32_t n_nodes, n_tokens, n_ends, n_spaced;
  uint32_t space, space_end; /* nodes: the root's child for a space, and the end of it; both 0: none */
  int32_t n_vocab;
  uint32_t longest; /* bytes of a token */
  bool strips;
} el_trie;

/* t: stays where it is. */
el_status el_trie_build(const el_tokenizer *t, el_trie *out, el_error *err);
void el_trie_free(el_trie *trie); /* one of zeros is allowed */

#endif
