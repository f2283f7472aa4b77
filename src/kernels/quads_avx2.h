/* Quads, that is four columns of 8 rows, as 256-bit vectors: the loads that several instruction
 * sets share. */
#ifndef EL_KERNELS_QUADS_AVX2_H
#define EL_KERNELS_QUADS_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernels/ops.h"

/* Four activations in every lane. */
EL_INLINE __m256i quad(const int8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

/* Quad j of a group's codes, unpacked. 4-bit codes are the low nibbles of vectors 0 to 3, then the
 * high nibbles. */
EL_INLINE __m256i load_quad(const unsigned char *codes, int j, el_layout layout) {
  const __m256i *p = (const __m256i *)codes;
  if (layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M) return _mm256_load_si256(p + j);
  __m256i v = _mm256_load_si256(p + j % 4);
  return _mm256_and_si256(j < 4 ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

/* Quad j of a last group of q4 that ends early; the first `half` of its quads are in low
 * nibbles. */
EL_INLINE __m256i load_quad_of_end(const unsigned char *codes, int j, int half) {
  __m256i v = _mm256_load_si256((const __m256i *)codes + (j < half ? j : j - half));
  return _mm256_and_si256(j < half ? v : _mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

#endif
