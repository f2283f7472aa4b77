/* AMX: one instruction multiplies 8 rows of activations with 16 outputs and 32 columns of W, which
 * is packed as for AVX-512.
 *
 * The result is defined by groups of 32 columns. So the sums of each group leave the tile unit
 * through memory and are scaled in float, as everywhere, and this costs more than the products.
 * Therefore three things go on side by side, each on RUN_GROUPS groups at a time:
 *   - the codes of W for later groups are unpacked to signed bytes, once for all columns;
 *   - the products of the next run are computed and stored;
 *   - the sums of the run before are scaled and added up.
 *
 * A run is these groups of one block of columns: one or two panels. What is read back was stored a
 * whole run earlier, 64 to 128 cache lines ago: it has left the core's store buffer, from which a
 * vector load cannot take what a tile store has left.
 *
 * The number of columns of a call decides between this and AVX-512 VNNI; the bits are the same.
 *
 * With EL_AMX_MODEL, tiles are C code (tiles_amx.h), for tests on machines without AMX. */
#include <assert.h>

#if defined(__AVX512VNNI__)
#include "kernels/lanes_avx512.h"
#else
#include "kernels/lanes_scalar.h"
#endif
#include "kernels/ops.h"
#include "kernels/tables.h"
#include "kernels/tiles_amx.h"

enum {
  TILE = 16,             /* outputs */
  RUN_GROUPS = 8,        /* a multiple of 2 */
  BLOCK = 2 * EL_PANEL,  /* the most columns of a run */
  BATCH = 8 * BLOCK,     /* the most columns that share unpacked codes */
  GROUP_BYTES = 8 * 64,  /* unpacked codes of a group: 8 quads of columns of 16 rows */
  FETCH_AHEAD = 16384,   /* bytes of W, as in kernels_avx512vnni.c */
  LOW_RANK_AHEAD = 2,    /* tiles of B, as in kernels_avx512vnni.c */
  FEW_COLUMNS = EL_PANEL /* calls with fewer go to AVX-512 VNNI: tiles of 8 rows would be mostly
                          * empty */
};

typedef struct call {
  const el_packed *w;
  int tile_begin, tile_end;
  const el_act *x;
  int col_begin, col_end;
  float *y;
  size_t ldy;
  bool add;
  const el_low_rank *lora; /* of column 0; NULL: none */
  el_fetch *fetch;
} call;

/* Groups [g, g + n_groups) of tile t for columns [col, col_end). */
typedef struct chunk {
  int t, col, col_end, g, n_groups;
} chunk;

/* A chunk for one block of columns, [col, col + n_cols). */
typedef struct run {
  const int8_t *q; /* of the first group and column */
  const float *d, *ds;
  int stride;          /* columns in its panel */
  size_t second_panel; /* the distance from a value of the first panel to that of the second, if
                        * there are two */
  const unsigned char *scales, *mins;
  float *acc; /* [n_cols][16] sums, kept between runs */
  int t, col, n_cols, n_groups;
  bool first, last; /* first and last of its columns in tile t */
} run;

/* What is unpacked during a run; n_groups 0: nothing. */
typedef struct unpacking {
  const unsigned char *codes;
  int n_groups, group_bytes;
  unsigned char *to;
  const unsigned char *own; /* codes to fetch meanwhile, own_lines with each group; NULL: none */
  int own_lines;
} unpacking;

/* The memory of a call, which all stays in the first-level cache. */
typedef struct scratch {
  _Alignas(64) unsigned char codes[2][RUN_GROUPS][GROUP_BYTES];
  _Alignas(64) int32_t sums[2][RUN_GROUPS][BLOCK * TILE];
  _Alignas(64) float acc[BATCH][TILE];
} scratch;

/* ---- unpacking */

/* n vectors of two 4-bit codes in each byte; `more` is added to each code. */
EL_INLINE void unpack_nibbles(const unsigned char *restrict codes, int n, unsigned char more,
                              unsigned char *restrict low, unsigned char *restrict high) {
  for (int i = 0; i < n * 64; i++) {
    low[i] = (unsigned char)((codes[i] & 15) + more);
    high[i] = (unsigned char)((codes[i] >> 4) + more);
  }
}

