/* Passes over a row of logits, included by ops.h: row_most and row_exp of kernels.h. */
#ifndef EL_KERNELS_LOGITS_H
#define EL_KERNELS_LOGITS_H

#include <float.h>

/* A finite value or -infinity does not change the check; a NaN or +infinity makes the sum NaN. */
static bool op_row_most(const float *x, int n, float *most) {
  const vf zero = vf_set1(0), lowest = vf_set1(-FLT_MAX);
  vf bad[EL_LOGIT_BLOCK / EL_LANES];
  for (int k = 0; k < EL_LOGIT_BLOCK / EL_LANES; k++) bad[k] = zero;
  for (int i = 0; i < n; i += EL_LOGIT_BLOCK) {
    vf m = vf_set1(-INFINITY);
    for (int k = 0; k < EL_LOGIT_BLOCK / EL_LANES; k++) {
      const int at = i + k * EL_LANES;
      if (at >= n) break;
      const vf v = n - at >= EL_LANES ? vf_load(x + at) : load_tail(x + at, n - at, -INFINITY);
      bad[k] = vf_fma(vf_max(lowest, v), zero, bad[k]);
      m = vf_max(v, m);
    }
    most[i / EL_LOGIT_BLOCK] = vf_hmax(m);
  }
  return vf_sum(vf_add(vf_add(bad[0], bad[1]), vf_add(bad[2], bad[3]))) == 0;
}

static void op_row_exp(const float *x, int n, float origin, float scale, float *e, double *sums) {
  const vf from = vf_set1(origin), by = vf_set1(scale), least = vf_set1(-86.0f);
  for (int i = 0; i < n; i += EL_LOGIT_CHUNK) {
    const int end = n - i < EL_LOGIT_CHUNK ? n : i + EL_LOGIT_CHUNK;
    vd sum = vd_zero();
    for (int k = i; k < end; k += EL_LANES) {
      const int left = n - k;
      const vf v = left >= EL_LANES ? vf_load(x + k) : load_tail(x + k, left, -INFINITY * scale);
      const vf t = vf_mul(vf_sub(v, from), by), w = vf_keep_ge(vf_exp(t), t, least);
      if (e) store_n(e + k, w, left);
      sum = vd_add(sum, w);
    }
    if (sums) sums[i / EL_LOGIT_CHUNK] = vd_sum(sum);
  }
}

static int op_row_near(const float *x, int n, int32_t first, float origin, float limit, int32_t *ids, float *below) {
  const vf from = vf_set1(origin), to = vf_set1(limit);
  int found = 0, i = 0;
  for (; i + EL_LANES <= n; i += EL_LANES)
    found += vf_put_le(vf_sub(from, vf_load(x + i)), to, first + i, ids + found, below + found);
  for (; i < n; i++) {
    ids[found] = first + i;
    below[found] = origin - x[i];
    found += below[found] <= limit;
  }
  return found;
}

#endif
