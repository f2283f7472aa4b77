/* NEON with the dot product instructions (Armv8.2 DotProd: Cortex-A55 and A75 on, Neoverse N1
 * on). sdot multiplies signed bytes with signed bytes. 4-bit codes, and 8-bit codes below 128,
 * are non-negative signed bytes already; full 8-bit codes become code - 128 by flipping their top
 * bit. */
#include "kernels/lanes_neon.h"
#include "kernels/tables.h"

enum { CODES_ARE_SIGNED = 1 };

static inline __attribute__((always_inline)) int32x4_t dot(int32x4_t sum, uint8x16_t codes, int8x16_t x, int lane) {
  int8x16_t w = vreinterpretq_s8_u8(codes);
  switch (lane) {
    case 0: return vdotq_laneq_s32(sum, w, x, 0);
    case 1: return vdotq_laneq_s32(sum, w, x, 1);
    case 2: return vdotq_laneq_s32(sum, w, x, 2);
    default: return vdotq_laneq_s32(sum, w, x, 3);
  }
}

#include "kernels/tiles_neon.h"

EL_COLUMNS(1, dot_columns)
EL_COLUMNS(2, dot_columns)
EL_COLUMNS(3, dot_columns)
EL_COLUMNS(4, dot_columns)
EL_COLUMNS(5, dot_columns)
EL_COLUMNS(6, dot_columns)
EL_COLUMNS(7, dot_columns)
EL_COLUMNS(8, dot_columns)

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  static const columns_fn by_cols[EL_PANEL] = {columns_1, columns_2, columns_3, columns_4,
                                               columns_5, columns_6, columns_7, columns_8};
  gemm_columns(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch, 1, by_cols);
}

#include "kernels/gemm.h"

const el_kernels el_kernels_dotprod = {.name = "dotprod", .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
