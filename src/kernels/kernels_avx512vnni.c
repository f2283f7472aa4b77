/* AVX-512 with VNNI: tiles of 16 rows, up to 8 columns at a time. vpdpbusd multiplies unsigned
 * weight codes with signed activations, four at a time in each 32-bit lane (one lane is one row),
 * and takes the quad of activations as a broadcast memory operand.
 *
 * Weights are fetched FETCH_AHEAD bytes before they are used. On Zen 4 this halves the time of a
 * step of 4 rows, whose weights come from memory. */
#include "kernels/lanes_avx512.h"
#include "kernels/ops.h"
#include "kernels/tables.h"

enum {
  FETCH_AHEAD = 16384, /* bytes of W */
  LOW_RANK_AHEAD = 2   /* tiles of B */
};

EL_INLINE __m512i quad(const int8_t *p) {
  int32_t v;
  memcpy(&v, p, 4);
  return _mm512_set1_epi32(v);
}

/* sum + codes . quad at q, in each lane. It is spelt out because gcc 12 loads a broadcast with an
 * instruction of its own: a group of 8 columns would have 64 instructions more, and Intel's cores,
 * which multiply two vectors in a cycle, would have to look that much farther ahead. */
EL_INLINE __m512i add_dot(__m512i sum, __m512i codes, const int8_t *q) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*(const int32_t *)(const void *)q));
  return sum;
}

EL_INLINE void fetch_lines(const unsigned char *p, int n) {
  for (int i = 0; i < n; i++) _mm_prefetch((const char *)p + i * 64, _MM_HINT_T1);
}

EL_INLINE __m512 load_halves(const unsigned char *p) {
  return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}

EL_INLINE __mmask16 first_rows(int n) {
  return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

EL_INLINE void put_rows(float *y, __m512 acc, int n, bool add) {
  if (n >= 16) {
    _mm512_storeu_ps(y, add ? _mm512_add_ps(_mm512_loadu_ps(y), acc) : acc);
    return;
  }
  if (add) acc = _mm512_add_ps(_mm512_maskz_loadu_ps(first_rows(n), y), acc);
  _mm512_mask_storeu_ps(y, first_rows(n), acc);
}

/* What one call of `columns` computes: tiles [tile_begin, tile_end) times columns of one panel. */
typedef struct block {
  const el_packed *w;
  int tile_begin, tile_end;
  const el_act *x;
  size_t at;  /* el_act_at of the first column */
  int stride; /* columns in the panel */
  float *y;   /* outputs of the first column, from row 0 on */
  size_t ldy;
  bool add;
  int tiles_ahead;           /* how many tiles ahead weights are fetched; 0: they are in the
                              * cache */
  int tile_end_ahead;        /* where the tiles of the whole call end, */
  const unsigned char *next; /* and what is read after that */
  el_fetch *fetch;
  const el_low_rank *lora; /* of the first column; NULL: none */
  int quads;               /* quads of each B of the call; 0: they differ */
  bool has_one_b;          /* all columns have the same B, in 8 bits */
} block;

/* Where the weights are that are fetched while tile t is used; NULL: none. */
EL_INLINE const unsigned char *weights_ahead(const block *b, int t) {
  if (!b->tiles_ahead) return NULL;
  int ahead = t + b->tiles_ahead;
  if (ahead < b->tile_end_ahead) return b->w->data + (size_t)ahead * b->w->tile_bytes;
  return b->next ? b->next + (size_t)(ahead - b->tile_end_ahead) * b->w->tile_bytes : NULL;
}

/* The rows of h B^T for tile t of one column's B. N: the quads of B, if at most 8; 0: any
 * number. */
EL_INLINE __m512 low_rank_sums(const el_low_rank *l, int t, int N) {
  const unsigned char *codes = l->data + (size_t)t * l->tile_bytes, *scales = codes + l->scales_at;
  const int8_t *q = l->q;
  const float *d = l->h->d;
  const int32_t *offset = l->h->s128;
  __m512 acc = _mm512_setzero_ps();
  for (int left = N ? N : l->quads; left > 0; left -= 8, codes += 512, scales += 32, q += EL_GROUP) {
    __m512i sum = _mm512_set1_epi32(*offset++);
    for (int j = 0; j < (N || left < 8 ? left : 8); j++)
      sum = add_dot(sum, _mm512_load_si512(codes + j * 64), q + j * 4);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(load_halves(scales), _mm512_set1_ps(*d++)), acc);
  }
  return acc;
}

