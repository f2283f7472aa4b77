/* Everything but the integer matrix product, written once over 16 float lanes and compiled once
 * for each instruction set. The file that includes this one has included its lanes_*.h before.
 * The order of floating-point operations here is the definition that makes all instruction sets
 * agree. */
#ifndef EL_KERNELS_OPS_H
#define EL_KERNELS_OPS_H

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

#define EL_INLINE static inline __attribute__((always_inline))

/* The first n < 16 values at p, then `fill`. */
EL_INLINE vf load_tail(const float *p, int n, float fill) {
  float t[EL_LANES];
  for (int i = 0; i < EL_LANES; i++) t[i] = i < n ? p[i] : fill;
  return vf_load(t);
}

EL_INLINE void store_tail(float *p, vf x, int n) {
  float t[EL_LANES];
  vf_store(t, x);
  memcpy(p, t, sizeof(float) * (size_t)n);
}

EL_INLINE vf load_n(const float *p, int n) {
  return n >= EL_LANES ? vf_load(p) : load_tail(p, n, 0);
}
EL_INLINE void store_n(float *p, vf x, int n) {
  if (n >= EL_LANES)
    vf_store(p, x);
  else
    store_tail(p, x, n);
}

/* e^x, with x clamped to [-87.3, 88]: expf of Cephes (range reduction by ln 2 in two parts, a
 * polynomial of degree 6); the error is below 2 ulp. */
