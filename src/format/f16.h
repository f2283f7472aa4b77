/* Converts between F16 and F32 by their bits, inside loops. el_f16_to_f32 and el_f32_to_f16
 * (quant.h) are the same as functions. */
#ifndef EL_FORMAT_F16_H
#define EL_FORMAT_F16_H

#include <stdint.h>
#include <string.h>

static inline float el_bits_f32(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}

static inline uint32_t el_f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* Has no branches, so that loops over it become vector code. */
static inline float el_f16_widen(uint16_t h) {
  uint32_t a = h & 0x7fff, sign = (uint32_t)(h & 0x8000) << 16;
  /* Normal numbers: the exponent's bias of 15 becomes 127. Infinity and NaN need 112 more, which
   * the product gives them. */
  float normal = el_bits_f32((a << 13) + ((uint32_t)224 << 23)) * 0x1p-112f;
  /* Subnormal numbers: the bits become the lowest ones of a number in [0.5, 1); subtract 0.5. */
  float subnormal = el_bits_f32(a | (uint32_t)126 << 23) - 0.5f;
  uint32_t is_subnormal = -(uint32_t)(a < 0x400);
  return el_bits_f32(sign | (el_f32_bits(subnormal) & is_subnormal) | (el_f32_bits(normal) & ~is_subnormal));
}

/* Has no branches either. */
static inline uint16_t el_f16_round(float f) {
  uint32_t u = el_f32_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
  uint32_t normal = (a + 0xfff + (a >> 13 & 1) - 0x38000000) >> 13;
  /* Below 2^-14 the result is a multiple of 2^-24. Adding 0.5 puts the last bit of the sum there,
   * so the addition itself rounds to nearest even. */
  uint32_t subnormal = el_f32_bits(el_bits_f32(a) + 0.5f) - 0x3f000000;
  uint32_t h = (int32_t)a < 0x38800000 ? subnormal : normal;
  h = (int32_t)a < 0x477ff000 ? h : 0x7c00; /* 65520 and above round to infinity */
  h = (int32_t)a > 0x7f800000 ? 0x7e00 : h; /* NaN */
  return (uint16_t)(sign | h);
}

#endif
