/* Which sequences guess their next tokens, and how far, so that a step checks several positions of each at once.
 *
 * A row's logits do not depend on who shares its step, and the random number of a token depends on its place alone. So
 * the tokens that are drawn from the rows of a guess, one after the other as long as the guess was right, are the very
 * ones that steps of one row would have given; rows behind the first wrong token were in vain, and count as not
 * computed. What is guessed decides how long an answer takes, never what it is.
 *
 * How far: so that the expected tokens of a step, over its time by its number of rows (step_cost.h), are most. Steps
 * that compute prompts are full of rows that cost as much as they give, so they have no guesses. */
#ifndef EL_ENGINE_SPECULATION_H
#define EL_ENGINE_SPECULATION_H

#include <stdatomic.h>

#include "engine/ngram_tables.h"
#include "engine/seq.h"
#include "engine/step_cost.h"
#include "engine/tuning.h"

enum {
  EL_SPECULATE_AUTO = -1, /* of el_engine_options.speculate */
  EL_COST_CROWDS = 5      /* step costs are told apart for 1, 2, 3 to 4, 5 to 8 and 9 to 16 sequences */
};

/* For tests: writes a guess of `most` tokens at most, returns how many. */
typedef int (*el_guess_fn)(void *user, const el_seq *q, int32_t *tokens, int most);

typedef struct el_speculation {
  int most;          /* tokens of a guess; 0: nobody speculates; EL_SPECULATE_AUTO: as measured */
  el_guess_fn guess; /* NULL: as draft.h says */
  void *guess_user;
  el_ngram_tables tables;
  el_step_cost costs[EL_COST_CROWDS];
  int n_unprofitable; /* steps since one has speculated, of those that would have if rows cost what is hoped */
  /* For el_stats. */
  atomic_uint_fast64_t n_proposed, n_accepted;
} el_speculation;

void el_speculation_init(el_speculation *s, int most);
void el_speculation_free(el_speculation *s);

/* Sets draft.n_rows of the sequences [n] of a step, which generate; the step has room for so many more rows. alone: it
 * has no rows of others. */
void el_speculation_plan(el_speculation *s, el_seq *const *seqs, int n, int rows, bool alone);
/* A step has had `proposed` rows of a sequence's guess, and has been drawn from: the guess is dealt with. */
void el_speculation_count(el_speculation *s, el_seq *q, int proposed);
/* A step of n sequences that generate, and nothing else, has taken so long. */
void el_speculation_took(el_speculation *s, int n, int rows, double ns);
/* A sequence ends: what it has answered is kept. */
void el_speculation_end(el_speculation *s, el_seq *q);

#endif
