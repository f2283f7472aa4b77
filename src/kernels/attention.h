/* Attention over pages of keys and values, written once over 16 float lanes and included by ops.h.
 *
 * Positions are processed in blocks of EL_ATTN_BLOCK with a running maximum and sum (online
 * softmax: arXiv 1805.02867, used for attention in arXiv 2205.14135). So keys and values are read
 * once, side by side, and scores stay in the first-level cache however long the sequence is. For
 * each query and block:
 *   s[t] = q . k[t], dimensions in order; q is first scaled by the score's scale and log2(e)
 *     of 8-bit codes: (sum of products, exact) * (scale of k[t] * scale of q)
 *     with a cap: c * tanh(s[t] / c), c = cap * log2(e)
 *   m' = max(m, s) ; c = 2^(m - m') ; p[t] = 2^(s[t] - m')
 *   sum = sum * c + p    in 16 lanes, position t in lane t mod 16
 *   o = o * c ; o += p[t] * v[t], t in order
 *     of 8-bit codes: o += (p[t] * scale of v[t]) * code
 *
 * Positions before a query's window have p[t] = 0, and its first block is the one where its window
 * begins.
 *
 * This starts anew with every EL_ATTN_SPAN positions, so that threads may share the positions of
 * one head. The results of spans, with the 16 lanes of a sum added up, are joined in the order of
 * positions; the first is taken as it is:
 *   M' = max(M, m) ; a = 2^(M - M') ; b = 2^(m - M')
 *   S = S * a + sum * b ; O = O * a + o * b    the second product fused with the addition
 *
 * The result is O / S; a sink goes into maximum and sum at this point.
 *
 * All of this is the definition. A query's result depends neither on the other queries of the call
 * nor on whether one call joins the spans or several leave partial results for attend_join. These
 * only decide how often a key or a value is used once it has been read and converted: a tile takes
 * the query heads that share a KV head, for several rows of a prompt. */
#ifndef EL_KERNELS_ATTENTION_H
#define EL_KERNELS_ATTENTION_H

/* ------------------------------------------------------------------- pages */

/* Where things are in a layer's and head's piece of a page; see kernels.h. */
EL_INLINE size_t kv_value_bytes(el_kv_type type) {
  return type == EL_KV_Q8 ? 1 : 2;
}
EL_INLINE size_t kv_values_at(el_kv_type type, int hd) {
  return type == EL_KV_Q8 ? (size_t)(hd + 3) / 4 * 64 : (size_t)hd * 32;
}
EL_INLINE size_t kv_scales_at(int hd) {
  return kv_values_at(EL_KV_Q8, hd) + (size_t)hd * EL_LANES;
}

/* The largest magnitude; NaN if a value is not finite, so that the damage shows. */
static float kv_amax(const float *x, int n) {
  float amax = 0, finite = 0;
  for (int i = 0; i < n; i++) {
    amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    finite += x[i] * 0.0f;
  }
  return finite == 0 ? amax : NAN;
}
/* A NaN may become any code, since its scale is NaN too. */
EL_INLINE int kv_code(float x, float inverse) {
  float c = rintf(x * inverse);
  return c >= 127 ? 127 : c > -127 ? (int)c : -127;
}

static void kv_write_q8(unsigned char *page_at, int slot, int hd, const float *key, const float *value) {
  const float *const x[2] = {key, value};
  float inverse[2];
  for (int i = 0; i < 2; i++) {
    const float amax = kv_amax(x[i], hd);
    uint16_t d = isnan(amax) ? 0x7e00 : f16_from_f32(amax / 127.0f);
    if (el_f16_to_f32(d) * 127.0f < amax)
      d++; /* rounded up, so that no code is cut off: small
            * scales have few bits */
    memcpy(page_at + kv_scales_at(hd) + (size_t)(i * EL_LANES + slot) * 2, &d, 2);
    inverse[i] = el_f16_to_f32(d) > 0 ? 1.0f / el_f16_to_f32(d) : 0;
  }
  unsigned char *k = page_at + slot * 4, *v = page_at + kv_values_at(EL_KV_Q8, hd) + (size_t)(slot * hd);
  for (int i = 0; i < hd; i++) k[i / 4 * 64 + i % 4] = (unsigned char)(kv_code(key[i], inverse[0]) + 128);
  for (int i = 0; i < hd; i++) v[i] = (unsigned char)kv_code(value[i], inverse[1]);
}

