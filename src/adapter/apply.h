/* Batched LoRA: the low-rank products of a step whose rows belong to different adapters.
 *
 * For a row x with an adapter, and a linear layer: y += gain * (x A^T) B^T. The A products come
 * first: once an input of linear layers is there, el_apply_h computes h = x A^T for all layers that
 * read it, and quantises h. The B products are part of the base product (el_gemm_lora): after a
 * tile of W has been used for a column, that column's tile of B follows while the sums are still in
 * registers. So B costs no further pass over Y, and reading it from memory, once a step for each
 * adapter, overlaps with the base product. */
#ifndef EL_ADAPTER_APPLY_H
#define EL_ADAPTER_APPLY_H

#include "adapter/adapter.h"

typedef struct el_lora_group {
  const el_adapter *adapter; /* never NULL: rows without an adapter are in no group */
  int row_begin, row_end;    /* consecutive rows with this adapter, as many as there are */
  int expert;                /* the expert that these rows go to, where rows are those of experts;
                              * else 0 */
} el_lora_group;

/* The groups of all rows that go through a layer. */
typedef struct el_lora_groups {
  int n;
  el_lora_group *at; /* in order of rows; the caller's memory, with room for one group a row */
} el_lora_groups;

/* Adds the next row; rows come in order. */
void el_lora_groups_add(el_lora_groups *g, int row, const el_adapter *adapter, int expert);

enum {
  EL_APPLY_SPANS = 256,            /* the most matrices that a thread fetches ahead */
  EL_APPLY_FETCH_BYTES = 768 << 10 /* the most bytes of them: they wait in the second-level cache */
};

typedef struct el_apply {
  const el_kernels *kernels;
  const el_sites *sites;
  int max_rows;
  size_t ldh;       /* the most sites that read one input, times EL_MAX_RANK */
  float *h;         /* [max_rows][ldh] x A^T, stacked as A is */
  el_act memory;    /* memory of the views below */
  el_act *acts;     /* [sites of an input][max_rows] quantised h of one site and row: one column
                     * each */
  el_low_rank *low; /* [sites of an input][max_rows] */
  el_span *spans;   /* [n_threads][EL_APPLY_SPANS] filled by el_apply_fetch */
} el_apply;

el_status el_apply_new(const el_kernels *k, const el_sites *sites, int max_rows, int n_threads, el_apply *out,
                       el_error *err);
void el_apply_free(el_apply *p);

/* Whether any of the groups has an A for input `in` of the layer. */
bool el_apply_has(const el_apply *p, const el_lora_groups *groups, int layer, int in);
/* Computes h for rows [row_begin, row_end) and all sites that read input `in` of a place. x: the
 * quantised input of all rows, of which at least these rows are valid. Each thread calls it for
 * rows of its own; a barrier separates it from el_apply_low. */
void el_apply_h(const el_apply *p, const el_lora_groups *groups, int place, int in, const el_act *x, int row_begin,
                int row_end);
/* The low-rank products for el_gemm_lora of the i-th site that reads the input of the last
 * el_apply_h. NULL: no row has an adapter. */
const el_low_rank *el_apply_low(const el_apply *p, const el_lora_groups *groups, int i);

/* Adds the low-rank product of a token's embedding to x, for one row of the step, before its
 * layers. */
void el_apply_embedding(const el_apply *p, const el_adapter_more *more, int token, int row, float *x);

/* Lists in `fetch` what el_apply_h will read for these rows. Thread `ith` fetches it while it works
 * through `visits` groups of base weights. */
void el_apply_fetch(const el_apply *p, const el_lora_groups *groups, int layer, int in, int row_begin, int row_end,
                    int ith, int visits, el_fetch *fetch);

#endif
