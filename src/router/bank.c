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

/* The index of an id, or where it belongs; entries ascend by id. */
static size_t bank_place_of(const el_bank *b, uint64_t id) {
  size_t from = 0, to = b->n;
  while (from < to) {
    size_t mid = from + (to - from) / 2;
    if (b->entries[mid].id < id)
      from = mid + 1;
    else
      to = mid;
  }
  return from;
}

size_t el_bank_find(const el_bank *b, uint64_t id) {
  size_t i = bank_place_of(b, id);
  return i < b->n && b->entries[i].id == id ? i : SIZE_MAX;
}

/* Makes or closes a gap at i. Ids mostly arrive in order, so there is little to move. */
static void shift_bank(el_bank *b, size_t to, size_t from, size_t n) {
  memmove(b->entries + to, b->entries + from, n * sizeof *b->entries);
  memmove(b->centers + to * b->dim, b->centers + from * b->dim, n * b->dim * sizeof *b->centers);
}

static bool reserve_bank(el_bank *b) {
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
  assert(n >= 0 && n <= EL_MAX_EXAMPLES);
  int column = el_router_column(b->r, name);
  if (column == b->r->base_column) column = -1; /* an adapter with the name of the base's column is not the base */
  bool worth = column >= 0 || n > 0;
  if (added) *added = worth;
  if (!worth) {
    el_bank_remove(b, id);
    return EL_OK;
  }
  size_t i = bank_place_of(b, id);
  if (i == b->n || b->entries[i].id != id) {
    if (!reserve_bank(b)) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the router's examples of %s", name);
    shift_bank(b, i + 1, i, b->n++ - i);
  }
  entry *e = &b->entries[i];
  *e = (entry){.id = id, .column = column, .has_examples = n > 0 && column < 0};
  if (e->has_examples)
    e->place = el_examples_place(&b->r->examples, z + b->r->dim, n, el_router_vector(b->r), b->centers + i * b->dim);
  else
    memset(b->centers + i * b->dim, 0, b->dim * sizeof *b->centers);
  return EL_OK;
}

void el_bank_remove(el_bank *b, uint64_t id) {
  size_t i = el_bank_find(b, id);
  if (i == SIZE_MAX) return;
  shift_bank(b, i, i + 1, --b->n - i);
}

void el_bank_logits(const el_bank *b, const float *z, float *logits, float *base) {
  const el_router *r = b->r;
  float columns[EL_MAX_TABLE_COLUMNS];
  el_example_query q;
  el_router_logits(r, z, columns);
  el_examples_query(&r->examples, z + r->dim, &q);
  *base = el_router_base_logit(r, columns);
  for (size_t i = 0; i < b->n; i++) {
    const entry *e = &b->entries[i];
    logits[i] = e->has_examples ? *base + el_examples_margin(&e->place, b->centers + i * b->dim, &q, (int)b->dim)
                                : columns[e->column];
  }
}
