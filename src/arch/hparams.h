/* The hyper-parameters of a model, read from a GGUF's metadata and checked. Layers may differ in
 * shape. */
#ifndef EL_ARCH_HPARAMS_H
#define EL_ARCH_HPARAMS_H

#include "edgelora.h"
#include "format/gguf.h"

typedef struct el_arch el_arch;

/* Limits far above any model. They keep products of two of them within 64 bits, and shapes within
 * int. */
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
  int window;       /* positions that a query sees, including its own; 0: all */
  int rope;         /* which of the model's ropes; -1: not rotated */
  int kv_layer;     /* the layer whose keys and values it reads: itself, or an earlier one */
  bool copies_keys; /* it has no values of its own: they are its keys before norm and rotation */
  bool scales_x;    /* the residual stream behind it is multiplied by a scalar */
} el_layer_dims;

/* A rotary embedding (arXiv 2104.09864). The angle of pair i at position p is
 *   p * scale * base^(-2i / n_rot) / factor[i]
 * YaRN (arXiv 2309.00071) mixes this with the angle without scale: see rope.c. */
typedef struct el_rope {
  int n_rot;   /* rotated dimensions of a head, from the first on */
  bool halves; /* pairs are (i, i + n_rot / 2); else (2i, 2i + 1) */
  float base;
  float scale;              /* 1 / factor with linear scaling and YaRN, else 1 */
  float magnitude;          /* factor of the rotated pair; not 1 only with YaRN and long contexts */
  const char *factors;      /* the tensor that holds factor[n_rot / 2]; NULL, or not in the file:
                             * all are 1 */
  const char *long_factors; /* used instead if the context that is served is longer than
                             * ctx_original; NULL: none */
  int ctx_original;         /* the context that the model was first trained for */
  bool yarn;
  float beta_fast, beta_slow; /* YaRN */
  /* A rotated q is multiplied by 1 + temperature * ln(floor(position / ctx_original) + 1) (Llama 4,
   * Ministral). */
  float temperature;
} el_rope;

typedef struct el_hparams {
  const el_arch *arch;
  int n_layers, n_embd, n_vocab, ctx_train;
  int n_ff, n_head, n_head_kv, head_dim;      /* the largest of any layer */
  el_layer_dims *layers;                      /* [n_layers]; NULL: all layers have the largest */
  int n_experts, n_experts_used, n_ff_expert; /* of each layer; 0: none */
  int n_layer_input;                          /* width of the inputs that tokens have for each
                                               * layer; 0: none */
  el_embed pooling; /* how hidden states become the vector of a text; EL_EMBED_NONE: not said */
  float rms_eps;
  float embed_scale;    /* factor of the embedding; 1: none */
  float residual_scale; /* factor of what a layer adds; 1: none */
  float attn_scale;     /* factor of scores; 0: 1 / sqrt(head_dim) */
  float attn_cap;       /* 0: none */
  float logit_scale;    /* 1: none */
  float logit_cap;      /* logits become cap * tanh(logit / cap); 0: none */
  el_rope rope[EL_MAX_ROPES];
  int n_ropes;
} el_hparams;

/* Reads everything but n_vocab, which comes from the embedding. */
el_status el_hparams_read(const el_gguf *g, el_hparams *out, el_error *err);
void el_hparams_free(el_hparams *h);

static inline el_layer_dims el_hparams_layer(const el_hparams *h, int l) {
  return h->layers ? h->layers[l]
                   : (el_layer_dims){h->n_head, h->n_head_kv, h->head_dim, h->n_ff, 0, 0, l, false, false};
}

/* inv_freq: [n_rot / 2]; the angle of pair i is pos * inv_freq[i]. factors: [n_rot / 2] or NULL. */
void el_rope_frequencies(const el_rope *r, const float *factors, double *inv_freq);

#endif
