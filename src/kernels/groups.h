/* Groups of 32 weights on their way from a GGUF block to a tile. They are decoded into the words
 * that a tile holds, so that placing them takes only 32-bit stores. */
#ifndef EL_KERNELS_GROUPS_H
#define EL_KERNELS_GROUPS_H

#include <string.h>

#include "format/f16.h"
#include "kernels/kernels.h"

/* One group of one row. 8-bit layouts: word[j] holds the codes of columns 4j .. 4j+3. 4-bit
 * layouts: word[j], j < 4, holds the codes of columns 4j .. 4j+3 in the low nibbles of its bytes
 * and of columns 4j+16 .. 4j+19 in the high ones. If the last group of Q4 has n fours of columns,
 * fewer than 8, it takes h = (n + 1) / 2 words; the high nibbles are those of columns 4(j+h) ..
 * 4(j+h)+3. */
typedef struct el_group {
  uint32_t word[8];
  uint16_t d, m; /* F16 */
} el_group;

enum { EL_BLOCK_GROUPS = 8 }; /* groups in the largest block */

static const uint32_t EL_EVERY_BYTE = 0x01010101;

static inline __attribute__((always_inline)) bool el_layout_has_mins(el_layout l) {
  return l == EL_LAYOUT_Q4M || l == EL_LAYOUT_Q8M;
}
static inline __attribute__((always_inline)) bool el_layout_has_8_bits(el_layout l) {
  return l == EL_LAYOUT_Q8 || l == EL_LAYOUT_Q8M;
}

/* 32-bit words for the codes of group g of a row. */
static inline __attribute__((always_inline)) int el_group_words(el_layout layout, int cols, int g) {
  int quads = el_group_quads(layout, cols, g);
  return el_layout_has_8_bits(layout) ? quads : (quads + 1) / 2;
}

/* Places a group of row r in a tile. Four consecutive columns of a row are one 32-bit lane; a
 * "quad" is such a lane for each row of the tile. `layout` is the matrix's, passed separately so
 * that it can be a constant. */
static inline __attribute__((always_inline)) void el_put_group(const el_packed *w, el_layout layout,
                                                               unsigned char *tile, int r, int g, const el_group *c) {
  size_t t = (size_t)w->tile, lane = (size_t)r * 4, at = ((size_t)g * t + (size_t)r) * 2;
  memcpy(tile + w->scales_at + at, &c->d, 2);
  if (el_layout_has_mins(layout)) memcpy(tile + w->mins_at + at, &c->m, 2);
  unsigned char *p = tile + (size_t)g * t * (el_layout_has_8_bits(layout) ? EL_GROUP : EL_GROUP / 2) + lane;
  int n = el_group_words(layout, w->cols, g);
  for (int j = 0; j < n; j++) memcpy(p + (size_t)j * t * 4, &c->word[j], 4);
}

/* Decoders: read all groups of the block at b. They are inline, so that each loop over a tensor has
 * its own. */
typedef void (*el_group_decoder)(const unsigned char *b, el_group *out);

/* d, [m,] 16 bytes: low nibbles are values 0 to 15, high nibbles 16 to 31, as in a tile. */
static inline void el_groups_q4_0(const unsigned char *b, el_group *out) {
  out->d = el_load_u16(b);
  memcpy(out->word, b + 2, 16);
}

static inline void el_groups_q4_1(const unsigned char *b, el_group *out) {
  out->d = el_load_u16(b);
  out->m = el_load_u16(b + 2);
  memcpy(out->word, b + 4, 16);
}

static inline void el_groups_q8_0(const unsigned char *b, el_group *out) {
  out->d = el_load_u16(b);
  for (int j = 0; j < 8; j++) out->word[j] = el_load_u32(b + 2 + 4 * j) ^ 0x80 * EL_EVERY_BYTE;
}

/* Spreads the lowest four bits of x, one to each byte. */
static inline uint32_t el_bits_to_bytes(uint32_t x) {
  return (x & 15) * 0x00204081 & EL_EVERY_BYTE;
}

