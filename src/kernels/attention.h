/* Attention over pages of keys and values, written once over 16 float lanes: included by ops.h.
 *
 * Positions go in blocks of EL_ATTN_BLOCK, with a running maximum and sum (online softmax: arXiv 1805.02867, used for
 * attention in arXiv 2205.14135), so that keys and values are read once, side by side, and scores stay in the
 * first-level cache however long the sequence is. Per query and block:
 *   s[t] = sum over dimensions, in order, of q * k          q is scaled by 1 / sqrt(head_dim) and log2(e) before
 *   m' = max(m, s) ; c = 2^(m - m') ; p[t] = 2^(s[t] - m')
 *   sum = sum * c + p                                       in 16 lanes, position t in lane t mod 16
 *   o = o * c ; o += p[t] * v[t], t in order
 * and at the end o / sum. That is the definition; what a query gives does not depend on the queries that share the
 * call. They only decide how often a key or a value that was converted from F16 is used: a tile takes the query heads
 * that share a KV head, of several rows of a prompt. */
#ifndef EL_KERNELS_ATTENTION_H
#define EL_KERNELS_ATTENTION_H

typedef struct attn_tile {
  const el_attn *a;
  int n;                         /* queries */
  const float *q[EL_ATTN_TILE];  /* [head_dim] each */
  float *out[EL_ATTN_TILE];      /* [head_dim] each: o, until the end not divided */
  int n_pos[EL_ATTN_TILE];       /* in ascending order */
  float max[EL_ATTN_TILE + 8];   /* m; whole vectors */
  float scale[EL_ATTN_TILE + 8]; /* c of the block */
  vf sum[EL_ATTN_TILE];
  float *qt;     /* for each group of queries that go together: [head_dim][queries of the group], scaled */
  float *scores; /* [EL_ATTN_TILE][EL_ATTN_BLOCK]: s, then p */
} attn_tile;

/* Page i of the sequence; beyond its end, of what will be read next, or any that is mapped. */
EL_INLINE const unsigned char *attn_page(const el_attn *a, int i) {
  return a->kv + (size_t)a->pages[i] * a->page_bytes + a->offset;
}
EL_INLINE const unsigned char *attn_page_ahead(const el_attn *a, int i, int n_pages) {
  if (i < n_pages) return attn_page(a, i);
  i -= n_pages;
  return a->next_pages && i < a->next_n_pages ? a->kv + (size_t)a->next_pages[i] * a->page_bytes + a->next_offset
                                              : attn_page(a, 0);
}

/* 2^x for x <= 0, at least 2^-126; 1 for 0. Polynomial of degree 6, relative error 2e-8 before rounding. */
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

/* Scores of G queries for the 16 positions of each of P pages. qt: [head_dim][G]; s: [G][EL_ATTN_BLOCK]. Meanwhile the
 * keys of the pages `ahead` are fetched; NULL: nothing. */
EL_INLINE void attn_scores(const float *qt, int hd, const unsigned char *const *pages,
                           const unsigned char *const *ahead, float *s, int G, int P) {
  vf acc[VF_SCORES];
#pragma GCC unroll 16
  for (int i = 0; i < G * P; i++) acc[i] = vf_set1(0);
  for (int d = 0; d < hd; d++, qt += G) {
    vf k[4];
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) k[p] = vf_load_f16(pages[p] + (size_t)d * 32);
    if (ahead && d % 2 == 0)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) vf_fetch(ahead[p] + (size_t)d * 32);
#pragma GCC unroll 16
    for (int i = 0; i < G; i++)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) acc[i * P + p] = vf_fma(vf_set1(qt[i]), k[p], acc[i * P + p]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) vf_store(s + i * EL_ATTN_BLOCK + p * EL_LANES, acc[i * P + p]);
}

/* Scores of G queries for the first n positions of the block. A page that is missing in the last P is replaced by the
 * one before; its scores do not count. */
