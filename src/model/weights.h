/* The packed weights of a model, as the step reads them. Private to this folder. */
#ifndef EL_MODEL_WEIGHTS_H
#define EL_MODEL_WEIGHTS_H

#include "arch/arch.h"
#include "model/model.h"

/* A mixture of experts. The matrices of all experts lie one below the other. */
typedef struct el_experts {
  float *router, *router_bias;            /* [n_experts, n_embd], [n_experts] */
  el_packed gate, up, down;               /* [n_experts * n_ff, n_embd] twice, [n_experts * n_embd,
                                           * n_ff] */
  float *gate_bias, *up_bias, *down_bias; /* one value for each row of the matrix; NULL: none, also
                                           * for the router's */
} el_experts;

/* The weights of an operation. */
typedef struct el_op_weights {
  float *vector;       /* of a norm; attention sinks, [n_head]; a bias, [out]; a scalar. NULL:
                        * none */
  int n;               /* number of values in `vector` */
  int norm;            /* the norm's number in the family; -1: it is no norm */
  el_packed w;         /* of LINEAR */
  el_experts *experts; /* of EXPERTS */
} el_op_weights;

struct el_model {
  el_hparams h;
  el_sites *sites;
  el_program program;
  el_op_weights *weights; /* [program.n] */
  const el_kernels *kernels;
  float *output_norm;   /* [n_embd] */
  el_packed tok_embd;   /* [n_vocab, n_embd] */
  el_packed layer_embd; /* [n_vocab, n_layers * n_layer_input] */
  el_packed layer_proj; /* [n_layers * n_layer_input, n_embd] */
  float *layer_norm;    /* [n_layer_input] */
  el_packed output;     /* [n_vocab, n_embd]; the same memory as tok_embd if output and embedding
                         * are tied */
  /* [n_rot / 2] of each: the angle of pair i is pos * inv_freq[i]. The second one is for long
   * contexts; NULL: the same as the first. */
  float *inv_freq[EL_MAX_ROPES][2];
  el_base base;         /* points to the above */
  unsigned char *arena; /* all packed matrices */
  size_t arena_bytes;
  uint64_t n_params;
};

#endif
