/* The integer product for tiles of 8 rows on 256-bit vectors: what AVX2 and AVX-VNNI have in common. The file that
 * includes this one has included lanes_avx2.h and ops.h and says how its instruction set multiplies codes:
 *
 *   Q8_PARTS          parts into which it cuts a group of full 8-bit codes, so that what they unpack to fits registers
 *   Q8_HAS_OFFSET     whether it takes such codes as they are; else as code - 128, and no offset is added
 *   weights           a part of a group of 8 rows, unpacked
 *   load_weights(codes, layout, part, w)
 *   dot(w, layout, part, x, expanded, start)  start + codes . activations, in each 32-bit lane
 *   dot_quad(sum, codes, x)                   sum + one quad of q8, codes as they are in memory
 *   narrow, load_narrow(x, n, *q), dot_narrow(codes, q, n, start)   the same for up to 8 quads of q8, with the
 *                                                                   activations in registers
 *
 * There are two ways through a matrix. With few rows or columns ("compact"), a tile goes through all its groups for up
 * to 4 columns, whose sums are in registers; each quad of activations is broadcast when it is used. Otherwise
 * ("expanded"), activations are broadcast once into a buffer in the first-level cache, from which they are operands
 * without an instruction of their own, and an unpacked group of weights is used for up to 16 columns; such a buffer
 * holds a few groups ("chunk"), so a block of tiles goes through it, then through the next, and sums are in memory. */
#ifndef EL_KERNELS_TILES_AVX2_H
#define EL_KERNELS_TILES_AVX2_H

enum {
  TILE = 8,
  COMPACT_COLS = 4,
  EXPANDED_COLS = 16,
  /* Where expanding does not pay for itself: measured on Zen 4. */
  EXPANDED_MIN_COLS = 5,
  EXPANDED_MIN_TILES = 12,
  CHUNK_VECTORS = 640, /* 20 KiB: leaves room for weights in a first-level cache of 32 KiB */
  SUMS = 1024,         /* vectors of float sums that a block of tiles has: 32 KiB, which come and go once a chunk */
  FETCH_AHEAD = 16384  /* weights are fetched so many bytes before they are used; see kernels_avx512vnni.c */
};

EL_INLINE bool has_mins(el_layout layout) {
  return layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
}
EL_INLINE bool has_8_bits(el_layout layout) {
  return layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M;
}
EL_INLINE bool has_offset(el_layout layout) {
  return layout == EL_LAYOUT_Q4 || (layout == EL_LAYOUT_Q8 && Q8_HAS_OFFSET);
}
EL_INLINE const int32_t *offsets(const el_act *x, el_layout layout) {
  return layout == EL_LAYOUT_Q4 ? x->s8 : x->s128;
}
EL_INLINE int code_bytes(el_layout layout) { /* of a group of a tile */
  return has_8_bits(layout) ? TILE * EL_GROUP : TILE * EL_GROUP / 2;
}

