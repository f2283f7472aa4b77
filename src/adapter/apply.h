/* Batch LoRA: the low-rank products of a step whose rows belong to different adapters.
 *
 * For a row x with an adapter and a linear layer: y += gain * (x A^T) B^T. The A products come first: once an input of
 * linear layers is there, el_apply_h computes h = x A^T for the layers that read it, and quantises it. The B products
 * ride in the base product (el_gemm_lora): when a tile of W has been used for a column, that column's tile of B follows
 * while the sums are in registers. So B costs no pass over Y, and its reading from memory, once a step for each
 * adapter, hides behind the base product. */
#ifndef EL_ADAPTER_APPLY_H
#define EL_ADAPTER_APPLY_H

#include "adapter/adapter.h"

typedef struct el_lora_group {
  const el_adapter *adapter; /* never NULL: rows without adapter are in no group */
  int row_begin, row_end;    /* a maximal run of rows with this adapter */
  int expert;                /* that they go to, where rows are those of experts; else 0 */
} el_lora_group;

/* The groups of the rows that go through a layer. */
typedef struct el_lora_groups {
  int n;
  el_lora_group *at; /* in order of rows; the caller's memory, for as many as there are rows */
} el_lora_groups;

/* The next row, in order of rows. */
void el_lora_groups_add(el_lora_groups *g, int row, const el_adapter *adapter, int expert);

enum {
  EL_APPLY_SPANS = 256,            /* matrices that a thread fetches ahead, at most, */
  EL_APPLY_FETCH_BYTES = 768 << 10 /* and their bytes: they wait in the second-level cache */
};

typedef struct el_apply {
  const el_kernels *kernels;
  const el_sites *sites;
  int max_rows;
  size_t ldh;       /* sites that read one input, at most, times EL_MAX_RANK */
  float *h;         /* [max_rows][ldh]: x A^T, stacked as A is */
  el_act memory;    /* what the views below point into */
  el_act *acts;     /* [sites of an input][max_rows]: h of one site and row, quantised: one column each */
  el_low_rank *low; /* [sites of an input][max_rows] */
  el_span *spans;   /* [n_threads][EL_APPLY_SPANS] what el_apply_fetch lists */
} el_apply;

el_status el_apply_new(const el_kernels *k, const el_sites *sites, int max_rows, int n_threads, el_apply *out,
                       el_error *err);
void el_apply_free(el_apply *p);

/* Whether any of the groups has an A for this input. */
bool el_apply_has(const el_apply *p, const el_lora_groups *groups, int layer, int in);
/* h for rows [row_begin, row_end) and the sites that read input `in` of a place. x: the quantised input of all
 * rows, of which these are there. Threads call it for rows of their own; a barrier comes before el_apply_low. */
void el_apply_h(const el_apply *p, const el_lora_groups *groups, int place, int in, const el_act *x, int row_begin,
                int row_end);
/* For el_gemm_lora of the i-th of the sites that read the input of the last el_apply_h; NULL: no row has an adapter. */
const el_low_rank *el_apply_low(const el_apply *p, const el_lora_groups *groups, int i);

/* x += the low-rank part of a token's embedding, for one row of the step before its layers. */
void el_apply_embedding(const el_apply *p, const el_adapter_more *more, int token, int row, float *x);

/* Lists in `fetch` what el_apply_h will read for these rows, to be fetched by thread ith while `visits` groups of base
 * weights are used. */
void el_apply_fetch(const el_apply *p, const el_lora_groups *groups, int layer, int in, int row_begin, int row_end,
                    int ith, int visits, el_fetch *fetch);

#endif
