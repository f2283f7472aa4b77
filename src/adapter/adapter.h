/* A LoRA adapter in memory: low-rank matrices packed for the kernels. */
#ifndef EL_ADAPTER_ADAPTER_H
#define EL_ADAPTER_ADAPTER_H

#include "adapter/lora_file.h"
#include "kernels/kernels.h"

typedef struct el_adapter el_adapter;

/* Packs `f` (which may be closed afterwards) for the kernels `k`. */
el_status el_adapter_pack(const el_lora_file *f, const el_lora_shape *shape, const el_kernels *k, el_adapter **out, el_error *err);
/* Random weights of `rank` on all linear layers; A and B scaled so that the product is a small change. */
el_status el_adapter_random(const el_lora_shape *shape, int rank, uint64_t seed, const el_kernels *k, el_adapter **out, el_error *err);
void el_adapter_free(el_adapter *a);
size_t el_adapter_bytes(const el_adapter *a);
int el_adapter_rank(const el_adapter *a); /* the largest */

#endif