EL_INLINE void attn_scores_block(const el_attn *a, const float *qt, float *s, int block, int n, bool fetch, int G) {
  enum { MOST = 4 };
  const int P = VF_SCORES / G >= 4 ? 4 : VF_SCORES / G >= 2 ? 2 : 1;
  const int first = block / EL_LANES, end = first + (n + EL_LANES - 1) / EL_LANES;
  const int n_pages = (a->n_pos + a->n_rows - 1 + EL_LANES - 1) / EL_LANES;
  for (int i = first; i < end; i += P) {
    const unsigned char *pages[MOST], *ahead[MOST];
    for (int p = 0; p < P; p++) {
      pages[p] = attn_page(a, i + p < end ? i + p : end - 1);
      ahead[p] = attn_page_ahead(a, i + p + EL_ATTN_BLOCK / EL_LANES, n_pages);
    }
    attn_scores(qt, a->head_dim, pages, fetch ? ahead : NULL, s + (i - first) * EL_LANES, G, P);
  }
}

/* Scores to probabilities, for all queries of the tile. */
static void attn_softmax(attn_tile *t, int block) {
  float top[EL_ATTN_TILE + 8] = {0};
  for (int i = 0; i < EL_ATTN_TILE + 8; i++) t->scale[i] = 0;
  for (int i = 0; i < t->n; i++) {
    float *s = t->scores + i * EL_ATTN_BLOCK;
    const int left = t->n_pos[i] - block, n = left < EL_ATTN_BLOCK ? left : EL_ATTN_BLOCK;
    top[i] = t->max[i];
    if (n <= 0) continue;
    vf m = vf_set1(-INFINITY);
    int k = 0;
    for (; k + EL_LANES <= n; k += EL_LANES) m = vf_max(m, vf_load(s + k));
    /* Slots that hold no position of this row hold anything, NaN included: they must not count. */
    if (k < n) m = vf_max(m, load_tail(s + k, n - k, -INFINITY));
    const float h = vf_hmax(m);
    if (h > top[i]) top[i] = h;
    t->scale[i] = t->max[i] - top[i];
  }
  for (int i = 0; i < t->n; i += EL_LANES) vf_store(t->scale + i, vf_exp2(vf_load(t->scale + i)));
  for (int i = 0; i < t->n; i++) {
    float *s = t->scores + i * EL_ATTN_BLOCK;
    const int left = t->n_pos[i] - block, n = left < EL_ATTN_BLOCK ? left : EL_ATTN_BLOCK;
    if (n <= 0) continue;
    vf m = vf_set1(top[i]), sum = vf_mul(t->sum[i], vf_set1(t->scale[i]));
    t->max[i] = top[i];
    int k = 0;
    for (; k + EL_LANES <= n; k += EL_LANES) {
      vf p = vf_exp2(vf_sub(vf_load(s + k), m));
      vf_store(s + k, p);
      sum = vf_add(sum, p);
    }
    if (k < n) {
      vf p = vf_exp2(vf_sub(vf_load(s + k), m));
      vf_store(s + k, p);
      sum = vf_add(sum, load_tail(s + k, n - k, 0));
    }
    t->sum[i] = sum;
  }
}

EL_INLINE vf attn_value(const uint16_t *v, int n) {
  if (n >= EL_LANES) return vf_load_f16(v);
  uint16_t tail[EL_LANES] = {0};
  memcpy(tail, v, (size_t)n * 2);
  return vf_load_f16(tail);
}

/* o = o * c + p V for queries [first, first + G) and C times 16 dimensions from d0 on, of which `width` exist. With
 * `fetch`, the lines of one value of each position of the block ahead that lie at these dimensions are fetched. */
