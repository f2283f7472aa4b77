#include "router/classifier.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/dot.h"

enum {
  MEMORY = 8,    /* pairs that L-BFGS keeps */
  PATIENCE = 5,  /* rounds without a better validation error before it stops */
  HALVINGS = 30, /* of a step */
};
static const double TOLERANCE = 1e-4; /* of the gradient, relative to that with all weights 0 */

el_status el_classifier_new(int dim, int n_columns, el_classifier *out, el_error *err) {
  double *w = calloc((size_t)n_columns * ((size_t)dim + 1), sizeof *w);
  if (!w) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a classifier of %d columns", n_columns);
  *out = (el_classifier){.dim = dim, .n_columns = n_columns, .w = w};
  return EL_OK;
}

void el_classifier_free(el_classifier *h) {
  free(h->w);
  *h = (el_classifier){0};
}

/* log(1 + e^x) */
static float softplus(float x) {
  return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
}

static float clip_label(float y) {
  return y < EL_CLASSIFIER_MARGIN ? EL_CLASSIFIER_MARGIN : y > 1 - EL_CLASSIFIER_MARGIN ? 1 - EL_CLASSIFIER_MARGIN : y;
}

static float row_logit(const float *w, const float *z, int dim) {
  return el_dot(w, z, (size_t)dim) + w[dim];
}

static void to_floats(const double *w, float *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (float)w[i];
}

void el_classifier_predict(const el_classifier *h, const float *z, float *p) {
  for (int c = 0; c < h->n_columns; c++) {
    const double *w = h->w + (size_t)c * ((size_t)h->dim + 1);
    double sum = w[h->dim];
    for (int i = 0; i < h->dim; i++) sum += w[i] * (double)z[i];
    p[c] = (float)(1 / (1 + exp(-sum)));
  }
}

/* The vectors of L-BFGS, [n_columns, dim + 1] each. */
typedef struct fit {
  const el_classifier_data *data;
  const el_classifier_options *o;
  int dim, columns;
  size_t n;             /* of a vector */
  float *w32, *g32, *r; /* as f32 for the rows: weights, gradient; residuals, [columns] */
  double *mean, *mean2; /* [dim] */
  double *at, *gradient, *next, *next_gradient, *direction, *best;
  double *s[MEMORY], *y[MEMORY], rho[MEMORY];
  double *memory;
} fit;

/* The sum of the cross-entropy over the data; adds its gradient to g32. */
static double sum_rows(const el_classifier_data *data, const float *w32, float *g32, float *r) {
  const size_t stride = (size_t)data->dim + 1;
  double loss = 0;
  for (size_t k = 0; k < data->n; k++) {
    const float *z = data->z + (size_t)data->rows[k] * (size_t)data->dim,
                *y = data->y + (size_t)data->rows[k] * (size_t)data->n_columns;
    float row_loss = 0;
    for (int c = 0; c < data->n_columns; c++) {
      float x = row_logit(w32 + (size_t)c * stride, z, data->dim), label = clip_label(y[c]);
      row_loss += softplus(x) - label * x;
      r[c] = 1 / (1 + expf(-x)) - label;
    }
    loss += (double)row_loss;
    for (int c = 0; c < data->n_columns; c++) {
      float *g = g32 + (size_t)c * stride;
      el_axpy(r[c], z, g, (size_t)data->dim);
      g[data->dim] += r[c];
    }
  }
  return loss;
}

/* mean over columns of v: [columns, dim + 1], without the intercept */
static void column_mean(const fit *f, const double *v, double *mean) {
  memset(mean, 0, (size_t)f->dim * sizeof *mean);
  for (int c = 0; c < f->columns; c++)
    for (int i = 0; i < f->dim; i++) mean[i] += v[(size_t)c * ((size_t)f->dim + 1) + (size_t)i];
  for (int i = 0; i < f->dim; i++) mean[i] /= f->columns;
}

