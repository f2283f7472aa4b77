/* Weight types whose values are small integers times scales: the IQ types, whose integers come from
 * codebooks; the ternary and binary types; and the FP4 types, whose eight magnitudes are integers
 * when doubled. One decoder yields both the floats (el_dequantize) and the codes that packing
 * keeps.
 *
 * Every product of a scale and a code has at most 22 significant bits. So floats are exact in any
 * order of operations, with the same bits as in ggml and the gguf package. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "format/quant.h"
#include "format/quant_grids.h"

static inline float load_group_scale(const uint8_t *p) {
  return el_f16_to_f32(el_load_u16(p));
}

static inline void set_group_scales(el_quant_group *g, float unit, int first, int second) {
  g->unit = unit;
  g->mul[0] = first;
  g->mul[1] = second;
}

/* --- codebooks of 16 values: low nibbles hold the first half of the codes, high nibbles the
 * second */

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/* E2M1 (OCP Microscaling Formats, version 1.0), doubled */
static const int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static inline void nibbles(const uint8_t *qs, const int8_t *values, int half, int8_t *code) {
  for (int j = 0; j < half; j++) {
    code[j] = values[qs[j] & 15];
    code[j + half] = values[qs[j] >> 4];
  }
}

/* d, qs[16] */
static void iq4_nl(const uint8_t *b, el_quant_group *g) {
  set_group_scales(g, load_group_scale(b), 1, 1);
  nibbles(b + 2, iq4_values, 16, g->code);
}

/* d, scales_h[2], scales_l[4], qs[128]: scales have 6 bits, minus 32 */
static void iq4_xs(const uint8_t *b, el_quant_group *g) {
  float d = load_group_scale(b);
  for (int j = 0; j < 8; j++) {
    int scale = (b[4 + j / 2] >> (4 * (j % 2)) & 15) | (el_load_u16(b + 2) >> (2 * j) & 3) << 4;
    set_group_scales(&g[j], d, scale - 32, scale - 32);
    nibbles(b + 8 + 16 * j, iq4_values, 16, g[j].code);
  }
}

/* e, qs[16]: the scale is 2^(e - 127), halved because the codes are doubled. */
static void mxfp4(const uint8_t *b, el_quant_group *g) {
  set_group_scales(g, ldexpf(1.0f, b[0] - 128), 1, 1);
  nibbles(b + 1, fp4_values, 16, g->code);
}

/* The unsigned E4M3 number x in units of 2^-9. Its highest code is a NaN, which ggml reads as 0. */
static int e4m3(uint8_t x) {
  int exponent = x >> 3 & 15, mantissa = x & 7;
  if (x == 0x7f) return 0;
  return exponent ? (8 + mantissa) << (exponent - 1) : mantissa;
}

/* d[4] (E4M3, per 16 values), qs[32] */
static void nvfp4(const uint8_t *b, el_quant_group *g) {
  for (int j = 0; j < 2; j++) {
    set_group_scales(&g[j], 0x1p-10f, e4m3(b[2 * j]), e4m3(b[2 * j + 1]));
    nibbles(b + 4 + 16 * j, fp4_values, 8, g[j].code);
    nibbles(b + 12 + 16 * j, fp4_values, 8, g[j].code + 16);
  }
}

/* --- one, two and three values */

/* d, qs[16]: one bit each, -1 or 1 */
static void q1_0(const uint8_t *b, el_quant_group *g) {
  for (int i = 0; i < 128; i++) g[i / 32].code[i % 32] = (b[2 + i / 8] >> (i % 8) & 1) ? 1 : -1;
  for (int j = 0; j < 4; j++) set_group_scales(&g[j], load_group_scale(b), 1, 1);
}

/* d, qs[16]: two bits each, minus 1 */
static void q2_0(const uint8_t *b, el_quant_group *g) {
  for (int i = 0; i < 64; i++) g[i / 32].code[i % 32] = (int8_t)((b[2 + i / 4] >> (2 * (i % 4)) & 3) - 1);
  for (int j = 0; j < 2; j++) set_group_scales(&g[j], load_group_scale(b), 1, 1);
}

/* qs[64], d: byte m of 32 has value m of four groups */
static void tq2_0(const uint8_t *b, el_quant_group *g) {
  for (int j = 0; j < 8; j++) {
    for (int m = 0; m < 32; m++) g[j].code[m] = (int8_t)((b[j / 4 * 32 + m] >> (2 * (j % 4)) & 3) - 1);
    set_group_scales(&g[j], load_group_scale(b + 64), 1, 1);
  }
}

/* qs[48], qh[4], d: a byte x is the fraction x / 256, whose base-3 digits are the values of five
 * runs (qh: four). A run is as long as its array section has bytes: 32, 16 and 4. */