EL_INLINE void unpack_bytes(const unsigned char *restrict codes, int n, unsigned char flip,
                            unsigned char *restrict out) {
  for (int i = 0; i < n * 64; i++) out[i] = codes[i] ^ flip;
}

/* Unpacks the next group to signed bytes, code - 8, code - 128 or code: [8 quads][16 rows][4]. */
EL_INLINE void unpack_group(unpacking *u, el_layout layout) {
  if (u->own)
    for (int l = 0; l < u->own_lines; l++, u->own += 64) __builtin_prefetch(u->own, 0, 2);
  if (layout == EL_LAYOUT_Q8 || layout == EL_LAYOUT_Q8M)
    unpack_bytes(u->codes, 8, layout == EL_LAYOUT_Q8 ? 0x80 : 0, u->to);
  else
    unpack_nibbles(u->codes, 4, layout == EL_LAYOUT_Q4 ? (unsigned char)-8 : 0, u->to, u->to + 256);
  u->codes += u->group_bytes;
  u->to += GROUP_BYTES;
}

/* Unpacks the end of a LoRA matrix, n < 8 quads; missing quads become zero. With 4 bits, an odd
 * number of quads leaves nibbles without a meaning. */
static void unpack_end(const unsigned char *codes, int n, el_layout layout, unsigned char *to) {
  if (layout == EL_LAYOUT_Q8)
    unpack_bytes(codes, n, 0x80, to);
  else
    unpack_nibbles(codes, (n + 1) / 2, (unsigned char)-8, to, to + (n + 1) / 2 * 64);
  memset(to + n * 64, 0, (size_t)(8 - n) * 64);
}

/* ---- products */

/* Computes the sums of the next group of a run: [n_cols][16]. A panel that is not full is treated
 * as full, with whatever lies behind it. */
#define MULTIPLY(X0, X1, W, SUMS0, SUMS1)                                \
  do {                                                                   \
    tile_load(W, codes, 64);                                             \
    tile_load(X0, r->q, EL_GROUP);                                       \
    tile_zero(SUMS0);                                                    \
    tile_dot(SUMS0, X0, W);                                              \
    if (r->n_cols > EL_PANEL) {                                          \
      tile_load(X1, r->q + r->second_panel * EL_GROUP, EL_GROUP);        \
      tile_zero(SUMS1);                                                  \
      tile_dot(SUMS1, X1, W);                                            \
      tile_store(SUMS1, sums + EL_PANEL * TILE, sizeof(int32_t) * TILE); \
    }                                                                    \
    tile_store(SUMS0, sums, sizeof(int32_t) * TILE);                     \
  } while (0)

/* Consecutive groups alternate between two sets of tiles. */
EL_INLINE void multiply_group(run *r, bool odd, const unsigned char *codes, int32_t *sums) {
  if (odd)
    MULTIPLY(4, 5, 7, 2, 3);
  else
    MULTIPLY(4, 5, 6, 0, 1);
  r->q += r->stride * EL_GROUP;
}

/* ---- scaling */

EL_INLINE void scale_group(run *r, const int32_t *sums, int C, bool has_mins, vf *acc) {
  const float *d0 = r->d, *d1 = d0 + r->second_panel, *s0 = r->ds, *s1 = s0 + r->second_panel;
  /* With pointers of their own, gcc does not keep an offset from d0 for each column. */
  __asm__("" : "+r"(d1), "+r"(s1));
  const vf d = vf_load_f16(r->scales);
#pragma GCC unroll 16
  for (int c = 0; c < C; c++)
    acc[c] =
        vf_fma(vf_of_vi(vi_load(sums + c * TILE)), vf_mul(d, vf_set1(c < EL_PANEL ? d0[c] : d1[c - EL_PANEL])), acc[c]);
  r->d += r->stride;
  r->scales += 32;
  if (!has_mins) return;
  const vf m = vf_load_f16(r->mins);
#pragma GCC unroll 16
  for (int c = 0; c < C; c++) acc[c] = vf_fma(m, vf_set1(c < EL_PANEL ? s0[c] : s1[c - EL_PANEL]), acc[c]);
  r->ds += r->stride;
  r->mins += 32;
}

/* ---- low-rank products */

