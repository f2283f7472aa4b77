/* The integer product for tiles of 8 rows on 256-bit vectors, shared by AVX2 and AVX-VNNI. A tile
 * goes through all its groups for up to 4 columns, whose sums are in registers; each quad of
 * activations is broadcast when it is used. The file that includes this one has included
 * quads_avx2.h and defines how its instruction set multiplies:
 *
 *   Q8_HAS_OFFSET
 *       whether it takes the codes of q8 as they are; else as code - 128, and no offset is added
 *   group_sums(codes, layout, n, q, C, sum)
 *       adds n quads of C columns, q: [C][32]; n < 8 only in the last group of q8 and q4
 *   narrow, load_narrow(x, n, *q), dot_narrow(codes, q, n, start)
 *       start + up to 8 quads of q8, with the activations in registers */
#ifndef EL_KERNELS_TILES_AVX2_H
#define EL_KERNELS_TILES_AVX2_H

enum {
  TILE = 8,
  MAX_COLS = 4,
  FETCH_AHEAD = 16384, /* bytes by which weights are fetched before they are used; see
                        * kernels_avx512vnni.c */
  LOW_RANK_TILES = 64  /* tiles of W; then come those of B that belong to them, which wait in the
                        * second-level cache */
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

/* What one call of gemm computes. */
typedef struct call {
  const el_packed *w;
  int tile_begin, tile_end;
  const el_act *x;
  float *y; /* of the whole matrix: column 0, row 0 */
  size_t ldy;
  bool add;
  el_fetch *fetch;         /* NULL: nothing is known */
  const el_low_rank *lora; /* of column 0; NULL: none */
} call;

/* Columns of one panel. */
typedef struct columns {
  size_t at;  /* el_act_at of the first */
  int stride; /* columns in the panel */
  float *y;   /* outputs of the first column, from row 0 on */
  int tiles_ahead;
  const el_low_rank *lora; /* of the first column; NULL: none */
} columns;

/* Where the weights are that are fetched while tile t is used; NULL: none. */
EL_INLINE const unsigned char *weights_ahead(const call *k, int t, int tiles_ahead) {
  if (!tiles_ahead) return NULL;
  int ahead = t + tiles_ahead;
  if (ahead < k->tile_end) return k->w->data + (size_t)ahead * k->w->tile_bytes;
  const unsigned char *next = k->fetch ? k->fetch->next : NULL;
  return next ? next + (size_t)(ahead - k->tile_end) * k->w->tile_bytes : NULL;
}

/* Fetches tile t of B for columns [begin, end) of those at l, where only one column reads it. It is
 * used after the block of tiles of W that t is in. The rows of a prompt have the same B. */
EL_INLINE void fetch_low_rank(const el_low_rank *l, int begin, int end, int t) {
  for (int c = begin; c < end; c++)
    if (l[c].b && (c == 0 || l[c].b != l[c - 1].b))
      fetch_lines(l[c].data + (size_t)t * l[c].tile_bytes, (int)(l[c].tile_bytes / 64));
}

EL_INLINE void tile_groups(const call *k, const columns *cols, int t, int C, el_layout layout, __m256 *acc) {
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
    if (cols->lora && g < C) fetch_low_rank(cols->lora, g, g + 1, t);

    __m256i sum[MAX_COLS];
    for (int c = 0; c < C; c++) sum[c] = has_offset(layout) ? _mm256_set1_epi32(offset[c]) : _mm256_setzero_si256();
    const int n = el_layout_may_end_early(layout) && fours - g * 8 < 8 ? fours - g * 8 : 8;
    if (n == 8)
      group_sums(codes, layout, 8, q, C, sum);
    else
      group_sums(codes, layout, n, q, C, sum);
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

EL_INLINE void multiply_tiles(const call *k, const columns *cols, int begin, int end, int C, el_layout layout) {
  for (int t = begin; t < end; t++) {
    __m256 acc[MAX_COLS];
    tile_groups(k, cols, t, C, layout, acc);
    for (int c = 0; c < C; c++)
      put_rows(cols->y + (size_t)c * k->ldy + (size_t)t * TILE, acc[c], k->w->rows - t * TILE, k->add);
  }
}

/* One column and one group of 8-bit codes: the B matrix of a LoRA adapter. There are many of them
 * with little work for each tile, so the activations stay in registers. So do the fields of `k`:
 * for all that the compiler knows, outputs could overlap them. N: quads of the group. */
EL_INLINE void low_rank_tiles(const call *k, const columns *cols, int begin, int end, int N) {
  const size_t tile_bytes = k->w->tile_bytes, scales_at = k->w->scales_at;
  const int tiles_ahead = cols->tiles_ahead, rows = k->w->rows;
  const bool add = k->add;
  const __m256i offset = _mm256_set1_epi32(k->x->s128[cols->at]);
  const __m256 xd = _mm256_set1_ps(k->x->d[cols->at]);
  const unsigned char *codes = k->w->data + (size_t)begin * tile_bytes;
  float *y = cols->y + (size_t)begin * TILE;
  narrow q;
  load_narrow(k->x->q + cols->at * EL_GROUP, N, &q);
  for (int t = begin; t < end; t++, codes += tile_bytes, y += TILE) {
    const unsigned char *own = tiles_ahead ? weights_ahead(k, t, tiles_ahead) : NULL;
    if (own) fetch_lines(own, (N * 32 + 16 + 63) / 64);
    __m256i sum = dot_narrow(codes, &q, N, offset);
    __m256 d = _mm256_mul_ps(load_halves(codes + scales_at), xd);
    put_rows(y, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), d, _mm256_setzero_ps()), rows - t * TILE, add);
  }
}

