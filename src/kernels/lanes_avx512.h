/* 16 float lanes as one AVX-512 vector. What each function does is in lanes_scalar.h. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <immintrin.h>

#include "format/quant.h"

/* Queries, or columns, that share a pass over keys and values, or 16-bit weights. */
enum { VF_TOGETHER = 4 };

/* Accumulators of attention that fit in registers: scores of queries times pages; queries times 16 dimensions. */
#define VF_SCORES 12
#define VF_VALUES 24

typedef __m512 vf;

static inline __attribute__((always_inline)) void vf_fetch(const void *p) {
  _mm_prefetch((const char *)p, _MM_HINT_T1);
}
static inline vf vf_load(const float *p) {
  return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf x) {
  _mm512_storeu_ps(p, x);
}
static inline vf vf_set1(float x) {
  return _mm512_set1_ps(x);
}
static inline vf vf_add(vf x, vf y) {
  return _mm512_add_ps(x, y);
}
static inline vf vf_sub(vf x, vf y) {
  return _mm512_sub_ps(x, y);
}
static inline vf vf_mul(vf x, vf y) {
  return _mm512_mul_ps(x, y);
}
static inline vf vf_div(vf x, vf y) {
  return _mm512_div_ps(x, y);
}
static inline vf vf_max(vf x, vf y) {
  return _mm512_max_ps(x, y);
}
static inline vf vf_min(vf x, vf y) {
  return _mm512_min_ps(x, y);
}
static inline vf vf_abs(vf x) {
  return _mm512_abs_ps(x);
}
static inline vf vf_fma(vf x, vf y, vf z) {
  return _mm512_fmadd_ps(x, y, z);
}
static inline vf vf_round(vf x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline vf vf_pow2(vf n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
static inline vf vf_load_f16(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
static inline vf vf_load_bf16(const void *p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
static inline uint16_t f16_from_f32(float x) {
  return (uint16_t)_cvtss_sh(x, 0);
}
static inline void vf_store_f16(void *p, vf x) {
  _mm256_storeu_si256(p, _mm512_cvtps_ph(x, 0));
}
static inline void vf_store_i8(int8_t *p, vf x) {
  _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
static inline float vf_sum(vf x) {
  __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
static inline float vf_hmax(vf x) {
  return _mm512_reduce_max_ps(x);
}

#endif
