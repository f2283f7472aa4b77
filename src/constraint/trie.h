/* The texts of a vocabulary's tokens as a trie. The tokens that an automaton allows are found by a walk
 * through both together; a subtree is skipped as soon as the automaton cannot go on. */
#ifndef EL_CONSTRAINT_TRIE_H
#define EL_CONSTRAINT_TRIE_H

#include "edgelora.h"

/* Tokens with a longer text are never allowed. */
enum { EL_MAX_TOKEN_BYTES = 1024 };

typedef struct el_trie_node {
  uint32_t end;   /* nodes [this + 1, end) are below it */
  uint32_t first; /* tokens[first .. the next node's first) end here */
  uint16_t depth; /* bytes from the root to here; at least 1 */
  unsigned char byte;
} el_trie_node;

typedef struct el_trie {
  const el_tokenizer *tokenizer;
  el_trie_node
      *nodes; /* [n_nodes + 1] depth first, without the root; the last one only ends the tokens of the one before */
  int32_t *tokens; /* [n_tokens] the tokens with a visible text, sorted by it */
  int32_t *ends;   /* [n_ends] the tokens that end the generation; not among `tokens` */
  /* [n_spaced] `strips`: the tokenizer puts a space in front of a text, so a token's own space is
   * removed there; these tokens keep it. None without `strips`. */
  int32_t *spaced;
  uint32_t n_nodes, n_tokens, n_ends, n_spaced;
  uint32_t space, space_end; /* nodes: the root's child for a space, and the end of its subtree; both 0: none */
  int32_t n_vocab;
  uint32_t longest; /* bytes of the longest token */
  bool strips;
} el_trie;

/* `t` must outlive it. */
el_status el_trie_build(const el_tokenizer *t, el_trie *out, el_error *err);
void el_trie_free(el_trie *trie); /* a trie of zeros is allowed */

#endif
