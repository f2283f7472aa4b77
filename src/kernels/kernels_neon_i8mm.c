/* NEON with the int8 matrix product (Armv8.6 I8MM: Neoverse V1 and N2, Cortex-A510 and A710, Apple
 * M2 on). Up to 3 columns are computed as in dotprod, by usdot, which takes unsigned codes.
 *
 * From 4 columns on, usmmla halves the multiplications: it adds the 2 x 2 products of two rows with
 * two columns, 8 columns of W deep. Two zips turn two quads of 4 rows into two such pairs of rows.
 * Columns of X are paired, for a chunk of groups at a time, in a buffer on the stack that MM_TILES
 * tiles use; the float sums of these tiles wait in another buffer while the next chunk is paired.
 * Sums stay in the order (row, column), (row, column + 1), (row + 1, column), ... until they are
 * stored, so scales are laid out likewise. */
#include "kernels/lanes_neon.h"
#include "kernels/tables.h"

enum { CODES_ARE_SIGNED = 0 };

static inline __attribute__((always_inline)) int32x4_t dot(int32x4_t sum, uint8x16_t codes, int8x16_t x, int lane) {
  switch (lane) {
    case 0: return vusdotq_laneq_s32(sum, codes, x, 0);
    case 1: return vusdotq_laneq_s32(sum, codes, x, 1);
    case 2: return vusdotq_laneq_s32(sum, codes, x, 2);
    default: return vusdotq_laneq_s32(sum, codes, x, 3);
  }
}

#include "kernels/tiles_neon.h"

enum { MM_TILES = 8, MM_GROUPS = 32, PAIRS = EL_PANEL / 2 };

/* A group of up to 8 columns of X, in pairs. */
typedef struct paired {
  int8x16_t q[4][PAIRS]; /* [i][pair]: quads 2i and 2i + 1 of one column, then of the other */
  int32x4_t offset[PAIRS];
  float32x4_t d[PAIRS], ds[PAIRS];
} paired;

EL_INLINE float32x4_t pair_scales(const float *even, const float *odd) {
  float v[4] = {*even, *odd, *even, *odd};
  return vld1q_f32(v);
}

/* With an odd number of columns, the last one is paired with itself. */
static void pair_columns(const block *b, int g_begin, int n, int C, paired *out) {
  const el_act *x = b->x;
  const int32_t *offset = offsets(x, b->w->layout);
  for (int g = 0; g < n; g++, out++)
    for (int c = 0; c < C; c += 2) {
      size_t even = b->at + (size_t)(g_begin + g) * (size_t)b->stride + (size_t)c, odd = c + 1 < C ? even + 1 : even;
      for (int half = 0; half < 2; half++) {
        int64x2_t q0 = vreinterpretq_s64_s8(vld1q_s8(x->q + even * EL_GROUP + half * 16)),
                  q1 = vreinterpretq_s64_s8(vld1q_s8(x->q + odd * EL_GROUP + half * 16));
        out->q[half * 2][c / 2] = vreinterpretq_s8_s64(vzip1q_s64(q0, q1));
        out->q[half * 2 + 1][c / 2] = vreinterpretq_s8_s64(vzip2q_s64(q0, q1));
      }
      int32_t both[4] = {offset[even], offset[odd], offset[even], offset[odd]};
      out->offset[c / 2] = vld1q_s32(both);
      out->d[c / 2] = pair_scales(x->d + even, x->d + odd);
      out->ds[c / 2] = pair_scales(x->ds + even, x->ds + odd);
    }
}

/* Two quads of four rows times P pairs of columns. sum: [2][P] */
EL_INLINE void mm_quads(uint8x16_t rows01, uint8x16_t rows23, const int8x16_t *x, int P, int32x4_t *sum) {
  for (int p = 0; p < P; p++) {
    sum[p] = vusmmlaq_s32(sum[p], rows01, x[p]);
    sum[P + p] = vusmmlaq_s32(sum[P + p], rows23, x[p]);
  }
}

/* Two quads of four rows become rows 0 and 1, rows 2 and 3. */
EL_INLINE void pair_rows(const unsigned char *codes, uint8x16_t *rows01, uint8x16_t *rows23) {
  uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(codes)), b = vreinterpretq_u32_u8(vld1q_u8(codes + TILE * 4));
  *rows01 = vreinterpretq_u8_u32(vzip1q_u32(a, b));
  *rows23 = vreinterpretq_u8_u32(vzip2q_u32(a, b));
}

/* Four rows of tile t, from row `first` on, times P pairs; groups [g_begin, g_begin + n_groups).
 * acc: [2][P], added to. */
