/* Compute kernels: packed weights, quantised activations, and one table of function pointers for
 * each instruction set.
 *
 * Weights are repacked once, when they are loaded. Rows are interleaved in tiles (of 16 rows for
 * AVX-512, else 8), so that a vector holds the same columns of several rows and a dot product needs
 * no horizontal sum at its end. Activations are quantised to int8 in groups of 32 with a scale.
 * README.md in this folder describes the layouts.
 *
 * Every instruction set gives the same bits: integer sums are exact, floating-point operations are
 * the same in the same order, and fused multiply-adds are explicit. The scalar version is the
 * definition. The result of one column of activations does not depend on the other columns. */
#ifndef EL_KERNELS_KERNELS_H
#define EL_KERNELS_KERNELS_H

#include "format/quant.h"

enum {
  EL_GROUP = 32, /* columns of W, or values of an activation, that share a scale */
  EL_PANEL = 8,  /* columns of activations that are stored together */
  EL_LANES = 16, /* rows in a tile of the 16-bit layouts; lanes of the vector operations */
  EL_TILE_MAX = 16
};

/* ------------------------------------------------------------------ weights */

typedef enum el_layout {
  EL_LAYOUT_Q4,  /* w = d * (code - 8), 4-bit codes, d for each row and group: Q4_0, and types with
                  * up to four values */
  EL_LAYOUT_Q4M, /* w = d * code + m: Q4_1, Q4_K, IQ1_S */
  EL_LAYOUT_Q8,  /* w = d * (code - 128), 8-bit codes: all other types; README.md says what is exact
                  * and what is requantised */
  EL_LAYOUT_Q8M, /* w = d * code + m, codes 0 to 31 in 8 bits: Q5_1, Q5_K */
  EL_LAYOUT_F16,
  EL_LAYOUT_BF16
} el_layout;

/* The 16-bit layouts: their products take activations in F32, and their tiles have EL_LANES
 * rows. */
static inline bool el_layout_is_float(el_layout l) {
  return l == EL_LAYOUT_F16 || l == EL_LAYOUT_BF16;
}

/* The layouts for LoRA matrices, which may have as few columns as their rank: if the last group
 * does not have 32 columns it holds only whole fours of columns. */
static inline bool el_layout_may_end_early(el_layout l) {
  return l == EL_LAYOUT_Q4 || l == EL_LAYOUT_Q8;
}

/* Fours of columns in group g of W; with 4-bit codes, the low nibbles hold the first half of them
 * (rounded up). */
static inline int el_group_quads(el_layout layout, int cols, int g) {
  int left = (cols + 3) / 4 - g * (EL_GROUP / 4);
  return el_layout_may_end_early(layout) && left < EL_GROUP / 4 ? left : EL_GROUP / 4;
}

/* A packed matrix W: [rows, cols]. */
typedef struct el_packed {
  el_layout layout;
  int rows, cols;
  int tile;                  /* rows in a tile */
  int n_tiles;               /* ceil(rows / tile); rows missing from the last tile are zero */
  int n_groups;              /* ceil(cols / 32) */
  size_t tile_bytes;         /* a multiple of 64 */
  size_t scales_at, mins_at; /* offsets within a tile: codes come first, then [n_groups][tile] F16
                              * scales, then minimums */
  unsigned char *data;       /* [n_tiles] tiles, 64-byte aligned; it belongs to whoever
                              * allocated it */
} el_packed;

/* Describes a packed matrix without memory, so that sizes are known before anything is allocated.
 * `tile`: that of the kernels. */
void el_packed_init(el_packed *w, el_layout layout, int rows, int cols, int tile);
size_t el_packed_bytes(const el_packed *w);
const char *el_layout_name(el_layout layout);

/* What the weights of a file become. */
typedef enum el_weights {
  EL_WEIGHTS_KEEP, /* the layout that keeps the precision of their type */
  EL_WEIGHTS_Q8,   /* 16- and 32-bit weights become int8, too */
  EL_WEIGHTS_F16   /* all weights become F16: the precision to compare with, in 3 to 4 times the
                    * memory of 4-bit weights */
} el_weights;

/* The layout for a GGUF type. For F32, `data` decides: F16, or BF16 if a value is beyond the range
 * of F16. */
el_layout el_layout_for(el_type type, const void *data, int64_t n, el_weights weights);

/* Packs tiles [tile_begin, tile_end) of a GGUF tensor. src: the rows of these tiles, [rows, cols]
 * in `type`, at any address. w->data must be set. */
void el_pack_tiles(el_packed *w, el_type type, const void *src, int tile_begin, int tile_end);
typedef struct el_kernels el_kernels; /* declared below */
/* Packs rows of F32, multiplied by a factor, into a matrix in EL_LAYOUT_Q4, Q8 or F16, from row
 * `row` on. src: [n_rows, cols], finite. No row may be written twice, and the matrix must have been
 * cleared by el_packed_clear. */
