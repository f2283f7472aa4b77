/* Training: which layer, pooling and penalty, then the classifier.
 *
 * Every combination is judged by how well it predicts, on rows that it has not seen, by how much a candidate's score
 * differs from the others' on the same prompt. That error is what choosing depends on, and it is far less noisy than
 * the score of the chosen candidate: on a table of three thousand prompts the latter cannot tell good settings from
 * lucky ones. Rows not seen are those of the validation set, and each training row for a classifier that was fitted
 * without its fold. */
#ifndef EL_ROUTER_TRAIN_H
#define EL_ROUTER_TRAIN_H

#include "router/router.h"

typedef struct el_train_data {
  const el_features *features; /* all that were computed */
  const float *x;              /* [n_train + n_valid, n_slices, n_embd] training rows first */
  const float *y;              /* [n_train + n_valid, n_columns] */
  size_t n_train, n_valid;
  int n_columns, base; /* base: its column, or -1 */
  char *const *names;
  int example_layer; /* examples are compared after about so many layers */
} el_train_data;

enum { EL_TRAIN_MAX_CELL_SLICES = 2, EL_TRAIN_MIN_ROWS = 8, EL_TRAIN_DIM = 128 };

/* One combination of slices, with its best penalty. */
typedef struct el_train_cell {
  int n_slices;
  el_feature_slice slices[EL_TRAIN_MAX_CELL_SLICES]; /* of the data's features */
  float l2;
  float
      explained; /* share of the variance of differences that is foretold on rows not seen; below 0: worse than means */
  float loss;    /* cross-entropy there */
  float chosen;  /* mean score of the chosen candidate there */
} el_train_cell;

typedef struct el_train_report {
  el_train_cell *cells; /* [n_cells] in the order in which they were tried */
  size_t n_cells, won;
  bool nothing; /* all rows have the same scores: only examples tell adapters apart */
} el_train_report;

/* Called as cells are done, one thread at a time. */
typedef void (*el_train_progress_fn)(void *user, size_t done, size_t total);

typedef struct el_train_options {
  uint64_t seed;
  int dim;       /* of z at most; 0: EL_TRAIN_DIM */
  bool no_refit; /* else, once all is chosen, the classifier is fitted to training and validation rows together */
  el_train_progress_fn progress;
  void *user;
} el_train_options;

/* The features to compute for a base of so many layers: taps up to max_depth (0: a quarter of the layers), all
 * poolings. */
void el_train_features(int n_layers, int n_embd, int max_depth, int max_tokens, el_features *out);

/* *out lacks the base's identity, the names of the tables and the LoRA: the caller fills them in. The same data and
 * options give the same router. EL_ERR_INVALID: too few rows. */
el_status el_train_router(const el_train_data *d, const el_train_options *o, el_threads *threads, el_router **out,
                          el_train_report *report, el_error *err);
void el_train_report_free(el_train_report *r);

#endif