EL_INLINE __m256 load_halves(const unsigned char *p) {
  return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

EL_INLINE void fetch_lines(const unsigned char *p, int n) {
  for (int i = 0; i < n; i++) _mm_prefetch((const char *)p + i * 64, _MM_HINT_T1);
}

EL_INLINE void put_rows(float *y, __m256 acc, int n, bool add) {
  if (n >= TILE) {
    _mm256_storeu_ps(y, add ? _mm256_add_ps(_mm256_loadu_ps(y), acc) : acc);
    return;
  }
  float r[TILE];
  _mm256_storeu_ps(r, acc);
  for (int i = 0; i < n; i++) y[i] = add ? y[i] + r[i] : r[i];
}

/* What one call of gemm is about. */
typedef struct call {
  const el_packed *w;
  int tile_begin, tile_end;
  const el_act *x;
  float *y; /* of the whole: column 0, row 0 */
  size_t ldy;
  bool add;
  el_fetch *fetch; /* NULL: nothing is known */
} call;

/* ---- compact */

/* Columns of one panel. */
typedef struct columns {
  size_t at;  /* el_act_at of the first */
  int stride; /* columns of the panel */
  float *y;   /* outputs of the first, from row 0 on */
  int tiles_ahead;
} columns;

/* Where the weights lie that are to be fetched while tile t is used; NULL: nowhere. */
EL_INLINE const unsigned char *weights_ahead(const call *k, int t, int tiles_ahead) {
  if (!tiles_ahead) return NULL;
  int ahead = t + tiles_ahead;
  if (ahead < k->tile_end) return k->w->data + (size_t)ahead * k->w->tile_bytes;
  const unsigned char *next = k->fetch ? k->fetch->next : NULL;
  return next ? next + (size_t)(ahead - k->tile_end) * k->w->tile_bytes : NULL;
}

EL_INLINE void compact_tile(const call *k, const columns *cols, int t, int C, el_layout layout, __m256 *acc) {
  const el_packed *w = k->w;
  const unsigned char *codes = w->data + (size_t)t * w->tile_bytes, *scales = codes + w->scales_at,
                      *mins = codes + w->mins_at;
  const int8_t *q = k->x->q + cols->at * EL_GROUP;
  const float *xd = k->x->d + cols->at, *xs = k->x->ds + cols->at;
  const int32_t *offset = offsets(k->x, layout) + cols->at;
  const int stride = cols->stride, fours = (w->cols + 3) / 4, n_groups = w->n_groups;
  const int own_lines = has_8_bits(layout) ? 5 : 3, own_bytes = code_bytes(layout) + (has_mins(layout) ? 32 : 16);
  int aside_lines;
  const unsigned char *own = weights_ahead(k, t, cols->tiles_ahead),
                      *aside = el_fetch_take(k->fetch, n_groups, &aside_lines);
  for (int c = 0; c < C; c++) acc[c] = _mm256_setzero_ps();
  for (int g = 0; g < n_groups; g++) {
    if (own) {
      fetch_lines(own, own_lines);
      own += own_bytes;
    }
    for (int i = 0; i < aside_lines; i++, aside += 64) _mm_prefetch((const char *)aside, _MM_HINT_T1);

    __m256i sum[COMPACT_COLS];
    for (int c = 0; c < C; c++) sum[c] = has_offset(layout) ? _mm256_set1_epi32(offset[c]) : _mm256_setzero_si256();
    if (layout == EL_LAYOUT_Q8) {
      int n = fours - g * 8 < 8 ? fours - g * 8 : 8;
      for (int j = 0; j < n; j++) {
        __m256i v = _mm256_load_si256((const __m256i *)codes + j);
        for (int c = 0; c < C; c++) sum[c] = dot_quad(sum[c], v, quad(q + c * EL_GROUP + j * 4));
      }
    } else {
      weights v;
      load_weights(codes, layout, 0, &v);
      for (int c = 0; c < C; c++) sum[c] = dot(&v, layout, 0, q + c * EL_GROUP, false, sum[c]);
    }
    __m256 d = load_halves(scales);
    for (int c = 0; c < C; c++)
      acc[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[c]), _mm256_mul_ps(d, _mm256_set1_ps(xd[c])), acc[c]);
    if (has_mins(layout)) {
      __m256 m = load_halves(mins);
      for (int c = 0; c < C; c++) acc[c] = _mm256_fmadd_ps(m, _mm256_set1_ps(xs[c]), acc[c]);
      mins += TILE * 2;
    }
    codes += code_bytes(layout);
    scales += TILE * 2;
    q += stride * EL_GROUP;
    xd += stride;
    xs += stride;
    offset += stride;
  }
}

EL_INLINE void compact_tiles(const call *k, const columns *cols, int begin, int end, int C, el_layout layout) {
  for (int t = begin; t < end; t++) {
    __m256 acc[COMPACT_COLS];
    compact_tile(k, cols, t, C, layout, acc);
    for (int c = 0; c < C; c++)
      put_rows(cols->y + (size_t)c * k->ldy + (size_t)t * TILE, acc[c], k->w->rows - t * TILE, k->add);
  }
}

/* One column and one group of 8-bit codes: the B matrix of a LoRA adapter. There are many of them, with little work for
 * each tile, so the activations stay in registers. N: quads that the group has. */
EL_INLINE void low_rank_tiles(const call *k, const columns *cols, int begin, int end, int N) {
  const el_packed *w = k->w;
  narrow q;
  load_narrow(k->x->q + cols->at * EL_GROUP, N, &q);
  const __m256i offset = _mm256_set1_epi32(k->x->s128[cols->at]);
  const __m256 xd = _mm256_set1_ps(k->x->d[cols->at]);
  for (int t = begin; t < end; t++) {
    const unsigned char *codes = w->data + (size_t)t * w->tile_bytes, *own = weights_ahead(k, t, cols->tiles_ahead);
    if (own) fetch_lines(own, (N * 32 + 16 + 63) / 64);
    __m256i sum = dot_narrow(codes, &q, N, offset);
    __m256 d = _mm256_mul_ps(load_halves(codes + w->scales_at), xd);
    put_rows(cols->y + (size_t)t * TILE, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), d, _mm256_setzero_ps()),
             w->rows - t * TILE, k->add);
  }
}

