/* A LoRA adapter in memory: low-rank matrices packed for the kernels.
 *
 * Linear layers that read the same input share one pass over it. Their A matrices are stacked row
 * on row into one packed matrix (q, k and v, for example). A and B have the layout that the
 * operator chose: 8 or 4 bits with one scale per row and 32 columns, or F16. Scales are F16 and
 * small weights would fall below the range of F16, so each matrix is multiplied by a power of two
 * before it is packed. `gain` undoes that power of two and applies alpha / r; it goes into the
 * quantisation of X A^T.
 *
 * An adapter lies in blocks of a pool, from its description to its last matrix: see packer.h. */
#ifndef EL_ADAPTER_ADAPTER_H
#define EL_ADAPTER_ADAPTER_H

#include "adapter/base.h"
#include "adapter/lora_file.h"
#include "adapter/more.h"
#include "kernels/kernels.h"

/* What an adapter has for one site of one place (a layer, or the output). */
typedef struct el_lora_site {
  el_packed b; /* [out, rank]; data is NULL where the adapter has nothing for the site */
  float gain;  /* X A^T is multiplied by it */
  int a_row;   /* the first row of this site in the stacked A */
} el_lora_site;

/* What an adapter has for the experts of one layer. */
typedef struct el_lora_experts {
  el_packed *a;        /* [n_experts][EL_N_EXPERT_INPUTS]; NULL: nothing for any expert of the
                        * layer */
  el_lora_site *sites; /* [n_experts][EL_N_EXPERT_SITES] */
} el_lora_experts;

typedef struct el_adapter {
  int n_layers, n_inputs, n_sites; /* as in the model */
  int rank;                        /* the largest rank of any site */
  el_packed *a;                    /* [n_places][n_inputs], each [sum of ranks, in]; data is NULL:
                                    * nothing for this input */
  el_lora_site *sites;             /* [n_places][n_sites] */
  el_lora_experts *experts;        /* [n_layers]; NULL: the adapter has nothing for experts, and
                                    * this takes no memory */
  const el_adapter_more *more;     /* NULL: the adapter has low-rank pairs alone */
  el_invocation invocation;
  size_t bytes; /* memory in use: the description and all matrices */
  uint32_t n_blocks;
  const uint32_t *blocks; /* [n_blocks] of the pool; the list itself lies in the first of these
                           * blocks */
} el_adapter;

/* place: a layer, or n_layers for the output. */
static inline const el_packed *el_adapter_a(const el_adapter *a, int place, int input) {
  return &a->a[(size_t)place * (size_t)a->n_inputs + (size_t)input];
}

static inline const el_lora_site *el_adapter_site(const el_adapter *a, int place, int site) {
  return &a->sites[(size_t)place * (size_t)a->n_sites + (size_t)site];
}

/* For one expert; input and site are numbered as in el_sites. NULL: the adapter has nothing for any
 * expert of the layer. */
static inline const el_packed *el_adapter_expert_a(const el_adapter *a, int layer, int input, int expert) {
  const el_packed *all = a->experts ? a->experts[layer].a : NULL;
  return all ? &all[expert * EL_N_EXPERT_INPUTS + input - a->n_inputs] : NULL;
}

static inline const el_lora_site *el_adapter_expert_site(const el_adapter *a, int layer, int site, int expert) {
  const el_lora_site *all = a->experts ? a->experts[layer].sites : NULL;
  return all ? &all[expert * EL_N_EXPERT_SITES + site - a->n_sites] : NULL;
}

/* Reads a layout of A and B by name: "q8", "f16" or "q4"; NULL means "q8". */
el_status el_adapter_layout_get(const char *name, el_layout *out, el_error *err);

/* Packs `f` for the kernels `k` into memory of its own, for tests and callers without a pool. `f`
 * may be closed afterwards. base: the base model's weights; with NULL, what needs them (see base.h)
 * is refused. */
el_status el_adapter_pack(const el_lora_file *f, const el_sites *sites, const el_base *base, const el_kernels *k,
                          el_layout layout, el_adapter **out, el_error *err);
/* Makes random weights of `rank` for all linear layers except those of experts. A and B are scaled
 * so that their product is a small change. */
el_status el_adapter_random(const el_sites *sites, int rank, uint64_t seed, const el_kernels *k, el_layout layout,
                            el_adapter **out, el_error *err);
void el_adapter_free(el_adapter *a); /* frees what the two functions above made; NULL is allowed */

#endif
