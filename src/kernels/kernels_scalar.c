/* The reference: plain C for any tile size. It defines the result of every kernel. */
#include "kernels/lanes_scalar.h"
#include "kernels/ops.h"
#include "kernels/tables.h"

/* The code of (row r, column i) of a tile. */
static int code_at(const el_packed *w, const unsigned char *tile, int r, int i) {
  size_t t = (size_t)w->tile, g = (size_t)i / EL_GROUP, k = (size_t)i % EL_GROUP;
  if (w->layout == EL_LAYOUT_Q8 || w->layout == EL_LAYOUT_Q8M)
    return tile[g * t * EL_GROUP + k / 4 * t * 4 + (size_t)r * 4 + k % 4];
  size_t half = ((size_t)el_group_quads(w->layout, w->cols, (int)g) + 1) / 2 * 4, low = k < half ? k : k - half;
  unsigned char byte = tile[g * t * EL_GROUP / 2 + low / 4 * t * 4 + (size_t)r * 4 + low % 4];
  return k < half ? byte & 15 : byte >> 4;
}

/* y[row] = sum over groups of d_w * d_x * (sum of code * q + offset), then + m * d_x * sum(q), each
 * a fused multiply-add. */
static float dot_row(const el_packed *w, const unsigned char *tile, int r, const el_act *x, int col) {
  float acc = 0;
  for (int g = 0; g < w->n_groups; g++) {
    size_t at = el_act_at(x, col, g), scale = ((size_t)g * (size_t)w->tile + (size_t)r) * 2;
    uint16_t h;
    memcpy(&h, tile + w->scales_at + scale, 2);
    int32_t sum = w->layout == EL_LAYOUT_Q4 ? x->s8[at] : w->layout == EL_LAYOUT_Q8 ? x->s128[at] : 0;
    int n = w->cols - g * EL_GROUP < EL_GROUP ? w->cols - g * EL_GROUP : EL_GROUP;
    for (int i = 0; i < n; i++) sum += code_at(w, tile, r, g * EL_GROUP + i) * x->q[at * EL_GROUP + (size_t)i];
    acc = fmaf((float)sum, el_f16_to_f32(h) * x->d[at], acc);
    if (w->layout == EL_LAYOUT_Q4M || w->layout == EL_LAYOUT_Q8M) {
      memcpy(&h, tile + w->mins_at + scale, 2);
      acc = fmaf(el_f16_to_f32(h), x->ds[at], acc);
    }
  }
  return acc;
}

static void gemm_scalar(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                        float *y, size_t ldy, bool add, el_fetch *fetch) {
  if (el_layout_is_float(w->layout)) {
    op_gemm_float(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add);
    return;
  }
  for (int t = tile_begin; t < tile_end; t++) {
    const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
    for (int c = col_begin; c < col_end; c++)
      for (int r = 0; r < w->tile && t * w->tile + r < w->rows; r++) {
        float *out = y + (size_t)c * ldy + t * w->tile + r, v = dot_row(w, tile, r, x, c);
        *out = add ? *out + v : v;
      }
  }
}

const el_kernels el_kernels_scalar = {.name = "scalar", .tile = 8, .gemm = gemm_scalar, EL_OPS};
