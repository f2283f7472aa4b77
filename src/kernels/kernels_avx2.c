/* AVX2 without VNNI: tiles of 8 rows.
 *
 * vpmaddubsw multiplies unsigned bytes with signed ones and adds pairs into 16 bits, saturating.
 * With 4-bit codes, eight of its results add up in 16 bits without overflow (8 * 2 * 15 * 127 =
 * 30480 < 32767), so one widening is enough for a group. The codes of q8m are below 32: four
 * results add up (4 * 2 * 31 * 127 = 31496).
 *
 * Full 8-bit codes do not fit, not even one result (2 * 255 * 127 > 32767). As signed numbers w =
 * code - 128, w * x = |w| * (w < 0 ? -x : x). A sign costs an instruction for each product that
 * only the multipliers execute. For many columns, -x is therefore computed as ~x + 1: |w| * (x ^ m)
 * + (|w| & m), with the mask m = w < 0. The last term does not depend on x and is added up once for
 * all columns. Pairs do not overflow: 2 * 128 * -128 = -32768, and ~x > 126 does not occur.
 *
 * On Zen 4 the limit is the four vector pipes, two of which multiply: 8 multiplications, 7
 * additions and 5 instructions to scale and add take 6.6 cycles for a group of a column of q4 by
 * themselves, 59% of the multipliers' peak. */
#include "kernels/lanes_avx2.h"
#include "kernels/ops.h"
#include "kernels/quads_avx2.h"
#include "kernels/tables.h"

enum { Q8_PARTS = 2, Q8_HAS_OFFSET = 0 };

/* Quad j of a column's group. x: [32] int8, or [8] vectors if it has been expanded. */
EL_INLINE __m256i x_quad(const void *x, int j, bool expanded) {
  return expanded ? _mm256_load_si256((const __m256i *)x + j) : quad((const int8_t *)x + j * 4);
}

/* gcc 12 moves all multiplications of a group before the additions and runs out of registers. It
 * does not move them across this. */
#define KEEP_HERE(v) __asm__("" : "+x"(v))

typedef struct weights {
  __m256i v[8];  /* codes; for q8: four vectors of |w|, four of masks */
  __m256i start; /* q8: sum of |w| & m */
} weights;

EL_INLINE void load_weights(const unsigned char *codes, el_layout layout, int part, weights *w) {
  const __m256i bias = _mm256_set1_epi8((char)128), zero = _mm256_setzero_si256();
  if (layout == EL_LAYOUT_Q8) {
    __m256i sum = zero; /* 4 * 2 * 128 fits */
    for (int j = 0; j < 4; j++) {
      __m256i v = _mm256_xor_si256(load_quad(codes, part * 4 + j, layout), bias);
      w->v[j] = _mm256_abs_epi8(v);
      w->v[4 + j] = _mm256_cmpgt_epi8(zero, v);
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_and_si256(w->v[j], w->v[4 + j]), _mm256_set1_epi8(1)));
    }
    w->start = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    return;
  }
  for (int j = 0; j < 8; j++) w->v[j] = load_quad(codes, j, layout);
}

EL_INLINE __m256i dot(const weights *w, el_layout layout, int part, const void *x, bool expanded, __m256i start) {
  __m256i ones = _mm256_set1_epi16(1);
  if (layout == EL_LAYOUT_Q8) {
    start = _mm256_add_epi32(start, w->start);
    for (int j = 0; j < 4; j++) {
      __m256i q = _mm256_xor_si256(w->v[4 + j], x_quad(x, part * 4 + j, expanded));
      start = _mm256_add_epi32(start, _mm256_madd_epi16(_mm256_maddubs_epi16(w->v[j], q), ones));
    }
    return start;
  }
  __m256i even = _mm256_maddubs_epi16(w->v[0], x_quad(x, 0, expanded)),
          odd = _mm256_maddubs_epi16(w->v[1], x_quad(x, 1, expanded));
#pragma GCC unroll 3
  for (int j = 2; j < 8; j += 2) {
    even = _mm256_add_epi16(even, _mm256_maddubs_epi16(w->v[j], x_quad(x, j, expanded)));
    odd = _mm256_add_epi16(odd, _mm256_maddubs_epi16(w->v[j + 1], x_quad(x, j + 1, expanded)));
    KEEP_HERE(even);
    KEEP_HERE(odd);
  }
  if (layout == EL_LAYOUT_Q8M)
    return _mm256_add_epi32(_mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones)), start);
  return _mm256_add_epi32(_mm256_madd_epi16(_mm256_add_epi16(even, odd), ones), start);
}

