/* Batch LoRA: the low-rank products of a step whose rows belong to different adapters.
 *
 * Rows are cut into groups: maximal runs with the same adapter. For a group g and a linear layer, Y[g] += gain * (X[g]
 * A^T) B^T. The A products of all groups are one pool of work that threads share, right after the base product; the B
 * products are shared by rows of Y. Between A and B there is a barrier. */
#ifndef EL_ADAPTER_APPLY_H
#define EL_ADAPTER_APPLY_H

#include "adapter/adapter.h"
#include "base/threads.h"

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
  el_span *spans;        /* [n_threads][EL_APPLY_SPANS] what el_apply_fetch lists */
} el_apply;

enum {
  EL_APPLY_SPANS = 256,            /* matrices that a thread fetches ahead in a phase, at most, */
  EL_APPLY_FETCH_BYTES = 768 << 10 /* and their bytes: they wait in the second-level cache */
};

enum { EL_APPLY_LD = 3 * EL_LORA_MAX_RANK };

el_status el_apply_new(const el_kernels *k, int max_rows, int n_threads, el_apply *out, el_error *err);
void el_apply_free(el_apply *p);

/* Forgets all groups; then el_apply_row for each row in order. */
void el_apply_begin(el_apply *p);
void el_apply_row(el_apply *p, int row, const el_adapter *adapter);

/* A thread's share of H = X A^T for the layers that read input `in` of layer `layer`. x: the quantised input of all
 * rows. */
void el_apply_a(const el_apply *p, int layer, el_input in, const el_act *x, el_turn turn);
/* After a barrier, which the base product must lie before as well: Y += gain * H B^T for the output tiles [tile_begin,
 * tile_end) of one linear layer. y: element (row of the step, output) is y[row * ldy + output]. next: what the thread
 * reads afterwards, or NULL. */
void el_apply_b(const el_apply *p, int layer, el_linear linear, int tile_begin, int tile_end, float *y, size_t ldy,
                int ith, const unsigned char *next);

/* The tiles of one linear layer that a thread computes. */
typedef struct el_apply_share {
  el_linear linear;
  int tile_begin, tile_end;
} el_apply_share;

/* Lists in `fetch` what the thread will read in el_apply_a and, for its shares of Y, in el_apply_b, to be fetched
 * while `visits` groups of base weights are used. */
void el_apply_fetch(const el_apply *p, int layer, el_input in, const el_apply_share *shares, int n_shares, el_turn turn,
                    int visits, el_fetch *fetch);

#endif
