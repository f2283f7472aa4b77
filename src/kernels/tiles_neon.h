/* The integer product with Arm's dot product instructions for tiles of 8 rows, shared by dotprod
 * and i8mm. The instruction takes its quad of activations by element: one register of 16
 * activations serves four quads, and nothing is broadcast. The file that includes this one has
 * defined
 *
 *   dot(sum, codes, x, lane)  sum + codes . quad `lane` of x, in each 32-bit lane
 *   CODES_ARE_SIGNED          whether it takes 8-bit codes as code - 128; then no offset is added
 *
 * Up to 4 columns take all 8 rows at a time; 5 to 8 columns take 4 rows at a time, so that integer
 * and float sums (2 * 8) and the activations (8) stay in the 32 registers. The second half of a
 * tile then comes from the first-level cache. */
#ifndef EL_KERNELS_TILES_NEON_H
#define EL_KERNELS_TILES_NEON_H

#include "kernels/low_rank_neon.h"

enum {
  TILE = 8,
  LOW_RANK_TILES = 16 /* tiles of W, then those of B that belong to them: outputs have not left the
                       * first-level cache */
};

/* What one call of a function for some columns computes: tiles [tile_begin, tile_end) times columns
 * of one panel. */
typedef struct block {
  const el_packed *w;
  int tile_begin, tile_end;
  const el_act *x;
  size_t at;  /* el_act_at of the first column */
  int stride; /* columns in the panel */
  float *y;   /* outputs of the first column, from row 0 on */
  size_t ldy;
  bool add;
  el_fetch *fetch;
  const el_low_rank *lora; /* of the first column; NULL: none */
} block;

EL_INLINE bool has_mins(el_layout layout) {
  return layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
}
EL_INLINE bool has_8_bits(el_layout layout) {
  return layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M;
}
EL_INLINE bool has_offset(el_layout layout) {
  return layout == EL_LAYOUT_Q4 || (layout == EL_LAYOUT_Q8 && !CODES_ARE_SIGNED);
}
EL_INLINE const int32_t *offsets(const el_act *x, el_layout layout) {
  return layout == EL_LAYOUT_Q4 ? x->s8 : x->s128;
}

/* 16 codes of an 8-bit layout, 4 of each row, as `dot` takes them. */
EL_INLINE uint8x16_t load_codes(const unsigned char *p, el_layout layout) {
  uint8x16_t v = vld1q_u8(p);
  return layout == EL_LAYOUT_Q8 && CODES_ARE_SIGNED ? veorq_u8(v, vdupq_n_u8(128)) : v;
}

