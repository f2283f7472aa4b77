/* Packs rows of floats into the integer layouts, included by ops.h: widen and pack_rows of
 * kernels.h. This is most of the work of loading an adapter, and tokens of others wait for it. The
 * bits are the same for all instruction sets. */
#ifndef EL_KERNELS_PACK_ROWS_H
#define EL_KERNELS_PACK_ROWS_H

#include "kernels/groups.h"

EL_INLINE vf vf_larger_magnitude(vf x, vf most) {
  return vf_max(vf_max(x, vf_sub(vf_set1(0), x)), most);
}

static float op_widen(el_type type, const void *src, size_t n, float *dst) {
  const unsigned char *from = src;
  vf most = vf_set1(0);
  size_t i = 0;
  for (; type == EL_TYPE_F16 && i + EL_LANES <= n; i += EL_LANES) {
    const vf x = vf_load_f16(from + 2 * i);
    vf_store(dst + i, x);
    most = vf_larger_magnitude(x, most);
  }
  for (; type == EL_TYPE_BF16 && i + EL_LANES <= n; i += EL_LANES) {
    const vf x = vf_load_bf16(from + 2 * i);
    vf_store(dst + i, x);
    most = vf_larger_magnitude(x, most);
  }
  for (; type == EL_TYPE_F32 && i + EL_LANES <= n; i += EL_LANES) {
    float values[EL_LANES]; /* a file's values may be at any address */
    memcpy(values, from + 4 * i, sizeof values);
    const vf x = vf_load(values);
    vf_store(dst + i, x);
    most = vf_larger_magnitude(x, most);
  }
  float largest = vf_hmax(most);
  if (i < n) el_dequantize(type, from + (type == EL_TYPE_F32 ? 4 : 2) * i, dst + i, (int64_t)(n - i));
  for (; i < n; i++) largest = fabsf(dst[i]) > largest ? fabsf(dst[i]) : largest;
  return largest;
}

/* n values of a group, at most 32, as el_group_from_n_floats makes it. */
EL_INLINE void group_q8(const float *x, int n, vf factor, el_group *out) {
  const vf x0 = vf_mul(load_n(x, n), factor), zero = vf_set1(0);
  const vf x1 = n > EL_LANES ? vf_mul(load_n(x + EL_LANES, n - EL_LANES), factor) : zero;
  const uint32_t bits = vf_amax_bits(x0, x1);
  float amax;
  memcpy(&amax, &bits, sizeof amax);
  out->d = f16_from_f32(amax / 127.0f);
  const float d = el_f16_widen(out->d);
  const vf id = vf_set1(d > 0 ? 1.0f / d : 0.0f), most = vf_set1(127), least = vf_set1(-127);
  const vf q0 = vf_max(vf_min(vf_mul(x0, id), most), least), q1 = vf_max(vf_min(vf_mul(x1, id), most), least);
  int8_t code[EL_GROUP];
  vf_store_codes(code, q0, q1);
  for (int j = 0; j < EL_GROUP / 4; j++) {
    out->word[j] = el_load_u32((const unsigned char *)code + 4 * j) ^ 0x80 * EL_EVERY_BYTE;
    /* As one vector of 32 bytes this would wait until the two previous stores have left the core's
     * store buffer. */
    __asm__("" : "+r"(out->word[j]));
  }
}

/* The same as el_group_from_n_floats_q4. rounded: n, rounded up to 4. */
EL_INLINE void group_q4(const float *x, int n, int rounded, float factor, el_group *out) {
  float values[EL_GROUP] = {0};
  for (int i = 0; i < n; i++) values[i] = x[i] * factor;
  el_group_from_n_floats_q4(values, rounded, out);
}

/* cols: of the matrix, passed separately where there are few: B matrices of small ranks have
 * thousands of rows, which would be mostly zeros as whole groups. `layout` is passed separately so
 * that it is a constant. */
EL_INLINE void pack_integer_rows(el_packed *w, el_layout layout, int row, int n_rows, const float *src, int cols,
                                 float factor) {
  const vf factors = vf_set1(factor);
  for (int at = row; at < row + n_rows; at++) {
    unsigned char *tile = w->data + (size_t)(at / w->tile) * w->tile_bytes;
    for (int g = 0; g < (cols + EL_GROUP - 1) / EL_GROUP; g++, src += EL_GROUP) {
      const int left = cols - g * EL_GROUP, n = left < EL_GROUP ? left : EL_GROUP;
      el_group c = {0}; /* compilers do not see that el_put_group stops at n */
      if (layout == EL_LAYOUT_Q8)
        group_q8(src, n, factors, &c);
      else
        group_q4(src, n, n == EL_GROUP ? EL_GROUP : (n + 3) / 4 * 4, factor, &c);
      el_put_group(w, layout, tile, at % w->tile, g, &c);
    }
    src -= (size_t)((cols + EL_GROUP - 1) / EL_GROUP) * EL_GROUP - (size_t)cols;
  }
}

static void op_pack_rows(el_packed *w, int row, int n_rows, const float *src, float factor) {
#define COLS(LAYOUT, cols)                                        \
  case cols:                                                      \
    pack_integer_rows(w, LAYOUT, row, n_rows, src, cols, factor); \
    return
#define ROWS(LAYOUT)  \
  switch (w->cols) {  \
    COLS(LAYOUT, 8);  \
    COLS(LAYOUT, 16); \
    COLS(LAYOUT, 32); \
    default: break;   \
  }                   \
  pack_integer_rows(w, LAYOUT, row, n_rows, src, w->cols, factor)
  if (w->layout == EL_LAYOUT_Q8) {
    ROWS(EL_LAYOUT_Q8);
  } else {
    ROWS(EL_LAYOUT_Q4);
  }
#undef ROWS
#undef COLS
}

#endif