static void kv_write_f16(unsigned char *page_at, int slot, int hd, const float *key, const float *value) {
  uint16_t *k = (uint16_t *)page_at + slot, *v = (uint16_t *)page_at + (size_t)hd * 16 + (size_t)slot * (size_t)hd;
  for (int i = 0; i < hd; i++) k[i * 16] = f16_from_f32(key[i]);
  for (int i = 0; i < hd; i++) v[i] = f16_from_f32(value[i]);
}

static void op_kv_write(el_kv_type type, unsigned char *page_at, int slot, int head_dim, const float *key,
                        const float *value) {
  (type == EL_KV_Q8 ? kv_write_q8 : kv_write_f16)(page_at, slot, head_dim, key, value);
}

/* Pages up to the last one that the call reads. */
EL_INLINE int attn_n_pages(const el_attn *a) {
  const int n = (a->n_pos + a->n_rows - 1 + EL_LANES - 1) / EL_LANES, end = a->span_end * (EL_ATTN_SPAN / EL_LANES);
  return a->partials && end < n ? end : n;
}
EL_INLINE const unsigned char *attn_page(const el_attn *a, int i) {
  return a->kv + (size_t)a->pages[i] * a->page_bytes + a->offset;
}
/* The page `i`, or beyond the end a page of what will be read next, or the last page, which always
 * exists. */
EL_INLINE const unsigned char *attn_page_ahead(const el_attn *a, int i, int n_pages) {
  if (i < n_pages) return attn_page(a, i);
  i -= n_pages;
  return a->next_pages && i < a->next_n_pages ? a->kv + (size_t)a->next_pages[i] * a->page_bytes + a->next_offset
                                              : attn_page(a, n_pages - 1);
}

/* -------------------------------------------------------------------- tile */

typedef struct attn_tile {
  const el_attn *a;
  int n;                         /* number of queries */
  int n_pos[EL_ATTN_TILE];       /* the positions of each query, in ascending order */
  int sees[EL_ATTN_TILE];        /* the first position that each query sees; ascending too */
  int from[EL_ATTN_TILE];        /* the same within the current span */
  float *o[EL_ATTN_TILE];        /* [head_dim] each: o of that span, not divided */
  float max[EL_ATTN_TILE + 8];   /* m; padded to whole vectors */
  float scale[EL_ATTN_TILE + 8]; /* c of the block */
  vf sum[EL_ATTN_TILE];
  /* Scaled queries, in groups that are processed together. For F16 keys: [head_dim][queries of the
   * group]. For 8-bit keys, in the same memory: [ceil(head_dim / 4)][queries of the group][4]
   * codes, with the scale and the sum of each query's codes. */
  float *qf;
  int8_t *qc;
  float qd[EL_ATTN_TILE];
  int32_t qsum[EL_ATTN_TILE];
  float *scores; /* [EL_ATTN_TILE][EL_ATTN_BLOCK]: s, later p */
} attn_tile;

/* 2^x for x <= 0, at least 2^-126; 1 for 0. A polynomial of degree 6 with relative error 2e-8
 * before rounding. */
EL_INLINE vf vf_exp2(vf x) {
  x = vf_max(x, vf_set1(-126.0f));
  vf n = vf_round(x), r = vf_sub(x, n);
  vf p = vf_set1(1.559467782e-4f);
  p = vf_fma(p, r, vf_set1(1.340664341e-3f));
  p = vf_fma(p, r, vf_set1(9.617692791e-3f));
  p = vf_fma(p, r, vf_set1(5.550310388e-2f));
  p = vf_fma(p, r, vf_set1(2.402265221e-1f));
  p = vf_fma(p, r, vf_set1(6.931472421e-1f));
  p = vf_fma(p, r, vf_set1(1.0f));
  return vf_mul(p, vf_pow2(n));
}

/* Scores of queries [first, first + G) for the 16 positions of each of P pages; s:
 * [G][EL_ATTN_BLOCK]. Meanwhile the keys of the pages `ahead` are fetched; NULL: nothing is
 * fetched. */
