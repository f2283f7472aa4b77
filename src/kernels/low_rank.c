/* The low-rank products of columns that have different B matrices, for instruction sets that do not fuse them. */
#include "kernels/kernels.h"

/* The fused kernels take what nearly all have: integer W, and each B in 8 bits. */
static bool can_fuse(const el_packed *w, const el_low_rank *lora, int col_begin, int col_end) {
  if (el_layout_is_float(w->layout)) return false;
  for (int c = col_begin; c < col_end; c++)
    if (lora[c].b && lora[c].b->layout != EL_LAYOUT_Q8) return false;
  return true;
}

void el_gemm_lora(const el_kernels *k, const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin,
                  int col_end, float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  if (lora && k->gemm_lora && can_fuse(w, lora, col_begin, col_end)) {
    k->gemm_lora(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch);
    return;
  }
  k->gemm(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, fetch);
  for (int c = col_begin; lora && c < col_end; c++) {
    const el_packed *b = lora[c].b;
    if (!b) continue;
    /* 16-bit layouts have tiles of 16 rows, whatever the others have. */
    int begin = tile_begin * w->tile / b->tile, end = (tile_end * w->tile + b->tile - 1) / b->tile;
    if (end > b->n_tiles) end = b->n_tiles;
    k->gemm(b, begin, end, lora[c].h, 0, 1, y + (size_t)c * ldy, ldy, true, NULL);
  }
}
