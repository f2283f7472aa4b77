/* The reference dequantisation: each type's block format, written as its definition. Speed matters
 * only as far as a model must load in seconds. Clarity matters more, because packing and tests are
 * compared with this code.
 *
 * The order of floating-point operations is ggml's (block scale times sub-scale, times the code,
 * minus the minimum), so results have the same bits. Loads use memcpy: a block may be at any
 * address. */
#include "format/quant.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "format/f16.h"

static const el_type_info types[] = {
    [EL_TYPE_F32] = {"F32", 1, 4},
    [EL_TYPE_F16] = {"F16", 1, 2},
    [EL_TYPE_Q4_0] = {"Q4_0", 32, 18},
    [EL_TYPE_Q4_1] = {"Q4_1", 32, 20},
    [EL_TYPE_Q5_0] = {"Q5_0", 32, 22},
    [EL_TYPE_Q5_1] = {"Q5_1", 32, 24},
    [EL_TYPE_Q8_0] = {"Q8_0", 32, 34},
    [EL_TYPE_Q2_K] = {"Q2_K", 256, 84},
    [EL_TYPE_Q3_K] = {"Q3_K", 256, 110},
    [EL_TYPE_Q4_K] = {"Q4_K", 256, 144},
    [EL_TYPE_Q5_K] = {"Q5_K", 256, 176},
    [EL_TYPE_Q6_K] = {"Q6_K", 256, 210},
    [EL_TYPE_IQ2_XXS] = {"IQ2_XXS", 256, 66},
    [EL_TYPE_IQ2_XS] = {"IQ2_XS", 256, 74},
    [EL_TYPE_IQ3_XXS] = {"IQ3_XXS", 256, 98},
    [EL_TYPE_IQ1_S] = {"IQ1_S", 256, 50},
    [EL_TYPE_IQ4_NL] = {"IQ4_NL", 32, 18},
    [EL_TYPE_IQ3_S] = {"IQ3_S", 256, 110},
    [EL_TYPE_IQ2_S] = {"IQ2_S", 256, 82},
    [EL_TYPE_IQ4_XS] = {"IQ4_XS", 256, 136},
    [EL_TYPE_IQ1_M] = {"IQ1_M", 256, 56},
    [EL_TYPE_BF16] = {"BF16", 1, 2},
    [EL_TYPE_TQ1_0] = {"TQ1_0", 256, 54},
    [EL_TYPE_TQ2_0] = {"TQ2_0", 256, 66},
    [EL_TYPE_MXFP4] = {"MXFP4", 32, 17},
    [EL_TYPE_NVFP4] = {"NVFP4", 64, 36},
    [EL_TYPE_Q1_0] = {"Q1_0", 128, 18},
    [EL_TYPE_Q2_0] = {"Q2_0", 64, 18},
};
_Static_assert(sizeof types / sizeof types[0] == EL_N_TYPES, "the last type is the highest number");

const el_type_info *el_type_get(uint32_t type) {
  return type < sizeof types / sizeof types[0] && types[type].name ? &types[type] : NULL;
}

const char *el_type_names(char *out, size_t size) {
  size_t at = 0;
  const char *last = NULL;
  out[0] = 0;
  for (uint32_t t = 0; t < EL_N_TYPES; t++) {
    if (!types[t].name) continue;
    if (last && at < size) at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", last);
    last = types[t].name;
  }
  if (at < size) snprintf(out + at, size - at, " and %s", last);
  return out;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and are loaded as they are");

static inline float load_scale(const uint8_t *p) {
  return el_f16_widen(el_load_u16(p));
}

float el_f16_to_f32(uint16_t h) {
  return el_f16_widen(h);
}

uint16_t el_f32_to_f16(float f) {
  return el_f16_round(f);
}

void el_f32_to_f16_n(const float *src, uint16_t *dst, int n) {
  for (int i = 0; i < n; i++) dst[i] = el_f16_round(src[i]);
}

float el_bf16_to_f32(uint16_t b) {
  return el_bits_f32((uint32_t)b << 16);
}

uint16_t el_f32_to_bf16(float f) {
  uint32_t u = el_f32_bits(f);
  if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40); /* a NaN stays a NaN */
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* --- blocks of 32: d (F16), [m (F16)], [fifth bits (u32)], codes. Value j is a low nibble, value j
 * + 16 the high one. */

static void q4_0(const uint8_t *b, float *y) {
  float d = load_scale(b);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)((b[2 + j] & 15) - 8) * d;
    y[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
  }
}

