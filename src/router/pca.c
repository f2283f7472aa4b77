#include "router/pca.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "router/dot.h"

enum {
  EXTRA = 8,   /* further directions, which make the last wanted ones converge */
  ROUNDS = 12, /* of subspace iteration. The classifier is fitted to the result, so it need not be exact */
  ROW_BLOCK =
      32, /* rows whose products are added before the next block of the covariance, so that they stay in the cache */
  COL_BLOCK = 64
};

void el_moments(const float *x, size_t n, size_t d, float *mean, float *scale) {
  for (size_t k = 0; k < d; k++) {
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i * d + k];
    double m = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
      double t = (double)x[i * d + k] - m;
      square += t * t;
    }
    double deviation = sqrt(square / (double)n);
    mean[k] = (float)m;
    scale[k] = deviation > 1e-6 * (1 + fabs(m)) ? (float)(1 / deviation) : 0;
  }
}

/* c: [d, d] += x^T x for all rows, the upper triangle by blocks, then mirrored. */
static void compute_covariance(const float *x, size_t n, size_t d, float *c) {
  memset(c, 0, d * d * sizeof *c);
  for (size_t r = 0; r < n; r += ROW_BLOCK) {
    size_t end = r + ROW_BLOCK < n ? r + ROW_BLOCK : n;
    for (size_t jb = 0; jb < d; jb += COL_BLOCK) {
      size_t je = jb + COL_BLOCK < d ? jb + COL_BLOCK : d;
      for (size_t i = 0; i < je; i++) {
        size_t from = i > jb ? i : jb;
        float *at = c + i * d;
        for (size_t row = r; row < end; row++) {
          const float *v = x + row * d;
          el_axpy(v[i], v + from, at + from, je - from);
        }
      }
    }
  }
  for (size_t i = 0; i < d; i++)
    for (size_t j = 0; j < i; j++) c[i * d + j] = c[j * d + i];
}

/* Gram-Schmidt, twice because of rounding. Rows that depend on those before become zeros. */
static void orthonormalise_rows(float *q, size_t k, size_t d) {
  for (size_t i = 0; i < k; i++) {
    float *v = q + i * d;
    float before = el_dot(v, v, d);
    for (int round = 0; round < 2; round++)
      for (size_t j = 0; j < i; j++) el_axpy(-el_dot(v, q + j * d, d), q + j * d, v, d);
    float size = el_dot(v, v, d), scale = size > 1e-9f * before && size > 1e-20f ? 1 / sqrtf(size) : 0;
    for (size_t j = 0; j < d; j++) v[j] *= scale;
  }
}

/* out = q c, rows of q: [k, d] */
static void multiply_by_covariance(const float *q, const float *c, size_t k, size_t d, float *out) {
  for (size_t i = 0; i < k; i++)
    for (size_t j = 0; j < d; j++) out[i * d + j] = el_dot(q + i * d, c + j * d, d);
}

/* Eigenvectors of the symmetric a: [k, k], by Jacobi's rotations, which leave eigenvalues on its diagonal and vectors
 * in the rows of v. */
static void jacobi_eigenvectors(double *a, double *v, size_t k) {
  for (size_t i = 0; i < k * k; i++) v[i] = i % (k + 1) == 0;
  for (int sweep = 0; sweep < 30; sweep++) {
    double off = 0, on = 0;
    for (size_t i = 0; i < k; i++)
      for (size_t j = 0; j < k; j++) *(i == j ? &on : &off) += a[i * k + j] * a[i * k + j];
    if (off <= 1e-18 * on) return;
    for (size_t p = 0; p < k; p++)
      for (size_t q = p + 1; q < k; q++) {
        if (a[p * k + q] == 0) continue;
        double theta = (a[q * k + q] - a[p * k + p]) / (2 * a[p * k + q]);
        double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
        for (size_t i = 0; i < k; i++) {
          double x = a[i * k + p], y = a[i * k + q];
          a[i * k + p] = c * x - s * y;
          a[i * k + q] = s * x + c * y;
        }
        for (size_t i = 0; i < k; i++) {
          double x = a[p * k + i], y = a[q * k + i];
          a[p * k + i] = c * x - s * y;
          a[q * k + i] = s * x + c * y;
          x = v[p * k + i];
          y = v[q * k + i];
          v[p * k + i] = c * x - s * y;
          v[q * k + i] = s * x + c * y;
        }
      }
  }
}

/* Rotates the basis q: [m, d] of the subspace to its principal directions; the k largest go into out. */
static void rotate_directions(const float *q, const float *qc, size_t m, size_t d, size_t k, double *a, double *v,
                              float *out) {
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < m; j++) a[i * m + j] = (double)el_dot(qc + i * d, q + j * d, d);
  for (size_t i = 0; i < m; i++) /* rounding makes it slightly asymmetric */
    for (size_t j = 0; j < i; j++) a[i * m + j] = a[j * m + i] = (a[i * m + j] + a[j * m + i]) / 2;
  jacobi_eigenvectors(a, v, m);
  double largest = 0;
  for (size_t i = 0; i < m; i++) largest = a[i * m + i] > largest ? a[i * m + i] : largest;
  for (size_t n = 0; n < k; n++, out += d) {
    size_t best = 0;
    for (size_t i = 1; i < m; i++)
      if (a[i * m + i] > a[best * m + best]) best = i;
    memset(out, 0, d * sizeof *out);
    double value = a[best * m + best];
    a[best * m + best] = -INFINITY;
    if (value <= 1e-6 * largest) continue;
    for (size_t i = 0; i < m; i++) el_axpy((float)v[best * m + i], q + i * d, out, d);
    /* Of a direction and its opposite, takes the one whose largest value is positive, so that rounding does not decide.
     */
    size_t at = 0;
    for (size_t i = 1; i < d; i++)
      if (fabsf(out[i]) > fabsf(out[at])) at = i;
    for (size_t i = 0; out[at] < 0 && i < d; i++) out[i] = i == at ? out[i] : -out[i];
    if (out[at] < 0) out[at] = -out[at];
  }
}

el_status el_pca(const float *x, size_t n, size_t d, size_t k, float *out, el_error *err) {
  assert(k <= d);
  const size_t m = k + EXTRA < d ? k + EXTRA : d;
  float *c = malloc(d * d * sizeof *c), *q = malloc(m * d * sizeof *q), *qc = malloc(m * d * sizeof *qc);
  double *a = malloc(m * m * sizeof *a), *v = malloc(m * m * sizeof *v);
  el_status status = EL_OK;
  if (!c || !q || !qc || !a || !v) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for the principal components of %zu values", d);
  } else {
    compute_covariance(x, n, d, c);
    for (size_t i = 0; i < m * d; i++)
      q[i] = (float)((double)(el_mix64((i + 1) * EL_GOLDEN_GAMMA) >> 11) * 0x1p-52 - 1);
    orthonormalise_rows(q, m, d);
    for (int round = 0; round < ROUNDS; round++) {
      multiply_by_covariance(q, c, m, d, qc);
      float *swap = q;
      q = qc;
      qc = swap;
      orthonormalise_rows(q, m, d);
    }
    multiply_by_covariance(q, c, m, d, qc);
    rotate_directions(q, qc, m, d, k, a, v, out);
  }
  free(c);
  free(q);
  free(qc);
  free(a);
  free(v);
  return status;
}