EL_INLINE void attn_values(attn_tile *t, int first, int d0, int width, int block, bool fetch, int G, int C) {
  const el_attn *a = t->a;
  const int hd = a->head_dim, n_pages = (a->n_pos + a->n_rows - 1 + EL_LANES - 1) / EL_LANES;
  /* Rows come in order of position: the first query has the fewest, the last the most. */
  int all = t->n_pos[first] - block, any = t->n_pos[first + G - 1] - block;
  if (any > EL_ATTN_BLOCK) any = EL_ATTN_BLOCK;
  if (all > any) all = any;
  if (any <= 0) return;
  const float *p = t->scores + first * EL_ATTN_BLOCK;
  vf o[VF_VALUES];
#pragma GCC unroll 8
  for (int i = 0; i < G; i++)
#pragma GCC unroll 4
    for (int c = 0; c < C; c++)
      o[i * C + c] = block ? vf_mul(load_n(t->out[first + i] + d0 + c * EL_LANES, width - c * EL_LANES),
                                    vf_set1(t->scale[first + i]))
                           : vf_set1(0);
  int pos = 0;
  for (; pos < all; pos += EL_LANES) {
    const int page = (block + pos) / EL_LANES, n = all - pos < EL_LANES ? all - pos : EL_LANES;
    const uint16_t *v = (const uint16_t *)attn_page(a, page) + (size_t)hd * EL_LANES + d0;
    const unsigned char *ahead =
        attn_page_ahead(a, page + EL_ATTN_BLOCK / EL_LANES, n_pages) + (size_t)(hd * EL_LANES + d0) * 2;
    for (int k = 0; k < n; k++, v += hd) {
      vf x[4];
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) x[c] = attn_value(v + c * EL_LANES, width - c * EL_LANES);
      if (fetch) {
        for (int line = 0; line < C * EL_LANES * 2; line += 64) vf_fetch(ahead + line);
        ahead += hd * 2;
      }
#pragma GCC unroll 8
      for (int i = 0; i < G; i++)
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) o[i * C + c] = vf_fma(vf_set1(p[i * EL_ATTN_BLOCK + pos + k]), x[c], o[i * C + c]);
    }
  }
  /* Positions that only the later rows see. */
  for (int k = all > 0 ? all : 0; k < any; k++) {
    const uint16_t *v = (const uint16_t *)attn_page(a, (block + k) / EL_LANES) + (size_t)hd * EL_LANES +
                        (size_t)((block + k) % EL_LANES) * (size_t)hd + d0;
    vf x[4];
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) x[c] = attn_value(v + c * EL_LANES, width - c * EL_LANES);
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
      if (block < t->n_pos[first + i])
        store_n(t->out[first + i] + d0 + c * EL_LANES, o[i * C + c], width - c * EL_LANES);
}

/* All dimensions of G queries: as many at once as there are registers for. */
EL_INLINE void attn_values_group(attn_tile *t, int first, int block, bool fetch, int G) {
  const int C = VF_VALUES / G >= 4 ? 4 : VF_VALUES / G >= 2 ? 2 : 1, hd = t->a->head_dim;
  int d = 0;
  for (; d + C * EL_LANES <= hd; d += C * EL_LANES) attn_values(t, first, d, C * EL_LANES, block, fetch, G, C);
  for (; d < hd; d += EL_LANES)
    if (hd - d >= EL_LANES)
      attn_values(t, first, d, EL_LANES, block, fetch, G, 1);
    else
      attn_values(t, first, d, hd - d, block, fetch, G, 1);
}

/* Groups of queries, and one function for each size: what is left over goes in smaller ones. */
static int attn_scores_size(int left) {
  static const int sizes[] = {12, 8, 6, 4, 3, 2};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] <= VF_SCORES && sizes[i] <= left) return sizes[i];
  return 1;
}

#define EL_ATTN_SCORES(G)                                                                                  \
  static void attn_scores_##G(const el_attn *a, const float *qt, float *s, int block, int n, bool fetch) { \
    attn_scores_block(a, qt, s, block, n, fetch, G);                                                       \
  }
#define EL_ATTN_VALUES(G)                                                       \
  static void attn_values_##G(attn_tile *t, int first, int block, bool fetch) { \
    attn_values_group(t, first, block, fetch, G);                               \
  }
EL_ATTN_SCORES(1)
EL_ATTN_VALUES(1)
#if VF_VALUES >= 6
EL_ATTN_SCORES(2)
EL_ATTN_SCORES(3)
EL_ATTN_SCORES(4)
EL_ATTN_SCORES(6)
EL_ATTN_VALUES(2)
EL_ATTN_VALUES(3)
EL_ATTN_VALUES(4)
EL_ATTN_VALUES(5)
EL_ATTN_VALUES(6)
#endif
#if VF_SCORES >= 12
EL_ATTN_SCORES(8)
EL_ATTN_SCORES(12)
#endif