/* The objective at w, and its gradient. */
static double evaluate_objective(fit *f, const double *w, double *g) {
  const size_t stride = (size_t)f->dim + 1;
  const double each = 1.0 / (double)f->data->n;
  to_floats(w, f->w32, f->n);
  memset(f->g32, 0, f->n * sizeof *f->g32);
  double loss = sum_rows(f->data, f->w32, f->g32, f->r) * each;
  column_mean(f, w, f->mean);
  for (int i = 0; i < f->dim; i++) loss += 0.5 * f->o->l2_shared * f->columns * f->mean[i] * f->mean[i];
  for (int c = 0; c < f->columns; c++) {
    const double *wc = w + (size_t)c * stride;
    double *gc = g + (size_t)c * stride;
    const float *from = f->g32 + (size_t)c * stride;
    for (int i = 0; i < f->dim; i++) {
      double own = wc[i] - f->mean[i];
      loss += 0.5 * f->o->l2 * own * own;
      gc[i] = (double)from[i] * each + f->o->l2 * own + f->o->l2_shared * f->mean[i];
    }
    gc[f->dim] = (double)from[f->dim] * each;
  }
  return loss;
}

/* Multiplies v by approximately the inverse of the Hessian. A row's curvature is p (1 - p), about 0.2 while predictions
 * are uncertain. The directions of z are principal ones, so the rest is diagonal except for what columns share. */
static void precondition_vector(fit *f, double *v) {
  const size_t stride = (size_t)f->dim + 1;
  const double curvature = 0.2;
  column_mean(f, v, f->mean2);
  for (int i = 0; i < f->dim; i++) {
    double shared = 1 / (curvature * f->data->variance[i] + f->o->l2_shared + 1e-9),
           own = 1 / (curvature * f->data->variance[i] + f->o->l2 + 1e-9);
    for (int c = 0; c < f->columns; c++) {
      double *x = &v[(size_t)c * stride + (size_t)i];
      *x = (*x - f->mean2[i]) * own + f->mean2[i] * shared;
    }
  }
  for (int c = 0; c < f->columns; c++) v[(size_t)c * stride + (size_t)f->dim] /= curvature;
}

static double dot_doubles(const double *a, const double *b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* direction = - H gradient, where H comes from the last `have` pairs; `newest` is the index of the last one. */
static void find_direction(fit *f, int have, int newest) {
  double alpha[MEMORY], *d = f->direction;
  for (size_t i = 0; i < f->n; i++) d[i] = -f->gradient[i];
  for (int k = 0; k < have; k++) {
    int j = (newest - k + MEMORY) % MEMORY;
    alpha[j] = f->rho[j] * dot_doubles(f->s[j], d, f->n);
    for (size_t i = 0; i < f->n; i++) d[i] -= alpha[j] * f->y[j][i];
  }
  precondition_vector(f, d);
  for (int k = have - 1; k >= 0; k--) {
    int j = (newest - k + MEMORY) % MEMORY;
    double beta = f->rho[j] * dot_doubles(f->y[j], d, f->n);
    for (size_t i = 0; i < f->n; i++) d[i] += (alpha[j] - beta) * f->s[j][i];
  }
}

static el_status reserve_fit(fit *f, el_error *err) {
  const size_t vectors = 6 + 2 * MEMORY;
  f->memory = calloc(vectors * f->n + 2 * (size_t)f->dim, sizeof *f->memory);
  f->w32 = malloc((2 * f->n + (size_t)f->columns) * sizeof *f->w32);
  if (!f->memory || !f->w32)
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to fit a classifier of %d columns and %d values", f->columns,
                   f->dim);
  f->g32 = f->w32 + f->n;
  f->r = f->g32 + f->n;
  double **all[] = {&f->at, &f->gradient, &f->next, &f->next_gradient, &f->direction, &f->best};
  double *at = f->memory;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++, at += f->n) *all[i] = at;
  for (int i = 0; i < MEMORY; i++, at += f->n) f->s[i] = at;
  for (int i = 0; i < MEMORY; i++, at += f->n) f->y[i] = at;
  f->mean = at;
  f->mean2 = at + f->dim;
  return EL_OK;
}

