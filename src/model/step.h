/* Inside of the forward step.
 *
 *   stages.c     a family's operations become stages, once: what is fused
 *   views.c      which rows a stage has
 *   plan.c       stages become the phases of one step, which the threads run with a barrier between two
 *   own.c        what a row's adapter has beside low-rank parts of products
 *   rows.c       work on rows: embedding, norms, additions, activation
 *   linear.c     products, with biases and low-rank parts
 *   experts.c    mixtures of experts
 *   attention.c  heads, keys and values
 *   attend.c     attention, shared among threads by heads and spans
 *   pages.c      where keys and values are in pages
 *   step.c       the workspace
 *
 * Inside a phase threads own disjoint outputs. Who owns what may differ from phase to phase: a team may lose a thread
 * and get it back. */
#ifndef EL_MODEL_STEP_H
#define EL_MODEL_STEP_H

#include <stdatomic.h>

#include "adapter/apply.h"
#include "model/weights.h"

enum {
  EL_ATTEND_PIECES = 8, /* a thread's part of attention is about so many pieces, if one sequence is long enough */
  EL_FEW_ROWS = 1 /* so many rows each thread normalises for itself: that takes less than to wait for each other */
};

/* ------------------------------------------------------------------ stages */

typedef enum el_stage_kind {
  EL_STAGE_ROWS,   /* additions, norms: a row by one thread */
  EL_STAGE_LINEAR, /* the products that read one input, and perhaps the activation of what they give */
  EL_STAGE_HEADS,  /* what is done to heads of q, k and v, with storing */
  EL_STAGE_ATTEND,
  EL_STAGE_GATE,     /* of a layer's input */
  EL_STAGE_ACTIVATE, /* where products and activation could not be shared alike */
  EL_STAGE_ROUTE,    /* a mixture of experts: which experts each row goes to, */
  EL_STAGE_SORT,     /* rows and their experts in the order of experts, */
  EL_STAGE_GATHER,   /* the inputs in that order, */
  EL_STAGE_WIDEN,    /* gate, up and activation, */
  EL_STAGE_COMBINE   /* down, and each row's sum */
} el_stage_kind;

/* Operations of one layer that go together. */
typedef struct el_stage {
  el_stage_kind kind;
  int layer;
  int op, n_ops;   /* of the program */
  int input;       /* of the layer's sites: that LINEAR reads, that ROWS makes; -1: none */
  int next_linear; /* the stage whose weights are read next; -1: there is none */
  bool narrowed;   /* behind the last keys and values of all layers: rows that nobody reads are gone */
  bool add;        /* LINEAR, COMBINE: it is added to x */
  int norm;        /* LINEAR: the operation that makes its input, if a norm is all that it takes; -1 */
  int act;         /* LINEAR, ACTIVATE: the operation that follows, or is it; -1 */
} el_stage;

/* stages: [*n], the caller's to free. */
el_status el_stages_new(const el_model *m, el_stage **out, int *n, el_error *err);

/* ------------------------------------------------------------------- views */

typedef struct el_row_range {
  int first, n;
} el_row_range;

/* All or some of the rows of the step, as they stand in its buffers while they are those that it computes. Rows are in
 * the order TAIL, WHOLE, HEAD, so those that a layer has are consecutive. */
typedef struct el_row_view {
  int *rows; /* [n_rows] which of the step's rows they are, ascending */
  int n_rows;
  int n_head, n_tail;  /* of them */
  el_row_range *tiles; /* [n_tiles] rows of one sequence at consecutive positions: they share a pass over its pages */
  int n_tiles, n_head_tiles, n_tail_tiles;
  el_lora_groups groups;
} el_row_view;

/* ------------------------------------------------------------------ phases */

typedef enum el_job {
  EL_JOB_EMBED,
  EL_JOB_LAYER_INPUT, /* each layer's input: the product, */
  EL_JOB_LAYER_NORM,  /* and the rest */
  EL_JOB_STAGES,      /* n consecutive stages, of rows if there are several */
  EL_JOB_LOW_RANK,    /* X A^T of the input of a stage that no norm precedes, */
  EL_JOB_EXPERTS_LOW, /* and of experts' down */
  EL_JOB_NARROW,      /* the rows that go on become the first ones */
  EL_JOB_QUANTIZE,    /* attention's output, where a head is not whole groups */
  EL_JOB_TAP,         /* keeps the states of HEAD rows */
  EL_JOB_HEAD_NORM,
  EL_JOB_OUTPUT
} el_job;