EL_INLINE float32x4_t load_halves(const unsigned char *p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

/* Writes four rows of a column; n: rows that exist. */
EL_INLINE void put_rows(float *y, float32x4_t acc, int n, bool add) {
  if (n >= 4) {
    vst1q_f32(y, add ? vaddq_f32(vld1q_f32(y), acc) : acc);
    return;
  }
  float r[4];
  vst1q_f32(r, acc);
  for (int i = 0; i < n; i++) y[i] = add ? y[i] + r[i] : r[i];
}

/* Fetches this tile's share of other memory: `lines` with each group. */
EL_INLINE void fetch_lines(const unsigned char **at, int lines) {
  for (int i = 0; i < lines; i++, *at += 64) __builtin_prefetch(*at, 0, 2);
}

/* R vectors of 4 rows of tile t, from row `first` on, times C columns. acc: [R][C] */
EL_INLINE void row_sums(const block *b, int t, int first, int R, int C, el_layout layout, float32x4_t *acc) {
  const el_packed *w = b->w;
  const el_act *x = b->x;
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes, *codes = tile + first * 4,
                      *scales = tile + w->scales_at + first * 2, *mins = tile + w->mins_at + first * 2;
  const int8_t *q = x->q + b->at * EL_GROUP;
  const float *xd = x->d + b->at, *xs = x->ds + b->at;
  const int32_t *offset = offsets(x, layout) + b->at;
  const int quads = (w->cols + 3) / 4, stride = b->stride, n_lora = b->lora && !first ? C : 0;
  int lines = 0;
  const unsigned char *aside = first ? NULL : el_fetch_take(b->fetch, w->n_groups, &lines);
  for (int i = 0; i < R * C; i++) acc[i] = vdupq_n_f32(0);
  for (int g = 0; g < w->n_groups; g++) {
    fetch_lines(&aside, lines);
    if (g < n_lora) fetch_low_rank(b->lora, g, t);
    int32x4_t sum[EL_PANEL];
    for (int r = 0; r < R; r++)
      for (int c = 0; c < C; c++) sum[r * C + c] = vdupq_n_s32(has_offset(layout) ? offset[c] : 0);
    const int n = quads - g * 8;
    if (has_8_bits(layout) && n < 8) {
      for (int j = 0; j < n; j++)
        for (int c = 0; c < C; c++) {
          int8x16_t x4 = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)(q + c * EL_GROUP + j * 4)));
          for (int r = 0; r < R; r++)
            sum[r * C + c] = dot(sum[r * C + c], load_codes(codes + j * 32 + r * 16, layout), x4, 0);
        }
    } else if (layout == EL_LAYOUT_Q4 && n < 8) { /* the end of a LoRA matrix */
      const int low = (n + 1) / 2;
      for (int j = 0; j < n; j++)
        for (int c = 0; c < C; c++) {
          int8x16_t x4 = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)(q + c * EL_GROUP + j * 4)));
          for (int r = 0; r < R; r++) {
            uint8x16_t v = vld1q_u8(codes + (j < low ? j : j - low) * 32 + r * 16);
            v = j < low ? vandq_u8(v, vdupq_n_u8(15)) : vshrq_n_u8(v, 4);
            sum[r * C + c] = dot(sum[r * C + c], v, x4, 0);
          }
        }
    } else {
      /* Quads 0 to 3, then 4 to 7: for 4-bit codes the low nibbles, then the high nibbles of the
       * same bytes. */
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        int8x16_t x16[EL_PANEL];
        for (int c = 0; c < C; c++) x16[c] = vld1q_s8(q + c * EL_GROUP + half * 16);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
          for (int r = 0; r < R; r++) {
            uint8x16_t v;
            if (has_8_bits(layout)) {
              v = load_codes(codes + (half * 4 + j) * 32 + r * 16, layout);
            } else {
              v = vld1q_u8(codes + j * 32 + r * 16);
              v = half ? vshrq_n_u8(v, 4) : vandq_u8(v, vdupq_n_u8(15));
            }
            for (int c = 0; c < C; c++) sum[r * C + c] = dot(sum[r * C + c], v, x16[c], j);
          }
      }
    }
    for (int r = 0; r < R; r++) {
      float32x4_t d = load_halves(scales + r * 8);
      for (int c = 0; c < C; c++)
        acc[r * C + c] = vfmaq_f32(acc[r * C + c], vcvtq_f32_s32(sum[r * C + c]), vmulq_n_f32(d, xd[c]));
      if (has_mins(layout)) {
        float32x4_t m = load_halves(mins + r * 8);
        for (int c = 0; c < C; c++) acc[r * C + c] = vfmaq_n_f32(acc[r * C + c], m, xs[c]);
      }
    }
    codes += has_8_bits(layout) ? TILE * EL_GROUP : TILE * EL_GROUP / 2;
    scales += TILE * 2;
    mins += TILE * 2;
    q += stride * EL_GROUP;
    xd += stride;
    xs += stride;
    offset += stride;
  }
}

EL_INLINE void dot_tiles(const block *b, int C, el_layout layout) {
  const int R = C <= 4 ? 2 : 1;
  for (int t = b->tile_begin; t < b->tile_end; t++)
    for (int first = 0; first < TILE; first += R * 4) {
      float32x4_t acc[EL_PANEL];
      row_sums(b, t, first, R, C, layout, acc);
      for (int r = 0; r < R; r++) {
        int row = t * TILE + first + r * 4;
        for (int c = 0; c < C; c++) put_rows(b->y + (size_t)c * b->ldy + row, acc[r * C + c], b->w->rows - row, b->add);
      }
    }
}

/* One column and one group of 8-bit codes: the B matrix of a LoRA adapter. There are many of them
 * with little work for each tile, so the activations stay in registers. N: quads of the group. */
