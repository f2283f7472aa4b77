/* What packing an adapter needs of the base's weights: DoRA's norms are of rows of W + s B A, a bias that is added to
 * has to be there, and what takes a matrix's place keeps about the precision that that one has. */
#ifndef EL_ADAPTER_BASE_H
#define EL_ADAPTER_BASE_H

#include "arch/sites.h"
#include "kernels/kernels.h"

typedef struct el_base {
  const el_packed **w; /* [n_places][n_sites]; NULL: there is no such matrix */
  const float **bias;  /* the same; NULL: there is none */
  const el_packed *embedding;
  bool tied; /* the output is the embedding */
} el_base;

#endif