EL_INLINE vf vf_exp(vf x) {
  x = vf_min(vf_max(x, vf_set1(-87.3f)), vf_set1(88.0f));
  vf n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
  vf r = vf_fma(n, vf_set1(-0.693359375f), x);
  r = vf_fma(n, vf_set1(2.12194440e-4f), r);
  vf p = vf_set1(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
  p = vf_fma(p, vf_mul(r, r), vf_add(r, vf_set1(1.0f)));
  return vf_mul(p, vf_pow2(n));
}

static void op_rms_norm(const float *x, const float *w, int n, float eps, float *y) {
  vf sum = vf_set1(0);
  for (int i = 0; i < n; i += EL_LANES) {
    vf v = load_n(x + i, n - i);
    sum = vf_fma(v, v, sum);
  }
  vf s = vf_set1(1.0f / sqrtf(vf_sum(sum) / (float)n + eps));
  for (int i = 0; i < n; i += EL_LANES)
    store_n(y + i, vf_mul(vf_mul(load_n(x + i, n - i), s), w ? load_n(w + i, n - i) : vf_set1(1)), n - i);
}

static void op_swiglu(const float *gate, const float *up, int n, float *y) {
  vf one = vf_set1(1), zero = vf_set1(0);
  for (int i = 0; i < n; i += EL_LANES) {
    vf g = load_n(gate + i, n - i);
    vf silu = vf_div(g, vf_add(one, vf_exp(vf_sub(zero, g))));
    store_n(y + i, vf_mul(silu, load_n(up + i, n - i)), n - i);
  }
}

/* x / (1 + e^-z) for z = 2 sqrt(2 / pi) (x + 0.044715 x^3), which equals 0.5 x (1 + tanh(z /
 * 2)). */
static void op_geglu(const float *gate, const float *up, int n, float *y) {
  vf one = vf_set1(1);
  for (int i = 0; i < n; i += EL_LANES) {
    vf g = load_n(gate + i, n - i);
    vf minus_z = vf_mul(vf_mul(g, vf_set1(-1.5957691216f)), vf_fma(vf_mul(g, g), vf_set1(0.044715f), one));
    vf gelu = vf_div(g, vf_add(one, vf_exp(minus_z)));
    store_n(y + i, vf_mul(gelu, load_n(up + i, n - i)), n - i);
  }
}

static void op_swiglu_clamped(const float *gate, const float *up, int n, float *y) {
  vf one = vf_set1(1), seven = vf_set1(7);
  for (int i = 0; i < n; i += EL_LANES) {
    vf g = vf_min(load_n(gate + i, n - i), seven), u = vf_max(vf_min(load_n(up + i, n - i), seven), vf_set1(-7));
    vf gated = vf_div(g, vf_add(one, vf_exp(vf_mul(g, vf_set1(-1.702f)))));
    store_n(y + i, vf_mul(gated, vf_add(u, one)), n - i);
  }
}

/* tanh(z) = 1 - 2 / (e^2z + 1) */
EL_INLINE vf vf_cap(vf x, float scale, float cap) {
  vf one = vf_set1(1), two = vf_set1(2);
  vf e = vf_exp(vf_mul(x, vf_set1(2 * scale / cap)));
  return vf_mul(vf_set1(cap), vf_sub(one, vf_div(two, vf_add(e, one))));
}

static void op_cap(float *x, int n, float scale, float cap) {
  for (int i = 0; i < n; i += EL_LANES) {
    vf v = load_n(x + i, n - i);
    store_n(x + i, cap > 0 ? vf_cap(v, scale, cap) : vf_mul(v, vf_set1(scale)), n - i);
  }
}

/* A group with a NaN or an infinity gets the scale NaN, so that the damage shows and stays in its
 * own column. */
static void op_quantize(const float *x, int group_begin, int group_end, float gain, el_act *act, int col) {
  /* A local copy: bytes that are stored could otherwise change it, for all that the compiler
   * knows. */
  const el_act a = *act;
  for (int g = group_begin; g < group_end; g++) {
    int n = a.k - g * EL_GROUP;
    const float *p = x + (size_t)g * EL_GROUP;
    vf x0 = load_n(p, n), x1 = n >= EL_GROUP ? vf_load(p + 16) : n > 16 ? load_tail(p + 16, n - 16, 0) : vf_set1(0);
    uint32_t bits = vf_amax_bits(x0, x1);
    size_t at = el_act_at(&a, col, g);
    int8_t *q = a.q + at * EL_GROUP;
    if (bits >= 0x7f800000) {
      memset(q, 0, EL_GROUP);
      a.d[at] = a.ds[at] = NAN;
      a.s8[at] = a.s128[at] = 0;
      continue;
    }
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    /* An amax below 127 / FLT_MAX has no finite inverse: nothing is left of such a group. In other
     * groups no value exceeds 127 by more than two roundings. */
    vf id = vf_set1(amax > 1e-36f ? 127.0f / amax : 0.0f);
    int32_t sum = vf_store_codes(q, vf_mul(x0, id), vf_mul(x1, id));
    float d = amax / 127.0f * gain;
    a.d[at] = d;
    a.ds[at] = d * (float)sum;
    a.s8[at] = -8 * sum;
    a.s128[at] = -128 * sum;
  }
}

/* Multiply-adds are explicit here, too: gcc 12 fuses this pattern by itself, in spite of
 * -ffp-contract=off. */
static void op_rope(float *x, const float *cos_sin, int n_rot) {
  for (int i = 0; i < n_rot; i += 2) {
    float c = cos_sin[i], s = cos_sin[i + 1], x0 = x[i], x1 = x[i + 1];
    x[i] = fmaf(x0, c, -(x1 * s));
    x[i + 1] = fmaf(x0, s, x1 * c);
  }
}

static void op_rope_halves(float *x, const float *cos_sin, int n_rot) {
  const int half = n_rot / 2;
  for (int i = 0; i < half; i += EL_LANES) {
    const int n = half - i;
    vf c = load_n(cos_sin + i, n), s = load_n(cos_sin + half + i, n), x0 = load_n(x + i, n),
       x1 = load_n(x + half + i, n);
    store_n(x + i, vf_fma(x0, c, vf_sub(vf_set1(0), vf_mul(x1, s))), n);
    store_n(x + half + i, vf_fma(x0, s, vf_mul(x1, c)), n);
  }
}

/* Writes or adds the rows of one tile of one column; n: rows that exist. */
EL_INLINE void put_lanes(float *y, vf r, int n, bool add) {
  if (add) r = vf_add(load_n(y, n), r);
  store_n(y, r, n);
}

/* One tile of a 16-bit layout times C columns. Even and odd k are summed separately. codes:
 * [cols][16] */
EL_INLINE void float_tile(const unsigned char *codes, bool bf16, int k, const float *x, size_t ldx, int C, vf *out) {
  vf even[4], odd[4];
  for (int c = 0; c < C; c++) even[c] = odd[c] = vf_set1(0);
  int i = 0;
  for (; i + 1 < k; i += 2) {
    const unsigned char *p = codes + (size_t)i * 32;
    vf w0 = bf16 ? vf_load_bf16(p) : vf_load_f16(p), w1 = bf16 ? vf_load_bf16(p + 32) : vf_load_f16(p + 32);
    for (int c = 0; c < C; c++) {
      even[c] = vf_fma(w0, vf_set1(x[(size_t)c * ldx + (size_t)i]), even[c]);
      odd[c] = vf_fma(w1, vf_set1(x[(size_t)c * ldx + (size_t)i + 1]), odd[c]);
    }
  }
  if (i < k) {
    vf w = bf16 ? vf_load_bf16(codes + (size_t)i * 32) : vf_load_f16(codes + (size_t)i * 32);
    for (int c = 0; c < C; c++) even[c] = vf_fma(w, vf_set1(x[(size_t)c * ldx + (size_t)i]), even[c]);
  }
  for (int c = 0; c < C; c++) out[c] = vf_add(even[c], odd[c]);
}

static void op_gemm_float(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                          float *y, size_t ldy, bool add) {
  bool bf16 = w->layout == EL_LAYOUT_BF16;
  for (int t = tile_begin; t < tile_end; t++) {
    const unsigned char *codes = w->data + (size_t)t * w->tile_bytes;
    int row = t * EL_LANES, n = w->rows - row < EL_LANES ? w->rows - row : EL_LANES;
    for (int c = col_begin; c < col_end;) {
      const float *xc = x->f + (size_t)c * (size_t)x->k;
      vf r[4];
      int C = col_end - c >= VF_TOGETHER ? VF_TOGETHER : 1;
      if (VF_TOGETHER == 4 && C == 4)
        float_tile(codes, bf16, w->cols, xc, (size_t)x->k, 4, r);
      else
        float_tile(codes, bf16, w->cols, xc, (size_t)x->k, 1, r);
      for (int i = 0; i < C; i++, c++) put_lanes(y + (size_t)c * ldy + row, r[i], n, add);
    }
  }
}

#include "kernels/attention.h"
#include "kernels/logits.h"
#include "kernels/pack_rows.h"

/* The entries that an instruction set's table takes from this file. */
#define EL_OPS                                                                                            \
  .quantize = op_quantize, .rms_norm = op_rms_norm, .swiglu = op_swiglu, .geglu = op_geglu,               \
  .swiglu_clamped = op_swiglu_clamped, .cap = op_cap, .attend = op_attend, .attend_join = op_attend_join, \
  .rope = op_rope, .rope_halves = op_rope_halves, .kv_write = op_kv_write, .row_most = op_row_most,       \
  .row_exp = op_row_exp, .row_near = op_row_near, .widen = op_widen, .pack_rows = op_pack_rows

#endif
