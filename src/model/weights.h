/* The packed weights of a model, as the step reads them. Private to this folder. */
#ifndef EL_MODEL_WEIGHTS_H
#define EL_MODEL_WEIGHTS_H

#include "model/model.h"

typedef struct el_layer {
  float *attn_norm, *ffn_norm; /* [n_embd] */
  el_packed lin[EL_N_LINEAR];
} el_layer;

struct el_model {
  el_hparams h;
  const el_kernels *kernels;
  el_layer *layers;     /* [n_layers] */
  float *output_norm;   /* [n_embd] */
  el_packed tok_embd;   /* [n_vocab, n_embd] */
  el_packed output;     /* [n_vocab, n_embd]; the same memory as tok_embd when the head is tied */
  float *inv_freq;      /* [n_rot / 2]: the angle of pair i is pos * inv_freq[i] */
  unsigned char *arena; /* all packed matrices */
  size_t arena_bytes;
  uint64_t n_params;
};

#endif
