/* AVX2 without VNNI: tiles of 8 rows, up to 4 columns at once.
 *
 * vpmaddubsw multiplies unsigned bytes with signed ones and adds pairs into 16 bits, saturating. With 4-bit codes eight
 * of its results add up in 16 bits without overflow (8 * 2 * 15 * 127 = 30480 < 32767), so one widening is enough for a
 * group. 8-bit codes of 0 to 127 fit too, two products at a time (2 * 127 * 127 = 32258). Full 8-bit codes do not fit
 * unsigned (2 * 255 * 127 > 32767): the magnitude of the weight is multiplied with the activation that carries the
 * weight's sign (2 * 128 * 127 = 32512), and each product is widened. */
#include "kernels/lanes_avx2.h"
#include "kernels/ops.h"
#include "kernels/tables.h"

enum { MAX_COLS = 4 };

EL_INLINE __m256i quad(const int8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm256_set1_epi32(v);
}

EL_INLINE __m256 load_halves(const unsigned char *p) {
  return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

/* One tile of 8 rows times C columns of a panel that has `stride` columns. */
EL_INLINE void tile_groups(const el_packed *w, const unsigned char *tile, const el_act *x, size_t at, int stride, int C,
                           el_layout layout, __m256 *acc) {
  const unsigned char *codes = tile, *scales = tile + w->scales_at, *mins = tile + w->mins_at;
  const int8_t *q = x->q + at * EL_GROUP;
  const float *xd = x->d + at, *xs = x->ds + at;
  const int32_t *offset = x->s8 + at;
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1), bias = _mm256_set1_epi8((char)128);
  const bool has_mins = layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
  for (int c = 0; c < C; c++) acc[c] = _mm256_setzero_ps();
  int fours = (w->cols + 3) / 4;
  for (int g = 0; g < w->n_groups; g++) {
    __m256i sum[MAX_COLS];
    if (layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M) {
      int n = fours - g * 8 < 8 ? fours - g * 8 : 8;
      for (int c = 0; c < C; c++) sum[c] = _mm256_setzero_si256();
      for (int j = 0; j < n; j++) {
        __m256i v = _mm256_load_si256((const __m256i *)(codes + j * 32)), magnitude = v;
        if (layout == EL_LAYOUT_Q8) {
          v = _mm256_xor_si256(v, bias); /* code - 128 */
          magnitude = _mm256_abs_epi8(v);
        }
        for (int c = 0; c < C; c++) {
          __m256i x4 = quad(q + c * EL_GROUP + j * 4);
          __m256i p = _mm256_maddubs_epi16(magnitude, layout == EL_LAYOUT_Q8 ? _mm256_sign_epi8(x4, v) : x4);
          sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(p, ones));
        }
      }
      codes += 256;
    } else {
      for (int c = 0; c < C; c++) sum[c] = _mm256_setzero_si256();
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) {
        __m256i v = _mm256_load_si256((const __m256i *)(codes + j * 32));
        __m256i lo = _mm256_and_si256(v, low), hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        for (int c = 0; c < C; c++) {
          sum[c] = _mm256_add_epi16(sum[c], _mm256_maddubs_epi16(lo, quad(q + c * EL_GROUP + j * 4)));
          sum[c] = _mm256_add_epi16(sum[c], _mm256_maddubs_epi16(hi, quad(q + c * EL_GROUP + 16 + j * 4)));
        }
      }
      for (int c = 0; c < C; c++) {
        sum[c] = _mm256_madd_epi16(sum[c], ones);
        if (layout == EL_LAYOUT_Q4) sum[c] = _mm256_add_epi32(sum[c], _mm256_set1_epi32(offset[c]));
      }
      codes += 128;
    }
    __m256 d = load_halves(scales);
    for (int c = 0; c < C; c++)
      acc[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[c]), _mm256_mul_ps(d, _mm256_set1_ps(xd[c])), acc[c]);
    if (has_mins) {
      __m256 m = load_halves(mins);
      for (int c = 0; c < C; c++) acc[c] = _mm256_fmadd_ps(m, _mm256_set1_ps(xs[c]), acc[c]);
      mins += 16;
    }
    scales += 16;
    q += stride * EL_GROUP;
    xd += stride;
    xs += stride;
    offset += stride;
  }
}

EL_INLINE void tile_columns(const el_packed *w, int t, const el_act *x, size_t at, int stride, float *y, size_t ldy,
                            bool add, int C) {
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
  __m256 acc[MAX_COLS];
  switch (w->layout) {
    case EL_LAYOUT_Q4: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q4, acc); break;
    case EL_LAYOUT_Q4M: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q4M, acc); break;
    case EL_LAYOUT_Q8M: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q8M, acc); break;
    default: tile_groups(w, tile, x, at, stride, C, EL_LAYOUT_Q8, acc); break;
  }
  int row = t * 8, n = w->rows - row < 8 ? w->rows - row : 8;
  for (int c = 0; c < C; c++) {
    float *out = y + (size_t)c * ldy + row;
    if (n == 8) {
      _mm256_storeu_ps(out, add ? _mm256_add_ps(_mm256_loadu_ps(out), acc[c]) : acc[c]);
    } else {
      float r[8];
      _mm256_storeu_ps(r, acc[c]);
      for (int i = 0; i < n; i++) out[i] = add ? out[i] + r[i] : r[i];
    }
  }
}

EL_TILE_COLUMNS(1)
EL_TILE_COLUMNS(2)
EL_TILE_COLUMNS(3)
EL_TILE_COLUMNS(4)

static void gemm(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                 float *y, size_t ldy, bool add, el_fetch *fetch) {
  static const int_tile_fn by_cols[] = {tile_columns_1, tile_columns_2, tile_columns_3, tile_columns_4};
  gemm_panels(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, MAX_COLS, by_cols);
}

const el_kernels el_kernels_avx2 = {.name = "avx2",
                                    .tile = 8,
                                    .gemm = gemm,
                                    .quantize = op_quantize,
                                    .rms_norm = op_rms_norm,
                                    .swiglu = op_swiglu,
                                    .attend = op_attend,
                                    .rope = op_rope,
                                    .kv_write = op_kv_write};
