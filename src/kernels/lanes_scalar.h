/* 16 float lanes in plain C: the other lanes_*.h must equal these bit for bit. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <math.h>
#include <string.h>

#include "format/quant.h"

/* Queries or columns that share a pass over keys and values, or over 16-bit weights. Here one: a
 * reference need not be fast, and unrolled loops take a compiler long. */
enum { VF_TOGETHER = 1 };

/* Accumulators of attention that fit into registers: for scores, queries times pages; for values,
 * queries times 16 dimensions. */
#define VF_SCORES 1
#define VF_VALUES 1

typedef struct vf {
  float v[16];
} vf;

#define VF_EACH(expr)                           \
  vf r;                                         \
  for (int i = 0; i < 16; i++) r.v[i] = (expr); \
  return r

/* Fetches the cache line at p, which will be read soon, into the second-level cache. Always
 * inlined: gcc 12 assumes that a function that does only this has no effect, and drops the
 * calls. */
static inline __attribute__((always_inline)) void vf_fetch(const void *p) {
  (void)p;
}
static inline vf vf_load(const float *p) {
  VF_EACH(p[i]);
}
static inline void vf_store(float *p, vf a) {
  memcpy(p, a.v, sizeof a.v);
}
static inline vf vf_set1(float x) {
  VF_EACH(x);
}
static inline vf vf_add(vf a, vf b) {
  VF_EACH(a.v[i] + b.v[i]);
}
static inline vf vf_sub(vf a, vf b) {
  VF_EACH(a.v[i] - b.v[i]);
}
static inline vf vf_mul(vf a, vf b) {
  VF_EACH(a.v[i] * b.v[i]);
}
static inline vf vf_div(vf a, vf b) {
  VF_EACH(a.v[i] / b.v[i]);
}
static inline vf vf_max(vf a, vf b) {
  VF_EACH(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
static inline vf vf_min(vf a, vf b) {
  VF_EACH(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
static inline vf vf_fma(vf a, vf b, vf c) {
  VF_EACH(fmaf(a.v[i], b.v[i], c.v[i]));
}
static inline vf vf_round(vf a) {
  VF_EACH(rintf(a.v[i]));
}
/* 2^n for whole n in [-126, 127]. */
static inline vf vf_pow2(vf n) {
  vf r;
  for (int i = 0; i < 16; i++) {
    uint32_t bits = (uint32_t)((int)n.v[i] + 127) << 23;
    memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
static inline vf vf_load_f16(const void *p) {
  const unsigned char *b = p;
  vf r;
  for (int i = 0; i < 16; i++) {
    uint16_t h;
    memcpy(&h, b + 2 * i, 2);
    r.v[i] = el_f16_to_f32(h);
  }
  return r;
}
static inline vf vf_load_bf16(const void *p) {
  const unsigned char *b = p;
  vf r;
  for (int i = 0; i < 16; i++) {
    uint16_t h;
    memcpy(&h, b + 2 * i, 2);
    r.v[i] = el_bf16_to_f32(h);
  }
  return r;
}
static inline uint16_t f16_from_f32(float x) {
  return el_f32_to_f16(x);
}
/* Rounds 32 values in [-127.5, 127.5), ties to even, to int8 at p. Returns the sum of what is
 * stored, which is exact. */
static inline int32_t vf_store_codes(int8_t *p, vf a, vf b) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    p[i] = (int8_t)rintf(a.v[i]);
    p[i + 16] = (int8_t)rintf(b.v[i]);
    sum += p[i] + p[i + 16];
  }
  return sum;
}
/* The bits of the largest magnitude in a and b. As integers, magnitudes have the order of their
 * values, with infinity above finite ones and every NaN above infinity, so one reduction gives the
 * maximum and says whether it is finite. */
static inline uint32_t vf_amax_bits(vf a, vf b) {
  uint32_t most = 0;
  for (int i = 0; i < 32; i++) {
    uint32_t bits;
    memcpy(&bits, i < 16 ? &a.v[i] : &b.v[i - 16], 4);
    bits &= 0x7fffffff;
    most = bits > most ? bits : most;
  }
  return most;
}
/* Adds lanes i and i + 8, then i and i + 4, 2, 1: the order of the reduction in every instruction
 * set. */
static inline float vf_sum(vf a) {
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) a.v[i] += a.v[i + w];
  return a.v[0];
}
static inline float vf_hmax(vf a) {
  float m = a.v[0];
  for (int i = 1; i < 16; i++) m = a.v[i] > m ? a.v[i] : m;
  return m;
}
/* x where a >= b, else 0. */
static inline vf vf_keep_ge(vf x, vf a, vf b) {
  VF_EACH(a.v[i] >= b.v[i] ? x.v[i] : 0);
}

/* limit: the same in all lanes. Writes the values of x that are at most `limit` to `to`, in order,
 * and their numbers, starting with `first`, to ids. Returns how many there are; all 16 places may
 * be written. */
static inline int vf_put_le(vf x, vf limit, int32_t first, int32_t *ids, float *to) {
  int n = 0;
  for (int i = 0; i < 16; i++) {
    ids[n] = first + i;
    to[n] = x.v[i];
    n += x.v[i] <= limit.v[i];
  }
  return n;
}

/* 16 sums in double precision. */
typedef struct vd {
  double v[16];
} vd;
static inline vd vd_zero(void) {
  return (vd){{0}};
}
static inline vd vd_add(vd a, vf b) {
  for (int i = 0; i < 16; i++) a.v[i] += (double)b.v[i];
  return a;
}
/* Adds lanes in the order of vf_sum. */
static inline double vd_sum(vd a) {
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) a.v[i] += a.v[i + w];
  return a.v[0];
}
/* Sums of products of 8-bit integers, exact: 16 lanes of 32 bits. */
typedef struct vi {
  int32_t v[16];
} vi;
static inline vi vi_load(const int32_t *p) {
  vi r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
/* Lane i += the products of the 4 codes at codes + 4 * i, each minus 128, with the 4 values at q.
 * Starts from what vi_dot_start returns for the sum of all q: some instruction sets multiply
 * unsigned codes, and subtract the 128 there. */
static inline vi vi_dot_start(int32_t sum) {
  (void)sum;
  return (vi){{0}};
}
static inline vi vi_dot(vi a, const unsigned char *codes, const int8_t *q) {
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < 4; k++) a.v[i] += (codes[i * 4 + k] - 128) * q[k];
  return a;
}
static inline vf vf_of_vi(vi a) {
  VF_EACH((float)a.v[i]);
}
/* 16 signed bytes. */
static inline vf vf_load_i8(const void *p) {
  const signed char *b = p;
  VF_EACH((float)b[i]);
}
#undef VF_EACH

#endif
