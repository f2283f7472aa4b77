/* Compute kernels: packed weights, quantised activations, and one table of function pointers per instruction set.
 *
 * Weights are repacked once, at load. Rows are interleaved in tiles (16 rows for AVX-512, 8 otherwise), so that a
 * vector holds the same columns of several rows and a dot product ends without a horizontal sum. Activations are
 * quantised to int8 in groups of 32 with a scale. See README.md in this folder for the layouts.
 *
 * Every instruction set gives the same bits: integer sums are exact, floating-point operations are the same ones in
 * the same order, fused multiply-adds are explicit. The scalar version is the definition. What a column of the
 * activations gives does not depend on the other columns. */
#ifndef EL_KERNELS_KERNELS_H
#define EL_KERNELS_KERNELS_H

#include "format/quant.h"

enum {
  EL_GROUP = 32, /* columns of W that share a scale, and values of an activation that do */
  EL_PANEL = 8,  /* activation columns that are stored together */
  EL_LANES = 16, /* rows of a tile of the 16-bit layouts; lanes of the vector operations */
  EL_TILE_MAX = 16
};

/* ------------------------------------------------------------------ weights */

typedef enum el_layout {
  EL_LAYOUT_Q4,  /* w = d * (code - 8), 4-bit codes, d per row and group: Q4_0, and types of up to four values */
  EL_LAYOUT_Q4M, /* w = d * code + m: Q4_1, Q4_K, IQ1_S */
  EL_LAYOUT_Q8,  /* w = d * (code - 128), 8-bit codes: all else; README.md says what is exact and what is requantised */
  EL_LAYOUT_Q8M, /* w = d * code + m, codes 0 to 31 in 8 bits: Q5_1, Q5_K */
  EL_LAYOUT_F16,
  EL_LAYOUT_BF16
} el_layout;

/* The 16-bit layouts: products take activations in F32, tiles have EL_LANES rows. */
static inline bool el_layout_is_float(el_layout l) {
  return l == EL_LAYOUT_F16 || l == EL_LAYOUT_BF16;
}

/* The layouts that LoRA matrices may have, of as few columns as their rank: the last group holds whole fours of columns
 * only, where there are not 32. */
static inline bool el_layout_may_end_early(el_layout l) {
  return l == EL_LAYOUT_Q4 || l == EL_LAYOUT_Q8;
}

/* Fours of columns that group g of W holds; with 4 bits, the low nibbles are those of the first half (rounded up). */
static inline int el_group_quads(el_layout layout, int cols, int g) {
  int left = (cols + 3) / 4 - g * (EL_GROUP / 4);
  return el_layout_may_end_early(layout) && left < EL_GROUP / 4 ? left : EL_GROUP / 4;
}

/* W: [rows, cols], packed. */
typedef struct el_packed {
  el_layout layout;
  int rows, cols;
  int tile;                  /* rows of a tile */
  int n_tiles;               /* ceil(rows / tile); the rows that are missing in the last one are zero */
  int n_groups;              /* ceil(cols / 32) */
  size_t tile_bytes;         /* a multiple of 64 */
  size_t scales_at, mins_at; /* offsets inside a tile: codes come first, then [n_groups][tile] F16 scales, then mins */
  unsigned char *data;       /* [n_tiles] tiles, 64-byte aligned; owned by whoever allocated it */
} el_packed;

/* Describes a packed matrix without memory: sizes are known before anything is allocated. `tile` is the kernels' tile.
 */
void el_packed_init(el_packed *w, el_layout layout, int rows, int cols, int tile);
size_t el_packed_bytes(const el_packed *w);
const char *el_layout_name(el_layout layout);

/* What becomes of the weights of a file. */
typedef enum el_weights {
  EL_WEIGHTS_KEEP, /* the layout that keeps the type's precision */
  EL_WEIGHTS_Q8,   /* 16- and 32-bit weights become int8 too */
  EL_WEIGHTS_F16   /* all weights become F16: the precision to compare with, at 3 to 4 times the memory of 4-bit weights
                    */
} el_weights;

/* The layout for a GGUF type. `data` decides for F32: F16, or BF16 if a value is beyond F16's range. */
el_layout el_layout_for(el_type type, const void *data, int64_t n, el_weights weights);

/* Packs tiles [tile_begin, tile_end) of a GGUF tensor; src: their rows, [rows, cols] in `type`, any alignment. w->data
 * is set. */
void el_pack_tiles(el_packed *w, el_type type, const void *src, int tile_begin, int tile_end);
typedef struct el_kernels el_kernels; /* below */
/* Packs rows of F32, times a factor, into a matrix whose layout is EL_LAYOUT_Q4, Q8 or F16, from row `row` on; src:
 * [n_rows, cols], finite. Rows must not be written twice, and the matrix must have been cleared by el_packed_clear. */
