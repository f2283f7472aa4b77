/* NEON as every 64-bit Arm CPU has it (Cortex-A53, A57, A72: Raspberry Pi 3 and 4), without dot
 * products: tiles of 8 rows, with 4 rows and up to 4 columns at a time.
 *
 * smull and smlal multiply signed bytes and add into 16 bits. With 4-bit codes the eight quads of a
 * group fit there (8 * 15 * 127 = 15240); with 8-bit codes two quads do (2 * 128 * 127 = 32512),
 * then sadalp widens. Full 8-bit codes are taken as code - 128, by flipping their top bit, so they
 * need no offset. */
#include "kernels/lanes_neon.h"
#include "kernels/low_rank_neon.h"
#include "kernels/tables.h"

enum { TILE = 8, MAX_COLS = 4 };

/* sum + the products of 4 rows with one quad, in 16 bits: rows 0 and 1, rows 2 and 3. */
EL_INLINE int16x8x2_t add_products(int16x8x2_t sum, int8x16_t w, int8x16_t x4) {
  return (int16x8x2_t){{vmlal_s8(sum.val[0], vget_low_s8(w), vget_low_s8(x4)), vmlal_high_s8(sum.val[1], w, x4)}};
}
/* Quad `lane` of x in all lanes. */
EL_INLINE int8x16_t quad(int8x16_t x, int lane) {
  int32x4_t v = vreinterpretq_s32_s8(x);
  switch (lane) {
    case 0: return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 0));
    case 1: return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 1));
    case 2: return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 2));
    default: return vreinterpretq_s8_s32(vdupq_laneq_s32(v, 3));
  }
}
EL_INLINE float32x4_t load_halves(const unsigned char *p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* 8-bit codes: quads [0, n) of four rows. An odd n reads one more quad, whose activations are
 * zero. */
EL_INLINE void sums_of_8_bits(const unsigned char *codes, const int8_t *q, int n, int C, bool flip, int32x4_t *sum) {
  int32x4_t s01[MAX_COLS], s23[MAX_COLS];
  for (int c = 0; c < C; c++) s01[c] = s23[c] = vdupq_n_s32(0);
#pragma GCC unroll 4
  for (int j = 0; j < n; j += 2) {
    int8x16_t w[2];
    for (int i = 0; i < 2; i++) {
      uint8x16_t v = vld1q_u8(codes + (j + i) * TILE * 4);
      w[i] = vreinterpretq_s8_u8(flip ? veorq_u8(v, vdupq_n_u8(128)) : v);
    }
    for (int c = 0; c < C; c++) {
      const int8x16_t x =
          vreinterpretq_s8_s64(vld1q_dup_s64((const int64_t *)(const void *)(q + c * EL_GROUP + j * 4)));
      const int8x16_t x0 = quad(x, 0), x1 = quad(x, 1);
      int16x8x2_t p = {{vmull_s8(vget_low_s8(w[0]), vget_low_s8(x0)), vmull_high_s8(w[0], x0)}};
      p = add_products(p, w[1], x1);
      s01[c] = vpadalq_s16(s01[c], p.val[0]);
      s23[c] = vpadalq_s16(s23[c], p.val[1]);
    }
  }
  for (int c = 0; c < C; c++) sum[c] = vpaddq_s32(s01[c], s23[c]);
}

EL_INLINE void sums_of_4_bits(const unsigned char *codes, const int8_t *q, int C, int32x4_t *sum) {
  int16x8x2_t s[MAX_COLS];
  for (int c = 0; c < C; c++) s[c] = (int16x8x2_t){{vdupq_n_s16(0), vdupq_n_s16(0)}};
#pragma GCC unroll 4
  for (int j = 0; j < 4; j++) {
    const uint8x16_t v = vld1q_u8(codes + j * TILE * 4);
    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))),
                    high = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
    for (int c = 0; c < C; c++) {
      s[c] = add_products(s[c], low, quad(vld1q_s8(q + c * EL_GROUP), j));
      s[c] = add_products(s[c], high, quad(vld1q_s8(q + c * EL_GROUP + 16), j));
    }
  }
  for (int c = 0; c < C; c++) sum[c] = vpaddq_s32(vpaddlq_s16(s[c].val[0]), vpaddlq_s16(s[c].val[1]));
}

/* The same for a last group that has n quads, fewer than 8. An odd n reads one more, whose
 * activations are zero. */
EL_INLINE void sums_of_4_bit_end(const unsigned char *codes, const int8_t *q, int n, int C, int32x4_t *sum) {
  const int half = (n + 1) / 2;
  int16x8x2_t s[MAX_COLS];
  for (int c = 0; c < C; c++) s[c] = (int16x8x2_t){{vdupq_n_s16(0), vdupq_n_s16(0)}};
  for (int j = 0; j < half; j++) {
    const uint8x16_t v = vld1q_u8(codes + j * TILE * 4);
    const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))),
                    high = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
    for (int c = 0; c < C; c++) {
      const int32_t *x = (const int32_t *)(const void *)(q + c * EL_GROUP);
      s[c] = add_products(s[c], low, vreinterpretq_s8_s32(vld1q_dup_s32(x + j)));
      s[c] = add_products(s[c], high, vreinterpretq_s8_s32(vld1q_dup_s32(x + half + j)));
    }
  }
  for (int c = 0; c < C; c++) sum[c] = vpaddq_s32(vpaddlq_s16(s[c].val[0]), vpaddlq_s16(s[c].val[1]));
}

