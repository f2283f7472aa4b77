#include "router/examples.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"

enum { CROWD = 5 /* products that h is the mean of */ };

/* z less the center, with length 1 (0 when it has none). */
static void direction(const el_example_rule *rule, const float *z, float *out) {
  double sum = 0;
  for (int i = 0; i < rule->dim; i++) {
    out[i] = z[i] - rule->center[i];
    sum += (double)out[i] * (double)out[i];
  }
  float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
  for (int i = 0; i < rule->dim; i++) out[i] *= scale;
}

static void normalise(float *x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
  for (int i = 0; i < n; i++) x[i] *= scale;
}

/* x: [dim], of length 1 at most, so that a product of two is EL_EXAMPLE_ONE^2 at most and its sum fits 32 bits. */
static void quantize(const el_example_rule *rule, const float *x, int16_t *out) {
  for (int i = 0; i < rule->padded; i++) out[i] = i < rule->dim ? (int16_t)lrintf(x[i] * EL_EXAMPLE_ONE) : 0;
}

static float product(const int16_t *restrict a, const int16_t *restrict b, int n) {
  int32_t sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return (float)sum * (1.0f / ((float)EL_EXAMPLE_ONE * EL_EXAMPLE_ONE));
}

/* h: the mean of the largest products of q with the background; `but` is left out (-1: none). */
static float crowd_of(const el_example_rule *rule, const int16_t *q, int but) {
  float top[CROWD] = {0};
  int have = 0;
  for (int i = 0; i < rule->n_background; i++) {
    if (i == but) continue;
    float p = product(q, rule->background + (size_t)i * (size_t)rule->padded, rule->padded);
    if (have == CROWD && p <= top[CROWD - 1]) continue;
    int at = have < CROWD ? have++ : CROWD - 1;
    for (; at > 0 && p > top[at - 1]; at--) top[at] = top[at - 1];
    top[at] = p;
  }
  float sum = 0;
  for (int i = 0; i < have; i++) sum += top[i];
  return have ? sum / (float)have : 0;
}

el_status el_examples_background(el_example_rule *rule, const float *vectors, int n, el_error *err) {
  assert(n >= 0 && n <= EL_EXAMPLE_MAX_BACKGROUND && rule->dim >= 1 && rule->dim <= EL_ROUTER_MAX_DIM);
  rule->padded = (rule->dim + EL_EXAMPLE_LANES - 1) / EL_EXAMPLE_LANES * EL_EXAMPLE_LANES;
  rule->n_background = n;
  rule->background = malloc(((size_t)n + 1) * (size_t)rule->padded * sizeof *rule->background);
  rule->crowd = malloc(((size_t)n + 1) * sizeof *rule->crowd);
  if (!rule->background || !rule->crowd)
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background of %d prompts", n);
  float unit[EL_ROUTER_MAX_DIM];
  for (int i = 0; i < n; i++) {
    memcpy(unit, vectors + (size_t)i * (size_t)rule->dim, (size_t)rule->dim * sizeof *unit);
    normalise(unit, rule->dim);
    quantize(rule, unit, rule->background + (size_t)i * (size_t)rule->padded);
  }
  for (int i = 0; i < n; i++) rule->crowd[i] = crowd_of(rule, rule->background + (size_t)i * (size_t)rule->padded, i);
  return EL_OK;
}

void el_examples_free(el_example_rule *rule) {
  free(rule->center);
  free(rule->background);
  free(rule->crowd);
  *rule = (el_example_rule){0};
}

void el_examples_query(const el_example_rule *rule, const float *z, el_example_query *out) {
  float unit[EL_ROUTER_MAX_DIM];
  direction(rule, z, unit);
  quantize(rule, unit, out->q);
  out->half_crowd = crowd_of(rule, out->q, -1) / 2;
}

