/* 16 float lanes as one AVX-512 vector. lanes_scalar.h says what each function does. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <immintrin.h>

#include "format/quant.h"

/* Queries or columns that share a pass over keys and values, or over 16-bit weights. */
enum { VF_TOGETHER = 4 };

/* Accumulators of attention that fit into registers: for scores, queries times pages; for values,
 * queries times 16 dimensions. */
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
static inline int32_t vf_store_codes(int8_t *p, vf x, vf y) {
  __m128i a = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)), b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(y));
  _mm_storeu_si128((__m128i *)p, a);
  _mm_storeu_si128((__m128i *)p + 1, b);
  /* vpsadbw adds unsigned bytes: code + 128. */
  __m128i top = _mm_set1_epi8((char)128), zero = _mm_setzero_si128();
  __m128i s = _mm_add_epi32(_mm_sad_epu8(_mm_xor_si128(a, top), zero), _mm_sad_epu8(_mm_xor_si128(b, top), zero));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_unpackhi_epi64(s, s))) - 32 * 128;
}
static inline uint32_t vf_amax_bits(vf x, vf y) {
  __m512i most = _mm512_set1_epi32(0x7fffffff);
  __m512i m16 =
      _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(x), most), _mm512_and_si512(_mm512_castps_si512(y), most));
  __m256i m8 = _mm256_max_epi32(_mm512_castsi512_si256(m16), _mm512_extracti64x4_epi64(m16, 1));
  __m128i m4 = _mm_max_epi32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
  __m128i m2 = _mm_max_epi32(m4, _mm_unpackhi_epi64(m4, m4));
  return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(m2, _mm_shuffle_epi32(m2, 1)));
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

static inline vf vf_keep_ge(vf x, vf a, vf b) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), x);
}

/* Compressed in registers: compressing to memory takes some CPUs a hundred cycles. */
static inline int vf_put_le(vf x, vf limit, int32_t first, int32_t *ids, float *to) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __mmask16 near = _mm512_cmp_ps_mask(x, limit, _CMP_LE_OQ);
  if (!near) return 0;
  _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(near, _mm512_add_epi32(lanes, _mm512_set1_epi32(first))));
  _mm512_storeu_ps(to, _mm512_maskz_compress_ps(near, x));
  return __builtin_popcount(near);
}

typedef struct vd {
  __m512d a, b;
} vd;
static inline vd vd_zero(void) {
  return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()};
}
static inline vd vd_add(vd a, vf b) {
  return (vd){_mm512_add_pd(a.a, _mm512_cvtps_pd(_mm512_castps512_ps256(b))),
              _mm512_add_pd(a.b, _mm512_cvtps_pd(_mm512_extractf32x8_ps(b, 1)))};
}
static inline double vd_sum(vd a) {
  __m512d s8 = _mm512_add_pd(a.a, a.b);
  __m256d s4 = _mm256_add_pd(_mm512_castpd512_pd256(s8), _mm512_extractf64x4_pd(s8, 1));
  __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
/* Sums of products of 8-bit integers, exact: 16 lanes of 32 bits. */
typedef __m512i vi;
static inline vi vi_load(const int32_t *p) {
  return _mm512_loadu_si512(p);
}
static inline vi vi_dot_start(int32_t sum) {
  return _mm512_set1_epi32(-128 * sum);
}
static inline vi vi_dot(vi a, const unsigned char *codes, const int8_t *q) {
  int32_t x;
  __builtin_memcpy(&x, q, 4);
  return _mm512_dpbusd_epi32(a, _mm512_loadu_si512(codes), _mm512_set1_epi32(x));
}
static inline vf vf_of_vi(vi a) {
  return _mm512_cvtepi32_ps(a);
}
static inline vf vf_load_i8(const void *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

#endif
