/* What --profile and --context share: steps of the model alone, without queue and sampling, and the speed at which this
 * machine reads memory. */
#ifndef EL_BENCH_BATCH_ALONE_H
#define EL_BENCH_BATCH_ALONE_H

#include "bench/batch/batch.h"
#include "bench/measure/limits.h"
#include "bench/measure/steps.h"

typedef struct el_batch_alone {
  const el_batch_options *asked;
  el_bench_machine machine;
  el_bench_steps steps;
  int step_rows;
  el_bench_memory memory;
  el_bench_read way; /* the fastest one to read it */
  json_t *results;
} el_batch_alone;

/* Loads the model with room for `ctx` positions of each sequence, and finds out how memory is read fastest. Returns -1,
 * or the exit status of a failure that has been said. el_batch_alone_close is to be called in any case. */
int el_batch_alone_open(el_batch_alone *a, const el_batch_options *asked, int ctx);
void el_batch_alone_close(el_batch_alone *a);

/* A row of a sequence, which has its adapter in turn. */
el_row el_batch_alone_row(el_batch_alone *a, int sequence, int pos, bool wants_logits);
/* Keys and values that a decode step of `npl` sequences reads behind `context` tokens, on average over --ntg steps;
 * what windows hide is counted too. */
double el_batch_alone_kv_bytes(const el_batch_alone *a, int npl, int context);
/* Gigabytes a second that all threads read from memory right now. */
double el_batch_alone_read_now(el_batch_alone *a);

/* Adds an entry, which it takes, to the results. False: no memory. */
bool el_batch_alone_add(el_batch_alone *a, json_t *entry);
/* With --json prints the report: machine, instruction set and threads, then `asked`, which it takes, then the results.
 * The exit status. */
int el_batch_alone_end(const el_batch_alone *a, json_t *asked);

#endif
