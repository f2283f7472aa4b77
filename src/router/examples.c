#include "router/examples.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "router/pca.h"

enum { CROWD = 5 /* products that h is the mean of */ };

/* x minus the center, scaled, of length 1 (or zeros if that has no length). */
static void example_direction(const el_example_rule *rule, const float *x, float *out) {
  double sum = 0;
  for (int i = 0; i < rule->dim; i++) {
    out[i] = (x[i] - rule->center[i]) * rule->scale[i];
    sum += (double)out[i] * (double)out[i];
  }
  float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
  for (int i = 0; i < rule->dim; i++) out[i] *= scale;
}

static void normalise_vector(float *x, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
  for (int i = 0; i < n; i++) x[i] *= scale;
}

/* x: [dim], of length 1 at most, so a product of two vectors is at most EL_EXAMPLE_ONE^2 and its sum fits 32 bits. */
static void quantize_vector(const el_example_rule *rule, const float *x, int16_t *out) {
  for (int i = 0; i < rule->padded; i++) out[i] = i < rule->dim ? (int16_t)lrintf(x[i] * EL_EXAMPLE_ONE) : 0;
}

static float quantized_product(const int16_t *restrict a, const int16_t *restrict b, int n) {
  int32_t sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return (float)sum * (1.0f / ((float)EL_EXAMPLE_ONE * EL_EXAMPLE_ONE));
}

