/* The low-rank products of columns with different B matrices, where they are not fused: with 16-bit
 * weights, and in the scalar reference. */
#include "kernels/kernels.h"

/* The fused kernels take what almost all have: an integer W, and each B in 8 or 4 bits. */
static bool can_fuse(const el_packed *w, const el_low_rank *lora, int col_begin, int col_end) {
  if (el_layout_is_float(w->layout)) return false;
  for (int c = col_begin; c < col_end; c++)
    if (lora[c].b && lora[c].b->layout != EL_LAYOUT_Q8 && lora[c].b->layout != EL_LAYOUT_Q4) return false;
  return true;
}

/* y[row] += h . B[row] for the rows of one tile that are in [begin, end). */
static void add_part_of_tile(const el_kernels *k, const el_packed *b, int tile, const el_act *h, int begin, int end,
                             float *y) {
  float all[EL_TILE_MAX];
  const int first = tile * b->tile;
  el_packed one = *b;
  one.data += (size_t)tile * b->tile_bytes;
  one.rows = b->rows - first < b->tile ? b->rows - first : b->tile;
  one.n_tiles = 1;
  k->gemm(&one, 0, 1, h, 0, 1, all, EL_TILE_MAX, false, NULL);
  for (int row = begin; row < end; row++) y[row] += all[row - first];
}

/* The same for any rows. Threads share rows by the tiles of W, and tiles of B may be larger: of a
 * tile that belongs to two threads, each adds its own rows. */
static void add_low_rank_rows(const el_kernels *k, const el_packed *b, const el_act *h, int begin, int end, float *y) {
  if (end > b->rows) end = b->rows;
  if (begin < end && begin % b->tile) {
    int tile = begin / b->tile, stop = (tile + 1) * b->tile < end ? (tile + 1) * b->tile : end;
    add_part_of_tile(k, b, tile, h, begin, stop, y);
    begin = stop;
  }
  int tile = begin / b->tile, n = end == b->rows ? b->n_tiles - tile : (end - begin) / b->tile;
  if (begin < end && n > 0) {
    k->gemm(b, tile, tile + n, h, 0, 1, y, 0, true, NULL);
    begin = (tile + n) * b->tile;
  }
  if (begin < end) add_part_of_tile(k, b, tile + n, h, begin, end, y);
}

void el_gemm_lora(const el_kernels *k, const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin,
                  int col_end, float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  if (lora && k->gemm_lora && can_fuse(w, lora, col_begin, col_end)) {
    k->gemm_lora(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch);
    return;
  }
  k->gemm(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, fetch);
  for (int c = col_begin; lora && c < col_end; c++)
    if (lora[c].b)
      add_low_rank_rows(k, lora[c].b, lora[c].h, tile_begin * w->tile, tile_end * w->tile, y + (size_t)c * ldy);
}
