/* A LoRA adapter in memory: low-rank matrices packed for the kernels.
 *
 * Linear layers that read the same input share one pass over it: their A matrices are stacked, row on row, into one
 * packed matrix (q, k and v, say). Both A and B have the layout that the operator chose: 8 or 4 bits
 * with a scale per row and 32 columns, or F16. Each matrix is multiplied by a power of two first, because a scale is
 * F16 and small weights would fall below its range; what that and alpha / r amount to is undone by `gain`, which goes
 * into the quantisation of X * A^T.
 *
 * An adapter lies in blocks of a pool, from its description to its last matrix: see packer.h. */
#ifndef EL_ADAPTER_ADAPTER_H
#define EL_ADAPTER_ADAPTER_H

#include "adapter/base.h"
#include "adapter/lora_file.h"
#include "adapter/more.h"
#include "kernels/kernels.h"

/* What it has for a site of a place. */
typedef struct el_lora_site {
  el_packed b; /* [out, rank]; data is NULL where the adapter has nothing */
  float gain;  /* (X A^T) is multiplied by it */
  int a_row;   /* where this layer's rows of the stacked A begin */
} el_lora_site;

/* What it has for the experts of a layer: for each as for a layer. */
typedef struct el_lora_experts {
  el_packed *a;        /* [n_experts][EL_N_EXPERT_INPUTS]; NULL: there is nothing for any expert of the layer */
  el_lora_site *sites; /* [n_experts][EL_N_EXPERT_SITES] */
} el_lora_experts;

typedef struct el_adapter {
  int n_layers, n_inputs, n_sites; /* the model's */
  int rank;                        /* the largest */
  el_packed *a;             /* [n_places][n_inputs]: [sum of ranks, in]; data is NULL where the adapter has nothing */
  el_lora_site *sites;      /* [n_places][n_sites] */
  el_lora_experts *experts; /* [n_layers]; NULL: there is nothing for experts, which then takes no memory */
  const el_adapter_more *more; /* NULL: there is nothing more */
  el_invocation invocation;
  size_t bytes; /* of memory in use: this, layers and matrices */
  uint32_t n_blocks;
  const uint32_t *blocks; /* [n_blocks] of the pool that it lies in; beside the matrices, in the first of them */
} el_adapter;

/* place: a layer, or n_layers for the output. */
static inline const el_packed *el_adapter_a(const el_adapter *a, int place, int input) {
  return &a->a[(size_t)place * (size_t)a->n_inputs + (size_t)input];
}

static inline const el_lora_site *el_adapter_site(const el_adapter *a, int place, int site) {
  return &a->sites[(size_t)place * (size_t)a->n_sites + (size_t)site];
}

/* Of an expert: its input and its site as el_sites counts them. NULL: there is nothing for any expert of the layer. */
static inline const el_packed *el_adapter_expert_a(const el_adapter *a, int layer, int input, int expert) {
  const el_packed *all = a->experts ? a->experts[layer].a : NULL;
  return all ? &all[expert * EL_N_EXPERT_INPUTS + input - a->n_inputs] : NULL;
}

static inline const el_lora_site *el_adapter_expert_site(const el_adapter *a, int layer, int site, int expert) {
  const el_lora_site *all = a->experts ? a->experts[layer].sites : NULL;
  return all ? &all[expert * EL_N_EXPERT_SITES + site - a->n_sites] : NULL;
}

/* The layout of A and B: "q8", "f16" or "q4"; NULL is "q8". */
el_status el_adapter_layout_get(const char *name, el_layout *out, el_error *err);

/* In memory of its own, for tests and whoever has no pool. Packs `f` (which may be closed afterwards) for the kernels
 * `k`. base: NULL: nothing that needs it can be packed. */
el_status el_adapter_pack(const el_lora_file *f, const el_sites *sites, const el_base *base, const el_kernels *k,
                          el_layout layout, el_adapter **out, el_error *err);
/* Random weights of `rank` on all linear layers but those of experts; A and B scaled so that the product is a small
 * change. */
el_status el_adapter_random(const el_sites *sites, int rank, uint64_t seed, const el_kernels *k, el_layout layout,
                            el_adapter **out, el_error *err);
void el_adapter_free(el_adapter *a); /* of these two; NULL is allowed */

#endif