/* The squared error of the differences between columns; with one column, of the column itself. */
static double valid_error(fit *f) {
  const el_classifier_data *v = f->o->valid;
  const size_t stride = (size_t)f->dim + 1;
  double error = 0;
  to_floats(f->at, f->w32, f->n);
  for (size_t k = 0; k < v->n; k++) {
    const float *z = v->z + (size_t)v->rows[k] * (size_t)f->dim, *y = v->y + (size_t)v->rows[k] * (size_t)f->columns;
    float mean = 0;
    for (int c = 0; c < f->columns; c++) {
      f->r[c] = 1 / (1 + expf(-row_logit(f->w32 + (size_t)c * stride, z, f->dim))) - y[c];
      mean += f->columns > 1 ? f->r[c] / (float)f->columns : 0;
    }
    for (int c = 0; c < f->columns; c++) error += (double)((f->r[c] - mean) * (f->r[c] - mean));
  }
  return error;
}

/* Moves to a point with a lower objective. False: there is none near. */
static bool search_line(fit *f, double *value) {
  double slope = dot_doubles(f->gradient, f->direction, f->n), step = 1;
  if (!(slope < 0)) return false;
  for (int k = 0; k < HALVINGS; k++, step /= 2) {
    for (size_t i = 0; i < f->n; i++) f->next[i] = f->at[i] + step * f->direction[i];
    double next = evaluate_objective(f, f->next, f->next_gradient);
    if (next <= *value + 1e-4 * step * slope) {
      *value = next;
      return true;
    }
  }
  return false;
}

el_status el_classifier_fit(const el_classifier_data *data, const el_classifier_options *o, el_classifier *h,
                            el_error *err) {
  fit f = {
      .data = data, .o = o, .dim = h->dim, .columns = h->n_columns, .n = (size_t)h->n_columns * ((size_t)h->dim + 1)};
  el_status status = reserve_fit(&f, err);
  if (status) goto end;
  double zero = evaluate_objective(&f, f.at, f.gradient),
         enough = TOLERANCE * sqrt(dot_doubles(f.gradient, f.gradient, f.n));
  memcpy(f.at, h->w, f.n * sizeof *f.at);
  double value = evaluate_objective(&f, f.at, f.gradient), best = INFINITY;
  if (!(value <= zero)) { /* the given start is worse than zeros */
    memset(f.at, 0, f.n * sizeof *f.at);
    value = evaluate_objective(&f, f.at, f.gradient);
  }
  int have = 0, newest = 0, since = 0;
  for (int round = 0; round < o->max_rounds; round++) {
    if (o->valid) {
      double error = valid_error(&f);
      since = error < best ? 0 : since + 1;
      if (error < best) {
        best = error;
        memcpy(f.best, f.at, f.n * sizeof *f.best);
      }
      if (since >= PATIENCE) break;
    }
    if (sqrt(dot_doubles(f.gradient, f.gradient, f.n)) <= enough) break;
    find_direction(&f, have, newest);
    if (!search_line(&f, &value)) break;
    int place = have ? (newest + 1) % MEMORY : 0;
    for (size_t i = 0; i < f.n; i++) {
      f.s[place][i] = f.next[i] - f.at[i];
      f.y[place][i] = f.next_gradient[i] - f.gradient[i];
    }
    double curvature = dot_doubles(f.s[place], f.y[place], f.n);
    if (curvature > 1e-14) { /* otherwise rounding has made the pair useless */
      f.rho[place] = 1 / curvature;
      newest = place;
      have += have < MEMORY;
    } else if (have == MEMORY) {
      have--; /* it was written over the oldest */
    }
    double *swap = f.at;
    f.at = f.next;
    f.next = swap;
    swap = f.gradient;
    f.gradient = f.next_gradient;
    f.next_gradient = swap;
  }
  if (o->valid && valid_error(&f) > best) memcpy(f.at, f.best, f.n * sizeof *f.at);
  memcpy(h->w, f.at, f.n * sizeof *f.at);
end:
  free(f.memory);
  free(f.w32);
  return status;
}