EL_INLINE void attn_scores_f16(const attn_tile *t, int first, const unsigned char *const *pages,
                               const unsigned char *const *ahead, float *s, int G, int P) {
  const int hd = t->a->head_dim;
  const float *q = t->qf + (size_t)first * (size_t)hd;
  vf acc[VF_SCORES];
#pragma GCC unroll 16
  for (int i = 0; i < G * P; i++) acc[i] = vf_set1(0);
  for (int d = 0; d < hd; d++, q += G) {
    vf k[4];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) k[p] = vf_load_f16(pages[p] + (size_t)d * 32);
    if (ahead && d % 2 == 0)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) vf_fetch(ahead[p] + (size_t)d * 32);
#pragma GCC unroll 16
    for (int i = 0; i < G; i++)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) acc[i * P + p] = vf_fma(vf_set1(q[i]), k[p], acc[i * P + p]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) vf_store(s + i * EL_ATTN_BLOCK + p * EL_LANES, acc[i * P + p]);
}

EL_INLINE void attn_scores_q8(const attn_tile *t, int first, const unsigned char *const *pages,
                              const unsigned char *const *ahead, float *s, int G, int P) {
  const int hd = t->a->head_dim, quads = (hd + 3) / 4;
  const int8_t *q = t->qc + (size_t)(first * quads) * 4;
  vi acc[VF_SCORES];
#pragma GCC unroll 16
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) acc[i * P + p] = vi_dot_start(t->qsum[first + i]);
  for (int j = 0; j < quads; j++, q += G * 4) {
    if (ahead)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) vf_fetch(ahead[p] + (size_t)j * 64);
#pragma GCC unroll 16
    for (int i = 0; i < G; i++)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) acc[i * P + p] = vi_dot(acc[i * P + p], pages[p] + (size_t)j * 64, q + i * 4);
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) {
    if (ahead) vf_fetch(ahead[p] + kv_scales_at(hd));
    vf d = vf_load_f16(pages[p] + kv_scales_at(hd));
#pragma GCC unroll 16
    for (int i = 0; i < G; i++)
      vf_store(s + i * EL_ATTN_BLOCK + p * EL_LANES,
               vf_mul(vf_of_vi(acc[i * P + p]), vf_mul(d, vf_set1(t->qd[first + i]))));
  }
}

/* How many positions of the block query i sees; 0 or less: none. */
EL_INLINE int attn_n_seen(const attn_tile *t, int i, int block) {
  const int n = t->n_pos[i] - block;
  return n < EL_ATTN_BLOCK ? n : EL_ATTN_BLOCK;
}

/* How many positions of the block come before the first that query i sees; all if that one is in a
 * later block. */
EL_INLINE int attn_n_before(const attn_tile *t, int i, int block) {
  const int n = t->from[i] - block;
  return n < 0 ? 0 : n < EL_ATTN_BLOCK ? n : EL_ATTN_BLOCK;
}

/* Scores of G queries for the first n positions of the block, from the page in which the first of
 * them begins to see. A page missing from the last P is replaced by the one before; its scores do
 * not count. */
EL_INLINE void attn_scores(attn_tile *t, int first, int block, int n, bool fetch, int G, el_kv_type type) {
  enum { MOST = 4 };
  const el_attn *a = t->a;
  const int P = VF_SCORES / G >= 4 ? 4 : VF_SCORES / G >= 2 ? 2 : 1;
  const int before = attn_n_before(t, first, block) / EL_LANES, begin = block / EL_LANES + before,
            end = block / EL_LANES + (n + EL_LANES - 1) / EL_LANES, n_pages = attn_n_pages(a);
  float *s = t->scores + first * EL_ATTN_BLOCK + before * EL_LANES;
  for (int i = begin; i < end; i += P, s += P * EL_LANES) {
    const unsigned char *pages[MOST], *ahead[MOST];
    for (int p = 0; p < P; p++) {
      pages[p] = attn_page(a, i + p < end ? i + p : end - 1);
      ahead[p] = attn_page_ahead(a, i + p + EL_ATTN_BLOCK / EL_LANES, n_pages);
    }
    if (type == EL_KV_Q8)
      attn_scores_q8(t, first, pages, fetch ? ahead : NULL, s, G, P);
    else
      attn_scores_f16(t, first, pages, fetch ? ahead : NULL, s, G, P);
  }
}

