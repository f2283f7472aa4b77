/* A compiled constraint, and matchers: the place of each answer in it. */
#ifndef EL_CONSTRAINT_COMPILED_H
#define EL_CONSTRAINT_COMPILED_H

#include "constraint/masks.h"

typedef struct el_compiled el_compiled;
typedef struct el_matcher el_matcher;

/* `trie` must outlive it. EL_ERR_INVALID, EL_ERR_UNSUPPORTED, EL_ERR_TOO_LONG: the message says what
 * is wrong with the source. */
el_status el_compiled_new(const el_constraint_source *source, const el_trie *trie, el_compiled **out, el_error *err);
/* All its matchers must have ended. NULL is allowed. */
void el_compiled_free(el_compiled *c);
/* The memory that it takes now. What grows with use is bounded by EL_STATES_BYTES and twice
 * EL_MASKS_BYTES. */
size_t el_compiled_bytes(el_compiled *c);
/* So far: walks through the whole vocabulary, and tokens that were tested one by one. */
void el_compiled_counts(el_compiled *c, uint64_t *walks, uint64_t *looked);

/* A grammar may have such large states that one token would take seconds, while all other requests
 * wait. So each answer has a credit of ways and edges that it may look at for new states (a million
 * take some milliseconds), and gets more credit with each token. Known states cost nothing. */
enum { EL_MATCHER_CREDIT = 16 << 20, EL_MATCHER_CREDIT_TOKEN = 1 << 18 };

/* The place of one answer in a constraint. A matcher belongs to one thread at a time. Several threads
 * may use different matchers of one constraint at once; they wait for each other while a new state is
 * computed. */
struct el_matcher {
  el_compiled *compiled; /* NULL: it has not begun */
  el_state state;
  int64_t credit;              /* see EL_MATCHER_CREDIT */
  el_matcher *next, *previous; /* the constraint's other matchers */
};

void el_matcher_begin(el_matcher *m, el_compiled *c);
void el_matcher_end(el_matcher *m); /* a matcher that has not begun is allowed */

/* Whether the text may go on with these bytes. If so, the matcher moves behind them; otherwise it
 * stays. *err is set when the grammar takes too much memory or time and the bytes could not be
 * tested: EL_ERR_NO_MEMORY, EL_ERR_TOO_LONG. el_matcher_would_take tests and never moves. */
bool el_matcher_take(el_matcher *m, const char *bytes, size_t len, el_error *err);
bool el_matcher_would_take(el_matcher *m, const char *bytes, size_t len, el_error *err);
/* Whether a token may follow, as el_masks_of says; false also when this cannot be computed. */
bool el_matcher_would_take_token(el_matcher *m, int32_t token, bool begins);
/* Copies el_masks_of at this place into bits[(n_vocab + 63) / 64]. False: *err, as for
 * el_matcher_take. */
bool el_matcher_mask(el_matcher *m, bool begins, uint64_t *bits, el_error *err);
/* The tokens that end the generation; [*n]. */
const int32_t *el_matcher_ends(const el_matcher *m, size_t *n);
bool el_matcher_may_end(const el_matcher *m);
bool el_matcher_may_go_on(const el_matcher *m);

#endif