/* The same for a B in 4 bits. */
EL_INLINE __m512 low_rank_4_bits(const el_low_rank *l, int t, int N) {
  const unsigned char *codes = l->data + (size_t)t * l->tile_bytes, *scales = codes + l->scales_at;
  const int8_t *q = l->q;
  const float *d = l->h->d;
  const int32_t *offset = l->h->s8;
  const __m512i low = _mm512_set1_epi8(15);
  __m512 acc = _mm512_setzero_ps();
  for (int left = N ? N : l->quads; left > 0; left -= 8, codes += 256, scales += 32, q += EL_GROUP) {
    __m512i sum = _mm512_set1_epi32(*offset++);
    const int half = ((N || left < 8 ? left : 8) + 1) / 2;
    for (int j = 0; j < half; j++) {
      __m512i v = _mm512_load_si512(codes + j * 64);
      sum = add_dot(sum, _mm512_and_si512(v, low), q + j * 4);
      sum = add_dot(sum, _mm512_and_si512(_mm512_srli_epi16(v, 4), low), q + (half + j) * 4);
    }
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(load_halves(scales), _mm512_set1_ps(*d++)), acc);
  }
  return acc;
}

/* Fetches tile t of B. It goes into the first-level cache if it is needed after this tile of W. A
 * tile needed later goes into the second level, since the core can wait for only a few lines that
 * go into the first. */
EL_INLINE void fetch_low_rank(const el_low_rank *l, int t, int tile_end) {
  if (!l->b) return;
  const unsigned char *p = l->data + (size_t)t * l->tile_bytes;
  for (size_t i = 0; i < l->tile_bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
  if (t + LOW_RANK_AHEAD >= tile_end) return;
  p += LOW_RANK_AHEAD * l->tile_bytes;
  for (size_t i = 0; i < l->tile_bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

/* put_with_low_rank for columns with the same B in 8 bits, such as the rows of a prompt: B is
 * loaded once. */
EL_INLINE void put_with_one_low_rank(const block *b, int t, int C, const __m512 *acc, int N) {
  const el_low_rank *l = b->lora;
  const unsigned char *codes = l->data + (size_t)t * l->tile_bytes;
  const __m512 d = load_halves(codes + l->scales_at);
  const __mmask16 rows = first_rows(b->w->rows - t * 16);
  float *y = b->y + (size_t)t * 16;
  __m512i v[8];
  for (int j = 0; j < N; j++) v[j] = _mm512_load_si512(codes + j * 64);
#pragma GCC unroll 8
  for (int c = 0; c < C; c++, y += b->ldy, l++) {
    __m512i sum = _mm512_set1_epi32(*l->h->s128);
    for (int j = 0; j < N; j++) sum = add_dot(sum, v[j], l->q + j * 4);
    __m512 low =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d, _mm512_set1_ps(*l->h->d)), _mm512_setzero_ps());
    __m512 r = b->add ? _mm512_add_ps(_mm512_maskz_loadu_ps(rows, y), acc[c]) : acc[c];
    _mm512_mask_storeu_ps(y, rows, _mm512_add_ps(r, low));
  }
}

/* Writes tile t of C columns, or adds to what is there, and adds the low-rank products. */
EL_INLINE void put_with_low_rank(const block *b, int t, int C, const __m512 *acc, int N) {
  float *y = b->y + (size_t)t * 16;
  const __mmask16 rows = first_rows(b->w->rows - t * 16);
  if (N && b->has_one_b) {
    put_with_one_low_rank(b, t, C, acc, N);
    return;
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; c++, y += b->ldy) {
    __m512 r = b->add ? _mm512_add_ps(_mm512_maskz_loadu_ps(rows, y), acc[c]) : acc[c];
    const el_low_rank *l = &b->lora[c];
    if (l->b) r = _mm512_add_ps(r, l->has_4_bits ? low_rank_4_bits(l, t, N) : low_rank_sums(l, t, N));
    _mm512_mask_storeu_ps(y, rows, r);
  }
}

EL_INLINE bool has_mins(el_layout layout) {
  return layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
}
EL_INLINE bool has_8_bits(el_layout layout) {
  return layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M;
}

/* Where a tile's next group is, and where that of the first column is. */
typedef struct place {
  const unsigned char *codes, *scales, *mins;
  const int8_t *q;
  const float *xd, *xs;
  const int32_t *offset;
} place;

/* Adds the products of a group with C columns. n: quads of the group; fewer than 8 only in the last
 * group of q8 and q4. */
EL_INLINE void add_group(const place *p, int n, int C, el_layout layout, __m512 *acc) {
  const __m512i low = _mm512_set1_epi8(15);
  const int half = (n + 1) / 2;
  __m512i sum[EL_PANEL];
  for (int c = 0; c < C; c++) sum[c] = has_mins(layout) ? _mm512_setzero_si512() : _mm512_set1_epi32(p->offset[c]);
  if (has_8_bits(layout)) {
#pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
      __m512i v = _mm512_load_si512(p->codes + j * 64);
      for (int c = 0; c < C; c++) sum[c] = add_dot(sum[c], v, p->q + c * EL_GROUP + j * 4);
    }
  } else {
#pragma GCC unroll 4
    for (int j = 0; j < half; j++) {
      __m512i v = _mm512_load_si512(p->codes + j * 64);
      __m512i lo = _mm512_and_si512(v, low), hi = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
      if (C == 1) { /* one chain of sums: 4% faster if broadcasts are not part of it, measured on
                     * Zen 4 */
        sum[0] = _mm512_dpbusd_epi32(sum[0], lo, quad(p->q + j * 4));
        sum[0] = _mm512_dpbusd_epi32(sum[0], hi, quad(p->q + (half + j) * 4));
        continue;
      }
      for (int c = 0; c < C; c++) sum[c] = add_dot(sum[c], lo, p->q + c * EL_GROUP + j * 4);
      for (int c = 0; c < C; c++) sum[c] = add_dot(sum[c], hi, p->q + c * EL_GROUP + (half + j) * 4);
    }
  }
  __m512 d = load_halves(p->scales);
  for (int c = 0; c < C; c++)
    acc[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[c]), _mm512_mul_ps(d, _mm512_set1_ps(p->xd[c])), acc[c]);
  if (has_mins(layout)) {
    __m512 m = load_halves(p->mins);
    for (int c = 0; c < C; c++) acc[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(p->xs[c]), acc[c]);
  }
}