/* Scores k to k + 15 of a block, of which [begin, end) count. Others are replaced by `fill`: they
 * belong to positions that the row does not see and may be anything, including NaN. */
EL_INLINE vf attn_load(const float *s, int k, int begin, int end, float fill) {
  if (k >= begin && k + EL_LANES <= end) return vf_load(s + k);
  float x[EL_LANES];
  for (int i = 0; i < EL_LANES; i++) x[i] = k + i >= begin && k + i < end ? s[k + i] : fill;
  return vf_load(x);
}

/* Turns scores into probabilities, times the scales of 8-bit values, for all queries of the
 * tile. */
static void attn_softmax(attn_tile *t, int block) {
  float top[EL_ATTN_TILE];
  for (int i = 0; i < EL_ATTN_TILE + 8; i++) t->scale[i] = 0;
  for (int i = 0; i < t->n; i++) {
    float *s = t->scores + i * EL_ATTN_BLOCK;
    const int n = attn_n_seen(t, i, block), begin = attn_n_before(t, i, block);
    top[i] = t->max[i];
    if (n <= begin) continue;
    vf m = vf_set1(-INFINITY);
    for (int k = begin / EL_LANES * EL_LANES; k < n; k += EL_LANES) {
      if (t->a->cap > 0) vf_store(s + k, vf_cap(vf_load(s + k), 1, t->a->cap * 1.44269504f));
      m = vf_max(m, attn_load(s, k, begin, n, -INFINITY));
    }
    const float h = vf_hmax(m);
    if (h > top[i]) top[i] = h;
    t->scale[i] = t->max[i] - top[i];
  }
  for (int i = 0; i < t->n; i += EL_LANES) vf_store(t->scale + i, vf_exp2(vf_load(t->scale + i)));
  for (int i = 0; i < t->n; i++) {
    float *s = t->scores + i * EL_ATTN_BLOCK;
    const int n = attn_n_seen(t, i, block), begin = attn_n_before(t, i, block), first = begin / EL_LANES * EL_LANES;
    if (n <= 0) continue;
    for (int k = 0; k < begin; k++) s[k] = 0;
    if (n <= begin) continue;
    vf m = vf_set1(top[i]), sum = vf_mul(t->sum[i], vf_set1(t->scale[i]));
    t->max[i] = top[i];
    for (int k = first; k < n; k += EL_LANES) {
      vf_store(s + k, vf_exp2(vf_sub(vf_load(s + k), m)));
      sum = vf_add(sum, attn_load(s, k, begin, n, 0));
    }
    for (int k = first; k < begin; k++) s[k] = 0;
    t->sum[i] = sum;
    if (t->a->kv_type != EL_KV_Q8) continue;
    for (int k = first; k < n; k += EL_LANES) {
      const unsigned char *scales = attn_page(t->a, (block + k) / EL_LANES) + kv_scales_at(t->a->head_dim);
      vf_store(s + k, vf_mul(vf_load(s + k), vf_load_f16(scales + 2 * EL_LANES)));
    }
  }
}

/* 16 dimensions of a value, of which n exist. */
EL_INLINE vf attn_value(const unsigned char *v, int n, el_kv_type type) {
  unsigned char tail[2 * EL_LANES] = {0};
  if (n < EL_LANES) v = memcpy(tail, v, (size_t)n * kv_value_bytes(type));
  return type == EL_KV_Q8 ? vf_load_i8(v) : vf_load_f16(v);
}

/* o = o * c + p V for queries [first, first + G) and C times 16 dimensions from d0 on, of which
 * `width` exist. With `fetch`, the same dimensions of the values of the next block are fetched. */
