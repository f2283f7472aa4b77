#include "engine/rowmath.h"

#include <assert.h>
#include <math.h>

int el_row_argmax(const el_kernels *k, const float *x, int n, float *most, float *max) {
  return k->row_most(x, n, most) ? el_row_find(x, n, most, max) : -1;
}

/* Only the first block that has the maximum is searched for it. */
int el_row_find(const float *x, int n, const float *most, float *max) {
  const int n_blocks = el_row_blocks(n);
  float best = -INFINITY;
  int block = -1;
  for (int b = 0; b < n_blocks; b++)
    if (most[b] > best) best = most[block = b];
  if (block < 0) return -1;
  int at = block * EL_LOGIT_BLOCK;
  while (x[at] != best) at++;
  *max = best;
  return at;
}

double el_row_exp(const el_kernels *k, const float *x, int n, float origin, float scale, float *e, double *sums) {
  k->row_exp(x, n, origin, scale, e, sums);
  return el_row_total(sums, n);
}

double el_row_total(const double *sums, int n) {
  const int n_chunks = el_row_chunks(n);
  double total = 0;
  for (int c = 0; c < n_chunks; c++) total += sums[c];
  return total;
}

double el_row_log_sum_exp(const el_kernels *k, const float *x, int n, float max, double *sums) {
  return (double)max + log(el_row_exp(k, x, n, max, 1.0f, NULL, sums));
}

void el_row_top(const float *x, int n, const float *most, double log_sum_exp, int n_top, el_token_logprob *out) {
  assert(n_top >= 0 && n_top <= n);
  if (n_top == 0) return;
  int have = 0;
  for (int i = 0; i < n; i++) {
    if (have == n_top && i % EL_LOGIT_BLOCK == 0 && !(most[i / EL_LOGIT_BLOCK] > x[out[have - 1].token])) {
      i += EL_LOGIT_BLOCK - 1;
      continue;
    }
    if (have == n_top && !(x[i] > x[out[have - 1].token])) continue;
    int at = have < n_top ? have++ : have - 1;
    for (; at > 0 && x[i] > x[out[at - 1].token]; at--) out[at] = out[at - 1];
    out[at].token = i;
  }
  for (int i = 0; i < n_top; i++) out[i].logprob = (float)((double)x[out[i].token] - log_sum_exp);
}