EL_INLINE void low_rank_tiles(const block *b, int N) {
  const el_packed *w = b->w;
  const int8x16_t x0 = vld1q_s8(b->x->q + b->at * EL_GROUP), x1 = vld1q_s8(b->x->q + b->at * EL_GROUP + 16);
  const int32x4_t offset = vdupq_n_s32(has_offset(EL_LAYOUT_Q8) ? b->x->s128[b->at] : 0);
  const float xd = b->x->d[b->at];
  const unsigned char *codes = w->data + (size_t)b->tile_begin * w->tile_bytes;
  const size_t tile_bytes = w->tile_bytes, scales_at = w->scales_at;
  const int end = b->tile_end * TILE, rows = w->rows;
  const bool add = b->add;
  float *y = b->y;
  for (int row = b->tile_begin * TILE; row < end; row += TILE, codes += tile_bytes) {
    int32x4_t sum[2] = {offset, offset};
#pragma GCC unroll 8
    for (int j = 0; j < N; j++)
#pragma GCC unroll 2
      for (int r = 0; r < 2; r++)
        sum[r] = dot(sum[r], load_codes(codes + j * 32 + r * 16, EL_LAYOUT_Q8), j < 4 ? x0 : x1, j & 3);
#pragma GCC unroll 2
    for (int r = 0; r < 2; r++) {
      float32x4_t d = vmulq_n_f32(load_halves(codes + scales_at + r * 8), xd);
      put_rows(y + row + r * 4, vfmaq_f32(vdupq_n_f32(0), vcvtq_f32_s32(sum[r]), d), rows - row - r * 4, add);
    }
  }
}

EL_INLINE void dot_columns(const block *b, int C) {
  if (C == 1 && b->w->layout == EL_LAYOUT_Q8 && b->w->n_groups == 1) {
    switch ((b->w->cols + 3) / 4) {
      case 1: low_rank_tiles(b, 1); return;
      case 2: low_rank_tiles(b, 2); return;
      case 3: low_rank_tiles(b, 3); return;
      case 4: low_rank_tiles(b, 4); return;
      case 5: low_rank_tiles(b, 5); return;
      case 6: low_rank_tiles(b, 6); return;
      case 7: low_rank_tiles(b, 7); return;
      default: low_rank_tiles(b, 8); return;
    }
  }
  switch (b->w->layout) {
    case EL_LAYOUT_Q4: dot_tiles(b, C, EL_LAYOUT_Q4); break;
    case EL_LAYOUT_Q4M: dot_tiles(b, C, EL_LAYOUT_Q4M); break;
    case EL_LAYOUT_Q8M: dot_tiles(b, C, EL_LAYOUT_Q8M); break;
    default: dot_tiles(b, C, EL_LAYOUT_Q8); break;
  }
}

typedef void (*columns_fn)(const block *b);
#define EL_COLUMNS(C, columns)              \
  static void columns_##C(const block *b) { \
    columns(b, C);                          \
  }

/* Tiles [begin, end) times all columns. Columns of one panel take one pass over the weights. Else
 * `tiles_at_once` tiles stay in the cache for all panels. */
EL_INLINE void block_tiles(block b, int begin, int end, int col_begin, int col_end, float *y, const el_low_rank *lora,
                           int tiles_at_once, const columns_fn by_cols[EL_PANEL]) {
  if ((col_end - 1) / EL_PANEL == col_begin / EL_PANEL) tiles_at_once = end - begin;
  for (int t = begin; t < end; t += tiles_at_once) {
    b.tile_begin = t;
    b.tile_end = end - t < tiles_at_once ? end : t + tiles_at_once;
    for (int c = col_begin; c < col_end;) {
      int first = c / EL_PANEL * EL_PANEL;
      b.stride = b.x->n_cols - first < EL_PANEL ? b.x->n_cols - first : EL_PANEL;
      int n = first + b.stride < col_end ? first + b.stride - c : col_end - c;
      b.at = el_act_at(b.x, c, 0);
      b.y = y + (size_t)c * b.ldy;
      b.lora = lora ? lora + c : NULL;
      by_cols[n - 1](&b);
      c += n;
    }
  }
}

/* gemm_lora of the integer layouts. A column's h stays in registers for all tiles of a block, which
 * fetch_low_rank has fetched. */
EL_INLINE void gemm_columns(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin,
                            int col_end, float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch,
                            int tiles_at_once, const columns_fn by_cols[EL_PANEL]) {
  const block base = {.w = w, .x = x, .ldy = ldy, .add = add, .fetch = fetch};
  const int step = lora ? LOW_RANK_TILES : tile_end - tile_begin;
  for (int t = tile_begin, end; t < tile_end; t = end) {
    end = tile_end - t < step ? tile_end : t + step;
    block_tiles(base, t, end, col_begin, col_end, y, lora, tiles_at_once, by_cols);
    for (int c = col_begin; lora && c < col_end; c++) {
      if (!lora[c].b) continue;
      const block low = {.w = lora[c].b,
                         .tile_begin = t,
                         .tile_end = end,
                         .x = lora[c].h,
                         .stride = 1,
                         .y = y + (size_t)c * ldy,
                         .add = true};
      by_cols[0](&low);
    }
  }
}

#endif
