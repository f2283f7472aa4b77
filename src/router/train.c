#include "router/train.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "router/classifier.h"
#include "router/dot.h"
#include "router/examples.h"
#include "router/pca.h"

enum {
  MAX_TAPS = 6, /* to try: neighbouring layers have nearly the same information */
  FOLDS = 4,
  CELL_ROUNDS = 40,   /* of a fit that only serves to judge a combination */
  FINAL_ROUNDS = 200, /* of the classifier that is kept */
  MAX_CELLS = MAX_TAPS * 5
};
/* Penalties, from heavy to light. Candidates range from adapters for clearly different tasks to models that are nearly
 * the same, so the grid is wide. */
static const double penalties[] = {300, 100, 30, 10, 3, 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
static const double shared_penalties[] = {100, 10, 1, 0.1, 0.01};
enum {
  N_PENALTIES = sizeof penalties / sizeof *penalties,
  N_SHARED = sizeof shared_penalties / sizeof *shared_penalties
};
static const double SHARED_AT_FIRST = 1;
/* Among layers whose errors are within this factor of the smallest, an earlier one is better, as a decision costs less.
 */
static const double ABOUT = 1.01;

void el_train_features(int n_layers, int n_embd, int max_depth, int max_tokens, el_features *out) {
  static const el_pooling poolings[] = {EL_POOL_MEAN, EL_POOL_UNIT_MEAN, EL_POOL_UNIT_LAST, EL_POOL_UNIT_STD};
  int depth = max_depth > 0 ? max_depth : n_layers / 4;
  if (depth > n_layers) depth = n_layers;
  if (depth < 1) depth = 1;
  *out = (el_features){.n_embd = n_embd, .max_tokens = max_tokens};
  for (int i = 0; i < MAX_TAPS; i++) {
    int tap = (depth * i + (MAX_TAPS - 1) / 2) / (MAX_TAPS - 1);
    if (i > 0 && tap <= out->taps[out->n_taps - 1]) continue;
    out->taps[out->n_taps++] = tap;
  }
  for (int t = 0; t < out->n_taps; t++)
    for (size_t k = 0; k < sizeof poolings / sizeof *poolings; k++)
      out->slices[out->n_slices++] = (el_feature_slice){t, poolings[k]};
}

static int find_slice(const el_features *f, int tap, el_pooling pooling) {
  for (int i = 0; i < f->n_slices; i++)
    if (f->slices[i].tap == tap && f->slices[i].pooling == pooling) return i;
  return -1;
}

static void add_cell(const el_features *f, el_train_report *r, int n, const el_feature_slice *slices) {
  el_train_cell *c = &r->cells[r->n_cells];
  for (int i = 0; i < n; i++)
    if (find_slice(f, slices[i].tap, slices[i].pooling) < 0) return;
  *c = (el_train_cell){.n_slices = n};
  memcpy(c->slices, slices, (size_t)n * sizeof *slices);
  r->n_cells++;
}

/* The slice by which examples are compared: the tap nearest to the wanted layer, except the embedding. */
static el_feature_slice example_slice(const el_train_data *d) {
  const el_features *f = d->features;
  int best = f->n_taps - 1;
  for (int t = 0; t < f->n_taps; t++)
    if (f->taps[t] > 0 && abs(f->taps[t] - d->example_layer) < abs(f->taps[best] - d->example_layer)) best = t;
  return (el_feature_slice){best, EL_POOL_UNIT_MEAN};
}

/* Whether rows differ, so that there is something to learn. */
static bool scores_vary(const el_train_data *d) {
  const size_t columns = (size_t)d->n_columns;
  for (size_t i = columns; i < (d->n_train + d->n_valid) * columns; i++)
    if (d->y[i] != d->y[i % columns]) return true;
  return false;
}

static void list_cells(const el_train_data *d, el_train_report *r) {
  const el_features *f = d->features;
  r->nothing = !scores_vary(d);
  if (r->nothing) { /* any combination will do, as only examples count */
    add_cell(f, r, 1, (el_feature_slice[]){example_slice(d)});
    return;
  }
  for (int t = 0; t < f->n_taps && t < MAX_TAPS; t++) {
    add_cell(f, r, 1, (el_feature_slice[]){{t, EL_POOL_UNIT_MEAN}});
    add_cell(f, r, 1, (el_feature_slice[]){{t, EL_POOL_MEAN}});
    add_cell(f, r, 1, (el_feature_slice[]){{t, EL_POOL_UNIT_LAST}});
    add_cell(f, r, 2, (el_feature_slice[]){{t, EL_POOL_UNIT_MEAN}, {t, EL_POOL_UNIT_STD}});
    if (t > 0) add_cell(f, r, 2, (el_feature_slice[]){{0, EL_POOL_UNIT_MEAN}, {t, EL_POOL_UNIT_MEAN}});
  }
}

/* ------------------------------------------------------------- one combination */

/* Features of a cell, projected. */
typedef struct space {
  size_t n_in, dim;
  float *mean, *scale; /* [n_in] */
  float *directions;   /* [dim, n_in] of standardised features */
  float *z;            /* [n_train + n_valid, dim] */
  double *variance;    /* [dim] */
} space;

static void free_space(space *s) {
  free(s->mean);
  free(s->scale);
  free(s->directions);
  free(s->z);
  free(s->variance);
  *s = (space){0};
}

static void gather_features(const el_train_data *d, const el_train_cell *c, float *out) {
  const size_t n_embd = (size_t)d->features->n_embd, all = el_features_n(d->features);
  for (size_t i = 0; i < d->n_train + d->n_valid; i++)
    for (int p = 0; p < c->n_slices; p++, out += n_embd) {
      int slice = find_slice(d->features, c->slices[p].tap, c->slices[p].pooling);
      memcpy(out, d->x + i * all + (size_t)slice * n_embd, n_embd * sizeof *out);
    }
}

static el_status make_space(const el_train_data *d, const el_train_cell *c, int max_dim, space *s, el_error *err) {
  const size_t n = d->n_train + d->n_valid;
  s->n_in = (size_t)c->n_slices * (size_t)d->features->n_embd;
  s->dim = (size_t)max_dim;
  if (s->dim > s->n_in) s->dim = s->n_in;
  if (s->dim > d->n_train - 1) s->dim = d->n_train - 1; /* so many rows span no more directions */
  float *x = calloc(n * s->n_in, sizeof *x);
  s->mean = malloc(s->n_in * sizeof *s->mean);
  s->scale = malloc(s->n_in * sizeof *s->scale);
  s->directions = malloc(s->dim * s->n_in * sizeof *s->directions);
  s->z = malloc(n * s->dim * sizeof *s->z);
  s->variance = calloc(s->dim, sizeof *s->variance);
  el_status status = EL_OK;
  if (!x || !s->mean || !s->scale || !s->directions || !s->z || !s->variance) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for the features of %zu prompts", n);
    goto end;
  }
  gather_features(d, c, x);
  el_moments(x, d->n_train, s->n_in, s->mean, s->scale);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < s->n_in; k++) x[i * s->n_in + k] = (x[i * s->n_in + k] - s->mean[k]) * s->scale[k];
  if ((status = el_pca(x, d->n_train, s->n_in, s->dim, s->directions, err))) goto end;
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < s->dim; k++) {
      float z = el_dot(x + i * s->n_in, s->directions + k * s->n_in, s->n_in);
      s->z[i * s->dim + k] = z;
      if (i < d->n_train) s->variance[k] += (double)z * (double)z / (double)d->n_train;
    }