void el_pack_rows(const el_kernels *k, el_packed *w, int row, int n_rows, const float *src, float factor);
void el_packed_clear(el_packed *w);
/* Reads one row as F32; dst: [cols]. */
void el_packed_get_row(const el_packed *w, int row, float *dst);

/* Whether a layout holds less than a type has, so that some or all of its weights are
 * requantised. */
bool el_packing_loses(el_type type, el_layout layout);
/* Sums of squares over weights: of the changes by packing, and of the weights. */
typedef struct el_pack_loss {
  double error, size;
} el_pack_loss;
/* Adds rows [row, row + n_rows) of a packed matrix to a loss. src: the same rows in the file;
 * scratch: [2 * cols]. */
void el_pack_measure(const el_packed *w, el_type type, const void *src, int row, int n_rows, float *scratch,
                     el_pack_loss *sum);
/* sqrt(error / size) */
double el_pack_relative(const el_pack_loss *sum);

/* -------------------------------------------------------------- activations */

/* Bytes behind the codes of activations: kernels may read a panel with fewer columns as one with 8,
 * ignoring what is there. */
enum { EL_ACT_ROOM = (EL_PANEL - 1) * EL_GROUP };

/* Quantised activations X: [n_cols, k], with x = d * q. Columns are stored in panels of 8 (fewer in
 * the last panel). In a panel of c columns, q is [n_groups][c][32], and the values for each group
 * are [n_groups][c]. */
typedef struct el_act {
  int k, n_cols, n_groups; /* the current shape */
  int max_k, max_cols;
  int8_t *q;     /* -127 to 127; 0 from k to the end of the last group */
  float *d;      /* the scale of a group */
  float *ds;     /* d * sum(q), for layouts with a minimum */
  int32_t *s8;   /* -8 * sum(q): the offset for 4-bit codes */
  int32_t *s128; /* -128 * sum(q): the offset for 8-bit codes */
  float *f;      /* [n_cols][k] F32, for the 16-bit layouts; written by the caller */
} el_act;

void el_act_free(el_act *a);
/* Sets the shape. The contents are undefined until every column has been quantised. */
void el_act_shape(el_act *a, int k, int n_cols);

/* The memory of `a` in another shape. Threads that work side by side do not see each other's
 * shape. */
static inline el_act el_act_shaped(const el_act *a, int k, int n_cols) {
  el_act out = *a;
  el_act_shape(&out, k, n_cols);
  return out;
}

/* Column `col` of the memory of `a`, as an X with one column of up to a->max_k values. It is freed
 * with `a`, not by itself. */
el_act el_act_column(const el_act *a, int col);

/* The index of (column, group) in d, ds, s8 and s128; times 32 in q. */
static inline size_t el_act_at(const el_act *a, int col, int group) {
  int p = col / EL_PANEL, first = p * EL_PANEL;
  int c = a->n_cols - first < EL_PANEL ? a->n_cols - first : EL_PANEL;
  return (size_t)first * (size_t)a->n_groups + (size_t)group * (size_t)c + (size_t)(col - first);
}

/* ------------------------------------------------------------------ kernels */

/* Types of keys and values in pages. A page holds 16 positions of a sequence; each layer and KV
 * head has a piece of it:
 *   F16: keys [head_dim][16], then values [16][head_dim]
 *   Q8:  codes with a scale (F16) for each position: keys [ceil(head_dim / 4)][16][4], code + 128;
 *        values [16][head_dim], signed; then the scales of keys [16] and of values [16] */
typedef enum el_kv_type { EL_KV_F16, EL_KV_Q8 } el_kv_type;

/* Bytes of a piece, a multiple of 64. */
static inline size_t el_kv_piece_bytes(el_kv_type type, int head_dim) {
  size_t hd = (size_t)head_dim;
  return type == EL_KV_Q8 ? ((hd + 3) / 4 * 64 + hd * 16 + 64 + 63) / 64 * 64 : hd * 64;
}

/* Attention of rows of one sequence at consecutive positions to its keys and values, for the query
 * heads that share a KV head. */