void el_pack_rows(const el_kernels *k, el_packed *w, int row, int n_rows, const float *src, float factor);
void el_packed_clear(el_packed *w);
/* One row as F32: dst: [cols]. */
void el_packed_get_row(const el_packed *w, int row, float *dst);

/* Whether a layout holds less than a type has: its weights are requantised, all or some. */
bool el_packing_loses(el_type type, el_layout layout);
/* Sums of squares over weights: of what packing changed them by, and of themselves. */
typedef struct el_pack_loss {
  double error, size;
} el_pack_loss;
/* Adds rows [row, row + n_rows) of a packed matrix; src: them in the file; scratch: [2 * cols]. */
void el_pack_measure(const el_packed *w, el_type type, const void *src, int row, int n_rows, float *scratch,
                     el_pack_loss *sum);
/* The root of error / size. */
double el_pack_relative(const el_pack_loss *sum);

/* -------------------------------------------------------------- activations */

/* Bytes behind the codes of activations: kernels may read a panel with fewer columns as one of 8, whatever lies there.
 */
enum { EL_ACT_ROOM = (EL_PANEL - 1) * EL_GROUP };

/* X: [n_cols, k], quantised: x = d * q. Columns are stored in panels of 8 (fewer in the last):
 * within a panel with c columns, q is [n_groups][c][32], the figures of a group are [n_groups][c]. */
typedef struct el_act {
  int k, n_cols, n_groups; /* current shape */
  int max_k, max_cols;
  int8_t *q;     /* -127 to 127; zero from k to the end of the last group */
  float *d;      /* scale of a group */
  float *ds;     /* d * sum(q), for layouts with a minimum */
  int32_t *s8;   /* -8 * sum(q), the offset of 4-bit codes */
  int32_t *s128; /* -128 * sum(q), the offset of 8-bit codes */
  float *f;      /* [n_cols][k] F32, for the 16-bit layouts; the caller writes it */
} el_act;

void el_act_free(el_act *a);
/* Sets the shape; contents are undefined until every column has been quantised. */
void el_act_shape(el_act *a, int k, int n_cols);

/* The memory of `a` in a shape of its own, which threads that work side by side do not see of each other. */
static inline el_act el_act_shaped(const el_act *a, int k, int n_cols) {
  el_act out = *a;
  el_act_shape(&out, k, n_cols);
  return out;
}

/* Column `col` of the memory of `a`, as an X of one column of up to a->max_k values. It is freed with `a`, not by
 * itself. */
el_act el_act_column(const el_act *a, int col);

/* Index of (column, group) in d, ds, s8, s128; times 32 in q. */
static inline size_t el_act_at(const el_act *a, int col, int group) {
  int p = col / EL_PANEL, first = p * EL_PANEL;
  int c = a->n_cols - first < EL_PANEL ? a->n_cols - first : EL_PANEL;
  return (size_t)first * (size_t)a->n_groups + (size_t)group * (size_t)c + (size_t)(col - first);
}

/* ------------------------------------------------------------------ kernels */

/* Keys and values of earlier positions. A page holds 16 positions of a sequence; a layer and KV head has a piece of it:
 *   F16: keys [head_dim][16], then values [16][head_dim]
 *   Q8:  codes with a scale (F16) for each position: keys [ceil(head_dim / 4)][16][4], code + 128; values
 *        [16][head_dim], signed; then the scales of keys [16] and of values [16] */
typedef enum el_kv_type { EL_KV_F16, EL_KV_Q8 } el_kv_type;

/* Bytes of a piece, a multiple of 64. */
static inline size_t el_kv_piece_bytes(el_kv_type type, int head_dim) {
  size_t hd = (size_t)head_dim;
  return type == EL_KV_Q8 ? ((hd + 3) / 4 * 64 + hd * 16 + 64 + 63) / 64 * 64 : hd * 64;
}

/* Rows of one sequence at consecutive positions against its keys and values, for the query heads that share a KV head.
 */
