#include "router/bank.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/examples.h"

typedef struct entry {
  uint64_t id;
  int column; /* -1: none */
  bool has_examples;
  el_example_place place;
} entry;

struct el_bank {
  const el_router *r;
  size_t dim; /* of a centre */
  entry *entries;
  int16_t *centers; /* [cap, dim] */
  size_t n, cap;
};

el_status el_bank_new(const el_router *r, el_bank **out, el_error *err) {
  el_bank *b = calloc(1, sizeof *b);
  if (!b) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the adapters of the router");
  b->r = r;
  b->dim = (size_t)r->examples.padded;
  *out = b;
  return EL_OK;
}

void el_bank_free(el_bank *b) {
  if (!b) return;
  free(b->entries);
  free(b->centers);
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

static bool reserve(el_bank *b) {
  if (b->n < b->cap) return true;
  size_t cap = b->cap ? b->cap * 2 : 16;
  entry *entries = reallocarray(b->entries, cap, sizeof *entries);
  if (!entries) return false;
  b->entries = entries;
  int16_t *centers = reallocarray(b->centers, cap, b->dim * sizeof *centers);
  if (!centers) return false;
  b->centers = centers;
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
  entry *e = &b->entries[i];
  *e = (entry){.id = id, .column = column, .has_examples = n > 0};
  if (n > 0)
    e->place = el_examples_place(&b->r->examples, z, n, b->r->dim, b->centers + i * b->dim);
  else
    memset(b->centers + i * b->dim, 0, b->dim * sizeof *b->centers);
  return EL_OK;
}

void el_bank_remove(el_bank *b, uint64_t id) {
  size_t i = el_bank_find(b, id);
  if (i == SIZE_MAX) return;
  size_t last = --b->n;
  b->entries[i] = b->entries[last];
  if (i != last) memcpy(b->centers + i * b->dim, b->centers + last * b->dim, b->dim * sizeof *b->centers);
}

void el_bank_scores(const el_bank *b, const float *z, float *scores, float *base) {
  const el_router *r = b->r;
  float logits[EL_ROUTER_MAX_COLUMNS];
  el_example_query q;
  el_router_logits(r, z, logits);
  el_examples_query(&r->examples, z, &q);
  const float own = el_router_base_logit(r, logits);
  *base = el_router_sigmoid(own);
  for (size_t i = 0; i < b->n; i++) {
    const entry *e = &b->entries[i];
    float logit = e->column >= 0 ? logits[e->column] : 0;
    if (e->has_examples) {
      float near = own + el_examples_margin(&e->place, b->centers + i * b->dim, &q, (int)b->dim);
      logit = e->column >= 0 ? (logit + near) / 2 : near;
    }
    scores[i] = el_router_sigmoid(logit);
  }
}