/* Codes from 4 bytes of fifth bits and 16 bytes of nibbles; `add` is added to each code. */
static inline void el_codes_q5(const unsigned char *bits, uint32_t add, uint32_t *word) {
  uint32_t high = el_load_u32(bits), nibbles = 15 * EL_EVERY_BYTE;
  for (int j = 0; j < 4; j++) {
    uint32_t qs = el_load_u32(bits + 4 + 4 * j);
    word[j] = (qs & nibbles) + (el_bits_to_bytes(high >> (4 * j)) << 4) + add;
    word[j + 4] = (qs >> 4 & nibbles) + (el_bits_to_bytes(high >> (4 * j + 16)) << 4) + add;
  }
}

/* w = d * (code - 16), while a tile has d * (code - 128) */
static inline void el_groups_q5_0(const unsigned char *b, el_group *out) {
  out->d = el_load_u16(b);
  el_codes_q5(b + 2, 112 * EL_EVERY_BYTE, out->word);
}

static inline void el_groups_q5_1(const unsigned char *b, el_group *out) {
  out->d = el_load_u16(b);
  out->m = el_load_u16(b + 2);
  el_codes_q5(b + 4, 0, out->word);
}

/* Q4_K and Q5_K begin with d, dmin, and the scales and minimums of 8 groups: 6 bits each, packed
 * into 12 bytes. */
static inline void el_scales_qk(const unsigned char *b, el_group *out) {
  float d = el_f16_widen(el_load_u16(b)), dmin = el_f16_widen(el_load_u16(b + 2));
  const unsigned char *s = b + 4;
  for (int j = 0; j < 8; j++) {
    int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    int min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
    out[j].d = el_f16_round(d * (float)scale);
    out[j].m = el_f16_round(-dmin * (float)min);
  }
}

/* 128 bytes of codes: each 32 bytes hold two groups, in the low and the high nibbles. */
static inline void el_groups_q4_k(const unsigned char *b, el_group *out) {
  el_scales_qk(b, out);
  const uint32_t low = 15 * EL_EVERY_BYTE, high = ~low;
  for (int j = 0; j < 8; j += 2)
    for (int i = 0; i < 4; i++) {
      uint32_t first = el_load_u32(b + 16 + 16 * j + 4 * i), second = el_load_u32(b + 32 + 16 * j + 4 * i);
      out[j].word[i] = (first & low) | (second & low) << 4;
      out[j + 1].word[i] = (first & high) >> 4 | (second & high);
    }
}

/* 32 bytes of fifth bits, where bits j belong to group j; then as in Q4_K. */
static inline void el_groups_q5_k(const unsigned char *b, el_group *out) {
  el_scales_qk(b, out);
  for (int j = 0; j < 8; j++)
    for (int i = 0; i < 8; i++) {
      uint32_t nibbles = el_load_u32(b + 48 + 16 * (j & ~1) + 4 * i) >> (j & 1) * 4 & 15 * EL_EVERY_BYTE;
      out[j].word[i] = nibbles | (el_load_u32(b + 16 + 4 * i) >> j & EL_EVERY_BYTE) << 4;
    }
}

/* 32 floats become symmetric int8: d = amax / 127. Codes are made with the scale as it is stored,
 * so rounding the scale costs nothing. A NaN does not count in amax and becomes the lowest code.
 * Floats are compared by their bits as integers, since gcc makes no vector code of comparisons in
 * which a NaN could trap. */
/* The first n values; the others are 0 and their words are not written. n is a multiple of 4, and a
 * constant in each call, so that loops become vector code. */
