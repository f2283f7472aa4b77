/* 16 float lanes as four NEON vectors. lanes_scalar.h says what each function does. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <arm_neon.h>

#include "format/quant.h"

/* Queries or columns that share a pass over keys and values, or over 16-bit weights. */
enum { VF_TOGETHER = 4 };

/* Accumulators of attention that fit into registers: for scores, queries times pages; for values,
 * queries times 16 dimensions. */
#define VF_SCORES 6
#define VF_VALUES 6

typedef struct vf {
  float32x4_t v[4];
} vf;

#define VF_EACH(expr)                                                  \
  vf r;                                                                \
  _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) r.v[i] = (expr); \
  return r

static inline __attribute__((always_inline)) void vf_fetch(const void *p) {
  __builtin_prefetch(p, 0, 2);
}
static inline vf vf_load(const float *p) {
  VF_EACH(vld1q_f32(p + 4 * i));
}
static inline void vf_store(float *p, vf x) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
}
static inline vf vf_set1(float x) {
  VF_EACH(vdupq_n_f32(x));
}
static inline vf vf_add(vf x, vf y) {
  VF_EACH(vaddq_f32(x.v[i], y.v[i]));
}
static inline vf vf_sub(vf x, vf y) {
  VF_EACH(vsubq_f32(x.v[i], y.v[i]));
}
static inline vf vf_mul(vf x, vf y) {
  VF_EACH(vmulq_f32(x.v[i], y.v[i]));
}
static inline vf vf_div(vf x, vf y) {
  VF_EACH(vdivq_f32(x.v[i], y.v[i]));
}
/* fmax and fmin would return NaN where the definition returns the second operand. */
static inline float32x4_t max4(float32x4_t x, float32x4_t y) {
  return vbslq_f32(vcgtq_f32(x, y), x, y);
}
static inline vf vf_max(vf x, vf y) {
  VF_EACH(max4(x.v[i], y.v[i]));
}
static inline vf vf_min(vf x, vf y) {
  VF_EACH(vbslq_f32(vcltq_f32(x.v[i], y.v[i]), x.v[i], y.v[i]));
}
static inline vf vf_fma(vf x, vf y, vf z) {
  VF_EACH(vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}
static inline vf vf_round(vf x) {
  VF_EACH(vrndnq_f32(x.v[i]));
}
static inline vf vf_pow2(vf n) {
  VF_EACH(vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.v[i]), vdupq_n_s32(127)), 23)));
}
static inline float32x4_t f16_quarter(const void *p) {
  uint16x4_t h;
  __builtin_memcpy(&h, p, sizeof h);
  return vcvt_f32_f16(vreinterpret_f16_u16(h));
}
static inline vf vf_load_f16(const void *p) {
  VF_EACH(f16_quarter((const unsigned char *)p + 8 * i));
}
static inline float32x4_t bf16_quarter(const void *p) {
  uint16x4_t h;
  __builtin_memcpy(&h, p, sizeof h);
  return vreinterpretq_f32_u32(vshll_n_u16(h, 16));
}
static inline vf vf_load_bf16(const void *p) {
  VF_EACH(bf16_quarter((const unsigned char *)p + 8 * i));
}
static inline uint16_t f16_from_f32(float x) {
  return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0);
}
static inline int8x16_t codes_of(vf x) {
  int16x8_t a = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.v[0])), vmovn_s32(vcvtnq_s32_f32(x.v[1]))),
            b = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(x.v[2])), vmovn_s32(vcvtnq_s32_f32(x.v[3])));
  return vcombine_s8(vmovn_s16(a), vmovn_s16(b));
}
static inline int32_t vf_store_codes(int8_t *p, vf x, vf y) {
  int8x16_t a = codes_of(x), b = codes_of(y);
  vst1q_s8(p, a);
  vst1q_s8(p + 16, b);
  return vaddlvq_s16(vpadalq_s8(vpaddlq_s8(a), b));
}
static inline uint32_t vf_amax_bits(vf x, vf y) {
  uint32x4_t m = vdupq_n_u32(0);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
    m = vmaxq_u32(m, vmaxq_u32(vreinterpretq_u32_f32(vabsq_f32(x.v[i])), vreinterpretq_u32_f32(vabsq_f32(y.v[i]))));
  return vmaxvq_u32(m);
}
static inline float vf_sum(vf x) {
  float32x4_t s4 = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
  return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}
