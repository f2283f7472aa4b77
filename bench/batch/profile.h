/* Where the time of a step goes, part by part: what 'edgelora-bench batch --profile' prints. */
#ifndef EL_BENCH_BATCH_PROFILE_H
#define EL_BENCH_BATCH_PROFILE_H

#include "cli/open.h"

typedef struct el_cli_profile {
  const el_cli_engine *common; /* model, instruction set, threads, rows of a step, weights */
  const int *npl, *ranks;
  size_t n_npl, n_ranks;
  int max_npl, npp, ntg, n_adapters;
  bool json;
} el_cli_profile;

/* Returns the exit status. */
int el_cli_profile_run(const el_cli_profile *p);

#endif