/* Adds h B^T for tile t of one B and C columns. */
EL_INLINE void add_low_rank_vectors(const el_low_rank *l, int t, int C, vf *acc) {
  const unsigned char *codes = l->data + (size_t)t * l->tile_bytes, *scales = codes + l->scales_at;
  const size_t group_bytes = l->has_4_bits ? 256 : 512;
  for (int c = 0; c < C; c++) acc[c] = vf_set1(0);
  for (int g = 0, left = l->quads; left > 0; g++, left -= 8, codes += group_bytes, scales += 32) {
    const int n = left < 8 ? left : 8, half = (n + 1) / 2;
    _Alignas(64) unsigned char bytes[GROUP_BYTES];
    const unsigned char *at = codes;
    if (l->has_4_bits) { /* to code + 120, which vi_dot takes as code - 8 */
      unpack_nibbles(codes, half, 120, bytes, bytes + half * 64);
      at = bytes;
    }
    vi sum[EL_PANEL];
    for (int c = 0; c < C; c++) sum[c] = vi_dot_start(l[c].h->s128[g] / -128);
    for (int j = 0; j < n; j++)
      for (int c = 0; c < C; c++) sum[c] = vi_dot(sum[c], at + j * 64, l[c].q + g * EL_GROUP + j * 4);
    const vf d = vf_load_f16(scales);
    for (int c = 0; c < C; c++) acc[c] = vf_fma(vf_of_vi(sum[c]), vf_mul(d, vf_set1(l[c].h->d[g])), acc[c]);
  }
}

/* The tile of B of a run's columns i and i + 8 is needed when the run's groups have been scaled. A
 * tile needed later is fetched from memory into the second-level cache. */
EL_INLINE void fetch_low_rank(const call *k, const run *r, int i) {
  for (; i < r->n_cols; i += RUN_GROUPS) {
    const el_low_rank *l = k->lora + r->col + i;
    if (!l->b || (r->col + i > k->col_begin && l[-1].b == l->b)) continue;
    const unsigned char *p = l->data + (size_t)r->t * l->tile_bytes;
    for (size_t at = 0; at < l->tile_bytes; at += 64) __builtin_prefetch(p + at, 0, 3);
    if (r->t + LOW_RANK_AHEAD >= k->tile_end) continue;
    p += LOW_RANK_AHEAD * l->tile_bytes;
    for (size_t at = 0; at < l->tile_bytes; at += 64) __builtin_prefetch(p + at, 0, 2);
  }
}

/* Whether 8 columns have the same B. */
static bool share_b(const el_low_rank *l, int n) {
  for (int c = 1; c < EL_PANEL && n >= EL_PANEL; c++)
    if (l[c].b != l[0].b) return false;
  return n >= EL_PANEL && l[0].b;
}

/* Writes a run's columns, or adds to what is there, and then adds the low-rank products. */
static void put_run(const call *k, const run *r) {
  const int n = k->w->rows - r->t * TILE;
  float *y = k->y + (size_t)r->col * k->ldy + (size_t)r->t * TILE;
  for (int c = 0, together; c < r->n_cols; c += together) {
    const el_low_rank *l = k->lora ? k->lora + r->col + c : NULL;
    vf low[EL_PANEL];
    together = l && share_b(l, r->n_cols - c) ? EL_PANEL : 1;
    if (together > 1)
      add_low_rank_vectors(l, r->t, EL_PANEL, low);
    else if (l && l->b)
      add_low_rank_vectors(l, r->t, 1, low);
    for (int i = 0; i < together; i++, y += k->ldy) {
      vf v = vf_load(r->acc + (c + i) * TILE);
      if (k->add) v = vf_add(load_n(y, n), v);
      store_n(y, l && l->b ? vf_add(v, low[i]) : v, n);
    }
  }
}

/* ---- the pipeline */

/* One step: unpacks `u`, computes the sums of `make`, and uses those of `use`, a run of C
 * columns. */
typedef struct stages {
  const call *k;
  const unpacking *u;
  const run *make, *use;
  const unsigned char (*codes)[GROUP_BYTES]; /* unpacked codes of `make` */
  int32_t (*made)[BLOCK * TILE];             /* sums computed by `make` */
  const int32_t (*sums)[BLOCK * TILE];       /* sums of `use` */
} stages;