EL_INLINE void compact_columns(const call *k, const columns *cols, int begin, int end, int C) {
  if (C == 1 && k->w->layout == EL_LAYOUT_Q8 && k->w->n_groups == 1) {
    switch ((k->w->cols + 3) / 4) {
      case 1: low_rank_tiles(k, cols, begin, end, 1); return;
      case 2: low_rank_tiles(k, cols, begin, end, 2); return;
      case 3: low_rank_tiles(k, cols, begin, end, 3); return;
      case 4: low_rank_tiles(k, cols, begin, end, 4); return;
      case 5: low_rank_tiles(k, cols, begin, end, 5); return;
      case 6: low_rank_tiles(k, cols, begin, end, 6); return;
      case 7: low_rank_tiles(k, cols, begin, end, 7); return;
      default: low_rank_tiles(k, cols, begin, end, 8); return;
    }
  }
  switch (k->w->layout) {
    case EL_LAYOUT_Q4: compact_tiles(k, cols, begin, end, C, EL_LAYOUT_Q4); break;
    case EL_LAYOUT_Q4M: compact_tiles(k, cols, begin, end, C, EL_LAYOUT_Q4M); break;
    case EL_LAYOUT_Q8M: compact_tiles(k, cols, begin, end, C, EL_LAYOUT_Q8M); break;
    default: compact_tiles(k, cols, begin, end, C, EL_LAYOUT_Q8); break;
  }
}

typedef void (*compact_fn)(const call *k, const columns *cols, int begin, int end);
#define COMPACT(C)                                                                          \
  static void compact_columns_##C(const call *k, const columns *cols, int begin, int end) { \
    compact_columns(k, cols, begin, end, C);                                                \
  }
COMPACT(1)
COMPACT(2)
COMPACT(3)
COMPACT(4)

static void compact(const call *k, int col_begin, int col_end) {
  static const compact_fn by_cols[COMPACT_COLS] = {compact_columns_1, compact_columns_2, compact_columns_3,
                                                   compact_columns_4};
  const int ahead = FETCH_AHEAD / (int)k->w->tile_bytes + 1;
  /* All columns together: one pass over the weights. Else each tile stays in the cache for all of them. */
  const bool one_pass = (col_end - 1) / EL_PANEL == col_begin / EL_PANEL && col_end - col_begin <= COMPACT_COLS;
  const int step = one_pass ? k->tile_end - k->tile_begin : 1;
  for (int t = k->tile_begin; t < k->tile_end; t += step) {
    for (int c = col_begin; c < col_end;) {
      int first = c / EL_PANEL * EL_PANEL, panel = k->x->n_cols - first < EL_PANEL ? k->x->n_cols - first : EL_PANEL;
      int n = first + panel < col_end ? first + panel - c : col_end - c;
      if (n > COMPACT_COLS) n = COMPACT_COLS;
      columns cols = {.at = el_act_at(k->x, c, 0),
                      .stride = panel,
                      .y = k->y + (size_t)c * k->ldy,
                      .tiles_ahead = c == col_begin ? ahead : 0};
      by_cols[n - 1](k, &cols, t, t + step);
      c += n;
    }
  }
}

/* ---- expanded */

/* A column's group in the buffer: 8 quads, each in every lane; then its scale, and its offset or, with minimums,
 * scale * sum. */
enum { X_SCALE = 8, X_OTHER = 9, X_VECTORS = 10 };

