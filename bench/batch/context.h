/* Decoding with long contexts: what 'edgelora-bench batch --context' prints. */
#ifndef EL_BENCH_BATCH_CONTEXT_H
#define EL_BENCH_BATCH_CONTEXT_H

#include "cli/open.h"

typedef struct el_cli_context {
  const el_cli_engine *common; /* model, instruction set, threads, weights, type of keys and values */
  const int *contexts, *npl, *ranks;
  size_t n_contexts, n_npl, n_ranks;
  int max_npl, ntg, repeat, n_adapters;
  bool json;
} el_cli_context;

/* Returns the exit status. */
int el_cli_context_run(const el_cli_context *with);

#endif