static inline __attribute__((always_inline)) void el_group_from_n_floats(const float *x, int n, el_group *out) {
  const int32_t infinity = 0x7f800000,
                zero = 0x4b400000; /* of 1.5 * 2^23: integers added to it land in its lowest bits */
  int32_t bits[EL_GROUP], top = 0;
  memcpy(bits, x, sizeof *bits * (size_t)n);
  for (int i = 0; i < n; i++) {
    int32_t a = bits[i] & 0x7fffffff;
    a = a > infinity ? 0 : a;
    top = a > top ? a : top;
  }
  float amax, y[EL_GROUP];
  memcpy(&amax, &top, 4);
  out->d = el_f16_round(amax / 127.0f);
  out->m = 0;
  float d = el_f16_widen(out->d), id = d > 0 ? 1.0f / d : 0.0f;
  for (int i = 0; i < n; i++) y[i] = x[i] * id + 0x1.8p23f; /* rounds to nearest even */
  memcpy(bits, y, sizeof *bits * (size_t)n);
  unsigned char code[EL_GROUP];
  for (int i = 0; i < n; i++) {
    int32_t q = bits[i] > infinity ? zero - 127 : bits[i];
    q = q > zero - 127 ? q : zero - 127;
    q = q < zero + 127 ? q : zero + 127;
    code[i] = (unsigned char)q ^ 0x80;
  }
  memcpy(out->word, code, (size_t)n);
}

/* The first n of 32 values, a multiple of 4, become w = d * (code - 8). x: finite, and 0 beyond n.
 * Codes are -8 to 7, so the sign of d gives the larger magnitude the longer side. 8 steps to that
 * magnitude are best for most groups, 7 for some (when the other side has one as large). The scale
 * is then the best one for the codes: the error is sum(x^2) - sum(x q)^2 / sum(q^2). */
static inline __attribute__((always_inline)) void el_group_from_n_floats_q4(const float *x, int n, el_group *out) {
  const int32_t zero = 0x4b400000; /* as above */
  int32_t bits[EL_GROUP], top = 0, bottom = 0;
  memcpy(bits, x, sizeof *bits * (size_t)n);
  for (int i = 0; i < n; i++) {
    int32_t a = bits[i] & 0x7fffffff, below = bits[i] < 0 ? a : 0;
    top = a > top ? a : top;
    bottom = below > bottom ? below : bottom;
  }
  float amax, best = -1, scale = 0;
  memcpy(&amax, &top, 4);
  if (bottom < top) amax = -amax;
  int32_t chosen[EL_GROUP] = {0};
  for (int steps = 8; steps >= 7; steps--) {
    float d = amax / (float)steps, id = d != 0 ? 1.0f / d : 0.0f, y[EL_GROUP], with[4] = {0};
    int32_t q[EL_GROUP], squares = 0;
    for (int i = 0; i < n; i++) y[i] = x[i] * id + 0x1.8p23f; /* rounds to nearest even */
    memcpy(q, y, sizeof *q * (size_t)n);
    for (int i = 0; i < n; i++) {
      q[i] -= zero;
      q[i] = q[i] > -8 ? q[i] : -8;
      q[i] = q[i] < 7 ? q[i] : 7;
      squares += q[i] * q[i];
    }
    for (int i = 0; i < n; i += 4)
      for (int j = 0; j < 4; j++) with[j] += x[i + j] * (float)q[i + j];
    float sum = (with[0] + with[1]) + (with[2] + with[3]), gain = squares ? sum * sum / (float)squares : 0;
    if (!(gain > best)) continue;
    best = gain;
    scale = squares ? sum / (float)squares : 0;
    memcpy(chosen, q, sizeof *q * (size_t)n);
  }
  out->d = el_f16_round(scale);
  out->m = 0;
  const int half = (n / 4 + 1) / 2;
  unsigned char code[EL_GROUP / 2];
  for (int i = 0; i < 4 * half; i++) {
    int32_t high = i + 4 * half < n ? chosen[i + 4 * half] : 0;
    code[i] = (unsigned char)((chosen[i] + 8) | (high + 8) << 4);
  }
  memcpy(out->word, code, (size_t)(4 * half));
}

static inline void el_group_from_floats(const float *x, el_group *out) {
  el_group_from_n_floats(x, EL_GROUP, out);
}

