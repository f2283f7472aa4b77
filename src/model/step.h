/* Private to the forward step.
 *
 *   stages.c     turns a family's operations into stages, once: what is fused
 *   views.c      which rows a stage has
 *   plan.c       turns stages into the phases of one step, with a barrier between two
 *   own.c        what a row's adapter has besides low-rank products
 *   rows.c       work on rows: embedding, norms, additions, activation
 *   linear.c     products, with biases and low-rank products
 *   experts.c    mixtures of experts
 *   attention.c  heads, keys and values
 *   attend.c     attention, shared among threads by heads and spans
 *   pages.c      where keys and values are in pages
 *   step.c       the workspace
 *
 * Inside a phase, threads own disjoint outputs. Who owns what may differ from phase to phase: a
 * team may lose a thread and get it back. */
#ifndef EL_MODEL_STEP_H
#define EL_MODEL_STEP_H

#include <stdatomic.h>

#include "adapter/apply.h"
#include "model/weights.h"

enum {
  EL_ATTEND_PIECES = 8, /* pieces of attention for each thread, if one sequence is long enough */
  EL_FEW_ROWS = 1       /* this many rows each thread normalises for itself: faster than waiting for
                         * each other */
};

/* ------------------------------------------------------------------ stages */

typedef enum el_stage_kind {
  EL_STAGE_ROWS,   /* additions and norms: one thread does a row */
  EL_STAGE_LINEAR, /* the products that read one input, and possibly the activation of their
                    * result */
  EL_STAGE_HEADS,  /* work on the heads of q, k and v, including storing */
  EL_STAGE_ATTEND,
  EL_STAGE_GATE,     /* gates a layer's input */
  EL_STAGE_ACTIVATE, /* the activation, where it cannot be shared as the products are */
  EL_STAGE_ROUTE,    /* experts: chooses the experts of each row */
  EL_STAGE_SORT,     /* experts: sorts rows and their experts by expert */
  EL_STAGE_GATHER,   /* experts: gathers the inputs in that order */
  EL_STAGE_WIDEN,    /* experts: gate, up and activation */
  EL_STAGE_COMBINE   /* experts: down, and the sum for each row */
} el_stage_kind;

/* Operations of one layer that are done together. */
typedef struct el_stage {
  el_stage_kind kind;
  int layer;
  int op, n_ops;   /* in the program */
  int input;       /* the layer's input that LINEAR reads or ROWS makes, as in el_sites; -1: none */
  int next_linear; /* the stage whose weights are read next; -1: none */
  bool narrowed;   /* after the last layer that stores keys and values: only rows that somebody
                    * reads are left */
  bool add;        /* LINEAR, COMBINE: the result is added to x */
  int norm;        /* LINEAR: the operation that makes its input, if that is a norm alone; else
                    * -1 */
  int act;         /* LINEAR, ACTIVATE: the activation that follows or that it is; else -1 */
} el_stage;

/* stages: [*n], which the caller frees. */
el_status el_stages_new(const el_model *m, el_stage **out, int *n, el_error *err);

/* ------------------------------------------------------------------- views */

typedef struct el_row_range {
  int first, n;
} el_row_range;

/* All rows of the step, or some of them, at their places in its buffers. Rows are in the order
 * LAST_LAYERS, ALL_LAYERS, FIRST_LAYERS, so the rows that go through a layer are consecutive. */
typedef struct el_row_view {
  int *rows; /* [n_rows] indices of rows of the step, ascending */
  int n_rows;
  int n_first, n_last; /* how many of them are FIRST_LAYERS and LAST_LAYERS rows */
  el_row_range *tiles; /* [n_tiles] rows of one sequence at consecutive positions, which share a
                        * pass over its pages */
  int n_tiles, n_first_tiles, n_last_tiles;
  el_lora_groups groups;
} el_row_view;

/* ------------------------------------------------------------------ phases */