static void q4_1(const uint8_t *b, float *y) {
  float d = load_scale(b), m = load_scale(b + 2);
  for (int j = 0; j < 16; j++) {
    y[j] = (float)(b[4 + j] & 15) * d + m;
    y[j + 16] = (float)(b[4 + j] >> 4) * d + m;
  }
}

/* The 32 codes, 0 to 31, of a Q5 block. high: bit j is the fifth bit of code j. */
static void q5_codes(uint32_t high, const uint8_t *qs, int *code) {
  for (int j = 0; j < 16; j++) {
    code[j] = (qs[j] & 15) | (int)(high >> j & 1) << 4;
    code[j + 16] = qs[j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
  }
}

static void q5_0(const uint8_t *b, float *y) {
  float d = load_scale(b);
  int code[32];
  q5_codes(el_load_u32(b + 2), b + 6, code);
  for (int j = 0; j < 32; j++) y[j] = (float)(code[j] - 16) * d;
}

static void q5_1(const uint8_t *b, float *y) {
  float d = load_scale(b), m = load_scale(b + 2);
  int code[32];
  q5_codes(el_load_u32(b + 4), b + 8, code);
  for (int j = 0; j < 32; j++) y[j] = (float)code[j] * d + m;
}

static void q8_0(const uint8_t *b, float *y) {
  float d = load_scale(b);
  for (int j = 0; j < 32; j++) y[j] = (float)(int8_t)b[2 + j] * d;
}

/* --- blocks of 256. Codes are laid out in halves (or quarters) whose bytes hold one code of
 * several runs of 32. Where each 16 values have a scale, the loop over these 16 becomes vector
 * code. */

/* scales[16] (low nibble: scale, high: minimum, per 16 values), qs[64], d, dmin */
static void q2_k(const uint8_t *b, float *y) {
  const uint8_t *scales = b;
  float d = load_scale(b + 80), dmin = load_scale(b + 82);
  for (int s = 0; s < 16; s++) {
    const uint8_t *qs = b + 16 + s / 8 * 32 + s % 2 * 16;
    int shift = s % 8 / 2 * 2;
    float ds = d * (float)(scales[s] & 15), m = dmin * (float)(scales[s] >> 4);
    for (int l = 0; l < 16; l++) y[16 * s + l] = ds * (float)(qs[l] >> shift & 3) - m;
  }
}

/* hmask[32] (bit k of byte l: value 32 k + l has its third bit), qs[64], scales[12] (sixteen 6-bit
 * ones), d */
static void q3_k(const uint8_t *b, float *y) {
  const uint8_t *scales = b + 96;
  float d = load_scale(b + 108);
  for (int s = 0; s < 16; s++) {
    const uint8_t *hmask = b + s % 2 * 16, *qs = b + 32 + s / 8 * 32 + s % 2 * 16;
    int shift = s % 8 / 2 * 2;
    int sc = (scales[s % 8] >> (4 * (s / 8)) & 15) | (scales[8 + s % 4] >> (2 * (s / 4)) & 3) << 4;
    float ds = d * (float)(sc - 32);
    for (int l = 0; l < 16; l++)
      y[16 * s + l] = ds * (float)(((qs[l] >> shift & 3) | (hmask[l] >> (s / 2) & 1) << 2) - 4);
  }
}

/* The 6-bit scale and minimum of sub-block j of 8, from the 12 bytes of Q4_K and Q5_K. */
static void scale_min(const uint8_t *s, int j, int *scale, int *min) {
  if (j < 4) {
    *scale = s[j] & 63;
    *min = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

/* d, dmin, scales[12], [qh[32]: bit k of byte l is the fifth bit of value 32 k + l], qs[128] */
static void q45_k(const uint8_t *b, const uint8_t *qh, const uint8_t *qs, float *y) {
  float d = load_scale(b), dmin = load_scale(b + 2);
  for (int j = 0; j < 8; j++) {
    int scale, min;
    scale_min(b + 4, j, &scale, &min);
    float ds = d * (float)scale, m = dmin * (float)min;
    for (int l = 0; l < 32; l++) {
      int code = qs[j / 2 * 32 + l] >> (4 * (j % 2)) & 15;
      if (qh) code |= (qh[l] >> j & 1) << 4;
      y[32 * j + l] = ds * (float)code - m;
    }
  }
}

static void q4_k(const uint8_t *b, float *y) {
  q45_k(b, NULL, b + 16, y);
}

static void q5_k(const uint8_t *b, float *y) {
  q45_k(b, b + 16, b + 48, y);
}

/* ql[128] (low nibbles), qh[64] (two high bits), scales[16] (signed, per 16 values), d */
static void q6_k(const uint8_t *b, float *y) {
  const uint8_t *scales = b + 192;
  float d = load_scale(b + 208);
  for (int s = 0; s < 16; s++) {
    int half = s / 8, run = s % 8 / 2, at = s % 2 * 16;
    const uint8_t *low = b + half * 64 + run % 2 * 32 + at, *high = b + 128 + half * 32 + at;
    float ds = d * (float)(int8_t)scales[s];
    for (int l = 0; l < 16; l++)
      y[16 * s + l] = ds * (float)(((low[l] >> (4 * (run / 2)) & 15) | (high[l] >> (2 * run) & 3) << 4) - 32);
  }
}

/* --- plain numbers, in loops of their own: adapters consist of them, and requests wait while they
 * load. */

static void widen_plain(el_type type, const uint8_t *b, float *y, int64_t n) {
  if (type == EL_TYPE_F32)
    for (int64_t i = 0; i < n; i++) y[i] = el_bits_f32(el_load_u32(b + 4 * i));
  else if (type == EL_TYPE_F16)
    for (int64_t i = 0; i < n; i++) y[i] = load_scale(b + 2 * i);
  else
    for (int64_t i = 0; i < n; i++) y[i] = el_bf16_to_f32(el_load_u16(b + 2 * i));
}

/* --- integers with scales: see quant_codes.c */

static void from_codes(el_type type, int groups, const uint8_t *b, float *y) {
  el_quant_group g[EL_QUANT_GROUPS];
  el_quant_codes(type, b, g);
  for (int j = 0; j < groups; j++)
    for (int half = 0; half < 2; half++) {
      float scale = g[j].unit * (float)g[j].mul[half];
      for (int i = 16 * half; i < 16 * half + 16; i++) y[32 * j + i] = scale * (float)g[j].code[i];
    }
}

void el_dequantize(el_type type, const void *src, float *dst, int64_t n) {
  static void (*const block_of[])(const uint8_t *, float *) = {
      [EL_TYPE_Q4_0] = q4_0, [EL_TYPE_Q4_1] = q4_1, [EL_TYPE_Q5_0] = q5_0, [EL_TYPE_Q5_1] = q5_1, [EL_TYPE_Q8_0] = q8_0,
      [EL_TYPE_Q2_K] = q2_k, [EL_TYPE_Q3_K] = q3_k, [EL_TYPE_Q4_K] = q4_k, [EL_TYPE_Q5_K] = q5_k, [EL_TYPE_Q6_K] = q6_k,
  };
  const el_type_info *info = el_type_get(type);
  assert(info && n >= 0 && n % info->block == 0);
  if (info->block == 1) {
    widen_plain(type, src, dst, n);
    return;
  }
  const uint8_t *b = src;
  bool codes = el_quant_has_codes(type);
  for (int64_t i = 0; i < n; i += info->block, b += info->block_bytes)
    if (codes)
      from_codes(type, info->block / 32, b, dst + i);
    else
      block_of[type](b, dst + i);
}
