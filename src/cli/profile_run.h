/* Running candidates over prompts, many at once, and scoring what they answer. */
#ifndef EL_CLI_PROFILE_RUN_H
#define EL_CLI_PROFILE_RUN_H

#include "cli/profile_journal.h"
#include "cli/profile_prompts.h"

typedef struct el_profile {
  el_engine *engine;
  int signal_fd;
  bool quiet;
  int max_tokens;
  int in_flight; /* requests that are queued or run at once */
  const char *prompts_path;
  const el_prompts *prompts;
  size_t n_rows;            /* of the prompts that are run */
  const char *const *names; /* [n_names] the candidates; the first is the base */
  size_t n_names;
  el_scorer_kind scorer; /* of prompts that name none */
  el_score_command command;
  el_journal *journal;

  double *scores;    /* [n_rows, n_names] NAN: not known yet */
  char **references; /* [n_rows] the base's answer to a prompt without an expected one; NULL: not known yet */
} el_profile;

/* The name of the base's column; EL_TABLE_BASE of the router's tables. */
#define EL_PROFILE_BASE "base"

/* Takes over an answer of the journal. */
bool el_profile_take(void *profile, const el_journal_answer *a);

/* Checks that every prompt fits the context with its answer, before hours are spent on those before it. */
el_status el_profile_check(const el_profile *p, el_error *err);

/* Runs what is not known yet; every answer goes into the journal as soon as it is scored. *signal: the number of the
 * signal that ended it early, or 0. */
el_status el_profile_run(el_profile *p, int *signal, el_error *err);

size_t el_profile_known(const el_profile *p);

#endif
