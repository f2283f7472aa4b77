/* What the parts of `edgelora-bench batch` share: what was asked for. */
#ifndef EL_BENCH_BATCH_BATCH_H
#define EL_BENCH_BATCH_BATCH_H

#include "cli/open.h"

typedef struct el_batch_options {
  el_cli_engine common;
  el_cli_numbers npl, ranks, contexts;
  int max_npl, n_adapters, npp, ntg, repeat;
  float temperature, top_p;
  bool json;
} el_batch_options;

/* Each measures, prints its report and returns the exit status. */

/* Tokens per second of requests through the whole engine. */
int el_batch_throughput(el_batch_options *o);
/* --profile: where the time of a step goes, part by part. */
int el_batch_profile(const el_batch_options *o);
/* --context: decoding with long contexts. */
int el_batch_contexts(const el_batch_options *o);

#endif
