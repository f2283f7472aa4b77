#include "router/bank.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Vectors have length ONE, so a product of two is ONE^2 in magnitude at most and the sum of a dot product fits 32 bits
 * whatever their dimension. */
enum { ONE = 1 << 14, LANES = 8 };

typedef struct entry {
  uint64_t id;
  int column; /* -1: none */
  int n;      /* examples */
} entry;

struct el_bank {
  const el_router *r;
  int dim; /* of a vector: the rule's, rounded up to LANES */
  entry *entries;
  int16_t *vectors; /* [cap, EL_ROUTER_MAX_EXAMPLES, dim] */
  size_t n, cap;
};

el_status el_bank_new(const el_router *r, el_bank **out, el_error *err) {
  el_bank *b = calloc(1, sizeof *b);
  if (!b) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the adapters of the router");
  b->r = r;
  b->dim = (r->examples.dim + LANES - 1) / LANES * LANES;
  *out = b;
  return EL_OK;
}

void el_bank_free(el_bank *b) {
  if (!b) return;
  free(b->entries);
  free(b->vectors);
  free(b);
}

size_t el_bank_count(const el_bank *b) {
  return b->n;
}
uint64_t el_bank_id(const el_bank *b, size_t i) {
  assert(i < b->n);
  return b->entries[i].id;
}

/* A scan: it takes microseconds for ten thousand, and only adding and removing ask. */
size_t el_bank_find(const el_bank *b, uint64_t id) {
  for (size_t i = 0; i < b->n; i++)
    if (b->entries[i].id == id) return i;
  return SIZE_MAX;
}

/* z's first values times the rule's scale, with length 1; zeros when they are. */
static void direction(const el_example_rule *rule, const float *z, float *out) {
  double sum = 0;
  for (int i = 0; i < rule->dim; i++) {
    out[i] = z[i] * rule->scale[i];
    sum += (double)out[i] * (double)out[i];
  }
  float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
  for (int i = 0; i < rule->dim; i++) out[i] *= scale;
}

static void quantize(const el_example_rule *rule, const float *z, int16_t *out, int dim) {
  float unit[EL_ROUTER_MAX_EXAMPLE_DIM];
  direction(rule, z, unit);
  for (int i = 0; i < dim; i++) out[i] = i < rule->dim ? (int16_t)lrintf(unit[i] * ONE) : 0;
}

static int16_t *vectors_of(const el_bank *b, size_t i) {
  return b->vectors + i * EL_ROUTER_MAX_EXAMPLES * (size_t)b->dim;
}

static bool reserve(el_bank *b) {
  if (b->n < b->cap) return true;
  size_t cap = b->cap ? b->cap * 2 : 16;
  entry *entries = reallocarray(b->entries, cap, sizeof *entries);
  if (!entries) return false;
  b->entries = entries;
  /* A rule without dimensions keeps no vectors, but memory of 0 bytes may be NULL. */
  int16_t *vectors =
      reallocarray(b->vectors, cap, EL_ROUTER_MAX_EXAMPLES * (size_t)(b->dim ? b->dim : 1) * sizeof *vectors);
  if (!vectors) return false;
  b->vectors = vectors;
  b->cap = cap;
  return true;
}

el_status el_bank_put(el_bank *b, uint64_t id, const char *name, const float *z, int n, bool *added, el_error *err) {
  assert(n >= 0 && n <= EL_ROUTER_MAX_EXAMPLES);
  int column = el_router_column(b->r, name);
  if (column == b->r->base_column) column = -1; /* an adapter that is called as the base's column is no base */
  bool worth = column >= 0 || n > 0;
  if (added) *added = worth;
  if (!worth) {
    el_bank_remove(b, id);
    return EL_OK;
  }
  size_t i = el_bank_find(b, id);
  if (i == SIZE_MAX) {
    if (!reserve(b)) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's examples of %s", name);
    i = b->n++;
  }
  b->entries[i] = (entry){id, column, n};
  for (int k = 0; k < n; k++)
    quantize(&b->r->examples, z + (size_t)k * (size_t)b->r->dim, vectors_of(b, i) + k * b->dim, b->dim);
  return EL_OK;
}

void el_bank_remove(el_bank *b, uint64_t id) {
  size_t i = el_bank_find(b, id);
  if (i == SIZE_MAX) return;
  size_t last = --b->n;
  b->entries[i] = b->entries[last];
  if (i != last)
    memcpy(vectors_of(b, i), vectors_of(b, last), EL_ROUTER_MAX_EXAMPLES * (size_t)b->dim * sizeof(int16_t));
}

/* dim: a multiple of LANES */
static int32_t product(const int16_t *restrict a, const int16_t *restrict b, int dim) {
  int32_t sum = 0;
  for (int i = 0; i < dim; i++) sum += a[i] * b[i];
  return sum;
}

static float nearness_of(const el_example_rule *rule, int32_t max, int64_t sum, int n) {
  const float unit = 1.0f / ((float)ONE * ONE);
  return rule->mix * ((float)max * unit) + (1 - rule->mix) * ((float)sum / (float)n * unit);
}

void el_bank_scores(const el_bank *b, const float *z, float *scores, float *base) {
  const el_router *r = b->r;
  const el_example_rule *rule = &r->examples;
  float logits[EL_ROUTER_MAX_COLUMNS];
  int16_t q[EL_ROUTER_MAX_EXAMPLE_DIM];
  el_router_logits(r, z, logits);
  quantize(rule, z, q, b->dim);
  *base = el_router_base_score(r, logits);
  for (size_t i = 0; i < b->n; i++) {
    const entry *e = &b->entries[i];
    float logit = e->column >= 0 ? logits[e->column] : 0;
    if (e->n > 0) {
      const int16_t *v = vectors_of(b, i);
      int32_t max = INT32_MIN;
      int64_t sum = 0;
      for (int k = 0; k < e->n; k++, v += b->dim) {
        int32_t p = product(q, v, b->dim);
        max = p > max ? p : max;
        sum += p;
      }
      float near = rule->slope * nearness_of(rule, max, sum, e->n) + rule->offset;
      logit = e->column >= 0 ? (logit + near) / 2 : near;
    }
    scores[i] = el_router_sigmoid(logit);
  }
}

float el_example_nearness(const el_example_rule *rule, const float *examples, int n, int dim, const float *z) {
  const int padded = (rule->dim + LANES - 1) / LANES * LANES;
  int16_t q[EL_ROUTER_MAX_EXAMPLE_DIM], v[EL_ROUTER_MAX_EXAMPLE_DIM];
  int32_t max = INT32_MIN;
  int64_t sum = 0;
  quantize(rule, z, q, padded);
  for (int k = 0; k < n; k++) {
    quantize(rule, examples + (size_t)k * (size_t)dim, v, padded);
    int32_t p = product(q, v, padded);
    max = p > max ? p : max;
    sum += p;
  }
  return nearness_of(rule, max, sum, n);
}