/* Mean and standard deviation of what the background's prompts have for a centre. */
static void background_moments(const el_example_rule *rule, const int16_t *center, float *mean, float *deviation) {
  double sum = 0, square = 0, n = rule->n_background;
  for (int i = 0; i < rule->n_background; i++) {
    double raw = (double)(product(rule->background + (size_t)i * (size_t)rule->padded, center, rule->padded) -
                          rule->crowd[i] / 2);
    sum += raw;
    square += raw * raw;
  }
  *mean = n > 0 ? (float)(sum / n) : 0;
  double variance = n > 1 ? square / n - sum / n * (sum / n) : 0;
  *deviation = variance > 1e-4 ? (float)sqrt(variance) : n > 1 ? 0.01f : 1;
}

el_example_place el_examples_place(const el_example_rule *rule, const float *z, int n, int dim, int16_t *center) {
  /* An adapter whose examples have this many deviations among themselves, left out one by one, is taken as it is; the
   * power of what others have less than that widens them. Both were found on adapters that were left out of training.
   */
  const float usual = 6, least = 2, power = 0.25f;
  float sum[EL_ROUTER_MAX_DIM] = {0}, unit[EL_ROUTER_MAX_DIM], rest[EL_ROUTER_MAX_DIM], mean, deviation;
  int16_t q[EL_ROUTER_MAX_DIM], c[EL_ROUTER_MAX_DIM];
  assert(n >= 1 && dim >= rule->dim);
  for (int k = 0; k < n; k++) {
    direction(rule, z + (size_t)k * (size_t)dim, unit);
    for (int i = 0; i < rule->dim; i++) sum[i] += unit[i];
  }
  memcpy(rest, sum, sizeof rest);
  normalise(rest, rule->dim);
  quantize(rule, rest, center);
  background_moments(rule, center, &mean, &deviation);
  float own = 0;
  for (int k = 0; k < n && n > 1; k++) {
    direction(rule, z + (size_t)k * (size_t)dim, unit);
    for (int i = 0; i < rule->dim; i++) rest[i] = sum[i] - unit[i];
    normalise(rest, rule->dim);
    quantize(rule, unit, q);
    quantize(rule, rest, c);
    own += ((product(q, c, rule->padded) - crowd_of(rule, q, -1) / 2) - mean) / deviation / (float)n;
  }
  if (n == 1) own = usual;
  float gain = rule->slope * powf(usual / (own > least ? own : least), power) / deviation;
  return (el_example_place){gain, rule->offset - gain * mean};
}

/* ------------------------------------------------------------------ learning */

enum {
  EXAMPLES = 5,   /* that a candidate is given */
  MAX_SETS = 24,  /* of examples, of all candidates together */
  MAX_ROWS = 1500 /* that are compared to each set */
};
/* Found on the demo adapters, each left out of training in turn. */
static const float SLOPE = 4, OFFSET = -12.8f;

typedef struct set {
  int column;
  uint32_t rows[EXAMPLES];
} set;

typedef struct pair {
  double x, label, weight;
} pair;

/* How much better a candidate did than the base, or than the others' mean where there is no base. */
static double advantage(const el_example_data *d, size_t row, int column) {
  const float *y = d->y + row * (size_t)d->n_columns;
  if (d->base >= 0) return (double)(y[column] - y[d->base]);
  double sum = 0;
  for (int c = 0; c < d->n_columns; c++) sum += (double)y[c];
  return (double)y[column] - sum / d->n_columns;
}

/* A row that is the column's own: nobody does better, and it does clearly better than the base. */
static bool is_own(const el_example_data *d, size_t row, int column) {
  const float *y = d->y + row * (size_t)d->n_columns;
  for (int c = 0; c < d->n_columns; c++)
    if (y[c] > y[column]) return false;
  return y[column] >= 0.5f && advantage(d, row, column) > 0.2;
}

/* The first k of n become a random sample. */
static void draw(uint32_t *items, size_t n, size_t k, uint64_t *random) {
  for (size_t i = 0; i < k && i + 1 < n; i++) {
    size_t at = i + el_mix64(*random += EL_GOLDEN_GAMMA) % (n - i);
    uint32_t swap = items[i];
    items[i] = items[at];
    items[at] = swap;
  }
}