end:
  free(x);
  return status;
}

/* How good predictions are on rows not seen. */
typedef struct verdict {
  double error, total; /* squared error of differences, and that of their means */
  double loss, chosen;
  size_t n;
} verdict;

static double explained_share(const verdict *v) {
  return v->total > 0 ? 1 - v->error / v->total : 0;
}

/* p: predictions; mean: the columns' means in training. With one column there are no differences, and the score itself
 * is judged. */
static void judge_prediction(verdict *v, const float *p, const float *y, const float *mean, int n) {
  float p_mean = 0, y_mean = 0, m_mean = 0;
  int best = 0;
  for (int c = 0; c < n && n > 1; c++) {
    p_mean += p[c] / (float)n;
    y_mean += y[c] / (float)n;
    m_mean += mean[c] / (float)n;
  }
  for (int c = 0; c < n; c++) {
    double truth = (double)(y[c] - y_mean), e = (double)(p[c] - p_mean) - truth, t = (double)(mean[c] - m_mean) - truth;
    double q = fmin(fmax((double)p[c], 1e-6), 1 - 1e-6);
    v->error += e * e;
    v->total += t * t;
    v->loss -= ((double)y[c] * log(q) + (1 - (double)y[c]) * log(1 - q)) / n;
    if (p[c] > p[best]) best = c;
  }
  v->chosen += (double)y[best];
  v->n++;
}

