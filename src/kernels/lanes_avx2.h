/* 16 float lanes as two AVX2 vectors. What each function does is in lanes_scalar.h. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <immintrin.h>

#include "format/quant.h"

/* Queries, or columns, that share a pass over keys and values, or 16-bit weights. */
enum { VF_TOGETHER = 4 };

/* Accumulators of attention that fit in registers: scores of queries times pages; queries times 16 dimensions. */
#define VF_SCORES 6
#define VF_VALUES 6

typedef struct vf {
  __m256 a, b;
} vf;

static inline __attribute__((always_inline)) void vf_fetch(const void *p) {
  _mm_prefetch((const char *)p, _MM_HINT_T1);
}
static inline vf vf_load(const float *p) {
  return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void vf_store(float *p, vf x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
static inline vf vf_set1(float x) {
  return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline vf vf_add(vf x, vf y) {
  return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
static inline vf vf_sub(vf x, vf y) {
  return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
static inline vf vf_mul(vf x, vf y) {
  return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
static inline vf vf_div(vf x, vf y) {
  return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
static inline vf vf_max(vf x, vf y) {
  return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
static inline vf vf_min(vf x, vf y) {
  return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
static inline vf vf_abs(vf x) {
  __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return (vf){_mm256_and_ps(x.a, m), _mm256_and_ps(x.b, m)};
}
static inline vf vf_fma(vf x, vf y, vf z) {
  return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline vf vf_round(vf x) {
  return (vf){_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
              _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline __m256 pow2_half(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
static inline vf vf_pow2(vf n) {
  return (vf){pow2_half(n.a), pow2_half(n.b)};
}
static inline vf vf_load_f16(const void *p) {
  const __m128i *h = p;
  return (vf){_mm256_cvtph_ps(_mm_loadu_si128(h)), _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}
static inline __m256 bf16_half(__m128i h) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline vf vf_load_bf16(const void *p) {
  const __m128i *h = p;
  return (vf){bf16_half(_mm_loadu_si128(h)), bf16_half(_mm_loadu_si128(h + 1))};
}
static inline uint16_t f16_from_f32(float x) {
  return (uint16_t)_cvtss_sh(x, 0);
}
static inline void vf_store_f16(void *p, vf x) {
  _mm_storeu_si128(p, _mm256_cvtps_ph(x.a, 0));
  _mm_storeu_si128((__m128i *)p + 1, _mm256_cvtps_ph(x.b, 0));
}
static inline void vf_store_i8(int8_t *p, vf x) {
  __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)); /* a0-3 b0-3 | a4-7 b4-7 */
  w = _mm256_permute4x64_epi64(w, 0xd8);
  __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
  _mm_storeu_si128((__m128i *)p, b);
}
static inline float vf_sum(vf x) {
  __m256 s8 = _mm256_add_ps(x.a, x.b);
  __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_shuffle_ps(s2, s2, 1)));
}
static inline float vf_hmax(vf x) {
  __m256 m8 = _mm256_max_ps(x.a, x.b);
  __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
  __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
  return _mm_cvtss_f32(_mm_max_ss(m2, _mm_shuffle_ps(m2, m2, 1)));
}

#endif
