/* A multi-label linear classifier: p(row, column) = sigmoid(w_c . z + b_c), fitted to scores from 0 to 1 by binary
 * cross-entropy.
 *
 * What all candidates' weights have in common tells how hard a prompt is, and how they differ tells whom to choose. The
 * first is easy to learn and the second is mostly noise, so each has a penalty of its own:
 *   1/n sum BCE + C/2 * l2_shared * |mean w|^2 + 1/2 * l2 * sum |w_c - mean w|^2
 * Intercepts are free. The function is convex, the method (L-BFGS, Nocedal 1980) has no randomness: the same data give
 * the same classifier, to the bit on the same machine. */
#ifndef EL_ROUTER_CLASSIFIER_H
#define EL_ROUTER_CLASSIFIER_H

#include "edgelora.h"

/* Some rows of a table. */
typedef struct el_classifier_data {
  int dim, n_columns;
  const float *z;       /* [.., dim] */
  const float *y;       /* [.., n_columns] 0 to 1 */
  const uint32_t *rows; /* [n] which of them */
  size_t n;
  const double *variance; /* [dim] of z, about: what speeds the method up */
} el_classifier_data;

typedef struct el_classifier {
  int dim, n_columns;
  double *w; /* [n_columns, dim + 1]: the intercept comes last */
} el_classifier;

typedef struct el_classifier_options {
  double l2, l2_shared;
  int max_rounds;
  /* Early stopping: the classifier of the round that foretells best how columns differ in these rows is kept. Not that
   * of the least cross-entropy, which goes on falling while only the difficulty of prompts is learnt. NULL: none */
  const el_classifier_data *valid;
} el_classifier_options;

/* Labels are kept so far away from 0 and 1, or the intercept of a column that is constant would grow forever. */
#define EL_CLASSIFIER_MARGIN 0.001f

el_status el_classifier_new(int dim, int n_columns, el_classifier *out, el_error *err);
void el_classifier_free(el_classifier *h);
/* Begins with what is in h: zeros, or the classifier of another penalty, which saves time. */
el_status el_classifier_fit(const el_classifier_data *data, const el_classifier_options *o, el_classifier *h,
                            el_error *err);
/* Mean cross-entropy a row and column. */
double el_classifier_loss(const el_classifier *h, const el_classifier_data *data);
/* p: [n_columns] of one z. */
void el_classifier_predict(const el_classifier *h, const float *z, float *p);

#endif