EL_INLINE void step_tile(const stages *s, int C, bool has_mins) {
  const call *k = s->k;
  unpacking u = *s->u;
  run make = *s->make, use = *s->use;
  const el_layout layout = k->w->layout;
  const bool low = k->lora && make.first && make.n_groups;
  const int n_panels = make.n_cols > EL_PANEL ? 2 : 1;
  int aside_lines = 0;
  const unsigned char *aside = make.n_groups ? el_fetch_take(k->fetch, make.n_groups * n_panels, &aside_lines) : NULL;
  aside_lines *= n_panels;
  vf acc[BLOCK]; /* in registers: loops over it must be unrolled before gcc decides what can be in
                  * one */
#pragma GCC unroll 16
  for (int c = 0; c < C; c++) acc[c] = use.first ? vf_set1(0) : vf_load(use.acc + c * TILE);
  for (int i = 0; i < RUN_GROUPS; i++) {
    if (i < u.n_groups) unpack_group(&u, layout);
    if (i < make.n_groups) {
      multiply_group(&make, i & 1, s->codes[i], s->made[i]);
      for (int l = 0; l < aside_lines; l++, aside += 64) __builtin_prefetch(aside, 0, 2);
    }
    if (low) fetch_low_rank(k, &make, i);
    if (i < use.n_groups) scale_group(&use, s->sums[i], C, has_mins, acc);
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; c++) vf_store(use.acc + c * TILE, acc[c]);
  if (use.last) put_run(k, s->use);
}

#define STEP(C)                                   \
  static void step_##C(const stages *s) {         \
    const el_layout l = s->k->w->layout;          \
    if (l == EL_LAYOUT_Q4M || l == EL_LAYOUT_Q8M) \
      step_tile(s, C, true);                      \
    else                                          \
      step_tile(s, C, false);                     \
  }
STEP(1)
STEP(2)
STEP(3)
STEP(4)
STEP(5)
STEP(6)
STEP(7)
STEP(8)
STEP(16)

static int min_int(int a, int b) {
  return a < b ? a : b;
}

/* Number of columns in the panel of `col`. */
static int panel_at(const el_act *x, int col) {
  return min_int(x->n_cols - col / EL_PANEL * EL_PANEL, EL_PANEL);
}

static void set_columns(const call *k, chunk *c) {
  c->col_end = min_int(k->col_end, c->col / EL_PANEL * EL_PANEL + BATCH);
}
static void set_groups(const call *k, chunk *c) {
  c->n_groups = min_int(k->w->n_groups - c->g, RUN_GROUPS);
}

/* The next chunk: groups first, then columns, then tiles. False: there is none. */
static bool next_chunk(const call *k, chunk *c) {
  c->g += RUN_GROUPS;
  if (c->g >= k->w->n_groups) {
    c->g = 0;
    c->col = c->col_end;
    if (c->col == k->col_end) {
      c->col = k->col_begin;
      c->t++;
    }
    set_columns(k, c);
  }
  set_groups(k, c);
  return c->t < k->tile_end;
}

/* Prepares to unpack the groups of a chunk to `to`; a short group at the end of W is unpacked
 * immediately. */
static unpacking unpacking_of(const call *k, const chunk *c, unsigned char *to) {
  const el_packed *w = k->w;
  const bool has_8_bits = w->layout == EL_LAYOUT_Q8 || w->layout == EL_LAYOUT_Q8M;
  const int group_bytes = has_8_bits ? 512 : 256, end = c->g + c->n_groups,
            quads = el_group_quads(w->layout, w->cols, end - 1);
  unpacking u = {.codes = w->data + (size_t)c->t * w->tile_bytes + (size_t)(c->g * group_bytes),
                 .n_groups = c->n_groups,
                 .group_bytes = group_bytes,
                 .to = to,
                 .own_lines = group_bytes / 64 + 1};
  if (quads < 8) {
    const size_t last = (size_t)--u.n_groups;
    unpack_end(u.codes + last * (size_t)group_bytes, quads, w->layout, to + last * GROUP_BYTES);
  }
  const int ahead = c->t + FETCH_AHEAD / (int)w->tile_bytes + 1;
  const unsigned char *next = k->fetch ? k->fetch->next : NULL;
  if (c->col != k->col_begin) return u; /* the tile is in the cache already */
  if (ahead < k->tile_end)
    u.own = w->data + (size_t)ahead * w->tile_bytes;
  else if (next)
    u.own = next + (size_t)(ahead - k->tile_end) * w->tile_bytes;
  if (u.own) u.own += (size_t)(c->g * u.own_lines) * 64;
  return u;
}