typedef struct el_attn {
  const float *q;  /* row i, query head j: [head_dim] at q + i * ldq + j * head_dim */
  float *out;      /* the same with ldo */
  size_t ldq, ldo; /* in floats */
  float *scratch;  /* [el_attn_scratch(head_dim)] */
  /* NULL: all positions, and the result goes to out. Else [spans][n_rows * n_q][el_attn_part(head_dim)], counted from
   * the first span that row 0 sees: what spans [span_begin, span_end) give goes there, for attend_join. */
  float *parts;
  int span_begin, span_end;
  int n_rows, n_q, head_dim;
  int n_pos;                 /* row i attends to positions 0 .. n_pos + i - 1; n_pos is at least 1 */
  int window;                /* positions that a row sees, its own included; 0: all */
  float scale;               /* of the scores, 1 / sqrt(head_dim) as a rule */
  float cap;                 /* scores become cap * tanh(score / cap); 0: they stay */
  const float *sinks;        /* [n_q] a score without a value that takes part in each softmax; NULL: none */
  const uint32_t *pages;     /* the sequence's page table; what is before the window is not read */
  const unsigned char *kv;   /* the arena */
  size_t page_bytes, offset; /* offset of this layer's and head's piece inside a page */
  el_kv_type kv_type;
  /* What this thread reads next, to be fetched towards the end; NULL: not known. Results do not depend on it. */
  const uint32_t *next_pages; /* [next_n_pages] */
  int next_n_pages;
  size_t next_offset;
} el_attn;

enum {
  EL_ATTN_BLOCK = 128, /* positions between two corrections of the running maximum: part of the definition */
  EL_ATTN_SPAN = 256,  /* positions that are a softmax of their own before they are joined: part of it too */
  EL_ATTN_TILE = 24    /* queries (rows times heads) that share a pass over keys and values; more go in several */
};

static inline size_t el_attn_scratch(int head_dim) {
  return (size_t)EL_ATTN_TILE * ((size_t)(head_dim + 3) / 4 * 4 + EL_ATTN_BLOCK + (size_t)head_dim);
}

/* Floats of what a span gives for a query: its output, maximum and sum; whole cache lines. */
static inline size_t el_attn_part(int head_dim) {
  return ((size_t)head_dim + 2 + 15) / 16 * 16;
}

/* The spans that a row sees which attends to positions 0 .. n_pos - 1, of which a window hides some: [*begin, *end). */
static inline void el_attn_spans(int n_pos, int window, int *begin, int *end) {
  *begin = window > 0 && n_pos > window ? (n_pos - window) / EL_ATTN_SPAN : 0;
  *end = (n_pos + EL_ATTN_SPAN - 1) / EL_ATTN_SPAN;
}

/* What a thread reads soon, for a product to fetch into the second-level cache while it computes: the hardware's
 * prefetchers begin anew at every page and at every small matrix, and a product of several columns leaves most of the
 * memory's bandwidth unused. It is a hint; results do not depend on it. */
typedef struct el_span {
  const unsigned char *data;
  size_t bytes;
} el_span;

typedef struct el_fetch {
  const unsigned char *next; /* read right after the tiles of this call; NULL: not known */
  const el_span *spans;      /* other memory that is wanted; products take from the front */
  int n_spans;
  size_t at; /* bytes of the first span that were taken */
  int lines; /* cache lines to take with each group of columns of W that is read */
} el_fetch;

/* What to fetch during `n_groups` groups: *lines (0: nothing) with each, consecutive from the result on. */
static inline const unsigned char *el_fetch_take(el_fetch *f, int n_groups, int *lines) {
  *lines = 0;
  if (!f || !f->n_spans) return NULL;
  const unsigned char *at = f->spans->data + f->at;
  size_t each = (size_t)n_groups * 64, left = (f->spans->bytes - f->at + each - 1) / each;
  *lines = left < (size_t)f->lines ? (int)left : f->lines;
  f->at += (size_t)*lines * each;
  if (f->at >= f->spans->bytes) {
    f->spans++;
    f->n_spans--;
    f->at = 0;
  }
  return at;
}

/* What one column of the activations adds to its outputs besides X W^T: y += h B^T, where h = x A^T is a row of the
 * low-rank product. B: [rows of W, rank]; h: one column of `rank` values, quantised (and in F32, where B has 16 bits).
 * The figures repeat what b and h say: a kernel looks at them once for each tile of B, which is small. */
typedef struct el_low_rank {
  const el_packed *b; /* NULL: nothing */
  const el_act *h;
  const unsigned char *data; /* of b */
  uint32_t tile_bytes, scales_at;
  int quads; /* of four columns of B, the last perhaps in part */
  bool has_4_bits;
  const int8_t *q; /* of h */
} el_low_rank;

static inline el_low_rank el_low_rank_of(const el_packed *b, const el_act *h) {
  return (el_low_rank){
      b,   h, b->data, (uint32_t)b->tile_bytes, (uint32_t)b->scales_at, (b->cols + 3) / 4, b->layout == EL_LAYOUT_Q4,
      h->q};
}

enum { EL_LOGIT_BLOCK = 64, EL_LOGIT_CHUNK = 256 };

struct el_kernels {
  const char *name;
  int tile; /* rows of a tile of the integer layouts */