typedef struct el_attn {
  const float *q;  /* query head j of row i: [head_dim] at q + i * ldq + j * head_dim */
  float *out;      /* the same, with ldo */
  size_t ldq, ldo; /* in floats */
  float *scratch;  /* [el_attn_scratch(head_dim)] */
  /* NULL: all positions, with the result in out. Else [spans][n_rows *
   * n_q][el_attn_partial(head_dim)], counted from the first span that row 0 sees: receives the
   * partial results of spans [span_begin, span_end), for attend_join. */
  float *partials;
  int span_begin, span_end;
  int n_rows, n_q, head_dim;
  int n_pos;                 /* row i attends to positions 0 .. n_pos + i - 1; n_pos is at
                              * least 1 */
  int window;                /* positions that a row sees, including its own; 0: all */
  float scale;               /* of the scores; usually 1 / sqrt(head_dim) */
  float cap;                 /* scores become cap * tanh(score / cap); 0: unchanged */
  const float *sinks;        /* [n_q] scores without a value that take part in each softmax; NULL:
                              * none */
  const uint32_t *pages;     /* the sequence's page table; entries before the window are not read */
  const unsigned char *kv;   /* the memory of all pages */
  size_t page_bytes, offset; /* offset of this layer's and head's piece within a page */
  el_kv_type kv_type;
  /* What this thread reads next, to be fetched towards the end; NULL: not known. It does not change
   * results. */
  const uint32_t *next_pages; /* [next_n_pages] */
  int next_n_pages;
  size_t next_offset;
} el_attn;

enum {
  EL_ATTN_BLOCK = 128, /* positions between two updates of the running maximum: part of the
                        * definition */
  EL_ATTN_SPAN = 256,  /* positions that have a softmax of their own before they are joined: part of
                        * the definition */
  EL_ATTN_TILE = 24    /* queries (rows times heads) that share a pass over keys and values; more
                        * take several passes */
};

static inline size_t el_attn_scratch(int head_dim) {
  return (size_t)EL_ATTN_TILE * ((size_t)(head_dim + 3) / 4 * 4 + EL_ATTN_BLOCK + (size_t)head_dim);
}

/* Floats of a partial result for one query: its output, maximum and sum, padded to whole cache
 * lines. */
static inline size_t el_attn_partial(int head_dim) {
  return ((size_t)head_dim + 2 + 15) / 16 * 16;
}

/* The spans that a row sees if it attends to positions 0 .. n_pos - 1, some of which may be hidden
 * by a window: [*begin, *end). */
static inline void el_attn_spans(int n_pos, int window, int *begin, int *end) {
  *begin = window > 0 && n_pos > window ? (n_pos - window) / EL_ATTN_SPAN : 0;
  *end = (n_pos + EL_ATTN_SPAN - 1) / EL_ATTN_SPAN;
}

/* Memory that a thread will read soon, which a product fetches into the second-level cache while it
 * computes. The hardware's prefetchers start anew at every page and every small matrix, and a
 * product of several columns leaves most of the memory bandwidth unused. This is a hint and does
 * not change results. */
typedef struct el_span {
  const unsigned char *data;
  size_t bytes;
} el_span;

typedef struct el_fetch {
  const unsigned char *next; /* what is read right after the tiles of this call; NULL: not known */
  const el_span *spans;      /* other memory that is wanted; products take from the front */
  int n_spans;
  size_t at; /* bytes of the first span that have been taken */
  int lines; /* cache lines to fetch with each group of columns of W */
} el_fetch;

/* What to fetch during `n_groups` groups: *lines (0: nothing) with each, consecutively from the
 * result on. */
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

/* What one column of the activations adds to its outputs besides X W^T: y += h B^T, where h = x A^T
 * is a row of the low-rank product. B: [rows of W, rank]; h: one column of `rank` values, quantised
 * (and also in F32 if B has 16 bits). The other fields repeat what b and h say, since a kernel
 * needs them once for each tile of B, and those are small. */
typedef struct el_low_rank {
  const el_packed *b; /* NULL: the column adds nothing */
  const el_act *h;
  const unsigned char *data; /* that of b */
  uint32_t tile_bytes, scales_at;
  int quads; /* fours of columns of B; the last may be incomplete */
  bool has_4_bits;
  const int8_t *q; /* that of h */
} el_low_rank;

static inline el_low_rank el_low_rank_of(const el_packed *b, const el_act *h) {
  return (el_low_rank){
      b,   h, b->data, (uint32_t)b->tile_bytes, (uint32_t)b->scales_at, (b->cols + 3) / 4, b->layout == EL_LAYOUT_Q4,
      h->q};
}

enum { EL_LOGIT_BLOCK = 64, EL_LOGIT_CHUNK = 256 };

struct el_kernels {
  const char *name;
  int tile; /* rows in a tile of the integer layouts */