/* Groups [begin, begin + n) of columns [col, col + C) -> out: [n][C][X_VECTORS] */
static void expand(const el_act *x, el_layout layout, int begin, int n, int col, int C, __m256i *out) {
  for (int c = 0; c < C; c++) {
    size_t at = el_act_at(x, col + c, begin), step = el_act_at(x, col + c, begin + 1) - at;
    __m256i *e = out + (size_t)c * X_VECTORS;
    for (int g = 0; g < n; g++, at += step, e += (size_t)C * X_VECTORS) {
      for (int j = 0; j < 8; j++) e[j] = quad(x->q + at * EL_GROUP + j * 4);
      e[X_SCALE] = _mm256_castps_si256(_mm256_set1_ps(x->d[at]));
      e[X_OTHER] =
          has_mins(layout) ? _mm256_castps_si256(_mm256_set1_ps(x->ds[at])) : _mm256_set1_epi32(offsets(x, layout)[at]);
    }
  }
}

/* A block of tiles and a chunk of groups. */
typedef struct chunk {
  int tile_begin, tile_end, begin, n; /* groups [begin, begin + n) */
  int C;
  const __m256i *x; /* expanded: [n][C][X_VECTORS] */
  __m256 *acc;      /* [tiles][C] */
  bool fetch;       /* the first time that the block's weights are used */
  int step;         /* groups of a chunk, */
  int block;        /* and tiles of a block, that are not the last */
} chunk;

/* The codes that are used some tiles after tile t of this chunk; NULL: none. */
EL_INLINE const unsigned char *chunk_ahead(const call *k, const chunk *p, int t, el_layout layout) {
  const int tiles = p->tile_end - p->tile_begin, each = p->step * code_bytes(layout);
  int ahead = FETCH_AHEAD / each + 1, begin = p->begin;
  t += ahead < tiles ? ahead : tiles;
  if (t >= p->tile_end) {
    if (begin + p->step < k->w->n_groups) {
      t -= tiles;
      begin += p->step;
    } else {
      begin = 0;
    }
  }
  const unsigned char *from = k->w->data + (size_t)t * k->w->tile_bytes;
  if (t >= k->tile_end) {
    if (!k->fetch || !k->fetch->next) return NULL;
    from = k->fetch->next + (size_t)(t - k->tile_end) * k->w->tile_bytes;
  }
  return from + (size_t)begin * (size_t)code_bytes(layout);
}

/* What a group adds to the sums of the columns of a tile. */
typedef struct group {
  const unsigned char *codes, *scales, *mins;
  const __m256i *x; /* [C][X_VECTORS] */
  __m256i *sums;    /* [C], from one part of the group to the next */
  __m256 *acc;      /* [C] */
} group;

EL_INLINE void group_columns(const group *g, int C, el_layout layout, int part, int parts) {
  weights w;
  load_weights(g->codes, layout, part, &w);
  const __m256 d = load_halves(g->scales), m = has_mins(layout) ? load_halves(g->mins) : _mm256_setzero_ps();
  const __m256i *x = g->x;
  for (int c = 0; c < C; c++, x += X_VECTORS) {
    __m256i start = part > 0 ? g->sums[c] : has_offset(layout) ? x[X_OTHER] : _mm256_setzero_si256();
    __m256i sum = dot(&w, layout, part, x, true, start);
    if (part < parts - 1) {
      g->sums[c] = sum;
      continue;
    }
    __m256 scale = _mm256_mul_ps(d, _mm256_castsi256_ps(x[X_SCALE]));
    __m256 acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, g->acc[c]);
    g->acc[c] = has_mins(layout) ? _mm256_fmadd_ps(m, _mm256_castsi256_ps(x[X_OTHER]), acc) : acc;
  }
}

EL_INLINE void chunk_tile(const call *k, const chunk *p, int t, el_layout layout) {
  const el_packed *w = k->w;
  const unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
  __m256i sums[EXPANDED_COLS];
  group g = {.codes = tile + (size_t)p->begin * (size_t)code_bytes(layout),
             .scales = tile + w->scales_at + (size_t)p->begin * TILE * 2,
             .mins = tile + w->mins_at + (size_t)p->begin * TILE * 2,
             .x = p->x,
             .sums = sums,
             .acc = p->acc + (size_t)(t - p->tile_begin) * (size_t)p->C};
  const int C = p->C, parts = layout == EL_LAYOUT_Q8 ? Q8_PARTS : 1, panels = (C + EL_PANEL - 1) / EL_PANEL;
  const unsigned char *own = p->fetch ? chunk_ahead(k, p, t, layout) : NULL;
  int aside_lines; /* a caller expects one visit for each panel */
  const unsigned char *aside = el_fetch_take(k->fetch, p->n * panels, &aside_lines);
  aside_lines *= panels;
  if (own) {
    const unsigned char *scales = own + (g.scales - g.codes); /* near enough: they follow the codes of all groups */
    fetch_lines(scales, (p->n + 3) / 4);
    if (has_mins(layout)) fetch_lines(scales + (g.mins - g.scales), (p->n + 3) / 4);
  }
  for (int i = 0; i < p->n; i++) {
    if (own) {
      fetch_lines(own, code_bytes(layout) / 64);
      own += code_bytes(layout);
    }
    for (int j = 0; j < aside_lines; j++, aside += 64) _mm_prefetch((const char *)aside, _MM_HINT_T1);
    group_columns(&g, C, layout, 0, parts);
    if (parts > 1) group_columns(&g, C, layout, 1, parts);
    g.codes += code_bytes(layout);
    g.scales += TILE * 2;
    g.mins += TILE * 2;
    g.x += C * X_VECTORS;
  }
}