/* h: the mean of q's largest products with the background, without vector `but` (-1: with all). */
static float crowd_of(const el_example_rule *rule, const int16_t *q, int but) {
  float top[CROWD] = {0};
  int have = 0;
  for (int i = 0; i < rule->n_background; i++) {
    if (i == but) continue;
    float p = quantized_product(q, rule->background + (size_t)i * (size_t)rule->padded, rule->padded);
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
  assert(n >= 0 && n <= EL_EXAMPLE_MAX_BACKGROUND && rule->dim >= 1 && rule->dim <= EL_EXAMPLE_MAX_DIM);
  rule->padded = (rule->dim + EL_EXAMPLE_LANES - 1) / EL_EXAMPLE_LANES * EL_EXAMPLE_LANES;
  rule->n_background = n;
  rule->background = malloc(((size_t)n + 1) * (size_t)rule->padded * sizeof *rule->background);
  rule->crowd = malloc(((size_t)n + 1) * sizeof *rule->crowd);
  if (!rule->background || !rule->crowd)
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background of %d prompts", n);
  float unit[EL_EXAMPLE_MAX_DIM];
  for (int i = 0; i < n; i++) {
    memcpy(unit, vectors + (size_t)i * (size_t)rule->dim, (size_t)rule->dim * sizeof *unit);
    normalise_vector(unit, rule->dim);
    quantize_vector(rule, unit, rule->background + (size_t)i * (size_t)rule->padded);
  }
  for (int i = 0; i < n; i++) rule->crowd[i] = crowd_of(rule, rule->background + (size_t)i * (size_t)rule->padded, i);
  return EL_OK;
}

void el_examples_free(el_example_rule *rule) {
  free(rule->center);
  free(rule->scale);
  free(rule->background);
  free(rule->crowd);
  *rule = (el_example_rule){0};
}

void el_examples_query(const el_example_rule *rule, const float *x, el_example_query *out) {
  float unit[EL_EXAMPLE_MAX_DIM];
  example_direction(rule, x, unit);
  quantize_vector(rule, unit, out->q);
  out->half_crowd = crowd_of(rule, out->q, -1) / 2;
}

/* Mean and standard deviation of the nearness of the background's prompts to a centre. */
static void background_moments(const el_example_rule *rule, const int16_t *center, float *mean, float *deviation) {
  double sum = 0, square = 0, n = rule->n_background;
  for (int i = 0; i < rule->n_background; i++) {
    double raw = (double)(quantized_product(rule->background + (size_t)i * (size_t)rule->padded, center, rule->padded) -
                          rule->crowd[i] / 2);
    sum += raw;
    square += raw * raw;
  }
  *mean = n > 0 ? (float)(sum / n) : 0;
  double variance = n > 1 ? square / n - sum / n * (sum / n) : 0;
  *deviation = variance > 1e-4 ? (float)sqrt(variance) : n > 1 ? 0.01f : 1;
}

el_example_place el_examples_place(const el_example_rule *rule, const float *x, int n, size_t stride, int16_t *center) {
  /* An adapter whose examples have this many deviations among themselves, left out one by one, is taken as it is; the
   * power of what others have less than that widens them. The power was chosen on
   * the demo adapters' held-out prompts.
   */
  const float usual = 6, least = 2, power = 0.5f;
  float sum[EL_EXAMPLE_MAX_DIM] = {0}, unit[EL_EXAMPLE_MAX_DIM], rest[EL_EXAMPLE_MAX_DIM], mean, deviation;
  int16_t q[EL_EXAMPLE_MAX_DIM], c[EL_EXAMPLE_MAX_DIM];
  assert(n >= 1 && stride >= (size_t)rule->dim);
  for (int k = 0; k < n; k++) {
    example_direction(rule, x + (size_t)k * stride, unit);
    for (int i = 0; i < rule->dim; i++) sum[i] += unit[i];
  }
  memcpy(rest, sum, sizeof rest);
  normalise_vector(rest, rule->dim);
  quantize_vector(rule, rest, center);
  background_moments(rule, center, &mean, &deviation);
  float own = 0;
  for (int k = 0; k < n && n > 1; k++) {
    example_direction(rule, x + (size_t)k * stride, unit);
    for (int i = 0; i < rule->dim; i++) rest[i] = sum[i] - unit[i];
    normalise_vector(rest, rule->dim);
    quantize_vector(rule, unit, q);
    quantize_vector(rule, rest, c);
    own += ((quantized_product(q, c, rule->padded) - crowd_of(rule, q, -1) / 2) - mean) / deviation / (float)n;
  }
  if (n == 1) own = usual;
  float gain = rule->slope * powf(usual / (own > least ? own : least), power) / deviation;
  return (el_example_place){gain, rule->offset - gain * mean};
}

/* -------------------------------------------------------------- the background */

/* Chosen on the demo adapters and their held-out prompts (docs/router.md): with so many deviations more than the
 * background has, an adapter is as good as the base. */
static const float SLOPE = 4, OFFSET = -12;

/* Makes the first k of n items a random sample. */
static void draw_items(uint32_t *items, size_t n, size_t k, uint64_t *random) {
  for (size_t i = 0; i < k && i + 1 < n; i++) {
    size_t at = i + el_mix64(*random += EL_GOLDEN_GAMMA) % (n - i);
    uint32_t swap = items[i];
    items[i] = items[at];
    items[at] = swap;
  }
}

/* General prompts: those that the base answers as well as every adapter; any prompts if these are few. */
static size_t draw_background(const el_example_data *d, uint64_t *random, uint32_t *rows) {
  size_t n = 0;
  for (size_t i = 0; i < d->n && d->base >= 0; i++) {
    const float *y = d->y + i * (size_t)d->n_columns;
    bool best = true;
    for (int c = 0; c < d->n_columns && best; c++) best = y[c] <= y[d->base];
    if (best) rows[n++] = (uint32_t)i;
  }
  if (n < 32)
    for (n = 0; n < d->n; n++) rows[n] = (uint32_t)n;
  size_t k = n < EL_EXAMPLE_MAX_BACKGROUND ? n : EL_EXAMPLE_MAX_BACKGROUND;
  draw_items(rows, n, k, random);
  return k;
}

/* Standardises by the mean and deviation of the background. */
static el_status make_background(const el_example_data *d, const uint32_t *rows, size_t n, el_example_rule *rule,
                                 el_error *err) {
  const size_t dim = (size_t)d->dim;
  float *vectors = malloc(n * dim * sizeof *vectors);
  rule->dim = d->dim;
  rule->center = malloc(dim * sizeof *rule->center);
  rule->scale = malloc(dim * sizeof *rule->scale);
  if (!vectors || !rule->center || !rule->scale) {
    free(vectors);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background");
  }
  for (size_t i = 0; i < n; i++) memcpy(vectors + i * dim, d->x + rows[i] * dim, dim * sizeof *vectors);
  el_moments(vectors, n, dim, rule->center, rule->scale);
  for (size_t i = 0; i < n; i++) example_direction(rule, d->x + rows[i] * dim, vectors + i * dim);
  el_status status = el_examples_background(rule, vectors, (int)n, err);
  free(vectors);
  return status;
}

el_status el_examples_learn(const el_example_data *d, el_example_rule *out, el_error *err) {
  uint64_t random = el_mix64(d->seed + EL_GOLDEN_GAMMA);
  uint32_t *rows = malloc(d->n * sizeof *rows);
  el_example_rule rule = {.slope = SLOPE, .offset = OFFSET};
  el_status status = EL_OK;
  if (d->dim > EL_EXAMPLE_MAX_DIM)
    status = el_fail(err, EL_ERR_UNSUPPORTED, "the model has %d dimensions, the limit for a router is %d", d->dim,
                     EL_EXAMPLE_MAX_DIM);
  else if (!rows)
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's background");
  if (!status) status = make_background(d, rows, draw_background(d, &random, rows), &rule, err);
  if (status)
    el_examples_free(&rule);
  else
    *out = rule;
  free(rows);
  return status;
}
