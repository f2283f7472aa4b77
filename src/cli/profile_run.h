/* Lets candidates answer prompts, many at once, and scores the answers. */
#ifndef EL_CLI_PROFILE_RUN_H
#define EL_CLI_PROFILE_RUN_H

#include "cli/profile_journal.h"
#include "cli/profile_prompts.h"

typedef struct el_profile {
  el_engine *engine;
  int signal_fd;
  bool quiet;
  int max_tokens;
  int in_flight; /* requests that are queued or run at a time */
  const char *prompts_path;
  const el_prompts *prompts;
  size_t n_rows;            /* the prompts to run: the first n_rows */
  const char *const *names; /* [n_names] the candidates; the first is the base */
  size_t n_names;
  el_scorer_kind scorer; /* for prompts that name none */
  el_score_command command;
  el_journal *journal;

  double *scores;    /* [n_rows, n_names] NAN: not known yet */
  char **references; /* [n_rows] the base's answer to a prompt without an expected one; NULL: not known yet */
} el_profile;

/* The name of the base's column; EL_TABLE_BASE of the router's tables. */
#define EL_PROFILE_BASE "base"

/* Takes an answer from the journal; an el_journal_fn. */
bool el_profile_take(void *profile, const el_journal_answer *a);

/* Checks that each prompt and its answer fit the context, before hours are spent on the prompts before it. */
el_status el_profile_check(const el_profile *p, el_error *err);

/* Runs what has no score yet. Each answer goes into the journal as soon as it is scored. *signal: the number of the
 * signal that ended the run early, or 0. */
el_status el_profile_run(el_profile *p, int *signal, el_error *err);

size_t el_profile_known(const el_profile *p);

#endif
