/* Dot products that add in a fixed order, so that every machine gives the same sums, and in lanes that
 * the compiler turns into vector instructions. */
#ifndef EL_ROUTER_DOT_H
#define EL_ROUTER_DOT_H

#include <stddef.h>
#include <stdint.h>

static inline float el_dot(const float *restrict a, const float *restrict b, size_t n) {
  enum { LANES = 16 };
  float sum[LANES] = {0}, total = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) sum[k] += a[i + (size_t)k] * b[i + (size_t)k];
  for (; i < n; i++) total += a[i] * b[i];
  for (int k = 0; k < LANES; k++) total += sum[k];
  return total;
}

/* y += a x */
static inline void el_axpy(float a, const float *restrict x, float *restrict y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

#endif
