/* The product for AVX2 with many rows and columns. Activations are broadcast once into a buffer in
 * the first-level cache, where they are operands without an instruction of their own, and an
 * unpacked group of weights is used for up to 16 columns. The buffer holds a few groups (a
 * "chunk"): a block of tiles goes through one chunk, then through the next, and float sums are in
 * memory. The file that includes this one has defined
 *
 *   Q8_PARTS   parts of a group of q8, cut so that an unpacked part fits into registers
 *   weights    a part of a group of 8 rows, unpacked
 *   load_weights(codes, layout, part, *w)
 *   dot(w, layout, part, x, expanded, start)   start + codes . activations, in each 32-bit lane */
#ifndef EL_KERNELS_EXPANDED_AVX2_H
#define EL_KERNELS_EXPANDED_AVX2_H

#include "kernels/tiles_avx2.h"

enum {
  EXPANDED_COLS = 16,
  /* With fewer it does not pay; measured on Zen 4. */
  EXPANDED_MIN_COLS = 5,
  EXPANDED_MIN_TILES = 12,
  CHUNK_VECTORS = 640,     /* 20 KiB: leaves room for weights in a first-level cache of 32 KiB */
  SUMS = 1024,             /* vectors of float sums of a block of tiles: 32 KiB, loaded and stored
                            * once a chunk */
  CHUNK_FETCH_AHEAD = 2048 /* bytes of codes; more was slower, since a chunk takes little of each of
                            * many pages */
};

/* A column's group in the buffer: 8 quads, each in every lane; then its scale; then its offset, or
 * scale * sum for layouts with minimums. */
enum { X_SCALE = 8, X_OTHER = 9, X_VECTORS = 10 };

/* Expands groups [begin, begin + n) of columns [col, col + C) to out: [n][C][X_VECTORS] */
static void expand_columns(const el_act *x, el_layout layout, int begin, int n, int col, int C, __m256i *out) {
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
  const __m256i *x;        /* expanded: [n][C][X_VECTORS] */
  __m256 *acc;             /* [tiles][C] */
  bool fetch;              /* the block's weights are used for the first time */
  const el_low_rank *lora; /* of the first column; NULL: none */
  int step;                /* groups of a chunk, but for the last */
  int block;               /* tiles of a block, but for the last */
} chunk;

/* The codes that are used some tiles after tile t of this chunk; NULL: none. */
EL_INLINE const unsigned char *chunk_ahead(const call *k, const chunk *p, int t, el_layout layout) {
  const int tiles = p->tile_end - p->tile_begin, each = p->step * code_bytes(layout);
  int ahead = CHUNK_FETCH_AHEAD / each + 1, begin = p->begin;
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

/* One group, and the sums of the columns of a tile that it is added to. */
typedef struct group {
  const unsigned char *codes, *scales, *mins;
  const __m256i *x; /* [C][X_VECTORS] */
  __m256i *sums;    /* [C] carried from one part of the group to the next */
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
  const int n_lora = (C + w->n_groups - 1) / w->n_groups; /* columns whose B is fetched with each
                                                           * group */
  int aside_lines;                                        /* callers count one visit for each panel */
  const unsigned char *aside = el_fetch_take(k->fetch, p->n * panels, &aside_lines);
  aside_lines *= panels;
  if (own) {
    const unsigned char *scales = own + (g.scales - g.codes); /* close enough: scales follow the
                                                               * codes of all groups */
    fetch_lines(scales, (p->n + 3) / 4);
    if (has_mins(layout)) fetch_lines(scales + (g.mins - g.scales), (p->n + 3) / 4);
  }
  for (int i = 0; i < p->n; i++) {
    if (own) {
      fetch_lines(own, code_bytes(layout) / 64);
      own += code_bytes(layout);
    }
    for (int j = 0; j < aside_lines; j++, aside += 64) _mm_prefetch((const char *)aside, _MM_HINT_T1);
    if (p->lora) {
      const int c = (p->begin + i) * n_lora;
      fetch_low_rank(p->lora, c, c + n_lora < C ? c + n_lora : C, t);
    }
    group_columns(&g, C, layout, 0, parts);
    if (parts > 1) group_columns(&g, C, layout, 1, parts);
    g.codes += code_bytes(layout);
    g.scales += TILE * 2;
    g.mins += TILE * 2;
    g.x += C * X_VECTORS;
  }
}

/* These are separate functions because each has a loop that needs all registers. */
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
    expand_columns(k->x, w->layout, p->begin, p->n, col, p->C, x);
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

static void gemm_expanded(const call *k, int col_begin, int col_end) {
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
      p.lora = k->lora ? k->lora + c : NULL;
      block_columns(k, &p, c, x);
      if (k->lora) add_low_rank(k, c, c + p.C, p.tile_begin, p.tile_end);
    }
  }
}

#endif