EL_INLINE void attn_values(attn_tile *t, int first, int d0, int width, int block, bool fetch, int G, int C,
                           el_kv_type type) {
  const el_attn *a = t->a;
  const int n_pages = attn_n_pages(a);
  const size_t each = kv_value_bytes(type), stride = (size_t)a->head_dim * each,
               at = kv_values_at(type, a->head_dim) + (size_t)d0 * each;
  /* Rows are in order of position: the first query sees the fewest positions, the last the most. */
  const int all = attn_n_seen(t, first, block), any = attn_n_seen(t, first + G - 1, block);
  if (any <= 0) return;
  const float *p = t->scores + first * EL_ATTN_BLOCK;
  vf o[VF_VALUES], x[4];
#pragma GCC unroll 8
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++)
      o[i * C + c] =
          block > t->from[first + i]
              ? vf_mul(load_n(t->o[first + i] + d0 + c * EL_LANES, width - c * EL_LANES), vf_set1(t->scale[first + i]))
              : vf_set1(0);
  for (int pos = attn_n_before(t, first, block) / EL_LANES * EL_LANES; pos < all; pos += EL_LANES) {
    const int page = (block + pos) / EL_LANES, n = all - pos < EL_LANES ? all - pos : EL_LANES;
    const unsigned char *v = attn_page(a, page) + at,
                        *ahead = attn_page_ahead(a, page + EL_ATTN_BLOCK / EL_LANES, n_pages) + at;
    for (int k = 0; k < n; k++, v += stride, ahead += stride) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) x[c] = attn_value(v + (size_t)(c * EL_LANES) * each, width - c * EL_LANES, type);
      if (fetch)
        for (size_t line = 0; line < (size_t)(C * EL_LANES) * each; line += 64) vf_fetch(ahead + line);
#pragma GCC unroll 8
      for (int i = 0; i < G; i++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) o[i * C + c] = vf_fma(vf_set1(p[i * EL_ATTN_BLOCK + pos + k]), x[c], o[i * C + c]);
    }
  }
  /* Positions that only the later rows see. */
  for (int k = all > 0 ? all : 0; k < any; k++) {
    const unsigned char *v = attn_page(a, (block + k) / EL_LANES) + at + (size_t)((block + k) % EL_LANES) * stride;
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) x[c] = attn_value(v + (size_t)(c * EL_LANES) * each, width - c * EL_LANES, type);
#pragma GCC unroll 8
    for (int i = 0; i < G; i++)
      if (k < t->n_pos[first + i] - block)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) o[i * C + c] = vf_fma(vf_set1(p[i * EL_ATTN_BLOCK + k]), x[c], o[i * C + c]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++)
      if (block < t->n_pos[first + i]) store_n(t->o[first + i] + d0 + c * EL_LANES, o[i * C + c], width - c * EL_LANES);
}

/* All dimensions of G queries: as many at a time as there are registers for. */
EL_INLINE void attn_values_group(attn_tile *t, int first, int block, bool fetch, int G, el_kv_type type) {
  const int C = VF_VALUES / G >= 4 ? 4 : VF_VALUES / G >= 2 ? 2 : 1, hd = t->a->head_dim;
  int d = 0;
  for (; d + C * EL_LANES <= hd; d += C * EL_LANES) attn_values(t, first, d, C * EL_LANES, block, fetch, G, C, type);
  for (; d + EL_LANES <= hd; d += EL_LANES) attn_values(t, first, d, EL_LANES, block, fetch, G, 1, type);
  if (d < hd) attn_values(t, first, d, hd - d, block, fetch, G, 1, type);
}

/* ------------------------------------------------------------------ groups */

/* One function for each size of a group and each type of keys and values. */
typedef void (*attn_scores_fn)(attn_tile *t, int first, int block, int n, bool fetch);
typedef void (*attn_values_fn)(attn_tile *t, int first, int block, bool fetch);
#define EL_ATTN_SCORES(G)                                                                  \
  static void attn_scores_f16_##G(attn_tile *t, int first, int block, int n, bool fetch) { \
    attn_scores(t, first, block, n, fetch, G, EL_KV_F16);                                  \
  }                                                                                        \
  static void attn_scores_q8_##G(attn_tile *t, int first, int block, int n, bool fetch) {  \
    attn_scores(t, first, block, n, fetch, G, EL_KV_Q8);                                   \
  }
#define EL_ATTN_VALUES(G)                                                           \
  static void attn_values_f16_##G(attn_tile *t, int first, int block, bool fetch) { \
    attn_values_group(t, first, block, fetch, G, EL_KV_F16);                        \
  }                                                                                 \
  static void attn_values_q8_##G(attn_tile *t, int first, int block, bool fetch) {  \
    attn_values_group(t, first, block, fetch, G, EL_KV_Q8);                         \
  }