/* Rows by their role in training; the same for all cells. */
typedef struct folds {
  uint32_t *train, *valid, *all;    /* [n_train], [n_valid], both */
  uint32_t *in[FOLDS], *out[FOLDS]; /* for each fold: training rows outside it, and the rows in it */
  size_t n_in[FOLDS], n_out[FOLDS];
  float *mean; /* [n_columns] of training rows */
  uint32_t *memory;
} folds;

static void free_folds(folds *p) {
  free(p->memory);
  free(p->mean);
}

static el_status make_folds(const el_train_data *d, uint64_t seed, folds *p, el_error *err) {
  const size_t n = d->n_train + d->n_valid;
  p->memory = malloc((n * 2 + 2 * FOLDS * d->n_train) * sizeof *p->memory);
  p->mean = calloc((size_t)d->n_columns, sizeof *p->mean);
  if (!p->memory || !p->mean) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the folds of %zu rows", n);
  p->train = p->all = p->memory;
  p->valid = p->memory + d->n_train;
  for (size_t i = 0; i < n; i++) p->all[i] = (uint32_t)i;
  /* Shuffled, so that folds have equal sizes and a sorted table does no harm. */
  uint32_t *order = p->memory + n;
  for (size_t i = 0; i < d->n_train; i++) {
    size_t at = el_mix64(seed + (i + 1) * EL_GOLDEN_GAMMA) % (i + 1);
    order[i] = order[at];
    order[at] = (uint32_t)i;
  }
  for (int f = 0; f < FOLDS; f++) {
    p->in[f] = p->memory + 2 * n + (size_t)(2 * f) * d->n_train;
    p->out[f] = p->in[f] + d->n_train;
    for (size_t i = 0; i < d->n_train; i++)
      if (i % FOLDS == (size_t)f)
        p->out[f][p->n_out[f]++] = order[i];
      else
        p->in[f][p->n_in[f]++] = order[i];
  }
  for (size_t i = 0; i < d->n_train; i++)
    for (int c = 0; c < d->n_columns; c++) p->mean[c] += d->y[i * (size_t)d->n_columns + (size_t)c] / (float)d->n_train;
  return EL_OK;
}

static el_classifier_data make_classifier_data(const el_train_data *d, const space *s, const uint32_t *rows, size_t n) {
  return (el_classifier_data){(int)s->dim, d->n_columns, s->z, d->y, rows, n, s->variance};
}

static void judge_rows(const el_classifier *h, const el_classifier_data *data, const float *mean, float *p,
                       verdict *v) {
  for (size_t i = 0; i < data->n; i++) {
    el_classifier_predict(h, data->z + (size_t)data->rows[i] * (size_t)data->dim, p);
    judge_prediction(v, p, data->y + (size_t)data->rows[i] * (size_t)data->n_columns, mean, data->n_columns);
  }
}

/* Fits without each fold, and on all training rows, and judges the predictions on rows not seen. The classifiers are
 * the starting points and the results: one per fold, then the one of all rows. */