/* Functions of their own: each has a loop that needs all registers. */
#define CHUNK_TILES(NAME, LAYOUT)                                                           \
  static __attribute__((noinline)) void chunk_tiles_##NAME(const call *k, const chunk *p) { \
    for (int t = p->tile_begin; t < p->tile_end; t++) chunk_tile(k, p, t, LAYOUT);          \
  }
CHUNK_TILES(q4, EL_LAYOUT_Q4)
CHUNK_TILES(q4m, EL_LAYOUT_Q4M)
CHUNK_TILES(q8, EL_LAYOUT_Q8)
CHUNK_TILES(q8m, EL_LAYOUT_Q8M)

/* A block of tiles times columns [col, col + p->C). */
static void block_columns(const call *k, chunk *p, int col, __m256i *x) {
  const el_packed *w = k->w;
  const int n = (p->tile_end - p->tile_begin) * p->C;
  for (int i = 0; i < n; i++) p->acc[i] = _mm256_setzero_ps();
  p->x = x;
  for (p->begin = 0; p->begin < w->n_groups; p->begin += p->step) {
    p->n = w->n_groups - p->begin < p->step ? w->n_groups - p->begin : p->step;
    expand(k->x, w->layout, p->begin, p->n, col, p->C, x);
    switch (w->layout) {
      case EL_LAYOUT_Q4: chunk_tiles_q4(k, p); break;
      case EL_LAYOUT_Q4M: chunk_tiles_q4m(k, p); break;
      case EL_LAYOUT_Q8M: chunk_tiles_q8m(k, p); break;
      default: chunk_tiles_q8(k, p); break;
    }
  }
  const __m256 *acc = p->acc;
  for (int t = p->tile_begin; t < p->tile_end; t++)
    for (int c = 0; c < p->C; c++)
      put_rows(k->y + (size_t)(col + c) * k->ldy + (size_t)t * TILE, *acc++, w->rows - t * TILE, k->add);
}

static void expanded(const call *k, int col_begin, int col_end) {
  __m256i x[CHUNK_VECTORS];
  __m256 acc[SUMS];
  const int n_cols = col_end - col_begin, passes = (n_cols + EXPANDED_COLS - 1) / EXPANDED_COLS,
            most = (n_cols + passes - 1) / passes, step = CHUNK_VECTORS / (X_VECTORS * most), tiles = SUMS / most;
  for (int t = k->tile_begin; t < k->tile_end; t += tiles) {
    chunk p = {
        .tile_begin = t, .tile_end = t + tiles < k->tile_end ? t + tiles : k->tile_end, .step = step, .acc = acc};
    for (int c = col_begin; c < col_end; c += p.C) {
      p.C = col_end - c < most ? col_end - c : most;
      p.fetch = c == col_begin;
      block_columns(k, &p, c, x);
    }
  }
}

static void gemm(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                 float *y, size_t ldy, bool add, el_fetch *fetch) {
  if (w->layout == EL_LAYOUT_F16 || w->layout == EL_LAYOUT_BF16) {
    op_gemm_float(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add);
    return;
  }
  const call k = {w, tile_begin, tile_end, x, y, ldy, add, fetch};
  /* The last group of q8 may have fewer than 8 quads. */
  if (col_end - col_begin >= EXPANDED_MIN_COLS && tile_end - tile_begin >= EXPANDED_MIN_TILES &&
      w->cols % EL_GROUP == 0)
    expanded(&k, col_begin, col_end);
  else
    compact(&k, col_begin, col_end);
}

#endif
