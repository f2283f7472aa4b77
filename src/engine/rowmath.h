/* Passes over one row of logits. The order of the additions is fixed, so a row gives the same bits on every machine. */
#ifndef EL_ENGINE_ROWMATH_H
#define EL_ENGINE_ROWMATH_H

#include "edgelora.h"

/* The index of the largest of x: [n], the lowest among equals; *max: its value. -1 if one is NaN or +infinity, or if
 * all are -infinity: there is nothing to choose then. */
int el_row_argmax(const float *x, int n, float *max);

enum { EL_ROW_CHUNK = 256 };
/* e[i] = exp((x[i] - origin) * scale), whose argument must not be above 0; results below 1e-37 are 0. Returns the sum.
 * e: [n], or NULL. sums: [ceil(n / EL_ROW_CHUNK)] the sum of each chunk, or NULL. */
double el_row_exp(const float *x, int n, float origin, float scale, float *e, double *sums);

/* log(sum(exp(x))): log p(i) = x[i] - it. NaN where el_row_argmax fails. */
double el_row_log_sum_exp(const float *x, int n);
/* The n_top largest, best first, the lower token first among equals, as log probabilities. n_top <= n. */
void el_row_top(const float *x, int n, double log_sum_exp, int n_top, el_token_logprob *out);

#endif