EL_INLINE void group_sums(const unsigned char *codes, el_layout layout, int n, const int8_t *q, int C, __m256i *sum) {
  if (layout == EL_LAYOUT_Q4 && n < 8) {
    for (int j = 0; j < n; j++) {
      __m256i w = load_quad_of_end(codes, j, (n + 1) / 2);
      for (int c = 0; c < C; c++) {
        __m256i products = _mm256_maddubs_epi16(w, quad(q + c * EL_GROUP + j * 4));
        sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
      }
    }
    return;
  }
  if (layout != EL_LAYOUT_Q8) {
    weights w;
    load_weights(codes, layout, 0, &w);
    for (int c = 0; c < C; c++) sum[c] = dot(&w, layout, 0, q + c * EL_GROUP, false, sum[c]);
    return;
  }
  for (int j = 0; j < n; j++) {
    __m256i w = _mm256_xor_si256(load_quad(codes, j, layout), _mm256_set1_epi8((char)128)), size = _mm256_abs_epi8(w);
    for (int c = 0; c < C; c++) {
      __m256i products = _mm256_maddubs_epi16(size, _mm256_sign_epi8(quad(q + c * EL_GROUP + j * 4), w));
      sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
    }
  }
}

/* With activations in registers, splitting them costs nothing: x = 16 * high + low, both -8 to 8.
 * Codes are then used as they are, and all products of a group add up in 16 bits (8 * 2 * 255 * 8 =
 * 32640). */
typedef struct narrow {
  __m256i low[8], high[8];
} narrow;

EL_INLINE void load_narrow(const int8_t *x, int n, narrow *q) {
  for (int i = 0; i < n; i += 4) { /* groups are whole: there are 16 values */
    __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(x + i * 4)));
    __m256i high = _mm256_srai_epi16(_mm256_add_epi16(v, _mm256_set1_epi16(8)), 4),
            low = _mm256_sub_epi16(v, _mm256_slli_epi16(high, 4));
    int8_t both[32]; /* 8 of low, 8 of high, then the other ones */
    _mm256_storeu_si256((__m256i *)(void *)both, _mm256_packs_epi16(low, high));
    for (int j = 0; j < 4 && i + j < n; j++) {
      const int8_t *at = both + j / 2 * 16 + j % 2 * 4;
      q->low[i + j] = quad(at);
      q->high[i + j] = quad(at + 8);
    }
  }
}

EL_INLINE __m256i dot_narrow(const unsigned char *codes, const narrow *q, int n, __m256i start) {
  __m256i low = _mm256_setzero_si256(), high = low;
  for (int j = 0; j < n; j++) {
    __m256i v = _mm256_load_si256((const __m256i *)codes + j);
    low = _mm256_add_epi16(low, _mm256_maddubs_epi16(v, q->low[j]));
    high = _mm256_add_epi16(high, _mm256_maddubs_epi16(v, q->high[j]));
  }
  __m256i sum = _mm256_add_epi32(start, _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
}

#include "kernels/expanded_avx2.h"

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  const call k = {w, tile_begin, tile_end, x, y, ldy, add, fetch, lora};
  if (col_end - col_begin >= EXPANDED_MIN_COLS && tile_end - tile_begin >= EXPANDED_MIN_TILES &&
      w->cols % EL_GROUP == 0)
    gemm_expanded(&k, col_begin, col_end);
  else
    gemm_tiles(&k, col_begin, col_end);
}

#include "kernels/gemm.h"

const el_kernels el_kernels_avx2 = {.name = "avx2", .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