static size_t draw_sets(const el_example_data *d, uint64_t *random, uint32_t *own, set *sets) {
  size_t n_sets = 0;
  int others = d->n_columns - (d->base >= 0), each = others > 0 ? MAX_SETS / others : 1;
  each = each < 1 ? 1 : each > 6 ? 6 : each;
  for (int c = 0; c < d->n_columns; c++) {
    size_t n = 0;
    if (c == d->base) continue;
    for (size_t i = 0; i < d->n; i++)
      if (is_own(d, i, c)) own[n++] = (uint32_t)i;
    if (n < 2 * EXAMPLES) continue;
    for (int k = 0; k < each && n_sets < MAX_SETS; k++, n_sets++) {
      draw(own, n, EXAMPLES, random);
      sets[n_sets].column = c;
      memcpy(sets[n_sets].rows, own, sizeof sets[n_sets].rows);
    }
  }
  return n_sets;
}

/* Prompts of no particular trade: those that the base answers as well as anybody, or any when they are few. Their place
 * in the background goes to place[row], -1 for the others. */
static int draw_background(const el_example_data *d, uint64_t *random, uint32_t *rows, int *place) {
  size_t n = 0;
  for (size_t i = 0; i < d->n && d->base >= 0; i++) {
    bool best = true;
    for (int c = 0; c < d->n_columns && best; c++)
      best = d->y[i * (size_t)d->n_columns + (size_t)c] <= d->y[i * (size_t)d->n_columns + (size_t)d->base];
    if (best) rows[n++] = (uint32_t)i;
  }
  if (n < 32)
    for (n = 0; n < d->n; n++) rows[n] = (uint32_t)n;
  size_t k = n < EL_EXAMPLE_MAX_BACKGROUND ? n : EL_EXAMPLE_MAX_BACKGROUND;
  draw(rows, n, k, random);
  for (size_t i = 0; i < d->n; i++) place[i] = -1;
  for (size_t i = 0; i < k; i++) place[rows[i]] = (int)i;
  return (int)k;
}

static el_status make_background(const el_example_data *d, const uint32_t *rows, int n, el_example_rule *rule,
                                 el_error *err) {
  const size_t dim = (size_t)d->dim;
  float *vectors = malloc((size_t)n * dim * sizeof *vectors);
  rule->dim = d->dim;
  rule->center = calloc(dim, sizeof *rule->center);
  if (!vectors || !rule->center) {
    free(vectors);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background");
  }
  for (int i = 0; i < n; i++)
    for (size_t k = 0; k < dim; k++) rule->center[k] += d->z[rows[i] * dim + k] / (float)n;
  for (int i = 0; i < n; i++) direction(rule, d->z + rows[i] * dim, vectors + (size_t)i * dim);
  el_status status = el_examples_background(rule, vectors, n, err);
  free(vectors);
  return status;
}

static bool is_example(const set *s, size_t row) {
  for (int i = 0; i < EXAMPLES; i++)
    if (s->rows[i] == row) return true;
  return false;
}

/* What sets say of the rows, with a slope of 1 and an offset of 0. A row where candidate and base do alike says
 * nothing of which to choose. */
static size_t make_pairs(const el_example_data *d, const el_example_rule *rule, const set *sets, size_t n_sets,
                         const int *place, const el_example_query *queries, size_t step, float *examples, pair *out) {
  const size_t dim = (size_t)d->dim;
  int16_t center[EL_ROUTER_MAX_DIM];
  size_t n = 0;
  for (size_t s = 0; s < n_sets; s++) {
    for (size_t k = 0; k < EXAMPLES; k++)
      memcpy(examples + k * dim, d->z + sets[s].rows[k] * dim, dim * sizeof *examples);
    el_example_place p = el_examples_place(rule, examples, EXAMPLES, d->dim, center);
    for (size_t i = 0; i < d->n; i += step) {
      double gain = advantage(d, i, sets[s].column);
      if (is_example(&sets[s], i) || fabs(gain) < 0.01) continue;
      el_example_query q = queries[i / step];
      if (place[i] >= 0) q.half_crowd = rule->crowd[place[i]] / 2;
      out[n++] = (pair){(double)el_examples_margin(&p, center, &q, rule->padded), gain > 0, fabs(gain)};
    }
  }
  return n;
}