EL_INLINE void tile_groups(const block *b, int t, int C, el_layout layout, __m512 *acc) {
  const el_packed *w = b->w;
  const el_act *x = b->x;
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
  place p = {.codes = tile,
             .scales = tile + w->scales_at,
             .mins = tile + w->mins_at,
             .q = x->q + b->at * EL_GROUP,
             .xd = x->d + b->at,
             .xs = x->ds + b->at,
             .offset = (layout == EL_LAYOUT_Q4 ? x->s8 : x->s128) + b->at};
  const int fours = (w->cols + 3) / 4, full = has_mins(layout) ? w->n_groups : fours / 8,
            own_lines = has_8_bits(layout) ? 9 : 5, n_lora = b->lora ? C : 0;
  const size_t step = (size_t)b->stride;
  int aside_lines;
  const unsigned char *own = weights_ahead(b, t), *aside = el_fetch_take(b->fetch, w->n_groups, &aside_lines);
  for (int c = 0; c < C; c++) acc[c] = _mm512_setzero_ps();
  for (int g = 0; g < full; g++) {
    if (own) {
      fetch_lines(own, own_lines);
      own += own_lines * 64;
    }
    for (int i = 0; i < aside_lines; i++, aside += 64) _mm_prefetch((const char *)aside, _MM_HINT_T1);
    /* Fetched for one column at a time: the core can wait for only a few lines. The rows of a
     * prompt have the same B. */
    if (g < n_lora && (g == 0 || b->lora[g].b != b->lora[g - 1].b)) fetch_low_rank(&b->lora[g], t, b->tile_end_ahead);
    add_group(&p, 8, C, layout, acc);
    p.codes += has_8_bits(layout) ? 512 : 256;
    p.scales += 32;
    p.mins += 32;
    p.q += step * EL_GROUP;
    p.xd += step;
    p.xs += step;
    p.offset += step;
  }
  /* the end of a LoRA matrix */
  if (full < w->n_groups) add_group(&p, fours - full * 8, C, layout, acc);
}

EL_INLINE void multiply_block_tiles(const block *b, int C, el_layout layout) {
  for (int t = b->tile_begin; t < b->tile_end; t++) {
    __m512 acc[EL_PANEL];
    tile_groups(b, t, C, layout, acc);
    if (!b->lora) {
      for (int c = 0; c < C; c++)
        put_rows(b->y + (size_t)c * b->ldy + (size_t)t * 16, acc[c], b->w->rows - t * 16, b->add);
      continue;
    }
    switch (b->quads) {
      case 2: put_with_low_rank(b, t, C, acc, 2); break;
      case 4: put_with_low_rank(b, t, C, acc, 4); break;
      case 8: put_with_low_rank(b, t, C, acc, 8); break;
      default: put_with_low_rank(b, t, C, acc, 0); break;
    }
  }
}

/* One column and one group of 8-bit codes: the B matrix of a LoRA adapter. There are many of them
 * with little work for each tile, so the activations stay in registers. N: quads of the group. */