  /* Y[col][row] = X[col] . W[row], or += with `add`, for the rows of tiles [tile_begin, tile_end)
   * and columns [col_begin, col_end). Element (col, row) is y[col * ldy + row]; both are counted
   * from 0 of the whole matrix. fetch: NULL if nothing is known. */
  void (*gemm)(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end, float *y,
               size_t ldy, bool add, el_fetch *fetch);
  /* gemm of an integer layout, followed by the low-rank products. lora[c] belongs to column c,
   * counted as in y; each B is in EL_LAYOUT_Q8 or Q4. A tile of B that only one column reads comes
   * from memory, and is fetched while the column's tile of W is used. NULL if an instruction set
   * has no such function. Called by el_gemm_lora. */
  void (*gemm_lora)(const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin, int col_end,
                    float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch);
  /* Quantises groups [group_begin, group_end) of column `col`. x: [a->k], the whole column. Scales
   * are multiplied by `gain`. */
  void (*quantize)(const float *x, int group_begin, int group_end, float gain, el_act *a, int col);
  /* y = x / sqrt(mean(x^2) + eps) * w (arXiv 1910.07467); all [n]; w NULL: all 1; y may be x. */
  void (*rms_norm)(const float *x, const float *w, int n, float eps, float *y);
  /* y = silu(gate) * up (arXiv 2002.05202); all [n]; y may be gate. */
  void (*swiglu)(const float *gate, const float *up, int n, float *y);
  /* y = gelu(gate) * up, with the tanh approximation: gelu(x) = x * sigmoid(2 * sqrt(2/pi) * (x +
   * 0.044715 x^3)). */
  void (*geglu)(const float *gate, const float *up, int n, float *y);
  /* y = g * sigmoid(1.702 g) * (u + 1) for g = min(gate, 7) and u = up clamped to [-7, 7]: the
   * activation of gpt-oss. */
  void (*swiglu_clamped)(const float *gate, const float *up, int n, float *y);
  /* x = cap * tanh(scale * x / cap), or scale * x if cap is 0; [n]. */
  void (*cap)(float *x, int n, float scale, float cap);
  /* softmax(q K^T * scale) V, causal. A query's result does not depend on the other queries. */
  void (*attend)(const el_attn *a);
  /* Writes to out the result of attend, from partial results that are complete. */
  void (*attend_join)(const el_attn *a);
  /* Rotates pairs (x[2i], x[2i+1]), i < n_rot / 2, by the angle of cos_sin[2i], cos_sin[2i+1]
   * (arXiv 2104.09864). */
  void (*rope)(float *x, const float *cos_sin, int n_rot);
  /* Rotates pairs (x[i], x[i + n_rot / 2]); cos_sin: all cosines, then all sines. */
  void (*rope_halves)(float *x, const float *cos_sin, int n_rot);
  /* Gives back what the calling thread holds of the CPU for products, until its next product; for a
   * thread that is about to wait. NULL: nothing is held. */
  void (*release)(void);
  /* Writes one position (slot 0 .. 15) of a piece of a page. key, value: [head_dim] F32. */
  void (*kv_write)(el_kv_type type, unsigned char *page_at, int slot, int head_dim, const float *key,
                   const float *value);
  /* For a row of logits, x: [n]: most[b] becomes the largest value of EL_LOGIT_BLOCK number b.
   * False: a value is NaN or +infinity. */
  bool (*row_most)(const float *x, int n, float *most);
  /* e[i] = exp((x[i] - origin) * scale), or 0 where that is below 4e-38; (x[i] - origin) * scale
   * must be at most 0. e: [n], or NULL. sums: one for each EL_LOGIT_CHUNK, in double precision:
   * lane i of 16 adds e[i], e[i + 16] and so on, then lanes i and i + 8, 4, 2, 1 are added; or
   * NULL. */
  void (*row_exp)(const float *x, int n, float origin, float scale, float *e, double *sums);
  /* Lists tokens within a distance, origin - x[i] <= limit: ids are first + i, `below` are the
   * distances. Returns how many there are; up to EL_LANES more may be written behind them. ids,
   * below: [n + EL_LANES]. */
  int (*row_near)(const float *x, int n, int32_t first, float origin, float limit, int32_t *ids, float *below);
  /* Converts n finite values of EL_TYPE_F32, F16 or BF16 at any address to F32; dst may be src.
   * Returns the largest magnitude. */
  float (*widen)(el_type type, const void *src, size_t n, float *dst);
  /* el_pack_rows for EL_LAYOUT_Q4 and EL_LAYOUT_Q8. */
  void (*pack_rows)(el_packed *w, int row, int n_rows, const float *src, float factor);
};

/* Y = X W^T, or += with `add`, and then += h B^T for each column that has a B. Arguments as for
 * gemm; with `lora` NULL it is gemm. */
void el_gemm_lora(const el_kernels *k, const el_packed *w, int tile_begin, int tile_end, const el_act *x, int col_begin,
                  int col_end, float *y, size_t ldy, bool add, const el_low_rank *lora, el_fetch *fetch);

const char *el_kernels_name(const el_kernels *k);

/* Instruction set i of those that this CPU has, best first; NULL after the last. */
const el_kernels *el_kernels_at(int i);

#endif