/* Types with a scale for each 16 values, requantised. */
static inline void el_groups_by_floats(el_type type, const unsigned char *b, el_group *out) {
  float values[EL_BLOCK_GROUPS * EL_GROUP];
  el_dequantize(type, b, values, EL_BLOCK_GROUPS * EL_GROUP);
  for (int j = 0; j < EL_BLOCK_GROUPS; j++) el_group_from_floats(values + j * EL_GROUP, &out[j]);
}
static inline void el_groups_q2_k(const unsigned char *b, el_group *out) {
  el_groups_by_floats(EL_TYPE_Q2_K, b, out);
}
static inline void el_groups_q3_k(const unsigned char *b, el_group *out) {
  el_groups_by_floats(EL_TYPE_Q3_K, b, out);
}
static inline void el_groups_q6_k(const unsigned char *b, el_group *out) {
  el_groups_by_floats(EL_TYPE_Q6_K, b, out);
}

/* --- types of integers and scales (el_quant_codes) */

/* Codes -8 to 7 with one scale: w = d * (code - 8). */
static inline void el_group_q4_of_codes(const el_quant_group *q, el_group *out) {
  unsigned char code[EL_GROUP / 2];
  for (int i = 0; i < EL_GROUP / 2; i++)
    code[i] = (unsigned char)((q->code[i] + 8) | (q->code[i + EL_GROUP / 2] + 8) << 4);
  memcpy(out->word, code, sizeof code);
  out->d = el_f16_round(q->unit * (float)q->mul[0]);
  out->m = 0;
}

/* IQ1_S: codes are 8 t + e, with t of -1, 0 or 1, and e of -1 or 1 for all 32 values; so w = 8 d (t
 * + 1) + (e - 8) d. */
static inline void el_group_q4m_of_iq1_s(const el_quant_group *q, el_group *out) {
  int e = (q->code[0] & 7) == 1 ? 1 : -1;
  unsigned char code[EL_GROUP / 2];
  for (int i = 0; i < EL_GROUP / 2; i++)
    code[i] = (unsigned char)((q->code[i] - e + 8) >> 3 | (q->code[i + EL_GROUP / 2] - e + 8) >> 3 << 4);
  memcpy(out->word, code, sizeof code);
  float d = q->unit * (float)q->mul[0];
  out->d = el_f16_round(8 * d);
  out->m = el_f16_round((float)(e - 8) * d);
}

static inline int el_gcd(int a, int b) {
  while (b) {
    int r = a % b;
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}

static inline int el_largest_code(const int8_t *code, int n) {
  int top = 0;
  for (int i = 0; i < n; i++) {
    int a = code[i] < 0 ? -code[i] : code[i];
    top = a > top ? a : top;
  }
  return top;
}

/* w = d * (code - 128). Where halves have scales of their own, codes become multiples of the
 * scales' common divisor if they fit in 8 bits: then nothing is lost but the rounding of d to F16.
 * Otherwise the group is requantised. */
static inline void el_group_q8_of_codes(const el_quant_group *q, el_group *out) {
  int common = q->mul[0], times[2] = {1, 1};
  if (q->mul[0] != q->mul[1]) {
    common = el_gcd(q->mul[0], q->mul[1]);
    bool fits = true;
    for (int h = 0; h < 2; h++) {
      times[h] = q->mul[h] / common;
      fits = fits && times[h] < 128 && times[h] * el_largest_code(q->code + 16 * h, 16) < 128;
    }
    if (!fits) {
      float x[EL_GROUP];
      for (int i = 0; i < EL_GROUP; i++) x[i] = q->unit * (float)q->mul[i / 16] * (float)q->code[i];
      el_group_from_floats(x, out);
      return;
    }
  }
  unsigned char code[EL_GROUP];
  for (int h = 0; h < 2; h++)
    for (int i = 16 * h; i < 16 * h + 16; i++) code[i] = (unsigned char)(q->code[i] * times[h] + 128);
  memcpy(out->word, code, sizeof code);
  out->d = el_f16_round(q->unit * (float)common);
  out->m = 0;
}

#endif
