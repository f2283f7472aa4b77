/* What packing an adapter needs of the base's weights: DoRA's norms are of rows of W + s B A, a bias that is added to
 * has to be there, and what takes a matrix's place keeps about the precision that that one has. */
#ifndef EL_ADAPTER_BASE_H
#define EL_ADAPTER_BASE_H

#include "arch/sites.h"
#include "kernels/kernels.h"

/* A site's matrix; one of these two, or none. Those of all experts are one below the other. */
typedef struct el_base_matrix {
  const el_packed *w;
  const float *plain; /* [out, in]; a router's */
  const float *bias;  /* a value for each row; NULL: there is none */
} el_base_matrix;

typedef struct el_base {
  el_base_matrix *of;         /* [n_places][n_sites] */
  el_base_matrix *of_experts; /* [n_layers][EL_N_EXPERT_SITES] */
  const el_packed *embedding;
  bool layer_rows; /* a token has a row in a table of the layers' inputs, too */
} el_base;

#endif