/* Four rows of a tile, from row `first` on, times C columns of a panel that has `stride`
 * columns. */
EL_INLINE void row_sums(const el_packed *w, const unsigned char *tile, int first, const el_act *x, size_t at,
                        int stride, int C, el_layout layout, float32x4_t *acc) {
  const bool has_8_bits = layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M,
             has_mins = layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
  const unsigned char *codes = tile + first * 4;
  const int quads = (w->cols + 3) / 4;
  for (int c = 0; c < C; c++) acc[c] = vdupq_n_f32(0);
  for (int g = 0; g < w->n_groups; g++, at += (size_t)stride) {
    const int8_t *q = x->q + at * EL_GROUP;
    const size_t figures = (size_t)(g * TILE + first) * 2;
    int32x4_t sum[MAX_COLS];
    if (has_8_bits) {
      if (quads - g * 8 >= 8)
        sums_of_8_bits(codes, q, 8, C, layout == EL_LAYOUT_Q8, sum);
      else
        sums_of_8_bits(codes, q, quads - g * 8, C, layout == EL_LAYOUT_Q8, sum);
      codes += TILE * EL_GROUP;
    } else if (layout == EL_LAYOUT_Q4 && quads - g * 8 < 8) { /* the end of a LoRA matrix */
      sums_of_4_bit_end(codes, q, quads - g * 8, C, sum);
    } else {
      sums_of_4_bits(codes, q, C, sum);
      codes += TILE * EL_GROUP / 2;
    }
    if (layout == EL_LAYOUT_Q4)
      for (int c = 0; c < C; c++) sum[c] = vaddq_s32(sum[c], vdupq_n_s32(x->s8[at + (size_t)c]));
    float32x4_t d = load_halves(tile + w->scales_at + figures);
    for (int c = 0; c < C; c++) acc[c] = vfmaq_f32(acc[c], vcvtq_f32_s32(sum[c]), vmulq_n_f32(d, x->d[at + (size_t)c]));
    if (has_mins) {
      float32x4_t m = load_halves(tile + w->mins_at + figures);
      for (int c = 0; c < C; c++) acc[c] = vfmaq_n_f32(acc[c], m, x->ds[at + (size_t)c]);
    }
  }
}

EL_INLINE void tile_columns(const el_packed *w, int t, const el_act *x, size_t at, int stride, float *y, size_t ldy,
                            bool add, int C) {
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
  for (int first = 0; first < TILE; first += 4) {
    float32x4_t acc[MAX_COLS];
    switch (w->layout) {
      case EL_LAYOUT_Q4: row_sums(w, tile, first, x, at, stride, C, EL_LAYOUT_Q4, acc); break;
      case EL_LAYOUT_Q4M: row_sums(w, tile, first, x, at, stride, C, EL_LAYOUT_Q4M, acc); break;
      case EL_LAYOUT_Q8M: row_sums(w, tile, first, x, at, stride, C, EL_LAYOUT_Q8M, acc); break;
      default: row_sums(w, tile, first, x, at, stride, C, EL_LAYOUT_Q8, acc); break;
    }
    const int row = t * TILE + first, n = w->rows - row;
    for (int c = 0; c < C; c++) {
      float *out = y + (size_t)c * ldy + row;
      if (n >= 4) {
        vst1q_f32(out, add ? vaddq_f32(vld1q_f32(out), acc[c]) : acc[c]);
      } else {
        float r[4];
        vst1q_f32(r, acc[c]);
        for (int i = 0; i < n; i++) out[i] = add ? out[i] + r[i] : r[i];
      }
    }
  }
}

/* The product of tile t with C columns of a panel; y: their outputs, from row 0 on. */
typedef void (*tile_fn)(const el_packed *w, int t, const el_act *x, size_t at, int stride, float *y, size_t ldy,
                        bool add);
#define TILE_COLUMNS(C)                                                                                     \
  static void tile_columns_##C(const el_packed *w, int t, const el_act *x, size_t at, int stride, float *y, \
                               size_t ldy, bool add) {                                                      \
    tile_columns(w, t, x, at, stride, y, ldy, add, C);                                                      \
  }
TILE_COLUMNS(1)
TILE_COLUMNS(2)
TILE_COLUMNS(3)
TILE_COLUMNS(4)

/* A tile of W stays in the first-level cache while all columns use it. Their tiles of B, fetched
 * meanwhile, come next. */
static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  static const tile_fn by_cols[MAX_COLS] = {tile_columns_1, tile_columns_2, tile_columns_3, tile_columns_4};
  for (int t = tile_begin; t < tile_end; t++) {
    for (int c = col_begin; c < col_end;) {
      int first = c / EL_PANEL * EL_PANEL, stride = x->n_cols - first < EL_PANEL ? x->n_cols - first : EL_PANEL;
      int n = first + stride < col_end ? first + stride - c : col_end - c;
      if (n > MAX_COLS) n = MAX_COLS;
      for (int i = 0; lora && i < n; i++) fetch_low_rank(lora, c + i, t);
      by_cols[n - 1](w, t, x, el_act_at(x, c, 0), stride, y + (size_t)c * ldy, ldy, add);
      c += n;
    }
    for (int c = col_begin; lora && c < col_end; c++)
      if (lora[c].b) tile_columns_1(lora[c].b, t, lora[c].h, 0, 1, y + (size_t)c * ldy, 0, true);
  }
}

#include "kernels/gemm.h"

const el_kernels el_kernels_neon = {.name = "neon", .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