EL_INLINE void columns_of(const call *k, const columns *cols, int begin, int end, int C) {
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
    case EL_LAYOUT_Q4: multiply_tiles(k, cols, begin, end, C, EL_LAYOUT_Q4); break;
    case EL_LAYOUT_Q4M: multiply_tiles(k, cols, begin, end, C, EL_LAYOUT_Q4M); break;
    case EL_LAYOUT_Q8M: multiply_tiles(k, cols, begin, end, C, EL_LAYOUT_Q8M); break;
    default: multiply_tiles(k, cols, begin, end, C, EL_LAYOUT_Q8); break;
  }
}

typedef void (*columns_fn)(const call *k, const columns *cols, int begin, int end);
#define COLUMNS(C)                                                                     \
  static void columns_of_##C(const call *k, const columns *cols, int begin, int end) { \
    columns_of(k, cols, begin, end, C);                                                \
  }
COLUMNS(1)
COLUMNS(2)
COLUMNS(3)
COLUMNS(4)

static const columns_fn by_cols[MAX_COLS] = {columns_of_1, columns_of_2, columns_of_3, columns_of_4};

/* Adds h B^T of columns [col_begin, col_end), for the rows of tiles [begin, end). A column's
 * activations stay in registers for all these tiles, which fetch_low_rank has fetched. */
static void add_low_rank(const call *k, int col_begin, int col_end, int begin, int end) {
  for (int c = col_begin; c < col_end; c++) {
    const el_low_rank *l = &k->lora[c];
    if (!l->b) continue;
    const call one = {.w = l->b, .tile_begin = begin, .tile_end = end, .x = l->h, .add = true};
    const columns cols = {.at = el_act_at(l->h, 0, 0), .stride = 1, .y = k->y + (size_t)c * k->ldy};
    columns_of_1(&one, &cols, begin, end);
  }
}

/* Tiles [begin, end) times all columns. */
static void block_tiles(const call *k, int col_begin, int col_end, int begin, int end) {
  const int ahead = FETCH_AHEAD / (int)k->w->tile_bytes + 1;
  /* All columns together: one pass over the weights. Else each tile stays in the cache for all of
   * them. */
  const bool one_pass = (col_end - 1) / EL_PANEL == col_begin / EL_PANEL && col_end - col_begin <= MAX_COLS;
  const int step = one_pass ? end - begin : 1;
  for (int t = begin; t < end; t += step) {
    for (int c = col_begin; c < col_end;) {
      int first = c / EL_PANEL * EL_PANEL, panel = k->x->n_cols - first < EL_PANEL ? k->x->n_cols - first : EL_PANEL;
      int n = first + panel < col_end ? first + panel - c : col_end - c;
      if (n > MAX_COLS) n = MAX_COLS;
      columns cols = {.at = el_act_at(k->x, c, 0),
                      .stride = panel,
                      .y = k->y + (size_t)c * k->ldy,
                      .tiles_ahead = c == col_begin ? ahead : 0,
                      .lora = k->lora ? k->lora + c : NULL};
      by_cols[n - 1](k, &cols, t, t + step);
      c += n;
    }
  }
}

static void gemm_tiles(const call *k, int col_begin, int col_end) {
  const int step = k->lora ? LOW_RANK_TILES : k->tile_end - k->tile_begin;
  for (int t = k->tile_begin, end; t < k->tile_end; t = end) {
    end = k->tile_end - t < step ? k->tile_end : t + step;
    block_tiles(k, col_begin, col_end, t, end);
    if (k->lora) add_low_rank(k, col_begin, col_end, t, end);
  }
}

#endif
