/* Token masks: one bit per token that may follow a state, computed without a walk through the whole
 * vocabulary for each state.
 *
 * - The mask of a state is kept and found by the state's number.
 * - A new state is cut off where it depends on its callers (states.h). A grammar has few such pieces,
 *   and a piece alone decides most tokens. The whole vocabulary is walked once for each piece. That
 *   gives the tokens that are allowed for every caller, and the open ones, which depend on the caller
 *   and are tested in each state. (XGrammar, arXiv 2411.15100, does this for single nodes of a
 *   pushdown automaton. A piece here is a state, so ambiguous grammars gain as well.)
 * - Counters that are far from their limits count as equal. Far means further than the longest token.
 *   For all but a few tokens 16 bytes are far enough; those few are tested in each state.
 *
 * One thread at a time: compiled.c has the lock. */
#ifndef EL_CONSTRAINT_MASKS_H
#define EL_CONSTRAINT_MASKS_H

#include "constraint/states.h"
#include "constraint/trie.h"

enum {
  EL_MASKS_BYTES = 12 << 20
}; /* for the masks of a constraint, and as much for its pieces; at least one of each is kept */

typedef struct el_mask {
  el_state state; /* EL_STATE_DEAD: unused */
  bool begins, used;
  uint64_t *bits; /* [(n_vocab + 63) / 64] */
} el_mask;

typedef struct el_mask_piece {
  el_state sure, maybe; /* el_states_cut */
  bool near;            /* it decides tokens of up to 16 bytes only */
  uint64_t *bits;       /* tokens that every caller allows */
  uint32_t *open;       /* [n_open] places in trie.tokens of the tokens that depend on the caller */
  uint32_t n_open;
} el_mask_piece;

typedef struct el_masks {
  el_states *states;
  const el_trie *trie;
  const int32_t *extra; /* [n_extra] control tokens that are allowed as text: their names */
  size_t n_extra;
  uint32_t n_words;
  el_mask *masks; /* [n_masks] a clock cache: `hand` goes round and spares what was used since it last came by */
  uint32_t n_masks, cap_masks, most_masks, hand, *mask_slots, mask_mask;
  el_mask_piece *pieces;
  uint32_t n_pieces, cap_pieces, *piece_slots, piece_mask;
  size_t piece_bytes;
  el_state *path;  /* [2][longest + 1] */
  uint32_t *found; /* [n_tokens] */
  uint64_t *begin_bits;
  uint64_t n_walks, n_looked; /* walks through the vocabulary; tokens tested one by one */
} el_masks;

/* All that is pointed to must outlive it and stay in place. */
el_status el_masks_open(el_masks *m, el_states *states, const el_trie *trie, const int32_t *extra, size_t n_extra,
                        el_error *err);
void el_masks_close(el_masks *m);

/* The tokens that may follow: bits[i / 64] >> i % 64 & 1 is for token i. Tokens that end the
 * generation are not among them. `begins`: the token begins the text, so a tokenizer that removes the
 * space in front of a text does so with it. Valid until the next call. NULL: the states are full (see
 * el_states), or memory is short; call el_masks_forget and el_states_collect then. */
const uint64_t *el_masks_of(el_masks *m, el_state state, bool begins);
size_t el_masks_bytes(const el_masks *m);
/* Forgets all masks, after states have got new numbers. */
void el_masks_forget(el_masks *m);

#endif
