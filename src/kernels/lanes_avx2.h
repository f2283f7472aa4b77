/* 16 float lanes as two AVX2 vectors. lanes_scalar.h says what each function does. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <immintrin.h>

#include "format/quant.h"

/* Queries or columns that share a pass over keys and values, or over 16-bit weights. */
enum { VF_TOGETHER = 4 };

/* Accumulators of attention that fit into registers: for scores, queries times pages; for values,
 * queries times 16 dimensions. */
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
static inline int32_t vf_store_codes(int8_t *p, vf x, vf y) {
  __m256i q = _mm256_packs_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)),
                                 _mm256_packs_epi32(_mm256_cvtps_epi32(y.a), _mm256_cvtps_epi32(y.b)));
  /* Fours of both halves alternate: xa0 xb0 ya0 yb0 | xa1 xb1 ya1 yb1 */
  _mm256_storeu_si256((__m256i *)p, _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  /* vpsadbw adds unsigned bytes: code + 128. */
  __m256i s4 = _mm256_sad_epu8(_mm256_xor_si256(q, _mm256_set1_epi8((char)128)), _mm256_setzero_si256());
  __m128i s2 = _mm_add_epi32(_mm256_castsi256_si128(s4), _mm256_extracti128_si256(s4, 1));
  return _mm_cvtsi128_si32(_mm_add_epi32(s2, _mm_unpackhi_epi64(s2, s2))) - 32 * 128;
}
static inline __m256i magnitude_bits(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}
static inline uint32_t vf_amax_bits(vf x, vf y) {
  __m256i m8 = _mm256_max_epi32(_mm256_max_epi32(magnitude_bits(x.a), magnitude_bits(x.b)),
                                _mm256_max_epi32(magnitude_bits(y.a), magnitude_bits(y.b)));
  __m128i m4 = _mm_max_epi32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
  __m128i m2 = _mm_max_epi32(m4, _mm_unpackhi_epi64(m4, m4));
  return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(m2, _mm_shuffle_epi32(m2, 1)));
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

static inline vf vf_keep_ge(vf x, vf a, vf b) {
  return (vf){_mm256_and_ps(x.a, _mm256_cmp_ps(a.a, b.a, _CMP_GE_OQ)),
              _mm256_and_ps(x.b, _mm256_cmp_ps(a.b, b.b, _CMP_GE_OQ))};
}

static inline int vf_put_le(vf x, vf limit, int32_t first, int32_t *ids, float *to) {
  const unsigned a = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.a, limit.a, _CMP_LE_OQ)),
                 b = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.b, limit.b, _CMP_LE_OQ));
  if (!(a | b)) return 0;
  float t[16];
  vf_store(t, x);
  int n = 0;
  for (unsigned left = a | b << 8; left; left &= left - 1) {
    const int i = __builtin_ctz(left);
    ids[n] = first + i;
    to[n++] = t[i];
  }
  return n;
}

typedef struct vd {
  __m256d v[4];
} vd;
static inline vd vd_zero(void) {
  const __m256d zero = _mm256_setzero_pd();
  return (vd){{zero, zero, zero, zero}};
}
static inline vd vd_add(vd a, vf b) {
  return (vd){{_mm256_add_pd(a.v[0], _mm256_cvtps_pd(_mm256_castps256_ps128(b.a))),
               _mm256_add_pd(a.v[1], _mm256_cvtps_pd(_mm256_extractf128_ps(b.a, 1))),
               _mm256_add_pd(a.v[2], _mm256_cvtps_pd(_mm256_castps256_ps128(b.b))),
               _mm256_add_pd(a.v[3], _mm256_cvtps_pd(_mm256_extractf128_ps(b.b, 1)))}};
}
static inline double vd_sum(vd a) {
  __m256d s4 = _mm256_add_pd(_mm256_add_pd(a.v[0], a.v[2]), _mm256_add_pd(a.v[1], a.v[3]));
  __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
/* Sums of products of 8-bit integers, exact: 16 lanes of 32 bits. */
typedef struct vi {
  __m256i a, b;
} vi;
static inline vi vi_dot_start(int32_t sum) {
  (void)sum;
  return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
/* vpmaddubsw multiplies unsigned with signed bytes: the magnitude of a code, and q with the code's
 * sign. Two products fit into its 16 bits: 2 * 128 * 127. */
static inline __m256i dot_half(__m256i acc, const void *codes, __m256i q) {
  __m256i c = _mm256_xor_si256(_mm256_loadu_si256(codes), _mm256_set1_epi8((char)128));
  __m256i two = _mm256_maddubs_epi16(_mm256_abs_epi8(c), _mm256_sign_epi8(q, c));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(two, _mm256_set1_epi16(1)));
}
static inline vi vi_dot(vi a, const unsigned char *codes, const int8_t *q) {
  int32_t x;
  __builtin_memcpy(&x, q, 4);
  __m256i four = _mm256_set1_epi32(x);
  return (vi){dot_half(a.a, codes, four), dot_half(a.b, codes + 32, four)};
}
static inline vf vf_of_vi(vi a) {
  return (vf){_mm256_cvtepi32_ps(a.a), _mm256_cvtepi32_ps(a.b)};
}
static inline vf vf_load_i8(const void *p) {
  __m128i b = _mm_loadu_si128(p);
  return (vf){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)),
              _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8)))};
}

#endif
