/* Which tokens may come next, as bits: what a state allows, and how it is found without looking at the whole vocabulary
 * each time.
 *
 * - A state's mask is kept, and found by its number.
 * - Else the state is cut off where it depends on who called (states.h): there are few such pieces in a grammar, and
 *   most tokens are decided by the piece alone. For each piece the whole vocabulary is walked once, and gives the
 *   tokens that are allowed whoever called, and those that depend on it, to be looked at in each state. (XGrammar,
 * arXiv 2411.15100, does so for single nodes of a pushdown automaton; a piece here is a state, so ambiguous grammars
 * have the same.)
 * - Counters that are far from their limits count as the same. "Far" is further than the longest token; for all but a
 *   few tokens 16 bytes are far enough, and those few are looked at in each state.
 *
 * One thread at a time: compiled.c has the lock. */
#ifndef EL_CONSTRAINT_MASKS_H
#define EL_CONSTRAINT_MASKS_H

#include "constraint/states.h"
#include "constraint/trie.h"

enum { EL_MASKS_BYTES = 12 << 20 }; /* that the masks and the pieces of a constraint take, each; one at least */

typedef struct el_mask {
  el_state state; /* EL_STATE_DEAD: unused */
  bool begins, used;
  uint64_t *bits; /* [(n_vocab + 63) / 64] */
} el_mask;

typedef struct el_mask_piece {
  el_state sure, maybe; /* el_states_cut */
  bool near;            /* 16 bytes only */
  uint64_t *bits;       /* allowed, whoever called */
  uint32_t *open;       /* [n_open] places in trie.tokens: it depends */
  uint32_t n_open;
} el_mask_piece;

typedef struct el_masks {
  el_states *states;
  const el_trie *trie;
  const int32_t *extra; /* [n_extra] further tokens that are text: control tokens, with their names */
  size_t n_extra;
  uint32_t n_words;
  el_mask *masks; /* [n_masks] a clock: `hand` goes round, what was used since it came by stays */
  uint32_t n_masks, cap_masks, most_masks, hand, *mask_slots, mask_mask;
  el_mask_piece *pieces;
  uint32_t n_pieces, cap_pieces, *piece_slots, piece_mask;
  size_t piece_bytes;
  el_state *path;  /* [2][longest + 1] */
  uint32_t *found; /* [n_tokens] */
  uint64_t *begin_bits;
  uint64_t n_walks, n_looked; /* through the vocabulary; at single tokens */
} el_masks;

/* All that is pointed to stays where it is. */
el_status el_masks_open(el_masks *m, el_states *states, const el_trie *trie, const int32_t *extra, size_t n_extra,
                        el_error *err);
void el_masks_close(el_masks *m);

/* The tokens that may follow; the bit of token i is bits[i / 64] >> i % 64 & 1. Ends of the generation are not among
 * them. `begins`: where a tokenizer takes away a space in front of a text, it does so with the next token. Valid until
 * the next call. NULL: full (see el_states), or out of memory; el_masks_forget, then, and collect. */
const uint64_t *el_masks_of(el_masks *m, el_state state, bool begins);
size_t el_masks_bytes(const el_masks *m);
/* The states have new numbers. */
void el_masks_forget(el_masks *m);

#endif
