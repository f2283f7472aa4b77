/* On vectors of four, which every machine of interest has without a compiler flag: wider ones would gain less than the
 * memory allows. */
#include "engine/rowmath.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { WIDTH = 4, BLOCK = 1024 };
typedef float vec __attribute__((vector_size(16), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(16), aligned(4)));
typedef uint32_t uvec __attribute__((vector_size(16), aligned(4)));

/* ------------------------------------------------------------------ maximum */

/* The largest of a block, which is not NaN; *bad becomes true when a value is NaN or +infinity. */
static float block_max(const float *x, int n, bool *bad) {
  enum { UNROLL = 4 };
  const vec inf = (vec){0} + INFINITY;
  vec m[UNROLL];
  ivec good[UNROLL];
  for (int u = 0; u < UNROLL; u++) {
    m[u] = -inf;
    good[u] = (ivec){0} - 1;
  }
  int i = 0;
  for (; i + WIDTH * UNROLL <= n; i += WIDTH * UNROLL)
#pragma GCC unroll 4
    for (int u = 0; u < UNROLL; u++) {
      vec v = *(const vec *)(x + i + u * WIDTH);
      ivec more = v > m[u];
      m[u] = (vec)(((ivec)v & more) | ((ivec)m[u] & ~more));
      good[u] &= v < inf;
    }
  float best = -INFINITY;
  for (int u = 0; u < UNROLL; u++)
    for (int j = 0; j < WIDTH; j++) {
      best = m[u][j] > best ? m[u][j] : best;
      *bad |= !good[u][j];
    }
  for (; i < n; i++) {
    best = x[i] > best ? x[i] : best;
    *bad |= !(x[i] < INFINITY);
  }
  return best;
}

/* Only the first block that has the maximum is searched for it. */
int el_row_argmax(const float *x, int n, float *max) {
  float best = -INFINITY;
  int at = -1;
  bool bad = false;
  for (int i = 0; i < n; i += BLOCK) {
    float m = block_max(x + i, n - i < BLOCK ? n - i : BLOCK, &bad);
    if (m > best) {
      best = m;
      at = i;
    }
  }
  if (bad || at < 0) return -1;
  while (x[at] != best) at++;
  *max = best;
  return at;
}

/* -------------------------------------------------------------- exponential */

/* t[i] = exp(t[i]) for t <= 0, relative error below 1e-7: t = k ln 2 + r with |r| <= ln 2 / 2, a polynomial for exp(r)
 * (the coefficients are Cephes's expf's), and k is added to the exponent. */
static inline void exp_negative(float *t) {
  const float low = -86.0f, round = 12582912.0f; /* 1.5 * 2^23: adding it leaves a rounded integer in the low bits */
  vec x = *(vec *)t;
  ivec in_range = x > low;
  vec c = (vec)((ivec)x & in_range);
  vec shifted = c * 1.44269504f + round;
  vec k = shifted - round;
  vec r = c - k * 0.693359375f; /* ln 2 in two parts */
  r = r + k * 2.12194440e-4f;
  vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  uvec bits = (uvec)p + ((uvec)shifted << 23); /* what stands above the integer is shifted out */
  *(vec *)t = (vec)((ivec)bits & in_range);
}

/* One chunk; what is missing in the last one is 0 in e. */
static double exp_chunk(const float *x, int n, float origin, float scale, float e[EL_ROW_CHUNK]) {
  for (int i = 0; i < n; i++) e[i] = (x[i] - origin) * scale;
  for (int i = n; i < EL_ROW_CHUNK; i++) e[i] = -INFINITY;
  double sum[WIDTH] = {0};
  for (int i = 0; i < EL_ROW_CHUNK; i += WIDTH) {
    exp_negative(e + i);
    for (int j = 0; j < WIDTH; j++) sum[j] += (double)e[i + j];
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

double el_row_exp(const float *x, int n, float origin, float scale, float *e, double *sums) {
  double total = 0;
  for (int i = 0; i < n; i += EL_ROW_CHUNK) {
    float buf[EL_ROW_CHUNK];
    int c = n - i < EL_ROW_CHUNK ? n - i : EL_ROW_CHUNK;
    double sum = exp_chunk(x + i, c, origin, scale, buf);
    if (e) memcpy(e + i, buf, sizeof(float) * (size_t)c);
    if (sums) sums[i / EL_ROW_CHUNK] = sum;
    total += sum;
  }
  return total;
}

/* -------------------------------------------------------- log-probabilities */

double el_row_log_sum_exp(const float *x, int n) {
  float max;
  if (el_row_argmax(x, n, &max) < 0) return NAN;
  return (double)max + log(el_row_exp(x, n, max, 1.0f, NULL, NULL));
}

void el_row_top(const float *x, int n, double log_sum_exp, int n_top, el_token_logprob *out) {
  assert(n_top >= 0 && n_top <= n);
  if (n_top == 0) return;
  int have = 0;
  for (int i = 0; i < n; i++) {
    if (have == n_top && !(x[i] > x[out[have - 1].token])) continue;
    int at = have < n_top ? have++ : have - 1;
    for (; at > 0 && x[i] > x[out[at - 1].token]; at--) out[at] = out[at - 1];
    out[at].token = i;
  }
  for (int i = 0; i < n_top; i++) out[i].logprob = (float)((double)x[out[i].token] - log_sum_exp);
}