EL_INLINE void mm_rows(const el_packed *w, int t, int first, const paired *x, int g_begin, int n_groups, int P,
                       el_layout layout, float32x4_t *acc) {
  const size_t group_bytes = has_8_bits(layout) ? TILE * EL_GROUP : TILE * EL_GROUP / 2;
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes + first * 4;
  const unsigned char *codes = tile + (size_t)g_begin * group_bytes;
  const size_t figures = (size_t)(g_begin * TILE + first) * 2;
  const unsigned char *scales = w->data + (size_t)t * w->tile_bytes + w->scales_at + figures;
  const unsigned char *mins = w->data + (size_t)t * w->tile_bytes + w->mins_at + figures;
  for (int g = 0; g < n_groups; g++, x++) {
    int32x4_t sum[EL_PANEL];
    for (int p = 0; p < P; p++) sum[p] = sum[P + p] = has_offset(layout) ? x->offset[p] : vdupq_n_s32(0);
    uint8x16_t a, b;
    if (has_8_bits(layout)) {
      /* The last group may end with an odd quad. What follows its codes is still within the tile,
       * and is multiplied with activations beyond k, which are zero. */
      const int quads = (w->cols + 3) / 4 - (g_begin + g) * 8;
      if (quads >= 8) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          pair_rows(codes + i * 64, &a, &b);
          mm_quads(a, b, x->q[i], P, sum);
        }
      } else {
        for (int i = 0; i * 2 < quads; i++) {
          pair_rows(codes + i * 64, &a, &b);
          mm_quads(a, b, x->q[i], P, sum);
        }
      }
    } else {
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++) {
        const uint8x16_t low = vdupq_n_u8(15);
        pair_rows(codes + i * 64, &a, &b);
        mm_quads(vandq_u8(a, low), vandq_u8(b, low), x->q[i], P, sum);
        mm_quads(vshrq_n_u8(a, 4), vshrq_n_u8(b, 4), x->q[2 + i], P, sum);
      }
    }
    float32x4_t d = load_halves(scales), d01 = vzip1q_f32(d, d), d23 = vzip2q_f32(d, d);
    for (int p = 0; p < P; p++) {
      acc[p] = vfmaq_f32(acc[p], vcvtq_f32_s32(sum[p]), vmulq_f32(d01, x->d[p]));
      acc[P + p] = vfmaq_f32(acc[P + p], vcvtq_f32_s32(sum[P + p]), vmulq_f32(d23, x->d[p]));
    }
    if (has_mins(layout)) {
      float32x4_t m = load_halves(mins), m01 = vzip1q_f32(m, m), m23 = vzip2q_f32(m, m);
      for (int p = 0; p < P; p++) {
        acc[p] = vfmaq_f32(acc[p], m01, x->ds[p]);
        acc[P + p] = vfmaq_f32(acc[P + p], m23, x->ds[p]);
      }
    }
    codes += group_bytes;
    scales += TILE * 2;
    mins += TILE * 2;
  }
}

/* At most MM_TILES tiles. */
EL_INLINE void mm_tiles(const block *b, int t_begin, int t_end, int C, el_layout layout) {
  const int P = (C + 1) / 2, n_groups = b->w->n_groups;
  paired x[MM_GROUPS];
  float32x4_t waiting[MM_TILES][2][EL_PANEL];
  for (int g = 0; g < n_groups; g += MM_GROUPS) {
    const int n = n_groups - g < MM_GROUPS ? n_groups - g : MM_GROUPS;
    pair_columns(b, g, n, C, x);
    for (int t = t_begin; t < t_end; t++)
      for (int half = 0; half < 2; half++) {
        float32x4_t acc[EL_PANEL], *wait = waiting[t - t_begin][half];
        for (int c = half * P; b->lora && !g && c < (half ? C : P); c++) fetch_low_rank(b->lora, c, t);
        for (int i = 0; i < 2 * P; i++) acc[i] = g ? wait[i] : vdupq_n_f32(0);
        mm_rows(b->w, t, half * 4, x, g, n, P, layout, acc);
        if (g + n < n_groups) {
          for (int i = 0; i < 2 * P; i++) wait[i] = acc[i];
          continue;
        }
        const int row = t * TILE + half * 4, rows = b->w->rows - row;
        for (int c = 0; c < C; c++) {
          float32x4_t r = c & 1 ? vuzp2q_f32(acc[c / 2], acc[P + c / 2]) : vuzp1q_f32(acc[c / 2], acc[P + c / 2]);
          put_rows(b->y + (size_t)c * b->ldy + row, r, rows, b->add);
        }
      }
  }
}

EL_INLINE void mm_columns(const block *b, int C) {
  if (b->w->layout == EL_LAYOUT_Q4 && b->w->cols % EL_GROUP) { /* nibbles of its last group are
                                                                * paired differently */
    dot_tiles(b, C, EL_LAYOUT_Q4);
    return;
  }
  for (int t = b->tile_begin; t < b->tile_end; t += MM_TILES) {
    int end = b->tile_end - t < MM_TILES ? b->tile_end : t + MM_TILES;
    switch (b->w->layout) {
      case EL_LAYOUT_Q4: mm_tiles(b, t, end, C, EL_LAYOUT_Q4); break;
      case EL_LAYOUT_Q4M: mm_tiles(b, t, end, C, EL_LAYOUT_Q4M); break;
      case EL_LAYOUT_Q8M: mm_tiles(b, t, end, C, EL_LAYOUT_Q8M); break;
      default: mm_tiles(b, t, end, C, EL_LAYOUT_Q8); break;
    }
  }
}

EL_COLUMNS(1, dot_columns)
EL_COLUMNS(2, dot_columns)
EL_COLUMNS(3, dot_columns)
EL_COLUMNS(4, mm_columns)
EL_COLUMNS(5, mm_columns)
EL_COLUMNS(6, mm_columns)
EL_COLUMNS(7, mm_columns)
EL_COLUMNS(8, mm_columns)

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  static const columns_fn by_cols[EL_PANEL] = {columns_1, columns_2, columns_3, columns_4,
                                               columns_5, columns_6, columns_7, columns_8};
  gemm_columns(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch, MM_TILES, by_cols);
}

#include "kernels/gemm.h"

const el_kernels el_kernels_i8mm = {.name = "i8mm", .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
