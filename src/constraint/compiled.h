/* A source, compiled, and answers on their way through it. */
#ifndef EL_CONSTRAINT_COMPILED_H
#define EL_CONSTRAINT_COMPILED_H

#include "constraint/masks.h"

typedef struct el_compiled el_compiled;
typedef struct el_matcher el_matcher;

/* trie: stays where it is. What is wrong with the source is said of it: EL_ERR_INVALID, EL_ERR_UNSUPPORTED,
 * EL_ERR_TOO_LONG. */
el_status el_compiled_new(const el_constraint_source *source, const el_trie *trie, el_compiled **out, el_error *err);
/* No matcher is left. NULL is allowed. */
void el_compiled_free(el_compiled *c);
/* That it takes now; what grows with its use is bounded by EL_STATES_BYTES and two EL_MASKS_BYTES. */
size_t el_compiled_bytes(el_compiled *c);
/* Walks through the whole vocabulary, and tokens looked at one by one, so far. */
void el_compiled_counts(el_compiled *c, uint64_t *walks, uint64_t *looked);

/* A grammar may make each state so large that a token takes seconds, while all others wait. So an answer may look at so
 * many ways and edges for what is new (some milliseconds a million), and at so many more with each token: what is known
 * already costs none. */
enum { EL_MATCHER_CREDIT = 16 << 20, EL_MATCHER_CREDIT_TOKEN = 1 << 18 };

/* Where an answer is in it. A matcher belongs to one thread at a time; different ones of one constraint may be used by
 * different threads at once, which wait for each other while something new is found. */
struct el_matcher {
  el_compiled *compiled; /* NULL: there is none */
  el_state state;
  int64_t credit;              /* see EL_MATCHER_CREDIT */
  el_matcher *next, *previous; /* the constraint's others */
};

void el_matcher_begin(el_matcher *m, el_compiled *c);
void el_matcher_end(el_matcher *m); /* one that has not begun is allowed */

/* Whether the text may go on so; if it does, the matcher is behind it, else where it was. *err is set, and the text has
 * not been looked at, when the grammar takes too much: EL_ERR_NO_MEMORY, EL_ERR_TOO_LONG. */
bool el_matcher_take(el_matcher *m, const char *bytes, size_t len, el_error *err);
bool el_matcher_would_take(el_matcher *m, const char *bytes, size_t len, el_error *err);
/* Whether a token may follow, as el_masks_of has it; false also when it cannot be told. */
bool el_matcher_would_take_token(el_matcher *m, int32_t token, bool begins);
/* el_masks_of, here: a copy into bits[(n_vocab + 63) / 64]. False: as el_matcher_take's *err. */
bool el_matcher_mask(el_matcher *m, bool begins, uint64_t *bits, el_error *err);
/* Tokens that end the generation. */
const int32_t *el_matcher_ends(const el_matcher *m, size_t *n);
bool el_matcher_may_end(const el_matcher *m);
bool el_matcher_may_go_on(const el_matcher *m);

#endif
