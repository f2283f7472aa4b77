/* What an engine would take, before it is opened: a part of libedgelora, beside edgelora.h. */
#ifndef EDGELORA_PLAN_H
#define EDGELORA_PLAN_H

#include "edgelora.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an engine with these options would have, by the headers of files alone. */
typedef struct el_engine_plan {
  char architecture[64];
  uint64_t weight_bytes; /* as they lie in the file; in memory they take about as much */
  uint64_t pool_bytes, block_bytes;
  int ctx_train, ctx_size; /* as of el_model_info */
  uint64_t context_bytes;  /* of the pool, that a whole context takes */
  uint64_t n_contexts;     /* that it holds beside one adapter */
  size_t n_adapters;       /* that would be offered, and */
  size_t n_refused;        /* those that would not: the log says why */
  size_t n_looked_at;      /* of n_adapters: whose size in memory is known */
  uint64_t adapter_bytes;  /* of the pool, that one of these takes on average; of rank 16, if there are none */
  uint64_t n_adapters_fit; /* of that size, beside one whole context */
} el_engine_plan;
/* Checks what el_engine_open would, el_adapter_add of `adapters` (paths) and el_adapter_add_dir of `dirs`, as far as
 * that takes no weights: options, the model's header, tokenizer and template. Of many adapters a folder's first ones
 * are read.
 */
EL_API el_status el_engine_plan_read(const el_engine_options *options, const char *const *adapters, size_t n_adapters,
                                     const char *const *dirs, size_t n_dirs, el_engine_plan *out, el_error *err);

#ifdef __cplusplus
}
#endif
#endif