static el_status cross_validate(const el_train_data *d, const folds *p, const space *s, double l2, double l2_shared,
                                el_classifier classifiers[FOLDS + 1], float *scratch, verdict *out, el_error *err) {
  el_classifier_options o = {l2, l2_shared, CELL_ROUNDS, NULL};
  el_status status = EL_OK;
  *out = (verdict){0};
  for (int f = 0; f <= FOLDS && !status; f++) {
    bool all = f == FOLDS;
    el_classifier_data fit = make_classifier_data(d, s, all ? p->train : p->in[f], all ? d->n_train : p->n_in[f]),
                       unseen = make_classifier_data(d, s, all ? p->valid : p->out[f], all ? d->n_valid : p->n_out[f]);
    if (!(status = el_classifier_fit(&fit, &o, &classifiers[f], err)))
      judge_rows(&classifiers[f], &unseen, p->mean, scratch, out);
  }
  return status;
}

static void free_classifiers(el_classifier classifiers[FOLDS + 1]) {
  for (int f = 0; f <= FOLDS; f++) el_classifier_free(&classifiers[f]);
}

/* A classifier that predicts the columns' means. Every fit starts there, so a fit that stops early is no worse. */
static el_status new_mean_classifier(const el_train_data *d, const folds *p, const space *s, el_classifier *h,
                                     el_error *err) {
  el_status status = el_classifier_new((int)s->dim, d->n_columns, h, err);
  for (int c = 0; c < d->n_columns && !status; c++) {
    double m = fmin(fmax((double)p->mean[c], (double)EL_CLASSIFIER_MARGIN), 1 - (double)EL_CLASSIFIER_MARGIN);
    h->w[(size_t)c * (s->dim + 1) + s->dim] = log(m / (1 - m));
  }
  return status;
}

static el_status new_classifiers(const el_train_data *d, const folds *p, const space *s,
                                 el_classifier classifiers[FOLDS + 1], el_error *err) {
  el_status status = EL_OK;
  for (int f = 0; f <= FOLDS && !status; f++) status = new_mean_classifier(d, p, s, &classifiers[f], err);
  return status;
}

/* Whether a verdict is better than another. With one column the loss counts, as there are no differences. */
static bool is_better_verdict(const verdict *a, const verdict *b, int n_columns) {
  if (b->n == 0) return true;
  return n_columns > 1 ? a->error < b->error : a->loss < b->loss;
}

/* Finds a cell's penalty: goes from heavy to light until the result has become worse twice. */
static el_status try_cell(const el_train_data *d, const folds *p, int dim, el_train_cell *c, el_error *err) {
  space s = {0};
  el_classifier classifiers[FOLDS + 1] = {{0}};
  float *scratch = malloc((size_t)d->n_columns * sizeof *scratch);
  verdict best = {0};
  int worse = 0;
  el_status status = scratch ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory to train");
  if (!status) status = make_space(d, c, dim, &s, err);
  if (!status) status = new_classifiers(d, p, &s, classifiers, err);
  for (int i = 0; i < N_PENALTIES && !status && worse < 2; i++) {
    verdict v;
    double shared = d->n_columns > 1 ? SHARED_AT_FIRST : penalties[i];
    if ((status = cross_validate(d, p, &s, penalties[i], shared, classifiers, scratch, &v, err))) break;
    worse = is_better_verdict(&v, &best, d->n_columns) ? 0 : worse + 1;
    if (worse) continue;
    best = v;
    c->l2 = (float)penalties[i];
    c->explained = (float)explained_share(&v);
    c->loss = (float)(v.loss / (double)v.n);
    c->chosen = (float)(v.chosen / (double)v.n);
  }
  free_classifiers(classifiers);
  free_space(&s);
  free(scratch);
  return status;
}

/* ----------------------------------------------------------------- all of them */

typedef struct work {
  const el_train_data *d;
  const el_train_options *o;
  const folds *p;
  el_train_report *report;
  int dim;
  el_cursor next;
  pthread_mutex_t mutex;
  size_t done;
  el_status status;
  el_error *err;
} work;

