/* Principal components of standardised features. */
#ifndef EL_ROUTER_PCA_H
#define EL_ROUTER_PCA_H

#include "edgelora.h"

/* Mean and 1 / standard deviation of each column of x: [n, d]. The scale of a constant column is 0, so
 * it drops out. */
void el_moments(const float *x, size_t n, size_t d, float *mean, float *scale);

/* The k orthonormal directions of largest variance, largest first, of the rows of x: [n, d], whose
 * columns have mean 0. out: [k, d], k <= d. Directions beyond the rank of x are zeros. The same x gives
 * the same bits. */
el_status el_pca(const float *x, size_t n, size_t d, size_t k, float *out, el_error *err);

#endif
