/* Activation quads for 256-bit vectors. */
#ifndef EL_KERNELS_QUADS_AVX2_H
#define EL_KERNELS_QUADS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/ops.h"

/* Four activations, in every lane. */
EL_INLINE __m256i quad(const int8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

/* Quad j of a column's group, x: [32] int8, or [8] vectors if that has been expanded. */
EL_INLINE __m256i x_quad(const void *x, int j, bool expanded) {
  return expanded ? _mm256_load_si256((const __m256i *)x + j) : quad((const int8_t *)x + j * 4);
}

#endif
