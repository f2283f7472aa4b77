/* A multi-label linear classifier: p(row, column) = sigmoid(w_c . z + b_c), fitted by binary
 * cross-entropy to scores from 0 to 1.
 *
 * What the weights of all candidates have in common says how hard a prompt is; their differences say
 * which candidate to choose. The first is easy to learn and the second is mostly noise, so each has
 * its own penalty:
 *   1/n sum BCE + C/2 * l2_shared * |mean w|^2 + 1/2 * l2 * sum |w_c - mean w|^2
 * Intercepts have no penalty. The function is convex and the method (L-BFGS, Nocedal 1980) has no
 * randomness: on one machine the same data give the same classifier, to the bit. */
#ifndef EL_ROUTER_CLASSIFIER_H
#define EL_ROUTER_CLASSIFIER_H

#include "edgelora.h"

/* Some rows of a table. */
typedef struct el_classifier_data {
  int dim, n_columns;
  const float *z;       /* [.., dim] */
  const float *y;       /* [.., n_columns] 0 to 1 */
  const uint32_t *rows; /* [n] the rows to use */
  size_t n;
  const double *variance; /* [dim] of z, approximately: it speeds the method up */
} el_classifier_data;

typedef struct el_classifier {
  int dim, n_columns;
  double *w; /* [n_columns, dim + 1]: the intercept comes last */
} el_classifier;

typedef struct el_classifier_options {
  double l2, l2_shared;
  int max_rounds;
  /* Early stopping: the fit of the round is kept that best predicts how the columns differ in these
   * rows. The cross-entropy is no good for that, as it keeps falling while only the difficulty of
   * prompts is learnt. NULL: no early stopping */
  const el_classifier_data *valid;
} el_classifier_options;

/* Labels are kept this far from 0 and 1. Otherwise the intercept of a constant column would grow
 * without end. */
#define EL_CLASSIFIER_MARGIN 0.001f

el_status el_classifier_new(int dim, int n_columns, el_classifier *out, el_error *err);
void el_classifier_free(el_classifier *h);
/* Starts from what is in h: zeros, or the fit for another penalty, which saves time. */
el_status el_classifier_fit(const el_classifier_data *data, const el_classifier_options *o, el_classifier *h,
                            el_error *err);
/* p: [n_columns], the predictions for one z. */
void el_classifier_predict(const el_classifier *h, const float *z, float *p);

#endif