EL_ATTN_SCORES(1)
EL_ATTN_VALUES(1)
#if VF_SCORES >= 6
EL_ATTN_SCORES(2)
EL_ATTN_SCORES(3)
EL_ATTN_SCORES(4)
EL_ATTN_SCORES(6)
#endif
#if VF_SCORES >= 12
EL_ATTN_SCORES(8)
EL_ATTN_SCORES(12)
#endif
#if VF_VALUES >= 6
EL_ATTN_VALUES(2)
EL_ATTN_VALUES(3)
EL_ATTN_VALUES(4)
EL_ATTN_VALUES(5)
EL_ATTN_VALUES(6)
#endif

/* The largest group first: the remaining queries go in smaller groups. fn: indexed by
 * el_kv_type. */
#define EL_ATTN_ENTRY(what, G)                    \
  {                                               \
    G, {                                          \
      attn_##what##_f16_##G, attn_##what##_q8_##G \
    }                                             \
  }
static const struct {
  int size;
  attn_scores_fn fn[2];
} attn_scores_groups[] = {
#if VF_SCORES >= 12
    EL_ATTN_ENTRY(scores, 12), EL_ATTN_ENTRY(scores, 8),
#endif
#if VF_SCORES >= 6
    EL_ATTN_ENTRY(scores, 6),  EL_ATTN_ENTRY(scores, 4), EL_ATTN_ENTRY(scores, 3), EL_ATTN_ENTRY(scores, 2),
#endif
    EL_ATTN_ENTRY(scores, 1)};
static const struct {
  int size;
  attn_values_fn fn[2];
} attn_values_groups[] = {
#if VF_VALUES >= 6
    EL_ATTN_ENTRY(values, 6), EL_ATTN_ENTRY(values, 5), EL_ATTN_ENTRY(values, 4),
    EL_ATTN_ENTRY(values, 3), EL_ATTN_ENTRY(values, 2),
#endif
    EL_ATTN_ENTRY(values, 1)};

/* Lays out queries [i, i + G) as the scores of a group read them. q: [head_dim] each. */
static void attn_pack_group(attn_tile *t, const float *const *q, int i, int G) {
  const int hd = t->a->head_dim, quads = (hd + 3) / 4;
  const float scale = t->a->scale * 1.44269504f; /* log2(e) */
  for (int k = 0; k < G; k++) {
    const float *x = q[i + k];
    if (t->a->kv_type == EL_KV_F16) {
      for (int d = 0; d < hd; d++) t->qf[i * hd + d * G + k] = x[d] * scale;
      continue;
    }
    const float amax = kv_amax(x, hd), inverse = amax > 1e-36f ? 127.0f / amax : 0;
    int32_t sum = 0;
    for (int d = 0; d < quads * 4; d++) {
      const int code = d < hd ? kv_code(x[d], inverse) : 0;
      t->qc[(i * quads + d / 4 * G + k) * 4 + d % 4] = (int8_t)code;
      sum += code;
    }
    t->qsum[i + k] = sum;
    t->qd[i + k] = amax / 127.0f * scale;
  }
}

/* ------------------------------------------------------------------- spans */

/* Scores, probabilities and output of one span; maximum and lanes' sums stay in the tile. */
static void attn_span(attn_tile *t, int span) {
  const el_attn *a = t->a;
  const int begin = span * EL_ATTN_SPAN, n = t->n,
            end = t->n_pos[n - 1] < begin + EL_ATTN_SPAN ? t->n_pos[n - 1] : begin + EL_ATTN_SPAN;
  for (int i = 0; i < n; i++) {
    t->from[i] = t->sees[i] > begin ? t->sees[i] : begin;
    t->max[i] = -INFINITY;
    t->sum[i] = vf_set1(0);
  }
  for (int block = t->from[0] / EL_ATTN_BLOCK * EL_ATTN_BLOCK; block < end; block += EL_ATTN_BLOCK) {
    const int n_seen = attn_n_seen(t, n - 1, block);
    for (int i = 0, g = 0; i < n; i += attn_scores_groups[g].size) {
      while (attn_scores_groups[g].size > n - i) g++;
      attn_scores_groups[g].fn[a->kv_type](t, i, block, n_seen, i == 0);
    }
    attn_softmax(t, block);
    for (int i = 0, g = 0; i < n; i += attn_values_groups[g].size) {
      while (attn_values_groups[g].size > n - i) g++;
      attn_values_groups[g].fn[a->kv_type](t, i, block, i == 0);
    }
  }
}