static void tq1_0(const uint8_t *b, el_quant_group *g) {
  static const struct { int at, n, runs; } parts[] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};
  int i = 0;
  for (int p = 0; p < 3; p++) {
    uint8_t rest[32];
    memcpy(rest, b + parts[p].at, (size_t)parts[p].n);
    for (int run = 0; run < parts[p].runs; run++)
      for (int m = 0; m < parts[p].n; m++, i++) {
        g[i / 32].code[i % 32] = (int8_t)((rest[m] * 3 >> 8) - 1);
        rest[m] = (uint8_t)(rest[m] * 3);
      }
  }
  for (int j = 0; j < 8; j++) set_group_scales(&g[j], load_group_scale(b + 52), 1, 1);
}

/* --- codebooks of 8 or 4 values at a time */

/* 8 magnitudes, with a bit for each that is set if it is negative. */
static inline void grid_of_8(uint16_t entry, const int8_t *magnitudes, unsigned negative, int8_t *code) {
  for (int j = 0; j < 8; j++) {
    int8_t v = magnitudes[entry >> (2 * j) & 3];
    code[j] = (negative >> j & 1) ? (int8_t)-v : v;
  }
}

static inline void grids_of_4(uint16_t first, uint16_t second, const int8_t *magnitudes, unsigned negative,
                              int8_t *code) {
  uint32_t both = first | (uint32_t)second << 12;
  for (int j = 0; j < 8; j++) {
    int8_t v = magnitudes[both >> (3 * j) & 7];
    code[j] = (negative >> j & 1) ? (int8_t)-v : v;
  }
}

/* Seven sign bits, and an eighth that makes the number of set bits even. */
static inline unsigned even_signs(uint32_t seven) {
  seven &= 127;
  return seven | (unsigned)__builtin_parity(seven) << 7;
}

/* Index 3 does not occur. */
static const int8_t iq2_magnitudes[4] = {8, 25, 43, 0};
static const int8_t iq3_xxs_magnitudes[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const int8_t iq3_s_magnitudes[8] = {1, 3, 5, 7, 9, 11, 13, 15};

/* d, then per 32 values: index[4], four times 7 bits of signs and 4 of the scale */
static void iq2_xxs(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b) * 0.125f;
  for (int j = 0; j < 8; j++) {
    const uint8_t *index = b + 2 + 8 * j;
    uint32_t bits = el_load_u32(index + 4);
    int mul = 2 * (int)(bits >> 28) + 1;
    for (int l = 0; l < 4; l++)
      grid_of_8(el_grid_iq2_xxs[index[l]], iq2_magnitudes, even_signs(bits >> (7 * l)), g[j].code + 8 * l);
    set_group_scales(&g[j], unit, mul, mul);
  }
}

/* Both scales of a group, for 16 values each, are in one byte. */
static inline void set_iq2_scales(el_quant_group *g, float unit, uint8_t scales) {
  set_group_scales(g, unit, 2 * (scales & 15) + 1, 2 * (scales >> 4) + 1);
}

/* d, qs[32] (u16: 9 bits of the index, 7 signs), scales[8] */
static void iq2_xs(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b) * 0.125f;
  for (int j = 0; j < 8; j++) {
    for (int l = 0; l < 4; l++) {
      uint16_t q = el_load_u16(b + 2 + 8 * j + 2 * l);
      grid_of_8(el_grid_iq2_xs[q & 511], iq2_magnitudes, even_signs(q >> 9), g[j].code + 8 * l);
    }
    set_iq2_scales(&g[j], unit, b[66 + j]);
  }
}

/* d, index[32], signs[32], qh[8] (two high bits of four indices), scales[8] */
static void iq2_s(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b) * 0.125f;
  for (int j = 0; j < 8; j++) {
    for (int l = 0; l < 4; l++) {
      int index = b[2 + 4 * j + l] | (b[66 + j] >> (2 * l) & 3) << 8;
      grid_of_8(el_grid_iq2_s[index], iq2_magnitudes, b[34 + 4 * j + l], g[j].code + 8 * l);
    }
    set_iq2_scales(&g[j], unit, b[74 + j]);
  }
}

/* d, index[64], then per 32 values: four times 7 bits of signs and 4 of the scale */
static void iq3_xxs(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b) * 0.25f;
  for (int j = 0; j < 8; j++) {
    uint32_t bits = el_load_u32(b + 66 + 4 * j);
    int mul = 2 * (int)(bits >> 28) + 1;
    for (int l = 0; l < 4; l++) {
      const uint8_t *index = b + 2 + 8 * j + 2 * l;
      grids_of_4(el_grid_iq3_xxs[index[0]], el_grid_iq3_xxs[index[1]], iq3_xxs_magnitudes, even_signs(bits >> (7 * l)),
                 g[j].code + 8 * l);
    }
    set_group_scales(&g[j], unit, mul, mul);
  }
}