/* The chunk's columns from `col` on: two full panels, or what there is of one. */
static run run_of(const call *k, const chunk *c, int col, float *acc) {
  const el_packed *w = k->w;
  const int first = col / EL_PANEL * EL_PANEL, stride = panel_at(k->x, col);
  const size_t at = el_act_at(k->x, col, c->g);
  const unsigned char *tile = w->data + (size_t)c->t * w->tile_bytes;
  run r = {.q = k->x->q + at * EL_GROUP,
           .d = k->x->d + at,
           .ds = k->x->ds + at,
           .stride = stride,
           .second_panel = (size_t)w->n_groups * EL_PANEL,
           .scales = tile + w->scales_at + (size_t)c->g * 32,
           .mins = tile + w->mins_at + (size_t)c->g * 32,
           .acc = acc,
           .t = c->t,
           .col = col,
           .n_cols = min_int(first + stride, c->col_end) - col,
           .n_groups = c->n_groups,
           .first = c->g == 0,
           .last = c->g + c->n_groups == w->n_groups};
  if (r.n_cols == EL_PANEL && col + BLOCK <= c->col_end) r.n_cols = BLOCK;
  return r;
}

static void run_products(const call *k) {
  static void (*const steps[])(const stages *) = {[1] = step_1, step_2, step_3, step_4,           step_5,
                                                  step_6,       step_7, step_8, [BLOCK] = step_16};
  scratch s;
  const run none = {.acc = s.acc[0], .n_cols = 1, .first = true}; /* an acc that is not in use */
  const unpacking nothing = {0};
  chunk c = {.t = k->tile_begin, .col = k->col_begin};
  set_columns(k, &c);
  set_groups(k, &c);
  unpacking u = unpacking_of(k, &c, s.codes[0][0]);
  run use = none, make;
  stages st = {.k = k, .u = &u, .make = &none, .use = &use};
  step_1(&st);
  int half = 0, slot = 0;
  st.make = &make;
  for (bool more = true; more; half ^= 1) {
    chunk next = c;
    more = next_chunk(k, &next);
    u = more ? unpacking_of(k, &next, s.codes[half ^ 1][0]) : nothing;
    for (int col = c.col; col < c.col_end; col += make.n_cols) {
      make = run_of(k, &c, col, s.acc[col - c.col]);
      st.codes = (const unsigned char(*)[GROUP_BYTES])s.codes[half];
      st.made = s.sums[slot];
      st.sums = (const int32_t(*)[BLOCK * TILE]) s.sums[slot ^ 1];
      steps[use.n_cols](&st);
      use = make;
      u = nothing;
      slot ^= 1;
    }
    c = next;
  }
  st.make = &none;
  st.sums = (const int32_t(*)[BLOCK * TILE]) s.sums[slot ^ 1];
  steps[use.n_cols](&st);
}

/* ---- the table */

static _Thread_local bool has_tiles; /* this thread has configured its tiles */

static void drop_tiles(void) {
  if (has_tiles) tiles_release();
  has_tiles = false;
}

static void gemm_lora(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                      float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch) {
  assert(w->tile == TILE);
#if !defined(EL_AMX_MODEL)
  if (col_end - col_begin < FEW_COLUMNS) {
    el_kernels_avx512vnni.gemm_lora(w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch);
    return;
  }
#endif
  if (tile_begin >= tile_end || col_begin >= col_end) return;
  if (!has_tiles) tiles_configure();
  has_tiles = true;
  const call k = {w, tile_begin, tile_end, x, col_begin, col_end, y, ldy, add, lora, fetch};
  run_products(&k);
}

#include "kernels/gemm.h"

#if !defined(EL_KERNELS_TABLE)
#define EL_KERNELS_TABLE el_kernels_amx_int8
#endif
#if !defined(EL_KERNELS_NAME)
#define EL_KERNELS_NAME "amx_int8"
#endif

const el_kernels EL_KERNELS_TABLE = {
    .name = EL_KERNELS_NAME, .tile = TILE, .gemm = gemm, .gemm_lora = gemm_lora, .release = drop_tiles, EL_OPS};