static inline float vf_hmax(vf x) {
  float32x4_t m4 = max4(max4(x.v[0], x.v[2]), max4(x.v[1], x.v[3])), m2 = max4(m4, vextq_f32(m4, m4, 2));
  return vgetq_lane_f32(max4(m2, vextq_f32(m2, m2, 1)), 0);
}
static inline vf vf_keep_ge(vf x, vf a, vf b) {
  VF_EACH(vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.v[i]), vcgeq_f32(a.v[i], b.v[i]))));
}

static inline int vf_put_le(vf x, vf limit, int32_t first, int32_t *ids, float *to) {
  uint32x4_t any = vcleq_f32(x.v[0], limit.v[0]);
  for (int i = 1; i < 4; i++) any = vorrq_u32(any, vcleq_f32(x.v[i], limit.v[i]));
  if (!vmaxvq_u32(any)) return 0;
  float t[16];
  vf_store(t, x);
  const float most = vgetq_lane_f32(limit.v[0], 0);
  int n = 0;
  for (int i = 0; i < 16; i++) {
    ids[n] = first + i;
    to[n] = t[i];
    n += t[i] <= most;
  }
  return n;
}

typedef struct vd {
  float64x2_t v[8];
} vd;
static inline vd vd_zero(void) {
  vd r;
  for (int i = 0; i < 8; i++) r.v[i] = vdupq_n_f64(0);
  return r;
}
static inline vd vd_add(vd a, vf b) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    a.v[2 * i] = vaddq_f64(a.v[2 * i], vcvt_f64_f32(vget_low_f32(b.v[i])));
    a.v[2 * i + 1] = vaddq_f64(a.v[2 * i + 1], vcvt_high_f64_f32(b.v[i]));
  }
  return a;
}
static inline double vd_sum(vd a) {
  for (int w = 4; w; w /= 2)
    for (int i = 0; i < w; i++) a.v[i] = vaddq_f64(a.v[i], a.v[i + w]);
  return vgetq_lane_f64(a.v[0], 0) + vgetq_lane_f64(a.v[0], 1);
}
/* Sums of products of 8-bit integers, exact: 16 lanes of 32 bits. */
typedef struct vi {
  int32x4_t v[4];
} vi;
static inline vi vi_dot_start(int32_t sum) {
  (void)sum;
  return (vi){{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
}
static inline int32x4_t dot_quarter(int32x4_t acc, const unsigned char *codes, int8x16_t q) {
  int8x16_t c = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes), vdupq_n_u8(128)));
#ifdef __ARM_FEATURE_DOTPROD
  return vdotq_s32(acc, c, q);
#else
  int32x4_t lo = vpaddlq_s16(vmull_s8(vget_low_s8(c), vget_low_s8(q))),
            hi = vpaddlq_s16(vmull_s8(vget_high_s8(c), vget_high_s8(q)));
  return vaddq_s32(acc, vpaddq_s32(lo, hi));
#endif
}
static inline vi vi_dot(vi a, const unsigned char *codes, const int8_t *q) {
  int32_t x;
  __builtin_memcpy(&x, q, 4);
  int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(x));
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) a.v[i] = dot_quarter(a.v[i], codes + 16 * i, four);
  return a;
}
static inline vf vf_of_vi(vi a) {
  VF_EACH(vcvtq_f32_s32(a.v[i]));
}
static inline vf vf_load_i8(const void *p) {
  int8x16_t b = vld1q_s8(p);
  int16x8_t lo = vmovl_s8(vget_low_s8(b)), hi = vmovl_s8(vget_high_s8(b));
  return (vf){{vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(lo))),
               vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(hi)))}};
}
#undef VF_EACH

#endif