static void try_cells(void *arg, int ith, int n) {
  work *w = arg;
  for (int i; (i = el_cursor_take(&w->next, (int)w->report->n_cells)) >= 0;) {
    el_error err;
    el_status status = try_cell(w->d, w->p, w->dim, &w->report->cells[i], &err);
    pthread_mutex_lock(&w->mutex);
    if (status && !w->status) {
      w->status = status;
      if (w->err) *w->err = err;
    }
    w->done++;
    if (w->o->progress) w->o->progress(w->o->user, w->done, w->report->n_cells);
    pthread_mutex_unlock(&w->mutex);
  }
}

static int depth_of(const el_train_data *d, const el_train_cell *c) {
  int depth = 0;
  for (int i = 0; i < c->n_slices; i++)
    if (d->features->taps[c->slices[i].tap] > depth) depth = d->features->taps[c->slices[i].tap];
  return depth;
}

/* The best cell, or one that is nearly as good and costs less. */
static size_t find_winner(const el_train_data *d, const el_train_report *r) {
  size_t best = 0, won;
  const bool many = d->n_columns > 1;
  for (size_t i = 1; i < r->n_cells; i++)
    if (many ? r->cells[i].explained > r->cells[best].explained : r->cells[i].loss < r->cells[best].loss) best = i;
  won = best;
  for (size_t i = 0; i < r->n_cells; i++) {
    const el_train_cell *c = &r->cells[i], *w = &r->cells[won];
    if (!many || 1 - (double)c->explained > ABOUT * (1 - (double)r->cells[best].explained)) continue;
    int a = depth_of(d, c), b = depth_of(d, w);
    if (a < b || (a == b && c->n_slices < w->n_slices)) won = i;
  }
  return won;
}

/* The features of a cell and of examples, with only the taps that they need. */
static void choose_features(const el_train_data *d, const el_train_cell *c, el_router *r) {
  el_features *f = &r->features;
  el_feature_slice list[EL_TRAIN_MAX_CELL_SLICES + 1], example = example_slice(d);
  int n = c->n_slices;
  memcpy(list, c->slices, (size_t)n * sizeof *list);
  r->n_classifier_slices = n;
  r->example_slice = 0;
  while (r->example_slice < n &&
         (list[r->example_slice].tap != example.tap || list[r->example_slice].pooling != example.pooling))
    r->example_slice++;
  if (r->example_slice == n) list[n++] = example;
  *f = (el_features){.n_embd = d->features->n_embd, .max_tokens = d->features->max_tokens, .n_slices = n};
  for (int t = 0; t < d->features->n_taps; t++) {
    bool used = false;
    for (int i = 0; i < n; i++)
      if (list[i].tap == t) {
        used = true;
        f->slices[i] = (el_feature_slice){f->n_taps, list[i].pooling};
      }
    if (used) f->taps[f->n_taps++] = d->features->taps[t];
  }
}

/* Makes the router of a space and a classifier. Standardisation and projection are combined, so that the classifier's
 * input is a single product of the features. */
static el_status assemble_router(const el_train_data *d, const el_train_cell *c, const space *s, const el_classifier *h,
                                 el_router *r, el_error *err) {
  choose_features(d, c, r);
  r->dim = (int)s->dim;
  r->n_columns = d->n_columns;
  r->base_column = d->base;
  r->projection = malloc(s->dim * s->n_in * sizeof *r->projection);
  r->origin = malloc(s->dim * sizeof *r->origin);
  r->weights = malloc((size_t)d->n_columns * s->dim * sizeof *r->weights);
  r->bias = malloc((size_t)d->n_columns * sizeof *r->bias);
  r->names = calloc((size_t)d->n_columns, sizeof *r->names);
  if (!r->projection || !r->origin || !r->weights || !r->bias || !r->names)
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router");
  for (size_t k = 0; k < s->dim; k++) {
    double origin = 0;
    for (size_t i = 0; i < s->n_in; i++) {
      float w = s->directions[k * s->n_in + i] * s->scale[i], half = el_f16_to_f32(el_f32_to_f16(w));
      if (isfinite(half)) w = half; /* the value that the file will have */
      r->projection[k * s->n_in + i] = w;
      origin += (double)w * (double)s->mean[i];
    }
    r->origin[k] = (float)origin;
  }
  for (int i = 0; i < d->n_columns; i++) {
    const double *w = h->w + (size_t)i * (s->dim + 1);
    for (size_t k = 0; k < s->dim; k++) r->weights[(size_t)i * s->dim + k] = (float)w[k];
    r->bias[i] = (float)w[s->dim];
    if (!(r->names[i] = strdup(d->names[i]))) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router");
  }
  return EL_OK;
}