typedef enum el_job {
  EL_JOB_EMBED,
  EL_JOB_LAYER_INPUT, /* the inputs that each layer gets: the product, */
  EL_JOB_LAYER_NORM,  /* and the rest */
  EL_JOB_STAGES,      /* n consecutive stages; more than one only if they are ROWS */
  EL_JOB_LOW_RANK,    /* X A^T of a stage's input that no norm precedes */
  EL_JOB_EXPERTS_LOW, /* X A^T of the input of experts' down */
  EL_JOB_NARROW,      /* the rows that go on move to the front */
  EL_JOB_QUANTIZE,    /* quantises attention's output where a head is not whole groups */
  EL_JOB_TAP,         /* keeps the states of FIRST_LAYERS rows */
  EL_JOB_OUTPUT_NORM,
  EL_JOB_OUTPUT
} el_job;

typedef struct el_step_phase {
  el_job job;
  int at; /* number of the stage, or of the tap */
  int n;
} el_step_phase;

/* Rows and the experts that they go to: a pair for each. Pairs are numbered row by row, then sorted
 * by expert. */
typedef struct el_mixture {
  int *expert;                  /* [rows * n_used] the expert of a pair */
  float *weight;                /* [rows * n_used] the weight of a pair */
  int *place;                   /* [rows * n_used] the place of a pair after sorting */
  int *pair;                    /* [rows * n_used] the pair at a place */
  int *begin;                   /* [n_experts + 1] the place where an expert's pairs begin */
  el_act h, ff;                 /* inputs of gate and up, and of down; one column for each sorted
                                 * pair */
  float *gate_up;               /* [pairs, n_ff | n_ff] */
  float *out;                   /* [pairs, n_embd] */
  el_lora_groups groups;        /* of sorted pairs, by expert and adapter; none if no adapter has
                                 * anything for experts */
  el_apply lora;                /* its rows are sorted pairs */
  bool low[EL_N_EXPERT_INPUTS]; /* whether any of the groups has an A for this input */
  bool own;                     /* whether any of them has factors or biases */
} el_mixture;

/* How threads share attention: see attend.c. */
typedef struct el_attend_share {
  atomic_int *next; /* [n_layers] the next piece to take */
  atomic_int *left; /* [threads * EL_ATTEND_PIECES] for each shared tile and head: pieces that are
                     * done */
  int **order;      /* [threads][max_rows] tiles: shared ones first, then the others */
  float *partials;  /* [max_partials] results of the spans of shared tiles */
  size_t max_partials;
} el_attend_share;

struct el_step {
  const el_model *m;
  el_threads *threads;
  unsigned char *kv;
  el_kv_type kv_type;
  bool split;           /* there are two kinds of pages */
  size_t page_bytes[2]; /* of full pages (or of all), and of windowed pages */
  bool *kv_windowed;    /* [n_layers] the layer reads windowed pages */
  size_t *kv_at;        /* [n_layers] where a layer's keys and values begin in a page */
  int max_rows, max_logits, max_ctx;

  el_stage *stages;
  int n_stages;
  int last_kv; /* the last layer that stores keys and values: after it rows may stop */

  const el_row *rows;
  int n_logits, n_hidden;
  size_t logits_stride;
  el_row_view all, some;
  /* Whether some row's adapter touches the output, has norms of its own, or has factors or
   * biases. */
  bool own_output, own_norms, own_adjust;
  /* The rows that go on after last_kv: `some` or `all`. Rows that want logits come first, then rows
   * that want hidden states. */
  const el_row_view *last;
  int taps[EL_MAX_TAPS], n_taps;

  /* Row-major. A row of these is a row of the step, or one of `last` after the step has narrowed. A
   * layer uses as many columns as it needs. */
  float *x;                     /* [rows, n_embd] the residual stream */
  float *y;                     /* [rows, n_embd] what will be added to it; NULL: products add to x
                                 * themselves */
  float *qkv;                   /* [rows, q | k | v] */
  float *gate_up;               /* [rows, n_ff | n_ff] */
  float *logits;                /* [max_logits, logits_stride] */
  float *layer_input;           /* [rows, n_layers, n_layer_input]; NULL: the model has none */
  float *cos_sin[EL_MAX_ROPES]; /* [rows, n_rot] */
  float **scratch;              /* [threads] of [el_attn_scratch], or one token's inputs of all
                                 * layers */

