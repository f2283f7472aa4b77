/* 16 float lanes in plain C: what the other lanes_*.h must equal, bit for bit. */
#ifndef EL_KERNELS_LANES_H
#define EL_KERNELS_LANES_H

#include <math.h>
#include <string.h>

#include "format/quant.h"

/* Queries, or columns, that share a pass over keys and values, or 16-bit weights: one: a reference need not be fast,
 * and its unrolled loops take a compiler long. */
enum { VF_TOGETHER = 1 };

/* Accumulators of attention that fit in registers: scores of queries times pages; queries times 16 dimensions. */
#define VF_SCORES 1
#define VF_VALUES 1

typedef struct vf {
  float v[16];
} vf;

#define VF_EACH(expr)                           \
  vf r;                                         \
  for (int i = 0; i < 16; i++) r.v[i] = (expr); \
  return r

/* Asks for the cache line at p, to be read soon: into the second-level cache. Always inlined: gcc 12 takes a function
 * that does nothing but this for one without effect, and drops the calls. */
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
static inline vf vf_abs(vf a) {
  VF_EACH(fabsf(a.v[i]));
}
static inline vf vf_fma(vf a, vf b, vf c) {
  VF_EACH(fmaf(a.v[i], b.v[i], c.v[i]));
}
static inline vf vf_round(vf a) {
  VF_EACH(rintf(a.v[i]));
}
/* 2^n for whole n in [-126, 127] */
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
static inline void vf_store_f16(void *p, vf a) {
  unsigned char *b = p;
  for (int i = 0; i < 16; i++) {
    uint16_t h = el_f32_to_f16(a.v[i]);
    memcpy(b + 2 * i, &h, 2);
  }
}
/* Whole numbers in [-127, 127] to int8; returns nothing but the bytes. */
static inline void vf_store_i8(int8_t *p, vf a) {
  for (int i = 0; i < 16; i++) p[i] = (int8_t)(int)a.v[i];
}
/* Lanes i and i + 8, then i and i + 4, 2, 1: the order of every instruction set's reduction. */
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
#undef VF_EACH

#endif