/* Measures the classifier on the validation set. */
static void measure_router(const el_train_data *d, const folds *p, const space *s, const el_classifier *h,
                           float *scratch, el_router_facts *f) {
  const size_t columns = (size_t)d->n_columns;
  double sum = 0, square = 0, random = 0, single = 0, n = (double)d->n_valid;
  size_t best = 0;
  for (size_t c = 1; c < columns; c++)
    if (p->mean[c] > p->mean[best]) best = c;
  verdict v = {0};
  for (size_t i = d->n_train; i < d->n_train + d->n_valid; i++) {
    const float *y = d->y + i * columns;
    double before = v.chosen;
    el_classifier_predict(h, s->z + i * s->dim, scratch);
    judge_prediction(&v, scratch, y, p->mean, d->n_columns);
    double chosen = v.chosen - before;
    sum += chosen;
    square += chosen * chosen;
    single += (double)y[best];
    for (size_t c = 0; c < columns; c++) random += (double)y[c] / (double)columns;
  }
  f->best_column = (int)best;
  f->n_rows = d->n_train;
  f->n_valid = d->n_valid;
  f->chosen = (float)(sum / n);
  f->chosen_ci = n > 1 ? (float)(1.96 * sqrt(fmax(0, square / n - sum / n * (sum / n)) / (n - 1))) : 0;
  f->random = (float)(random / n);
  f->best = (float)(single / n);
  f->loss = (float)(v.loss / n);
}

/* Fits the classifier that is kept: with the cell's penalty, the best shared penalty, and early stopping. */
static el_status fit_final(const el_train_data *d, const el_train_options *o, const folds *p, const space *s,
                           el_train_cell *cell, el_router *r, el_classifier *classifier, el_error *err) {
  el_classifier classifiers[FOLDS + 1] = {{0}};
  float *scratch = malloc((size_t)d->n_columns * sizeof *scratch);
  el_status status = scratch ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory to train");
  verdict best = {0};
  double l2 = (double)cell->l2, shared = l2;
  if (!status) status = new_classifiers(d, p, s, classifiers, err);
  for (int i = 0; i < N_SHARED && !status && d->n_columns > 1; i++) {
    verdict v;
    status = cross_validate(d, p, s, l2, shared_penalties[i], classifiers, scratch, &v, err);
    if (status || (best.n > 0 && v.loss >= best.loss)) continue;
    best = v;
    shared = shared_penalties[i];
  }
  el_classifier_data train = make_classifier_data(d, s, p->train, d->n_train),
                     valid = make_classifier_data(d, s, p->valid, d->n_valid),
                     all = make_classifier_data(d, s, p->all, d->n_train + d->n_valid);
  el_classifier_options with = {l2, shared, FINAL_ROUNDS, &valid};
  if (!status) status = el_classifier_fit(&train, &with, classifier, err);
  if (!status) {
    measure_router(d, p, s, classifier, scratch, &r->facts);
    r->facts.l2 = (float)l2;
    r->facts.l2_shared = (float)shared;
    r->facts.seed = o->seed;
  }
  with.valid = NULL;
  if (!status && !o->no_refit) status = el_classifier_fit(&all, &with, classifier, err);
  free_classifiers(classifiers);
  free(scratch);
  return status;
}

