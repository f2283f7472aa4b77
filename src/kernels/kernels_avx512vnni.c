/* AVX-512 with VNNI: tiles of 16 rows, up to 8 columns at once. vpdpbusd multiplies unsigned weight codes with signed
 * activations, four at a time per 32-bit lane (one lane, one row), and takes the activation quad as a broadcast memory
 * operand. */
#include "kernels/lanes_avx512.h"
#include "kernels/ops.h"
#include "kernels/tables.h"

EL_INLINE __m512i quad(const int8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm512_set1_epi32(v);
}

/* One tile of 16 rows times C columns of a panel that has `stride` columns. */
EL_INLINE void tile_groups(const el_packed *w, const unsigned char *tile, const el_act *x, size_t at, int stride, int C,
                           el_layout layout, __m512 *acc) {
  const unsigned char *codes = tile, *scales = tile + w->scales_at, *mins = tile + w->mins_at;
  const int8_t *q = x->q + at * EL_GROUP;
  const float *xd = x->d + at, *xs = x->ds + at;
  const int32_t *offset = (layout == EL_LAYOUT_Q4 ? x->s8 : x->s128) + at;
  const __m512i low = _mm512_set1_epi8(15);
  const bool has_mins = layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M,
             has_8_bits = layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M;
  for (int c = 0; c < C; c++) acc[c] = _mm512_setzero_ps();
  int fours = (w->cols + 3) / 4;
  for (int g = 0; g < w->n_groups; g++) {
    __m512i sum[EL_PANEL];
    for (int c = 0; c < C; c++) sum[c] = has_mins ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[c]);
    if (has_8_bits) {
      int n = fours - g * 8;
      if (n >= 8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
          __m512i v = _mm512_load_si512(codes + j * 64);
          for (int c = 0; c < C; c++) sum[c] = _mm512_dpbusd_epi32(sum[c], v, quad(q + c * EL_GROUP + j * 4));
        }
      } else {
        for (int j = 0; j < n; j++) {
          __m512i v = _mm512_load_si512(codes + j * 64);
          for (int c = 0; c < C; c++) sum[c] = _mm512_dpbusd_epi32(sum[c], v, quad(q + c * EL_GROUP + j * 4));
        }
      }
      codes += 512;
    } else {
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        __m512i v = _mm512_load_si512(codes + j * 64);
        __m512i lo = _mm512_and_si512(v, low), hi = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
        for (int c = 0; c < C; c++) sum[c] = _mm512_dpbusd_epi32(sum[c], lo, quad(q + c * EL_GROUP + j * 4));
        for (int c = 0; c < C; c++) sum[c] = _mm512_dpbusd_epi32(sum[c], hi, quad(q + c * EL_GROUP + 16 + j * 4));
      }
      codes += 256;
    }
    __m512 d = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales));
    for (int c = 0; c < C; c++)
      acc[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[c]), _mm512_mul_ps(d, _mm512_set1_ps(xd[c])), acc[c]);
    if (has_mins) {
      __m512 m = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)mins));
      for (int c = 0; c < C; c++) acc[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(xs[c]), acc[c]);
      mins += 32;
    }
    scales += 32;
    q += stride * EL_GROUP;
    xd += stride;
    xs += stride;
    offset += stride;
  }
}

EL_INLINE void tile_columns(const el_packed *w, int t, const el_act *x, size_t at, int stride, float *y, size_t ldy,
                            bool add, int C) {
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
  __m512 acc[EL_PANEL];
  switch (w->layout) {
    case EL_LAYOUT_Q4: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q4, acc); break;
    case EL_LAYOUT_Q4M: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q4M, acc); break;
    case EL_LAYOUT_Q8M: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q8M, acc); break;
    default: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q8, acc); break;
  }
  int row = t * 16, n = w->rows - row;
  __mmask16 mask = n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
  for (int c = 0; c < C; c++) {
    float *out = y + (size_t)c * ldy + row;
    if (add) acc[c] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), acc[c]);
    _mm512_mask_storeu_ps(out, mask, acc[c]);
  }
}

EL_TILE_COLUMNS(1)
EL_TILE_COLUMNS(2)
EL_TILE_COLUMNS(3)
EL_TILE_COLUMNS(4)
EL_TILE_COLUMNS(5)
EL_TILE_COLUMNS(6)
EL_TILE_COLUMNS(7)
EL_TILE_COLUMNS(8)

static void gemm(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                 float *y, size_t ldy, bool add) {
  static const int_tile_fn by_cols[] = {tile_columns_1, tile_columns_2, tile_columns_3, tile_columns_4,
                                        tile_columns_5, tile_columns_6, tile_columns_7, tile_columns_8};
  gemm_panels(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, EL_PANEL, by_cols);
}

const el_kernels el_kernels_avx512vnni = {"avx512vnni", 16,        gemm,    op_quantize, op_rms_norm,
                                          op_swiglu,    op_attend, op_rope, op_kv_write};
