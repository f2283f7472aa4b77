/* Model families as data.
 *
 * A family is a value of type el_arch: the linear layers that each of its layers has (its sites),
 * and two functions. One reads the family's keys into el_hparams; the other says which operations a
 * layer consists of. Nothing else in the program knows a family. To add one, add a file and a line
 * in families.c.
 *
 * Operations work on one row at a time, on a few values of that row:
 *   x    [n_embd]  the residual stream
 *   h    [n_embd]  an input of linear layers, made from x
 *   q, k, v        [n_head | n_head_kv | n_head_kv][head_dim], side by side
 *   att  [n_head * head_dim]  the result of attention
 *   gate, up       [n_ff] each, side by side
 *   ff   [n_ff]    their activation
 *   y    [n_embd]  what will be added to x
 *
 * A model may also have an input for each token and layer (per-layer embeddings of Gemma 3n and 4):
 *   sqrt(1/2) (sqrt(n_layer_input) * embedding of the layer
 *              + norm(product with the token's embedding / sqrt(n_embd)))
 *
 * The step (src/model) turns a layer's operations into phases, and fuses what can be fused. */
#ifndef EL_ARCH_ARCH_H
#define EL_ARCH_ARCH_H

#include "arch/hparams.h"
#include "arch/keys.h"
#include "arch/sites.h"

typedef enum el_op_kind {
  EL_OP_NORM,       /* h = rms_norm(x) * vector; without a vector h = x */
  EL_OP_LINEAR,     /* the site's product, plus blk.LAYER.SITE.bias if the file has it */
  EL_OP_HEAD_NORM,  /* each head of q, k or v: rms_norm, times a vector [head_dim] if there is
                     * one */
  EL_OP_WIDE_NORM,  /* all heads of q or k normed as one vector */
  EL_OP_ROTATE,     /* rotates q, and k if this layer has its own */
  EL_OP_COPY_KEYS,  /* v = k as the product left it: the layer has no values of its own */
  EL_OP_STORE,      /* stores k and v of this position */
  EL_OP_ATTEND,     /* att = softmax(cap(scale * q K^T)) V over the window; a vector [n_head] holds
                     * sinks */
  EL_OP_ACTIVATE,   /* ff = act(gate) * up */
  EL_OP_GATE_INPUT, /* ff = act(gate) * the token's input for this layer, [n_layer_input] */
  EL_OP_ADD,        /* x += scale * y; with a vector, y is normed first */
  EL_OP_SCALE,      /* x *= a scalar, from a tensor */
  EL_OP_EXPERTS,    /* y = a mixture of experts of h (arXiv 1701.06538); see experts.c */
} el_op_kind;

typedef enum el_activation {
  EL_ACT_SILU,
  EL_ACT_GELU_TANH,
  EL_ACT_GPT_OSS /* gate clamped to at most 7, up to [-7, 7]: gate * sigmoid(1.702 gate) * (up
                  * + 1) */
} el_activation;
typedef enum el_heads { EL_HEADS_Q, EL_HEADS_K, EL_HEADS_V } el_heads;

typedef struct el_op {
  el_op_kind kind;
  int layer;
  const char *tensor; /* its vector is blk.LAYER.TENSOR.weight; NULL: it has none */
  int site;           /* LINEAR; EXPERTS: the router's */
  el_heads heads;     /* HEAD_NORM, WIDE_NORM */
  int rope;           /* ROTATE: which of the model's ropes */
  int window;         /* ATTEND: positions that a query sees, including its own; 0: all */
  float scale;        /* ATTEND: factor of the scores; ADD: factor of y */
  float cap;          /* ATTEND: scores become cap * tanh(score / cap); 0: unchanged */
  el_activation act;  /* ACTIVATE, GATE_INPUT, EXPERTS */
  bool more;          /* EXPERTS: y += the result, instead of y = */
} el_op;

/* The operations of all layers, in order. */
typedef struct el_program {
  el_op *ops;
  int n, cap;
  int *begin;  /* [n_layers + 1]: layer l has ops [begin[l], begin[l + 1]) */
  int layer;   /* the layer that is being written */
  bool failed; /* out of memory */
  el_op lost;  /* what is emitted after that: families need not check each result */
} el_program;