static el_status learn_examples(const el_train_data *d, const el_train_options *o, el_router *r, el_error *err) {
  const el_feature_slice slice = example_slice(d);
  const size_t n_embd = (size_t)d->features->n_embd, all = el_features_n(d->features), n = d->n_train + d->n_valid,
               at = (size_t)find_slice(d->features, slice.tap, slice.pooling) * n_embd;
  float *x = malloc(n * n_embd * sizeof *x);
  if (!x) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background");
  for (size_t i = 0; i < n; i++) memcpy(x + i * n_embd, d->x + i * all + at, n_embd * sizeof *x);
  el_example_data e = {(int)n_embd, d->n_columns, d->base, x, d->y, n, o->seed};
  el_status status = el_examples_learn(&e, &r->examples, err);
  free(x);
  return status;
}

static el_status make_router(const el_train_data *d, const el_train_options *o, const folds *p, int dim,
                             el_train_report *report, el_router *r, el_error *err) {
  el_train_cell *cell = &report->cells[report->won];
  space s = {0};
  el_classifier classifier = {0};
  el_status status = make_space(d, cell, dim, &s, err);
  if (!status) status = new_mean_classifier(d, p, &s, &classifier, err);
  if (!status) status = fit_final(d, o, p, &s, cell, r, &classifier, err);
  if (!status) status = assemble_router(d, cell, &s, &classifier, r, err);
  if (!status) status = learn_examples(d, o, r, err);
  /* Without a column, the base counts as an average candidate. */
  for (int c = 0; c < d->n_columns; c++) r->base_score += p->mean[c] / (float)d->n_columns;
  r->top_k = EL_ROUTER_TOP_K;
  r->margin = EL_ROUTER_MARGIN;
  el_classifier_free(&classifier);
  free_space(&s);
  return status;
}

/* Refuses data from which nothing can be learnt. */
static el_status check_train_data(const el_train_data *d, el_error *err) {
  const size_t n_in = el_features_n(d->features), n = d->n_train + d->n_valid;
  if (d->n_train < EL_TRAIN_MIN_ROWS || d->n_valid < 1)
    return el_fail(err, EL_ERR_INVALID, "%zu rows to train with and %zu to validate; %d and 1 are the least",
                   d->n_train, d->n_valid, EL_TRAIN_MIN_ROWS);
  for (size_t i = 0; i < n * n_in; i++)
    if (!isfinite(d->x[i]))
      return el_fail(err, EL_ERR_FORMAT, "the model's states for row %zu are not finite", i / n_in + 1);
  return EL_OK;
}

el_status el_train_router(const el_train_data *d, const el_train_options *o, el_threads *threads, el_router **out,
                          el_train_report *report, el_error *err) {
  folds p = {0};
  int dim = o->dim > 0 && o->dim <= EL_ROUTER_MAX_DIM ? o->dim : EL_TRAIN_DIM;
  el_router *r = NULL;
  *report = (el_train_report){0};
  el_status status = check_train_data(d, err);
  if (status) return status;
  report->cells = calloc(MAX_CELLS, sizeof *report->cells);
  r = calloc(1, sizeof *r);
  if (!report->cells || !r) status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to train");
  if (!status) status = make_folds(d, o->seed, &p, err);
  if (!status) {
    list_cells(d, report);
    work w = {.d = d, .o = o, .p = &p, .report = report, .dim = dim, .err = err, .mutex = PTHREAD_MUTEX_INITIALIZER};
    el_threads_run(threads, try_cells, &w);
    status = w.status;
  }
  if (!status) {
    report->won = find_winner(d, report);
    status = make_router(d, o, &p, dim, report, r, err);
  }
  free_folds(&p);
  if (status) {
    el_router_free(r);
    el_train_report_free(report);
    return status;
  }
  *out = r;
  return EL_OK;
}

void el_train_report_free(el_train_report *r) {
  free(r->cells);
  *r = (el_train_report){0};
}