/* d, index[64], qh[8] (ninth bits), signs[32], scales[4] (4 bits each) */
static void iq3_s(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b);
  for (int j = 0; j < 8; j++) {
    int mul = 2 * (b[106 + j / 2] >> (4 * (j % 2)) & 15) + 1;
    for (int l = 0; l < 4; l++) {
      const uint8_t *index = b + 2 + 8 * j + 2 * l;
      int high = b[66 + j] >> (2 * l);
      grids_of_4(el_grid_iq3_s[index[0] | (high & 1) << 8], el_grid_iq3_s[index[1] | (high >> 1 & 1) << 8],
                 iq3_s_magnitudes, b[74 + 4 * j + l], g[j].code + 8 * l);
    }
    set_group_scales(&g[j], unit, mul, mul);
  }
}

/* Codes are -1, 0 or 1, plus or minus an eighth; eight times that are the integers -9 to 9. */
static inline void ternary_grid(uint16_t entry, bool minus, int8_t *code) {
  for (int j = 0; j < 8; j++) code[j] = (int8_t)(8 * ((entry >> (2 * j) & 3) - 1) + (minus ? -1 : 1));
}

/* d, index[32], qh[8] (u16: three high bits of four indices, 3 of the scale, the eighth's sign) */
static void iq1_s(const uint8_t *b, el_quant_group *g) {
  float unit = load_group_scale(b) * 0.125f;
  for (int j = 0; j < 8; j++) {
    uint16_t bits = el_load_u16(b + 34 + 2 * j);
    int mul = 2 * (bits >> 12 & 7) + 1;
    for (int l = 0; l < 4; l++)
      ternary_grid(el_grid_iq1[b[2 + 4 * j + l] | (bits >> (3 * l) & 7) << 8], bits >> 15, g[j].code + 8 * l);
    set_group_scales(&g[j], unit, mul, mul);
  }
}

/* index[32], qh[16] (nibbles: three high bits of the index, the eighth's sign), scales[4] (u16:
 * four of 3 bits, then a nibble of d, the lowest first) */
static void iq1_m(const uint8_t *b, el_quant_group *g) {
  uint16_t scales[4], d = 0;
  for (int i = 0; i < 4; i++) {
    scales[i] = el_load_u16(b + 48 + 2 * i);
    d |= (uint16_t)(scales[i] >> 12 << (4 * i));
  }
  float unit = el_f16_to_f32(d) * 0.125f;
  for (int j = 0; j < 8; j++) {
    int bits = scales[j / 2] >> (6 * (j % 2));
    for (int l = 0; l < 4; l++) {
      int high = b[32 + 2 * j + l / 2] >> (4 * (l % 2));
      ternary_grid(el_grid_iq1[b[4 * j + l] | (high & 7) << 8], high >> 3 & 1, g[j].code + 8 * l);
    }
    set_group_scales(&g[j], unit, 2 * (bits & 7) + 1, 2 * (bits >> 3 & 7) + 1);
  }
}

typedef void (*decoder)(const uint8_t *, el_quant_group *);

static decoder decoder_of(el_type type) {
  switch (type) {
    case EL_TYPE_IQ2_XXS: return iq2_xxs;
    case EL_TYPE_IQ2_XS: return iq2_xs;
    case EL_TYPE_IQ3_XXS: return iq3_xxs;
    case EL_TYPE_IQ1_S: return iq1_s;
    case EL_TYPE_IQ4_NL: return iq4_nl;
    case EL_TYPE_IQ3_S: return iq3_s;
    case EL_TYPE_IQ2_S: return iq2_s;
    case EL_TYPE_IQ4_XS: return iq4_xs;
    case EL_TYPE_IQ1_M: return iq1_m;
    case EL_TYPE_TQ1_0: return tq1_0;
    case EL_TYPE_TQ2_0: return tq2_0;
    case EL_TYPE_MXFP4: return mxfp4;
    case EL_TYPE_NVFP4: return nvfp4;
    case EL_TYPE_Q1_0: return q1_0;
    case EL_TYPE_Q2_0: return q2_0;
    default: return NULL;
  }
}

bool el_quant_has_codes(el_type type) {
  return decoder_of(type) != NULL;
}

void el_quant_codes(el_type type, const void *block, el_quant_group *out) {
  decoder decode = decoder_of(type);
  assert(decode);
  decode(block, out);
}