struct el_arch {
  const char *name;         /* general.architecture, and the prefix of its keys */
  const el_site *site;      /* [n_sites] of a layer, in the order of their inputs, and for one input
                             * in the order of use */
  int n_sites;              /* sites of experts follow and are not counted: see el_sites */
  const el_norm_name *norm; /* [n_norms] of a layer, which an adapter may replace */
  int n_norms;
  bool norms_add_one;                      /* Hugging Face's weights are added to 1; GGUF's are
                                            * factors */
  void (*read)(el_keys *k, el_hparams *h); /* reads what el_hparams_read has not read; errors go
                                            * into k */
  void (*layer)(el_program *p, const el_hparams *h, int l);
};

/* For families: every layer but the last of each `period` (0: every layer) sees `window` positions
 * and is rotated by rope `rope`. If the file has attention.sliding_window_pattern, that says which
 * layers. */
void el_hparams_windows(el_keys *k, el_hparams *h, int window, int period, int rope);
/* For families: the rope of windowed layers. Its base is rope.freq_base_swa, else `fallback`, else
 * (0) that of the other layers. */
int el_hparams_windowed_rope(el_keys *k, el_hparams *h, float fallback);
/* For families with experts: reads their number, and their width from this key. Without the key,
 * the layer's width is divided among the experts that a token uses. */
void el_hparams_experts(el_keys *k, el_hparams *h, const char *width_key);
/* Refuses a mixture of experts. */
void el_hparams_refuse_experts(el_keys *k);

/* Family i; NULL after the last. */
const el_arch *el_arch_at(int i);
/* Finds a family by general.architecture; NULL: there is none. */
const el_arch *el_arch_find(el_str name);

/* The family's operations for these hyper-parameters. */
el_status el_program_new(const el_hparams *h, el_program *out, el_error *err);
void el_program_free(el_program *p);

/* For families: adds an operation to the layer that is being written. Its fields may be set until
 * the next one is added. Never NULL. */
el_op *el_emit(el_program *p, el_op_kind kind, const char *tensor);
/* The products of sites [first, last]. */
void el_emit_linear(el_program *p, int first, int last);
/* Rotation, storing and attention, as the layer's dims and h say. */
el_op *el_emit_attention(el_program *p, const el_hparams *h);
/* x += scale * y; tensor: y is normed by it before (NULL: not normed). */
void el_emit_add(el_program *p, const char *tensor, float scale);

/* The sites that most families have, with Hugging Face's names for them; `order` is that of the
 * rows of q and k. */
enum { EL_SITE_Q, EL_SITE_K, EL_SITE_V, EL_SITE_O, EL_SITE_GATE, EL_SITE_UP, EL_SITE_DOWN, EL_N_USUAL_SITES };
#define EL_USUAL_ATTENTION_SITES(order)                                                               \
  {.name = "attn_q", .peft = "self_attn.q_proj", .input = 0, .to = EL_TO_Q, .rows = order},           \
      {.name = "attn_k", .peft = "self_attn.k_proj", .input = 0, .to = EL_TO_K, .rows = order},       \
      {.name = "attn_v", .peft = "self_attn.v_proj", .input = 0, .to = EL_TO_V}, {                    \
    .name = "attn_output", .peft = "self_attn.o_proj", .input = 1, .from = EL_FROM_ATT, .to = EL_TO_Y \
  }
#define EL_USUAL_SITES(order)                                                                                   \
  EL_USUAL_ATTENTION_SITES(order), {.name = "ffn_gate", .peft = "mlp.gate_proj", .input = 2, .to = EL_TO_GATE}, \
      {.name = "ffn_up", .peft = "mlp.up_proj", .input = 2, .to = EL_TO_UP}, {                                  \
    .name = "ffn_down", .peft = "mlp.down_proj", .input = 3, .from = EL_FROM_FF, .to = EL_TO_Y                  \
  }

/* The norms of most families, and those with norms after what a layer adds. */
extern const el_norm_name el_usual_norms[4], el_outer_norms[6];
#define EL_USUAL_NORMS .norm = el_usual_norms, .n_norms = 4
#define EL_OUTER_NORMS .norm = el_outer_norms, .n_norms = 6

/* The number of an operation's norm in the family; -1: it is none of them. */
int el_arch_norm(const el_arch *arch, const el_op *op);

/* Norms of q and k by attn_q_norm and attn_k_norm: EL_OP_HEAD_NORM or EL_OP_WIDE_NORM. */
void el_emit_qk_norms(el_program *p, el_op_kind kind);
/* The feed-forward: gate and up at sites [first, last], activation, down; and the same with the
 * usual sites. */
void el_emit_gated(el_program *p, int first, int last, int down, el_activation act);
void el_emit_feed_forward(el_program *p, el_activation act);
/* A mixture of experts instead, with the router's site. */
el_op *el_emit_experts(el_program *p, int router, el_activation act);

#endif
