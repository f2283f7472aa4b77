/* Training: chooses the layer, the pooling and the penalty, then fits the classifier.
 *
 * Each combination is judged on rows that it has not seen, by how well it predicts the difference
 * between a candidate's score and the other candidates' scores on the same prompt. Decisions depend on
 * that error. It is far less noisy than the score of the chosen candidate, which on a table of three
 * thousand prompts cannot tell good settings from lucky ones. Rows not seen are the validation set, and
 * each training row for the classifier that was fitted without its fold. */
#ifndef EL_ROUTER_TRAIN_H
#define EL_ROUTER_TRAIN_H

#include "router/router.h"

typedef struct el_train_data {
  const el_features *features; /* all slices that were computed */
  const float *x;              /* [n_train + n_valid, n_slices, n_embd], training rows first */
  const float *y;              /* [n_train + n_valid, n_columns] */
  size_t n_train, n_valid;
  int n_columns, base; /* base: its column, or -1 */
  char *const *names;
  int example_layer; /* examples are compared after about this many layers */
} el_train_data;

enum { EL_TRAIN_MAX_CELL_SLICES = 2, EL_TRAIN_MIN_ROWS = 8, EL_TRAIN_DIM = 128 };

/* A combination of slices that is tried, with its best penalty. */
typedef struct el_train_cell {
  int n_slices;
  el_feature_slice slices[EL_TRAIN_MAX_CELL_SLICES]; /* among those of the data */
  float l2;
  float explained; /* share of the variance of differences that is predicted on rows not seen; below 0: worse than the
                      means */
  float loss;      /* cross-entropy on rows not seen */
  float chosen;    /* mean score of the chosen candidate on rows not seen */
} el_train_cell;

typedef struct el_train_report {
  el_train_cell *cells; /* [n_cells] in the order in which they are tried */
  size_t n_cells, won;
  bool nothing; /* all rows have the same scores: only examples distinguish adapters */
} el_train_report;

/* Called as cells are done, one thread at a time. */
typedef void (*el_train_progress_fn)(void *user, size_t done, size_t total);

typedef struct el_train_options {
  uint64_t seed;
  int dim;       /* of z at most; 0: EL_TRAIN_DIM */
  bool no_refit; /* if not set, the chosen classifier is fitted again, to training and validation rows together */
  el_train_progress_fn progress;
  void *user;
} el_train_options;

/* The features to compute for a base with n_layers: taps up to max_depth (0: a quarter of the layers),
 * with all poolings that training tries. */
void el_train_features(int n_layers, int n_embd, int max_depth, int max_tokens, el_features *out);

/* The caller fills in what *out lacks: the base's identity, the names of the tables, and the LoRA rank.
 * The same data and options give the same router. EL_ERR_INVALID: too few rows. */
el_status el_train_router(const el_train_data *d, const el_train_options *o, el_threads *threads, el_router **out,
                          el_train_report *report, el_error *err);
void el_train_report_free(el_train_report *r);

#endif
