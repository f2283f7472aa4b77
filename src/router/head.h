/* A multi-label linear head: p(row, column) = sigmoid(w_c . z + b_c), fitted to scores from 0 to 1 by binary
 * cross-entropy.
 *
 * What all candidates' weights have in common tells how hard a prompt is, and how they differ tells whom to choose. The
 * first is easy to learn and the second is mostly noise, so each has a penalty of its own:
 *   1/n sum BCE + C/2 * l2_shared * |mean w|^2 + 1/2 * l2 * sum |w_c - mean w|^2
 * Intercepts are free. The function is convex, the method (L-BFGS, Nocedal 1980) has no randomness: the same data give
 * the same head, to the bit on the same machine. */
#ifndef EL_ROUTER_HEAD_H
#define EL_ROUTER_HEAD_H

#include "edgelora.h"

/* Some rows of a table. */
typedef struct el_head_data {
  int dim, n_columns;
  const float *z;       /* [.., dim] */
  const float *y;       /* [.., n_columns] 0 to 1 */
  const uint32_t *rows; /* [n] which of them */
  size_t n;
  const double *variance; /* [dim] of z, about: what speeds the method up */
} el_head_data;

typedef struct el_head {
  int dim, n_columns;
  double *w; /* [n_columns, dim + 1]: the intercept comes last */
} el_head;

typedef struct el_head_options {
  double l2, l2_shared;
  int max_rounds;
  /* Early stopping: the head of the round that foretells best how columns differ in these rows is kept. Not that of the
   * least cross-entropy, which goes on falling while only the difficulty of prompts is learnt. NULL: none */
  const el_head_data *valid;
} el_head_options;

/* Labels are kept so far away from 0 and 1, or the intercept of a column that is constant would grow forever. */
#define EL_HEAD_MARGIN 0.001f

el_status el_head_new(int dim, int n_columns, el_head *out, el_error *err);
void el_head_free(el_head *h);
/* Begins with what is in h: zeros, or the head of another penalty, which saves time. */
el_status el_head_fit(const el_head_data *data, const el_head_options *o, el_head *h, el_error *err);
/* Mean cross-entropy a row and column. */
double el_head_loss(const el_head *h, const el_head_data *data);
/* p: [n_columns] of one z. */
void el_head_predict(const el_head *h, const float *z, float *p);

#endif
