/* Kernels that are set up to be timed alone, on random data. Each `run` is an el_bench_work_fn. */
#ifndef EL_BENCH_KERNELS_WORK_H
#define EL_BENCH_KERNELS_WORK_H

#include "bench/measure/limits.h"
#include "kernels/kernels.h"

/* A matrix product as a step of the model runs it: threads share the tiles of W, all columns of X in one call. */
typedef struct el_bench_gemm {
  const el_kernels *kernels;
  el_packed w; /* the first copy */
  unsigned char *copies;
  int n_copies;
  el_act x;
  int max_cols;
  float *y;
  int *at; /* [threads, 16] the next copy of each thread */
} el_bench_gemm;

/* W: [rows, cols], cols a multiple of 32. Products go through as many copies of W as `streamed` bytes take; 0: one
 * copy, that stays in the cache if it fits. */
el_status el_bench_gemm_new(el_bench_gemm *g, const el_kernels *kernels, el_layout layout, int rows, int cols,
                            int max_cols, size_t streamed, int max_threads, el_error *err);
void el_bench_gemm_free(el_bench_gemm *g);
/* X: [n_cols, cols] from now on. */
void el_bench_gemm_columns(el_bench_gemm *g, int n_cols);
void el_bench_gemm_run(void *gemm, uint64_t passes, int ith, int n);

/* One row of `n` values, a row of its own for each thread. */
typedef struct el_bench_rows {
  const el_kernels *kernels;
  int n, max_threads;
  float *in, *other, *out; /* [max_threads, n] */
  el_act *acts;            /* [max_threads] */
} el_bench_rows;

el_status el_bench_rows_new(el_bench_rows *r, const el_kernels *kernels, int n, int max_threads, el_error *err);
void el_bench_rows_free(el_bench_rows *r);
void el_bench_quantize_run(void *rows, uint64_t passes, int ith, int n);
void el_bench_rms_norm_run(void *rows, uint64_t passes, int ith, int n);
void el_bench_swiglu_run(void *rows, uint64_t passes, int ith, int n);

/* One token's attention for one KV head. A page holds 16 positions of all layers and heads, so a pass reads pieces that
 * lie apart; a pass takes the next piece of each page, as the next layer does. */
typedef struct el_bench_attend {
  const el_kernels *kernels;
  int n_q, head_dim, n_pos, max_threads;
  int n_pieces; /* of a page */
  size_t piece; /* bytes: one layer's keys and values of one head in a page */
  unsigned char *kv;
  uint32_t *pages;
  float *q, *out, *scratch; /* [max_threads, ...] */
  int *at;                  /* [threads, 16] the next piece of each thread */
} el_bench_attend;

/* `streamed`: bytes that all pieces take; 0: one piece for each thread. */
el_status el_bench_attend_new(el_bench_attend *a, const el_kernels *kernels, int n_q, int head_dim, int n_pos,
                              size_t streamed, int max_threads, el_error *err);
void el_bench_attend_free(el_bench_attend *a);
/* What one pass of one thread reads. */
size_t el_bench_attend_bytes(const el_bench_attend *a);
void el_bench_attend_run(void *attend, uint64_t passes, int ith, int n);

#endif
