/* Principal components of standardised features. */
#ifndef EL_ROUTER_PCA_H
#define EL_ROUTER_PCA_H

#include "edgelora.h"

/* Mean and 1 / standard deviation of each column of x: [n, d]; 0 for a column that does not vary, which so drops out.
 */
void el_moments(const float *x, size_t n, size_t d, float *mean, float *scale);

/* The k directions of largest variance, orthonormal, largest first, of the n rows of x: [n, d], whose columns have mean
 * 0. out: [k, d]. k <= d. Directions beyond the rank of x are zeros. The same x gives the same bits. */
el_status el_pca(const float *x, size_t n, size_t d, size_t k, float *out, el_error *err);

#endif