/* Whether query i sees any position of a span. */
EL_INLINE bool attn_sees(const attn_tile *t, int i, int span) {
  return t->n_pos[i] > span * EL_ATTN_SPAN && t->sees[i] < (span + 1) * EL_ATTN_SPAN;
}
EL_INLINE bool attn_is_first(const attn_tile *t, int i, int span) {
  return t->sees[i] / EL_ATTN_SPAN == span;
}

/* The joined result of the spans so far. */
typedef struct attn_total {
  float *out[EL_ATTN_TILE]; /* [head_dim] each: O */
  float max[EL_ATTN_TILE], sum[EL_ATTN_TILE];
} attn_total;

/* Joins a span to the total. o: [head_dim] each; for a query's first span, o is `out` itself. */
static void attn_join(const attn_tile *t, int span, float *const *o, const float *max, const float *sum,
                      attn_total *to) {
  const int hd = t->a->head_dim;
  float a[EL_ATTN_TILE + 8] = {0}, b[EL_ATTN_TILE + 8] = {0};
  for (int i = 0; i < t->n; i++) {
    if (!attn_sees(t, i, span)) continue;
    const float before = attn_is_first(t, i, span) ? max[i] : to->max[i];
    to->max[i] = max[i] > before ? max[i] : before;
    a[i] = before - to->max[i];
    b[i] = max[i] - to->max[i];
  }
  for (int i = 0; i < t->n; i += EL_LANES) {
    vf_store(a + i, vf_exp2(vf_load(a + i)));
    vf_store(b + i, vf_exp2(vf_load(b + i)));
  }
  for (int i = 0; i < t->n; i++) {
    if (!attn_sees(t, i, span)) continue;
    if (attn_is_first(t, i, span)) {
      to->sum[i] = sum[i];
      continue;
    }
    to->sum[i] = fmaf(sum[i], b[i], to->sum[i] * a[i]);
    float *out = to->out[i];
    for (int d = 0; d < hd; d += EL_LANES) {
      const vf before = vf_mul(load_n(out + d, hd - d), vf_set1(a[i]));
      store_n(out + d, vf_fma(load_n(o[i] + d, hd - d), vf_set1(b[i]), before), hd - d);
    }
  }
}

/* The factor of O when a sink takes part: 2^(M - m) / (S 2^(M - m) + 2^(sink - m)), where m is the
 * larger of M and sink. */
static float attn_inverse_with_sink(float max, float sum, float sink) {
  const float s = sink * 1.44269504f, m = s > max ? s : max;
  float c[EL_LANES], e[EL_LANES];
  vf_store(c, vf_exp2(vf_set1(max - m)));
  vf_store(e, vf_exp2(vf_set1(s - m)));
  return c[0] / fmaf(sum, c[0], e[0]);
}

/* Divides O by S. first: the tile's first query in the call. */
static void attn_divide(const attn_tile *t, int first, const attn_total *total) {
  const el_attn *a = t->a;
  const int hd = a->head_dim;
  for (int i = 0; i < t->n; i++) {
    float *out = total->out[i];
    const float inverse = a->sinks
                              ? attn_inverse_with_sink(total->max[i], total->sum[i], a->sinks[(first + i) % a->n_q])
                              : 1.0f / total->sum[i];
    for (int d = 0; d < hd; d += EL_LANES) store_n(out + d, vf_mul(load_n(out + d, hd - d), vf_set1(inverse)), hd - d);
  }
}

/* Sets up a tile of queries [first, first + n) of the call, and where their results go. */
static void attn_tile_set(attn_tile *t, attn_total *total, const el_attn *a, int first, int n) {
  t->a = a;
  t->n = n;
  for (int i = 0; i < n; i++) {
    const int row = (first + i) / a->n_q, head = (first + i) % a->n_q;
    total->out[i] = a->out + (size_t)row * a->ldo + (size_t)(head * a->head_dim);
    t->n_pos[i] = a->n_pos + row;
    t->sees[i] = a->window > 0 && t->n_pos[i] > a->window ? t->n_pos[i] - a->window : 0;
  }
}