static void attn_all_scores(attn_tile *t, int block, int n) {
  for (int i = 0; i < t->n;) {
    const float *qt = t->qt + (size_t)i * (size_t)t->a->head_dim;
    float *s = t->scores + i * EL_ATTN_BLOCK;
    const int G = attn_scores_size(t->n - i);
    switch (G) {
#if VF_SCORES >= 12
      case 12: attn_scores_12(t->a, qt, s, block, n, i == 0); break;
      case 8: attn_scores_8(t->a, qt, s, block, n, i == 0); break;
#endif
#if VF_SCORES >= 6
      case 6: attn_scores_6(t->a, qt, s, block, n, i == 0); break;
      case 4: attn_scores_4(t->a, qt, s, block, n, i == 0); break;
      case 3: attn_scores_3(t->a, qt, s, block, n, i == 0); break;
      case 2: attn_scores_2(t->a, qt, s, block, n, i == 0); break;
#endif
      default: attn_scores_1(t->a, qt, s, block, n, i == 0);
    }
    i += G;
  }
}

static void attn_all_values(attn_tile *t, int block) {
  for (int i = 0; i < t->n;) {
    int G = t->n - i;
#if VF_VALUES >= 6
    if (G > 6) G = 6;
    switch (G) {
      case 6: attn_values_6(t, i, block, i == 0); break;
      case 5: attn_values_5(t, i, block, i == 0); break;
      case 4: attn_values_4(t, i, block, i == 0); break;
      case 3: attn_values_3(t, i, block, i == 0); break;
      case 2: attn_values_2(t, i, block, i == 0); break;
      default: attn_values_1(t, i, block, i == 0);
    }
#else
    G = 1;
    attn_values_1(t, i, block, i == 0);
#endif
    i += G;
  }
}

/* Queries [first, first + n) of the call. */
static void attn_tile_run(const el_attn *a, int first, int n) {
  const int hd = a->head_dim;
  const float scale = a->scale * 1.44269504f;
  attn_tile t = {.a = a, .n = n, .qt = a->scratch, .scores = a->scratch + EL_ATTN_TILE * hd};
  for (int i = 0; i < n; i++) {
    const int row = (first + i) / a->n_q, head = (first + i) % a->n_q;
    t.q[i] = a->q + (size_t)row * a->ldq + (size_t)(head * hd);
    t.out[i] = a->out + (size_t)row * a->ldo + (size_t)(head * hd);
    t.n_pos[i] = a->n_pos + row;
    t.max[i] = -INFINITY;
    t.sum[i] = vf_set1(0);
  }
  for (int i = 0; i < n;) {
    const int G = attn_scores_size(n - i);
    float *qt = t.qt + (size_t)i * (size_t)hd;
    for (int d = 0; d < hd; d++)
      for (int k = 0; k < G; k++) *qt++ = t.q[i + k][d] * scale;
    i += G;
  }
  const int n_pos = t.n_pos[n - 1];
  for (int block = 0; block < n_pos; block += EL_ATTN_BLOCK) {
    attn_all_scores(&t, block, n_pos - block < EL_ATTN_BLOCK ? n_pos - block : EL_ATTN_BLOCK);
    attn_softmax(&t, block);
    attn_all_values(&t, block);
  }
  for (int i = 0; i < n; i++) {
    vf inverse = vf_set1(1.0f / vf_sum(t.sum[i]));
    for (int d = 0; d < hd; d += EL_LANES) store_n(t.out[i] + d, vf_mul(load_n(t.out[i] + d, hd - d), inverse), hd - d);
  }
}

static void op_attend(const el_attn *a) {
  const int n = a->n_rows * a->n_q;
  for (int i = 0; i < n; i += EL_ATTN_TILE) attn_tile_run(a, i, n - i < EL_ATTN_TILE ? n - i : EL_ATTN_TILE);
}

#endif
