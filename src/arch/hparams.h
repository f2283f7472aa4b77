/* Hyper-parameters of a model, read from a GGUF's metadata and checked. Layers may differ in shape. */
#ifndef EL_ARCH_HPARAMS_H
#define EL_ARCH_HPARAMS_H

#include "edgelora.h"
#include "format/gguf.h"

typedef struct el_arch el_arch;

/* Limits far above any model; they keep products of two of them inside 64 bits and shapes inside int. */
enum {
  EL_MAX_LAYERS = 1024,
  EL_MAX_WIDTH = 1 << 20,
  EL_MAX_HEADS = 4096,
  EL_MAX_HEAD_DIM = 1024,
  EL_MAX_CONTEXT = 1 << 24,
  EL_MAX_ROPES = 2,
  EL_MAX_EXPERTS = 1024
};

typedef struct el_layer_dims {
  int n_head, n_head_kv, head_dim, n_ff;
  int window;       /* positions that a query sees, itself included; 0: all */
  int rope;         /* which of the model's; -1: nothing is rotated */
  int kv_layer;     /* whose keys and values it reads: its own number, or an earlier one's */
  bool copies_keys; /* it has no values of its own: its keys are those, before they are normed and rotated */
  bool scales_x;    /* a scalar of its own multiplies the residual stream behind it */
} el_layer_dims;

/* A rotary embedding (arXiv 2104.09864). The angle of pair i at position p is
 *   p * scale * base^(-2i / n_rot) / factor[i]
 * with YaRN (arXiv 2309.00071) a mix of that and of the angle without scale: see rope.c. */
typedef struct el_rope {
  int n_rot;   /* of a head's dimensions, from the first on */
  bool halves; /* pairs are (i, i + n_rot / 2); else (2i, 2i + 1) */
  float base;
  float scale;              /* 1 / factor with linear scaling and YaRN, else 1 */
  float magnitude;          /* of the rotated pair; 1 but for YaRN and long contexts */
  const char *factors;      /* the tensor that holds factor[n_rot / 2]; NULL, or it is not there: all are 1 */
  const char *long_factors; /* in its place where the context that is served is longer than ctx_original; NULL: none */
  int ctx_original;         /* the context that the model was first trained for */
  bool yarn;
  float beta_fast, beta_slow; /* YaRN */
  /* A rotated q is multiplied by 1 + temperature * ln(floor(position / ctx_original) + 1) (Llama 4, Ministral). */
  float temperature;
} el_rope;

typedef struct el_hparams {
  const el_arch *arch;
  int n_layers, n_embd, n_vocab, ctx_train;
  int n_ff, n_head, n_head_kv, head_dim;      /* the largest of any layer */
  el_layer_dims *layers;                      /* [n_layers]; NULL: all have the largest */
  int n_experts, n_experts_used, n_ff_expert; /* of each layer; 0: there are none */
  int n_layer_input;                          /* width of a token's input for each layer; 0: there is none */
  el_embed pooling;                           /* how hidden states become a text's vector; EL_EMBED_NONE: not said */
  float rms_eps;
  float embed_scale;    /* of the embedding; 1: none */
  float residual_scale; /* of what a layer adds; 1: none */
  float attn_scale;     /* of scores; 0: 1 / sqrt(head_dim) */
  float attn_cap;       /* 0: none */
  float logit_scale;    /* 1: none */
  float logit_cap;      /* logits become cap * tanh(logit / cap); 0: none */
  el_rope rope[EL_MAX_ROPES];
  int n_ropes;
} el_hparams;

/* Everything but n_vocab, which the embedding says. */
el_status el_hparams_read(const el_gguf *g, el_hparams *out, el_error *err);
void el_hparams_free(el_hparams *h);

static inline el_layer_dims el_hparams_layer(const el_hparams *h, int l) {
  return h->layers ? h->layers[l]
                   : (el_layer_dims){h->n_head, h->n_head_kv, h->head_dim, h->n_ff, 0, 0, l, false, false};
}

/* inv_freq[i], [n_rot / 2]: the angle of pair i is pos * inv_freq[i]. factors: [n_rot / 2] or NULL. */
void el_rope_frequencies(const el_rope *r, const float *factors, double *inv_freq);

#endif