typedef struct el_step_phase {
  el_job job;
  int at; /* the stage, or the tap */
  int n;
} el_step_phase;

/* Rows and the experts that they go to: a pair for each. Pairs are numbered row by row, then sorted by expert. */
typedef struct el_mixture {
  int *expert;                  /* [rows * n_used] of a pair */
  float *weight;                /* [rows * n_used] */
  int *place;                   /* [rows * n_used] where a pair stands when they are sorted */
  int *pair;                    /* [rows * n_used] which pair stands there */
  int *begin;                   /* [n_experts + 1] where an expert's pairs begin */
  el_act h, ff;                 /* inputs of gate and up, and of down, a column a sorted pair */
  float *gate_up;               /* [pairs, n_ff | n_ff] */
  float *out;                   /* [pairs, n_embd] */
  el_lora_groups groups;        /* of sorted pairs, by expert and adapter; none where no adapter has any for experts */
  el_apply lora;                /* a sorted pair is a row of it */
  bool low[EL_N_EXPERT_INPUTS]; /* whether any of the groups has an A for this input */
  bool own;                     /* whether any of them has factors or biases */
} el_mixture;

/* How threads share attention; attend.c. */
typedef struct el_attend_share {
  atomic_int *next; /* [n_layers] next piece to take */
  atomic_int *left; /* [threads * EL_ATTEND_PIECES] of a tile and head that are shared: pieces that are done */
  int **order;      /* [threads][max_rows] tiles: those that are shared, then the others */
  float *parts;     /* [max_parts] what spans of shared tiles give */
  size_t max_parts;
} el_attend_share;

struct el_step {
  const el_model *m;
  el_threads *threads;
  unsigned char *kv;
  el_kv_type kv_type;
  bool split;           /* there are two kinds of pages */
  size_t page_bytes[2]; /* of full ones (or of all), of windowed ones */
  bool *kv_windowed;    /* [n_layers] the layer reads windowed pages */
  size_t *kv_at;        /* [n_layers] where a layer's keys and values begin in a page */
  int max_rows, max_logits, max_ctx;

  el_stage *stages;
  int n_stages;
  int last_kv; /* the last layer that stores keys and values: behind them rows may stop */

  const el_row *rows;
  int n_logits, n_hidden;
  size_t logits_stride;
  el_row_view all, some;
  /* Whether a row's adapter touches the output, has norms of its own, factors or biases of its own. */
  bool own_output, own_norms, own_adjust;
  /* The rows that go on behind last_kv: `some`, or `all`. Those that want logits are first, then those that want hidden
   * states. */
  const el_row_view *last;
  int taps[EL_MAX_TAPS], n_taps;

  /* Row-major, one row of the step a row; where it has narrowed, one of `last`. Layers use as many columns as they
   * have.
   */
  float *x;                     /* [rows, n_embd] the residual stream */
  float *y;                     /* [rows, n_embd] what is to be added to it; NULL: products add it themselves */
  float *qkv;                   /* [rows, q | k | v] */
  float *gate_up;               /* [rows, n_ff | n_ff] */
  float *logits;                /* [max_logits, logits_stride] */
  float *layer_input;           /* [rows, n_layers, n_layer_input]; NULL: there is none */
  float *cos_sin[EL_MAX_ROPES]; /* [rows, n_rot] */
  float **scratch;              /* [threads]: [el_attn_scratch], or a token's inputs of all layers */

  /* Inputs of the linear layers, by el_from; `f` of each holds the values before quantisation. */
  el_act inputs[EL_FROM_FF + 1]; /* a layer's gated input is in that of EL_FROM_FF */
  el_act *in_own;                /* [threads]: EL_FEW_ROWS rows in the place of h */
  el_apply lora;
  el_mixture mixture;
  el_attend_share attend;

  el_step_phase *phases; /* of this step */
  int n_phases, max_phases;

  double *profile; /* [EL_N_PARTS] seconds; NULL: nobody asks */
  double mark;     /* when the part that runs began */
};

/* The work since the last call was `part`. */
void el_step_done(el_step *s, el_part part, int ith);

static inline const el_op *el_op_at(const el_step *s, int i) {
  return &s->m->program.ops[i];
}
static inline const el_op_weights *el_weights_at(const el_step *s, int i) {
  return &s->m->weights[i];
}
static inline el_layer_dims el_dims_at(const el_step *s, int layer) {
  return el_hparams_layer(&s->m->h, layer);
}
/* Values of q, k and v of a row. */
static inline size_t el_qkv_width(el_layer_dims d) {
  return (size_t)(d.n_head + 2 * d.n_head_kv) * (size_t)d.head_dim;
}

