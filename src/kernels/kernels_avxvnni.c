/* AVX-VNNI: vpdpbusd on 256 bits, for CPUs that have it without AVX-512 (Intel from Alder Lake on,
 * including the N series). Tiles of 8 rows. The instruction multiplies unsigned codes of any size
 * with signed activations and adds four products to each 32-bit lane, so a group takes 8
 * instructions. Each quad of activations is broadcast by a load, which costs the multipliers
 * nothing; expanding them beforehand, as kernels_avx2.c does, needs as many loads and was no
 * faster.
 *
 * Compiled for AVX-512 VL instead, the same source gives the same instruction in its other
 * encoding: this is how its tests run on a CPU without AVX-VNNI. */
#include "kernels/lanes_avx2.h"
#include "kernels/ops.h"
#include "kernels/quads_avx2.h"
#include "kernels/tables.h"

#ifndef EL_KERNELS_TABLE
#define EL_KERNELS_TABLE el_kernels_avxvnni
#endif

enum { Q8_HAS_OFFSET = 1 };

EL_INLINE __m256i dpbusd(__m256i sum, __m256i codes, __m256i x) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, codes, x);
#else
  return _mm256_dpbusd_epi32(sum, codes, x);
#endif
}

EL_INLINE void group_sums(const unsigned char *codes, el_layout layout, int n, const int8_t *q, int C, __m256i *sum) {
#pragma GCC unroll 8
  for (int j = 0; j < n; j++) {
    __m256i v = layout == EL_LAYOUT_Q4 && n < 8 ? load_quad_of_end(codes, j, (n + 1) / 2) : load_quad(codes, j, layout);
    for (int c = 0; c < C; c++) sum[c] = dpbusd(sum[c], v, quad(q + c * EL_GROUP + j * 4));
  }
}

typedef struct narrow {
  __m256i q[8];
} narrow;

EL_INLINE void load_narrow(const int8_t *x, int n, narrow *q) {
  for (int j = 0; j < n; j++) q->q[j] = quad(x + j * 4);
}

EL_INLINE __m256i dot_narrow(const unsigned char *codes, const narrow *q, int n, __m256i start) {
  for (int j = 0; j < n; j++) start = dpbusd(start, _mm256_load_si256((const __m256i *)codes + j), q->q[j]);
  return start;
}

#include "kernels/tiles_avx2.h"

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  const call k = {w, tile_begin, tile_end, x, y, ldy, add, fetch, lora};
  gemm_tiles(&k, col_begin, col_end);
}

#include "kernels/gemm.h"

const el_kernels EL_KERNELS_TABLE = {.name = "avxvnni", .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
