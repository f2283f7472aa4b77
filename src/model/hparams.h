/* Hyper-parameters of the llama architecture, read from a GGUF's metadata and checked. */
#ifndef EL_MODEL_HPARAMS_H
#define EL_MODEL_HPARAMS_H

#include "adapter/lora_file.h"
#include "format/gguf.h"

typedef struct el_hparams {
  int n_layers, n_embd, n_ff, n_head, n_head_kv, head_dim, n_rot, n_vocab, ctx_train;
  float rms_eps;
  float rope_base;
  float rope_scale; /* positions are multiplied by it; 1 / factor with linear scaling, else 1 */
} el_hparams;

el_status el_hparams_read(const el_gguf *g, el_hparams *out, el_error *err);

/* The shapes of the linear layers, for el_lora_file_open. */
void el_hparams_shape(const el_hparams *h, el_lora_shape *out);

#endif