/* Fits label = sigmoid(slope * x + offset) by Newton's method with a small penalty on the slope. */
static void fit(const pair *p, size_t n, double *slope, double *offset) {
  double a = 0, b = 0, loss = INFINITY, total = 0;
  const double penalty = 1e-3;
  for (size_t i = 0; i < n; i++) total += p[i].weight;
  for (int round = 0; round < 50; round++) {
    double ga = penalty * a, gb = 0, haa = penalty, hab = 0, hbb = 1e-9, sum = penalty / 2 * a * a;
    for (size_t i = 0; i < n; i++) {
      double x = a * p[i].x + b, w = p[i].weight / total, q = 1 / (1 + exp(-x)), r = w * (q - p[i].label),
             h = w * q * (1 - q);
      sum += w * ((x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))) - p[i].label * x);
      ga += r * p[i].x;
      gb += r;
      haa += h * p[i].x * p[i].x;
      hab += h * p[i].x;
      hbb += h;
    }
    double det = haa * hbb - hab * hab;
    if (!(sum < loss - 1e-9) || !(det > 0)) break;
    loss = sum;
    *slope = a;
    *offset = b;
    double da = (hbb * ga - hab * gb) / det, db = (haa * gb - hab * ga) / det, size = fabs(da) + fabs(db);
    double damp = size > 4 ? 4 / size : 1; /* far from the optimum the quadratic model is not to be trusted */
    a -= damp * da;
    b -= damp * db;
  }
}

static void learn(const el_example_data *d, el_example_rule *rule, const set *sets, size_t n_sets, const int *place,
                  el_example_query *queries, size_t step, float *examples, pair *pairs, bool *learnt) {
  double slope = 0, offset = 0;
  for (size_t i = 0; i < d->n; i += step) el_examples_query(rule, d->z + i * (size_t)d->dim, &queries[i / step]);
  size_t n = make_pairs(d, rule, sets, n_sets, place, queries, step, examples, pairs);
  if (n > 0) fit(pairs, n, &slope, &offset);
  *learnt = n > 0 && slope > 0; /* to be far from its examples speaks for nobody */
  rule->slope = *learnt ? (float)slope : SLOPE;
  rule->offset = *learnt ? (float)offset : OFFSET;
}

el_status el_examples_learn(const el_example_data *d, el_example_rule *out, bool *learnt, el_error *err) {
  const size_t step = d->n / MAX_ROWS + 1, compared = d->n / step + 1;
  set sets[MAX_SETS];
  uint64_t random = el_mix64(d->seed + EL_GOLDEN_GAMMA);
  uint32_t *rows = malloc(d->n * sizeof *rows);
  int *place = malloc(d->n * sizeof *place);
  pair *pairs = malloc(MAX_SETS * compared * sizeof *pairs);
  el_example_query *queries = malloc(compared * sizeof *queries);
  float *examples = malloc((size_t)EXAMPLES * (size_t)d->dim * sizeof *examples);
  el_example_rule rule = {.slope = 1};
  el_status status = EL_OK;
  if (!rows || !place || !pairs || !queries || !examples)
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to learn from examples");
  if (!status) {
    int n = draw_background(d, &random, rows, place);
    status = make_background(d, rows, n, &rule, err);
  }
  if (!status) {
    size_t n_sets = draw_sets(d, &random, rows, sets);
    *learnt = false;
    rule.slope = n_sets >= 2 ? 1 : SLOPE;
    rule.offset = n_sets >= 2 ? 0 : OFFSET;
    if (n_sets >= 2) learn(d, &rule, sets, n_sets, place, queries, step, examples, pairs, learnt);
    *out = rule;
  } else {
    el_examples_free(&rule);
  }
  free(rows);
  free(place);
  free(pairs);
  free(queries);
  free(examples);
  return status;
}
