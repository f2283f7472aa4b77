/* The gemm of an instruction set that has a gemm_lora, which the file that includes this one has
 * defined. */
#ifndef EL_KERNELS_GEMM_H
#define EL_KERNELS_GEMM_H

#include "kernels/ops.h"

static void gemm(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                 float *y, size_t ldy, bool add, el_fetch *fetch) {
  if (el_layout_is_float(w->layout))
    op_gemm_float(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add);
  else
    gemm_lora(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, NULL, fetch);
}

#endif
