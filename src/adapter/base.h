/* What the packer needs of the base model's weights. DoRA divides by the norms of the rows of W + s
 * B A, so W is read. A bias that an adapter adds to must exist. A whole matrix in the place of one
 * of the base's keeps about the precision of the matrix that it replaces. */
#ifndef EL_ADAPTER_BASE_H
#define EL_ADAPTER_BASE_H

#include "arch/sites.h"
#include "kernels/kernels.h"

/* The matrix of a site: `w` or `plain`, or neither. The matrices of all experts lie one below the
 * other. */
typedef struct el_base_matrix {
  const el_packed *w;
  const float *plain; /* [out, in] of a router, as F32 */
  const float *bias;  /* [out]; NULL: the site has no bias */
} el_base_matrix;

typedef struct el_base {
  el_base_matrix *of;         /* [n_places][n_sites] */
  el_base_matrix *of_experts; /* [n_layers][EL_N_EXPERT_SITES] */
  const el_packed *embedding;
  bool layer_rows; /* tokens also have rows in a table of inputs of the layers */
} el_base;

#endif