/* views.c */
bool el_row_view_new(el_row_view *v, size_t max_rows);
void el_row_view_free(el_row_view *v);
/* Fills all, some and last from s->rows. */
void el_step_view(el_step *s, int n_rows);
/* The layers that HEAD rows go through. */
int el_step_depth(const el_step *s);
const el_row_view *el_view_of(const el_step *s, const el_stage *st);
/* Those of the view that go through the stage's layer, and their tiles. */
el_row_range el_rows_of(const el_step *s, const el_stage *st);
el_row_range el_tiles_of(const el_step *s, const el_stage *st);
/* The rows whose q the stage wants. Behind them are those between the first and the last that go on: a product takes a
 * range. */
el_row_range el_q_rows_of(const el_step *s, const el_stage *st);
/* A thread's part of el_rows_of. */
void el_share_rows(const el_step *s, const el_stage *st, el_turn turn, int *begin, int *end);
/* An input of linear layers in the shape that it has at a stage. */
el_act el_input_at(const el_step *s, const el_stage *st, el_from from);

/* own.c */
/* Sets what the step's adapters have of their own. */
void el_own_find(el_step *s);
/* The weights of an operation's norm for row r of a view. */
const float *el_own_norm(const el_step *s, int op, const el_row_view *v, int r);
/* What outputs [begin, end) of a product, y of row 0, need for rows whose adapters have factors or biases: before the
 * base's bias is put, behind that, and when the product and the low-rank parts are there. */
typedef struct el_own_part {
  const el_row_view *v;
  int place, site;
  el_row_range rows;
  int begin, end;
  float *y;
  size_t ldy;
  const float *bias; /* the base's */
  bool add;          /* to what y holds */
} el_own_part;
/* Factor and bias of row r for a site; NULL: it has neither. */
const el_lora_adjust *el_own_adjust(const el_step *s, const el_row_view *v, int r, int place, int site);
/* The same of a group of pairs, and a site of its expert's, from 0. */
const el_lora_adjust *el_own_expert(const el_lora_group *g, int layer, int site);
void el_own_keep(const el_step *s, const el_own_part *p);
void el_own_clear(const el_step *s, const el_own_part *p);
void el_own_finish(const el_step *s, const el_own_part *p);
/* The embedding of a row's token, without the model's scale; x: [n_embd]. */
void el_own_embedding(const el_step *s, int r, float *x);
/* The matrix that a row's logits are of. */
const el_packed *el_own_output(const el_step *s, int r);
/* Logits that row r of `last` has. */
int el_own_n_vocab(const el_step *s, int r);
/* Logits [begin, end) of tokens that row r's adapter has rows of its own for; h: [n_embd] */
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
/* A thread's part of the feed-forward's middle: values [*begin, *end), whole groups. */
void el_share_ff(const el_step *s, int layer, el_turn turn, int *begin, int *end);
/* Whether the norm before the output has a phase of its own; else each thread does it for itself. */
bool el_rows_head_norms_apart(const el_step *s);
void el_rows_head_norm(el_step *s, el_turn turn);
void el_rows_output(el_step *s, el_turn turn);
/* act = quantise(rms_norm(x)) for rows [begin, end); weight NULL: of x itself. */
void el_rows_norm(el_step *s, const float *weight, el_act *act, int begin, int end, int ith);
/* With so few rows each thread has an input of its own, so that nobody waits. */
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
/* Whether an adapter of the step has something for the experts of the stage's layer. */
bool el_experts_adapted(const el_step *s, const el_stage *st);

/* pages.c */
void el_step_lay_out_pages(el_step *s);

/* attention.c */
void el_attention_heads(el_step *s, const el_stage *st, el_turn turn);
/* Where keys and values of (layer, KV head) begin in a page. */
size_t el_attention_page_offset(const el_step *s, int layer, int head);
/* The table of a row's pages of the kind that a layer reads, and how far those are from each other. */
const uint32_t *el_attention_pages(const el_step *s, int layer, const el_row *row);
size_t el_attention_page_bytes(const el_step *s, int layer);
void el_attention_quantize(el_step *s, const el_stage *st, el_turn turn);
/* Whether a piece of attention can quantise what it gives. */
bool el_attention_whole_groups(el_layer_dims d);

/* attend.c */
bool el_attend_new(el_step *s);
void el_attend_free(el_step *s);
void el_attend(el_step *s, const el_stage *st, el_turn turn);

#endif
