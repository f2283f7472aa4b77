/* The packed weights of a model, as the step reads them. Private to this folder. */
#ifndef EL_MODEL_WEIGHTS_H
#define EL_MODEL_WEIGHTS_H

#include "arch/arch.h"
#include "model/model.h"

/* What an operation works with. */
typedef struct el_op_weights {
  float *vector; /* of a norm; sinks, [n_head]; a bias, [out]; a scalar. NULL: none */
  int n;         /* its values */
  el_packed w;   /* LINEAR */
} el_op_weights;

struct el_model {
  el_hparams h;
  el_sites *sites;
  el_program program;
  el_op_weights *weights; /* [program.n] */
  const el_kernels *kernels;
  float *output_norm; /* [n_embd] */
  el_packed tok_embd; /* [n_vocab, n_embd] */
  el_packed output;   /* [n_vocab, n_embd]; the same memory as tok_embd when the head is tied */
  /* [n_rot / 2]: the angle of pair i is pos * inv_freq[i]; the second of a rope is for long contexts, NULL: the same */
  float *inv_freq[EL_MAX_ROPES][2];
  unsigned char *arena; /* all packed matrices */
  size_t arena_bytes;
  uint64_t n_params;
};

#endif