  /* Y[col][row] = X[col] . W[row], or += with `add`, for the rows of tiles [tile_begin, tile_end) and columns
   * [col_begin, col_end). y: element (col, row) is y[col * ldy + row], both counted from 0 of the whole. fetch: NULL if
   * nothing is known. */
  void (*gemm)(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end, float *y,
               size_t ldy, bool add, el_fetch *fetch);
  /* gemm of an integer layout, and the low-rank products: lora[c] is column c's, counted as y's; each B is in
   * EL_LAYOUT_Q8 or Q4. A tile of B, which one column alone reads and which comes from memory, is fetched while the
   * column's tile of W is used. NULL where an instruction set has no such function: for el_gemm_lora to call. */
  void (*gemm_lora)(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                    float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch);
  /* Quantises groups [group_begin, group_end) of column `col`. x: [a->k], the whole column. Scales are multiplied by
   * `gain`. */
  void (*quantize)(const float *x, int group_begin, int group_end, float gain, el_act *a, int col);
  /* y = x / sqrt(mean(x^2) + eps) * w (arXiv 1910.07467); all [n]; w NULL: all 1; y may be x */
  void (*rms_norm)(const float *x, const float *w, int n, float eps, float *y);
  /* y = silu(gate) * up (arXiv 2002.05202); all [n]; y may be gate */
  void (*swiglu)(const float *gate, const float *up, int n, float *y);
  /* y = gelu(gate) * up, by the approximation with tanh: gelu(x) = x * sigmoid(2 * sqrt(2/pi) * (x + 0.044715 x^3)) */
  void (*geglu)(const float *gate, const float *up, int n, float *y);
  /* y = g * sigmoid(1.702 g) * (u + 1) for g = min(gate, 7) and u = up within [-7, 7]: gpt-oss's */
  void (*swiglu_clamped)(const float *gate, const float *up, int n, float *y);
  /* x = cap * tanh(scale * x / cap), or scale * x when cap is 0; [n] */
  void (*cap)(float *x, int n, float scale, float cap);
  /* softmax(q K^T * scale) V, causal; a query's result does not depend on the others */
  void (*attend)(const el_attn *a);
  /* out = what attend gives, of parts that are all there. */
  void (*attend_join)(const el_attn *a);
  /* Rotates pairs (x[2i], x[2i+1]), i < n_rot / 2, by the angle of cos_sin[2i], cos_sin[2i+1] (arXiv 2104.09864). */
  void (*rope)(float *x, const float *cos_sin, int n_rot);
  /* Rotates pairs (x[i], x[i + n_rot / 2]); cos_sin: all cosines, then all sines. */
  void (*rope_halves)(float *x, const float *cos_sin, int n_rot);
  /* What the calling thread holds of the CPU for products is given back, until its next product; NULL: nothing is held.
   * For a thread that is about to wait. */
  void (*release)(void);
  /* Writes one position (slot 0 .. 15) of a piece of a page: key, value: [head_dim] F32. */
  void (*kv_write)(el_kv_type type, unsigned char *page_at, int slot, int head_dim, const float *key,
                   const float *value);
  /* Of a row of logits, x: [n]. most[b]: the largest of its b-th EL_LOGIT_BLOCK. False: a value is NaN or +infinity. */
  bool (*row_most)(const float *x, int n, float *most);
  /* e[i] = exp((x[i] - origin) * scale), or 0 where that is below 4e-38; (x[i] - origin) * scale is at most 0. e: [n],
   * or NULL. sums: of each EL_LOGIT_CHUNK, in double precision, lane i of 16 adding e[i], e[i + 16] and so on, then
   * lanes i and i + 8, 4, 2, 1; or NULL. */
  void (*row_exp)(const float *x, int n, float origin, float scale, float *e, double *sums);
  /* Lists what is within a distance, origin - x[i] <= limit: tokens first + i, and the distances. Returns how many
   * there are; EL_LANES more may be written behind them. ids, below: [n + EL_LANES] */
  int (*row_near)(const float *x, int n, int32_t first, float origin, float limit, int32_t *ids, float *below);
  /* n finite values of EL_TYPE_F32, F16 or BF16 as F32, from any address; dst may be src. Returns the largest
   * magnitude.
   */
  float (*widen)(el_type type, const void *src, size_t n, float *dst);
  /* el_pack_rows for EL_LAYOUT_Q4 and Q8. */
  void (*pack_rows)(el_packed *w, int row, int n_rows, const float *src, float factor);
};

/* Y = X W^T, or += with `add`, and then += h B^T for each column that has one. The arguments are those of gemm; a NULL
 * `lora` makes it gemm. */
void el_gemm_lora(const el_kernels *k, const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin,
                  int col_end, float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch);

const char *el_kernels_name(const el_kernels *k);

/* The i-th instruction set that this CPU has, best first; NULL at the end. */
const el_kernels *el_kernels_at(int i);

#endif
