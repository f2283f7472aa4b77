#include "router/examples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "router/bank.h"

enum {
  EXAMPLES = 5,   /* that a candidate is given */
  MAX_SETS = 24,  /* of examples, of all candidates together */
  MAX_ROWS = 1500 /* that are compared to each set */
};
/* What is tried: how many of z's values count, how far their sizes are evened out (0: as they are, 1: all alike), how
 * much the nearest example counts against all of them. */
static const int dims[] = {16, 32, 64, 128};
static const double evens[] = {0, 0.5, 1};
static const float mixes[] = {0, 0.5f, 1};
enum {
  N_DIMS = sizeof dims / sizeof *dims,
  N_EVENS = sizeof evens / sizeof *evens,
  N_MIXES = sizeof mixes / sizeof *mixes
};

typedef struct set {
  int column;
  uint32_t rows[EXAMPLES];
} set;

typedef struct pair {
  float near, score;
} pair;

/* A row that is the column's own: nobody does better, most do worse, and it does well. */
static bool is_own(const el_example_data *d, size_t row, int column) {
  const float *y = d->y + row * (size_t)d->n_columns;
  double sum = 0;
  for (int c = 0; c < d->n_columns; c++) {
    if (y[c] > y[column]) return false;
    sum += (double)y[c];
  }
  return y[column] >= 0.5f && (double)y[column] > sum / d->n_columns + 0.1;
}

/* Draws sets for each candidate in turn. */
static size_t draw_sets(const el_example_data *d, uint32_t *own, set *sets) {
  size_t n_sets = 0;
  uint64_t random = el_mix64(d->seed + EL_GOLDEN_GAMMA);
  int others = d->n_columns - (d->base >= 0);
  int each = others > 0 ? MAX_SETS / others : 0;
  if (each < 1) each = 1;
  if (each > 6) each = 6;
  for (int c = 0; c < d->n_columns; c++) {
    size_t n = 0;
    if (c == d->base) continue;
    for (size_t i = 0; i < d->n; i++)
      if (is_own(d, i, c)) own[n++] = (uint32_t)i;
    if (n < 2 * EXAMPLES) continue;
    for (int k = 0; k < each && n_sets < MAX_SETS; k++, n_sets++) {
      sets[n_sets].column = c;
      for (size_t i = 0; i < EXAMPLES; i++) { /* the first steps of a shuffle */
        size_t at = i + el_mix64(random += EL_GOLDEN_GAMMA) % (n - i);
        uint32_t swap = own[i];
        own[i] = own[at];
        own[at] = swap;
        sets[n_sets].rows[i] = own[i];
      }
    }
  }
  return n_sets;
}

static bool is_example(const set *s, size_t row) {
  for (int i = 0; i < EXAMPLES; i++)
    if (s->rows[i] == row) return true;
  return false;
}

static size_t make_pairs(const el_example_data *d, const el_example_rule *rule, const set *sets, size_t n_sets,
                         float *examples, pair *out) {
  const size_t step = d->n > MAX_ROWS ? d->n / MAX_ROWS + 1 : 1, dim = (size_t)d->dim;
  size_t n = 0;
  for (size_t s = 0; s < n_sets; s++) {
    for (size_t k = 0; k < EXAMPLES; k++)
      memcpy(examples + k * dim, d->z + sets[s].rows[k] * dim, dim * sizeof *examples);
    for (size_t i = s % step; i < d->n; i += step) {
      if (is_example(&sets[s], i)) continue;
      out[n++] = (pair){el_example_nearness(rule, examples, EXAMPLES, d->dim, d->z + i * dim),
                        d->y[i * (size_t)d->n_columns + (size_t)sets[s].column]};
    }
  }
  return n;
}

/* Fits score = sigmoid(slope * near + offset) by Newton's method with a small penalty on the slope; returns the mean
 * cross-entropy. */
static double fit(const pair *p, size_t n, double *slope, double *offset) {
  double a = 0, b = 0, loss = INFINITY;
  const double penalty = 1e-4;
  for (int round = 0; round < 50; round++) {
    double ga = penalty * a, gb = 0, haa = penalty, hab = 0, hbb = 1e-9, sum = 0;
    for (size_t i = 0; i < n; i++) {
      double x = a * (double)p[i].near + b, q = 1 / (1 + exp(-x)), r = q - (double)p[i].score, h = q * (1 - q);
      sum += (x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))) - (double)p[i].score * x;
      ga += r * (double)p[i].near / (double)n;
      gb += r / (double)n;
      haa += h * (double)p[i].near * (double)p[i].near / (double)n;
      hab += h * (double)p[i].near / (double)n;
      hbb += h / (double)n;
    }
    double next = sum / (double)n, det = haa * hbb - hab * hab;
    if (!(next < loss - 1e-9) || !(det > 0)) break;
    loss = next;
    *slope = a;
    *offset = b;
    double da = (hbb * ga - hab * gb) / det, db = (haa * gb - hab * ga) / det, size = fabs(da) + fabs(db);
    double damp = size > 8 ? 8 / size : 1; /* far from the optimum the quadratic model is not to be trusted */
    a -= damp * da;
    b -= damp * db;
  }
  return loss;
}

static void fill_scale(const el_example_data *d, el_example_rule *rule, double even) {
  for (int i = 0; i < rule->dim; i++) rule->scale[i] = d->variance[i] > 0 ? (float)pow(d->variance[i], -0.5 * even) : 0;
}

static int clamp_dim(const el_example_data *d, int dim) {
  return dim < d->dim ? dim : d->dim;
}

el_status el_examples_learn(const el_example_data *d, el_example_rule *out, bool *learnt, el_error *err) {
  float scale[EL_ROUTER_MAX_EXAMPLE_DIM];
  set sets[MAX_SETS];
  uint32_t *own = malloc(d->n * sizeof *own);
  pair *pairs = malloc((size_t)MAX_SETS * (d->n < 2 * MAX_ROWS ? d->n : 2 * MAX_ROWS) * sizeof *pairs);
  float *examples = malloc((size_t)EXAMPLES * (size_t)d->dim * sizeof *examples);
  el_example_rule best = {.dim = clamp_dim(d, 64), .mix = 0.5f, .slope = 12, .offset = -6}; /* the guess */
  double best_even = 0.5, least = INFINITY;
  el_status status = EL_OK;
  if (!own || !pairs || !examples) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to learn from examples");
    goto end;
  }
  size_t n_sets = draw_sets(d, own, sets);
  *learnt = false;
  for (size_t i = 0; n_sets >= 2 && i < N_DIMS * N_EVENS * N_MIXES; i++) {
    el_example_rule rule = {.dim = clamp_dim(d, dims[i % N_DIMS]), .scale = scale, .mix = mixes[i / N_DIMS / N_EVENS]};
    double even = evens[i / N_DIMS % N_EVENS], slope = 0, offset = 0;
    fill_scale(d, &rule, even);
    size_t n = make_pairs(d, &rule, sets, n_sets, examples, pairs);
    double loss = fit(pairs, n, &slope, &offset);
    if (!(loss < least) || slope < 0) continue; /* to be far from its examples speaks for nobody */
    least = loss;
    best = rule;
    best.slope = (float)slope;
    best.offset = (float)offset;
    best_even = even;
    *learnt = true;
  }
  best.scale = malloc((size_t)best.dim * sizeof *best.scale);
  if (!best.scale) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to learn from examples");
    goto end;
  }
  fill_scale(d, &best, best_even);
  *out = best;
end:
  free(own);
  free(pairs);
  free(examples);
  return status;
}