EL_INLINE void low_rank_tiles(const block *b, int N) {
  const el_packed *w = b->w;
  __m512i q[8], offset = _mm512_set1_epi32(b->x->s128[b->at]);
  __m512 xd = _mm512_set1_ps(b->x->d[b->at]);
  for (int j = 0; j < N; j++) q[j] = quad(b->x->q + b->at * EL_GROUP + j * 4);
  for (int t = b->tile_begin; t < b->tile_end; t++) {
    const unsigned char *codes = w->data + (size_t)t * w->tile_bytes, *own = weights_ahead(b, t);
    if (own) fetch_lines(own, N + 1);
    __m512i sum = offset;
    for (int j = 0; j < N; j++) sum = _mm512_dpbusd_epi32(sum, _mm512_load_si512(codes + j * 64), q[j]);
    __m512 d = _mm512_mul_ps(load_halves(codes + w->scales_at), xd);
    put_rows(b->y + (size_t)t * 16, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), d, _mm512_setzero_ps()), w->rows - t * 16,
             b->add);
  }
}

EL_INLINE void columns(const block *b, int C) {
  if (C == 1 && b->w->layout == EL_LAYOUT_Q8 && b->w->n_groups == 1 && !b->lora) {
    switch ((b->w->cols + 3) / 4) {
      case 1: low_rank_tiles(b, 1); return;
      case 2: low_rank_tiles(b, 2); return;
      case 3: low_rank_tiles(b, 3); return;
      case 4: low_rank_tiles(b, 4); return;
      case 5: low_rank_tiles(b, 5); return;
      case 6: low_rank_tiles(b, 6); return;
      case 7: low_rank_tiles(b, 7); return;
      default: low_rank_tiles(b, 8); return;
    }
  }
  switch (b->w->layout) {
    case EL_LAYOUT_Q4: multiply_block_tiles(b, C, EL_LAYOUT_Q4); break;
    case EL_LAYOUT_Q4M: multiply_block_tiles(b, C, EL_LAYOUT_Q4M); break;
    case EL_LAYOUT_Q8M: multiply_block_tiles(b, C, EL_LAYOUT_Q8M); break;
    default: multiply_block_tiles(b, C, EL_LAYOUT_Q8); break;
  }
}

#define COLUMNS(C)                          \
  static void columns_##C(const block *b) { \
    columns(b, C);                          \
  }
COLUMNS(1)
COLUMNS(2)
COLUMNS(3)
COLUMNS(4)
COLUMNS(5)
COLUMNS(6)
COLUMNS(7)
COLUMNS(8)

static int common_quads(const el_low_rank *lora, int n) {
  int quads = 0;
  for (int c = 0; c < n; c++) {
    if (!lora[c].b) continue;
    if (quads && lora[c].quads != quads) return 0;
    quads = lora[c].quads;
  }
  return quads;
}

static bool have_one_b(const el_low_rank *lora, int n) {
  for (int c = 1; c < n; c++)
    if (lora[c].b != lora[0].b) return false;
  return lora[0].b && !lora[0].has_4_bits;
}

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  static void (*const by_cols[])(const block *) = {columns_1, columns_2, columns_3, columns_4,
                                                   columns_5, columns_6, columns_7, columns_8};
  const int ahead = FETCH_AHEAD / (int)w->tile_bytes + 1;
  block b = {.w = w,
             .x = x,
             .ldy = ldy,
             .add = add,
             .tile_end_ahead = tile_end,
             .next = fetch ? fetch->next : NULL,
             .fetch = fetch,
             .quads = lora ? common_quads(lora + col_begin, col_end - col_begin) : 0};
  /* If all columns are in one panel: one pass over the weights. Else each tile stays in the cache
   * for all panels. */
  const int step = (col_end - 1) / EL_PANEL == col_begin / EL_PANEL ? tile_end - tile_begin : 1;
  for (int t = tile_begin; t < tile_end; t += step) {
    b.tile_begin = t;
    b.tile_end = t + step;
    for (int c = col_begin; c < col_end;) {
      int first = c / EL_PANEL * EL_PANEL;
      b.stride = x->n_cols - first < EL_PANEL ? x->n_cols - first : EL_PANEL;
      int n = first + b.stride < col_end ? first + b.stride - c : col_end - c;
      b.tiles_ahead = c == col_begin ? ahead : 0;
      b.at = el_act_at(x, c, 0);
      b.y = y + (size_t)c * ldy;
      b.lora = lora ? lora + c : NULL;
      b.has_one_b = lora && have_one_b(lora + c, n);
      by_cols[n - 1](&b);
      c += n;
    }
  }
}

#include "kernels/gemm.h"

const el_kernels el_kernels_avx512vnni = {
    .name = "avx512vnni", .tile = 16, .gemm = gemm, .gemm_lora = gemm_lora, EL_OPS};