  /* Inputs of the linear layers, indexed by el_from; `f` of each holds the values before
   * quantisation. */
  el_act inputs[EL_FROM_FF + 1]; /* a layer's gated input uses that of EL_FROM_FF */
  el_act *in_own;                /* [threads] of EL_FEW_ROWS rows, instead of h */
  el_apply lora;
  el_mixture mixture;
  el_attend_share attend;

  el_step_phase *phases; /* of this step */
  int n_phases, max_phases;

  double *profile; /* [EL_N_WORKS] seconds; NULL: not measured */
  double mark;     /* when the current work began */
};

/* Counts the time since the last call as `work`. */
void el_step_done(el_step *s, el_step_work work, int ith);

static inline const el_op *el_op_at(const el_step *s, int i) {
  return &s->m->program.ops[i];
}
static inline const el_op_weights *el_weights_at(const el_step *s, int i) {
  return &s->m->weights[i];
}
static inline el_layer_dims el_dims_at(const el_step *s, int layer) {
  return el_hparams_layer(&s->m->h, layer);
}
/* Values of q, k and v in a row. */
static inline size_t el_qkv_width(el_layer_dims d) {
  return (size_t)(d.n_head + 2 * d.n_head_kv) * (size_t)d.head_dim;
}

/* The dot product of a and b, [n], in 16 sums that are added in a fixed order: the result is the same
 * however this is compiled. */
static inline float el_dot_16(const float *a, const float *b, int n) {
  enum { LANES = 16 };
  float sum[LANES] = {0};
  int i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) sum[k] += a[i + k] * b[i + k];
  for (int k = 0; i + k < n; k++) sum[k] += a[i + k] * b[i + k];
  for (int half = LANES / 2; half; half /= 2)
    for (int k = 0; k < half; k++) sum[k] += sum[k + half];
  return sum[0];
}

/* views.c */
bool el_row_view_new(el_row_view *v, size_t max_rows);
void el_row_view_free(el_row_view *v);
/* Fills in all, some and last from s->rows. */
void el_step_view(el_step *s, int n_rows);
const el_row_view *el_view_of(const el_step *s, const el_stage *st);
/* The rows of the view that go through the stage's layer, and their tiles. */
el_row_range el_rows_of(const el_step *s, const el_stage *st);
el_row_range el_tiles_of(const el_step *s, const el_stage *st);
/* The rows whose q the stage computes. A product takes a range, so rows between the first and the
 * last of them are included. */
el_row_range el_q_rows_of(const el_step *s, const el_stage *st);
/* A thread's share of el_rows_of. */
void el_share_rows(const el_step *s, const el_stage *st, el_turn turn, int *begin, int *end);
/* An input of linear layers, with the shape that it has at a stage. */
el_act el_input_at(const el_step *s, const el_stage *st, el_from from);

/* own.c */
/* Finds out what the step's adapters have of their own. */
void el_own_find(el_step *s);
/* The weights of an operation's norm for row r of a view. */
const float *el_own_norm(const el_step *s, int op, const el_row_view *v, int r);
/* Outputs [begin, end) of a product, with y of row 0, for rows whose adapters have factors or
 * biases. el_own_keep is called before the base's bias is set, el_own_clear after that, and
 * el_own_finish once the product and the low-rank products are complete. */
