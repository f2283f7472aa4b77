/* Batch LoRA: the low-rank products of a step whose rows belong to different adapters.
 *
 * Rows are cut into groups: maximal runs with the same adapter. For a group g and a linear layer, Y[g] += gain * (X[g]
 * A^T) B^T. The A products of all groups are one pool of work that threads share; the B products follow the rows of Y
 * that a thread owns in the base product, so that between base product and B no barrier is needed, only between A and
 * B. */
#ifndef EL_ADAPTER_APPLY_H
#define EL_ADAPTER_APPLY_H

#include "adapter/adapter.h"

typedef struct el_lora_group {
  const el_adapter *adapter; /* never NULL: rows without adapter are in no group */
  int row_begin, row_end;
} el_lora_group;

typedef struct el_apply {
  const el_kernels *kernels;
  int max_rows, n_threads;
  int n_groups;
  el_lora_group *groups; /* [max_rows] */
  float *h;              /* [max_rows][EL_APPLY_LD]: X A^T, stacked as A is */
  el_act *act;           /* [n_threads]: a group's h, quantised */
} el_apply;

enum { EL_APPLY_LD = 3 * EL_LORA_MAX_RANK };

el_status el_apply_new(const el_kernels *k, int max_rows, int n_threads, el_apply *out, el_error *err);
void el_apply_free(el_apply *p);

/* Forgets all groups; then el_apply_row for each row in order. */
void el_apply_begin(el_apply *p);
void el_apply_row(el_apply *p, int row, const el_adapter *adapter);

/* Thread ith's share of H = X A^T for the layers that read input `in` of layer `layer`. x: the quantised input of all
 * rows. */
void el_apply_a(const el_apply *p, int layer, el_input in, const el_act *x, int ith, int nth);
/* After a barrier: Y += gain * H B^T for output rows [out_begin, out_end) of one linear layer, out_begin a multiple of
 * the kernels' tile. y: element (row of the step, output) is y[row * ldy + output]. */
void el_apply_b(const el_apply *p, int layer, el_linear linear, int out_begin, int out_end, float *y, size_t ldy,
                int ith);

#endif
