/* A model that is set up to time single steps, without queue and sampling. */
#ifndef EL_BENCH_MEASURE_STEPS_H
#define EL_BENCH_MEASURE_STEPS_H

#include "base/threads.h"
#include "model/model.h"

typedef struct el_bench_steps_setup {
  const el_engine_options *options; /* weights, types, instruction set, threads */
  int cores;                        /* threads, if the options do not say how many */
  int n_sequences, ctx;             /* positions of each */
  int step_rows, max_logits;
  const int *ranks; /* [n_ranks] that the adapters have in turn */
  size_t n_ranks;
  int n_adapters; /* random ones, on all linear layers */
} el_bench_steps_setup;

typedef struct el_bench_steps {
  const el_kernels *kernels;
  el_threads *threads;
  el_model *model;
  const el_hparams *h;
  el_kv_type kv_type;
  el_layout adapter_layout;
  el_adapter **adapters; /* [n_adapters] */
  int n_adapters;
  el_row *rows; /* [step_rows] */
  el_step *step;
  /* The pages of the sequences alternate, as they do when all sequences have grown together. */
  unsigned char *kv;
  uint32_t *pages; /* [n_sequences][pages_each] */
  int pages_each;
  uint64_t random;
} el_bench_steps;

/* el_bench_steps_close is to be called in any case. */
el_status el_bench_steps_open(el_bench_steps *s, const char *model_path, const el_bench_steps_setup *setup,
                              el_error *err);
void el_bench_steps_close(el_bench_steps *s);
/* A row with a random token; adapter NULL: the base. */
el_row el_bench_steps_row(el_bench_steps *s, int sequence, int pos, const el_adapter *adapter, bool wants_logits);
/* Runs the first n_rows of `rows`: seconds. */
double el_bench_steps_run(el_bench_steps *s, int n_rows);

#endif