static void attn_pack(attn_tile *t, int first) {
  const el_attn *a = t->a;
  const float *q[EL_ATTN_TILE];
  t->scores = a->scratch;
  t->qf = a->scratch + EL_ATTN_TILE * EL_ATTN_BLOCK;
  t->qc = (int8_t *)t->qf;
  for (int i = 0; i < t->n; i++)
    q[i] = a->q + (size_t)((first + i) / a->n_q) * a->ldq + (size_t)((first + i) % a->n_q * a->head_dim);
  for (int i = 0, g = 0; i < t->n; i += attn_scores_groups[g].size) {
    while (attn_scores_groups[g].size > t->n - i) g++;
    attn_pack_group(t, q, i, attn_scores_groups[g].size);
  }
}

static void attn_tile_run(const el_attn *a, int first, int n) {
  attn_tile t;
  attn_total total;
  float sum[EL_ATTN_TILE], *o = a->scratch + el_attn_scratch(a->head_dim) - EL_ATTN_TILE * a->head_dim;
  attn_tile_set(&t, &total, a, first, n);
  attn_pack(&t, first);
  for (int span = t.sees[0] / EL_ATTN_SPAN; span * EL_ATTN_SPAN < t.n_pos[n - 1]; span++) {
    for (int i = 0; i < n; i++) t.o[i] = attn_is_first(&t, i, span) ? total.out[i] : o + i * a->head_dim;
    attn_span(&t, span);
    for (int i = 0; i < n; i++) sum[i] = vf_sum(t.sum[i]);
    attn_join(&t, span, t.o, t.max, sum, &total);
  }
  attn_divide(&t, first, &total);
}

/* Where the partial results of a span begin, for queries from `first` on. */
EL_INLINE float *attn_partials(const el_attn *a, int span, int first) {
  int begin, end;
  el_attn_spans(a->n_pos, a->window, &begin, &end);
  return a->partials +
         ((size_t)(span - begin) * (size_t)(a->n_rows * a->n_q) + (size_t)first) * el_attn_partial(a->head_dim);
}

/* Leaves a partial result for each span of the call. */
static void attn_tile_spans(const el_attn *a, int first, int n) {
  attn_tile t;
  attn_total total;
  attn_tile_set(&t, &total, a, first, n);
  attn_pack(&t, first);
  for (int span = a->span_begin; span < a->span_end; span++) {
    float *partials = attn_partials(a, span, first);
    for (int i = 0; i < n; i++) t.o[i] = partials + (size_t)i * el_attn_partial(a->head_dim);
    attn_span(&t, span);
    for (int i = 0; i < n; i++) {
      t.o[i][a->head_dim] = t.max[i];
      t.o[i][a->head_dim + 1] = vf_sum(t.sum[i]);
    }
  }
}

static void attn_tile_join(const el_attn *a, int first, int n) {
  attn_tile t;
  attn_total total;
  attn_tile_set(&t, &total, a, first, n);
  for (int span = t.sees[0] / EL_ATTN_SPAN; span * EL_ATTN_SPAN < t.n_pos[n - 1]; span++) {
    float max[EL_ATTN_TILE], sum[EL_ATTN_TILE], *o[EL_ATTN_TILE], *partials = attn_partials(a, span, first);
    for (int i = 0; i < n; i++) {
      o[i] = partials + (size_t)i * el_attn_partial(a->head_dim);
      max[i] = o[i][a->head_dim];
      sum[i] = o[i][a->head_dim + 1];
      if (attn_is_first(&t, i, span)) memcpy(total.out[i], o[i], sizeof *o[i] * (size_t)a->head_dim);
    }
    attn_join(&t, span, o, max, sum, &total);
  }
  attn_divide(&t, first, &total);
}

static void attn_each_tile(const el_attn *a, void (*run)(const el_attn *a, int first, int n)) {
  const int n = a->n_rows * a->n_q;
  for (int i = 0; i < n; i += EL_ATTN_TILE) run(a, i, n - i < EL_ATTN_TILE ? n - i : EL_ATTN_TILE);
}

static void op_attend(const el_attn *a) {
  attn_each_tile(a, a->partials ? attn_tile_spans : attn_tile_run);
}

static void op_attend_join(const el_attn *a) {
  attn_each_tile(a, attn_tile_join);
}

#endif
