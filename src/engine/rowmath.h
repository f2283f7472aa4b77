/* Passes over one row of logits. Their results are the same bits on every machine (src/kernels). */
#ifndef EL_ENGINE_ROWMATH_H
#define EL_ENGINE_ROWMATH_H

#include "edgelora.h"
#include "kernels/kernels.h"

/* Rounded up. */
static inline int el_row_blocks(int n) {
  return (n + EL_LOGIT_BLOCK - 1) / EL_LOGIT_BLOCK;
}
static inline int el_row_chunks(int n) {
  return (n + EL_LOGIT_CHUNK - 1) / EL_LOGIT_CHUNK;
}

/* The index of the largest of x: [n], the lowest among equals; *max: its value. most: [el_row_blocks(n)] gets each
 * block's. -1 if one is NaN or +infinity, or if all are -infinity: there is nothing to choose then. */
int el_row_argmax(const el_kernels *k, const float *x, int n, float *most, float *max);
/* The same when `most` is known, and no value is NaN or +infinity. */
int el_row_find(const float *x, int n, const float *most, float *max);

/* The sum of exp((x[i] - origin) * scale); e, sums: as row_exp gives them, e may be NULL. */
double el_row_exp(const el_kernels *k, const float *x, int n, float origin, float scale, float *e, double *sums);

/* The same when the sums are known. */
double el_row_total(const double *sums, int n);

/* log(sum(exp(x))): log p(i) = x[i] - it. max: the largest. sums: [el_row_chunks(n)] scratch. */
double el_row_log_sum_exp(const el_kernels *k, const float *x, int n, float max, double *sums);
/* The n_top largest, best first, the lower token first among equals, as log probabilities. n_top <= n. most: the
 * blocks' largest. */
void el_row_top(const float *x, int n, const float *most, double log_sum_exp, int n_top, el_token_logprob *out);

#endif