typedef struct el_own_outputs {
  const el_row_view *v;
  int place, site;
  el_row_range rows;
  int begin, end;
  float *y;
  size_t ldy;
  const float *bias; /* the base's */
  bool add;          /* the product is added to what y holds */
} el_own_outputs;
/* Factor and bias of row r for a site. NULL: it has neither. */
const el_lora_adjust *el_own_adjust(const el_step *s, const el_row_view *v, int r, int place, int site);
/* The same for a group of pairs and a site of its expert, from 0. */
const el_lora_adjust *el_own_expert(const el_lora_group *g, int layer, int site);
void el_own_keep(const el_step *s, const el_own_outputs *p);
void el_own_clear(const el_step *s, const el_own_outputs *p);
void el_own_finish(const el_step *s, const el_own_outputs *p);
/* The embedding of a row's token, before the model's scale; x: [n_embd]. */
void el_own_embedding(const el_step *s, int r, float *x);
/* The output matrix for row r. */
const el_packed *el_own_output(const el_step *s, int r);
/* Number of logits of row r of `last`. */
int el_own_n_vocab(const el_step *s, int r);
/* Computes logits [begin, end) of tokens for which row r's adapter has rows of its own; h:
 * [n_embd]. */
void el_own_tokens(const el_step *s, int r, const float *h, int begin, int end, float *logits);

/* plan.c */
void el_step_plan(el_step *s);
void el_step_forward(void *step, int phase, el_turn turn);

/* rows.c */
void el_rows_embed(el_step *s, el_turn turn);
void el_rows_stage(el_step *s, const el_stage *st, el_turn turn);
void el_rows_layer_input(el_step *s, el_turn turn);
void el_rows_layer_norm(el_step *s, el_turn turn);
void el_rows_gate_input(el_step *s, const el_stage *st, el_turn turn);
void el_rows_narrow(el_step *s, el_turn turn);
void el_rows_tap(el_step *s, int tap, el_turn turn);
void el_rows_activate(el_step *s, const el_stage *st, el_turn turn);
/* out = act(gate) * up, [n] each. */
void el_activate(const el_kernels *k, el_activation act, const float *gate, const float *up, int n, float *out);
/* A thread's share of the feed-forward's inner values: [*begin, *end), whole groups. */
void el_share_ff(const el_step *s, int layer, el_turn turn, int *begin, int *end);
/* Whether the norm before the output has a phase of its own; else each thread does it for
 * itself. */
bool el_rows_output_norm_apart(const el_step *s);
void el_rows_output_norm(el_step *s, el_turn turn);
void el_rows_output(el_step *s, el_turn turn);
/* The normed input for a thread alone. With so few rows each thread has its own, so that nobody
 * waits. */
const el_act *el_rows_own_norm(el_step *s, const float *weight, int n_rows, int ith);

/* linear.c */
void el_linear_stage(el_step *s, const el_stage *st, el_turn turn);
void el_linear_low_rank(el_step *s, const el_stage *st, el_turn turn);
/* Whether each thread norms the input of a LINEAR stage for itself. */
bool el_linear_norms_alone(const el_step *s, const el_stage *st);

/* experts.c */
el_status el_mixture_new(const el_model *m, int max_rows, el_mixture *out, el_error *err);
void el_mixture_free(el_mixture *x);
void el_experts_stage(el_step *s, const el_stage *st, el_turn turn);
void el_experts_low_rank(el_step *s, const el_stage *st, el_turn turn);
/* Whether some adapter of the step has something for the experts of the stage's layer. */
bool el_experts_adapted(const el_step *s, const el_stage *st);

/* pages.c */
void el_step_lay_out_pages(el_step *s);

/* attention.c */
void el_attention_heads(el_step *s, const el_stage *st, el_turn turn);
/* Where keys and values of (layer, KV head) begin in a page. */
size_t el_attention_page_offset(const el_step *s, int layer, int head);
/* The page table of a row for the kind of pages that a layer reads, and the bytes from one page to
 * the next. */
const uint32_t *el_attention_pages(const el_step *s, int layer, const el_row *row);
size_t el_attention_page_bytes(const el_step *s, int layer);
void el_attention_quantize(el_step *s, const el_stage *st, el_turn turn);
/* Whether a piece of attention can quantise its result. */
bool el_attention_whole_groups(el_layer_dims d);

/* attend.c */
bool el_attend_new(el_step *s);
void el_attend_free(el_step *s);
void el_attend(el_step *s, const el_stage *st, el_turn turn);

#endif
