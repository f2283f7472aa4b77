#include "router/router.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "router/dot.h"
#include "router/examples.h"

void el_router_free(el_router *r) {
  if (!r) return;
  for (int i = 0; r->names && i < r->n_columns; i++) free(r->names[i]);
  free(r->names);
  free(r->base_name);
  free(r->base_architecture);
  free(r->projection);
  free(r->origin);
  free(r->weights);
  free(r->bias);
  el_examples_free(&r->examples);
  free(r->facts.table);
  free(r->facts.valid);
  free(r);
}

void el_router_embed(const el_router *r, const float *features, float *z) {
  const size_t n_embd = (size_t)r->features.n_embd, n_in = (size_t)r->n_classifier_slices * n_embd;
  memcpy(z + r->dim, features + (size_t)r->example_slice * n_embd, n_embd * sizeof *z);
  for (int i = 0; i < r->dim; i++) z[i] = el_dot(r->projection + (size_t)i * n_in, features, n_in) - r->origin[i];
}

int el_router_column(const el_router *r, const char *name) {
  for (int i = 0; i < r->n_columns; i++)
    if (!strcmp(r->names[i], name)) return i;
  return -1;
}

void el_router_logits(const el_router *r, const float *z, float *logits) {
  for (int i = 0; i < r->n_columns; i++)
    logits[i] = el_dot(r->weights + (size_t)i * (size_t)r->dim, z, (size_t)r->dim) + r->bias[i];
}

float el_router_sigmoid(float logit) {
  return 1.0f / (1.0f + expf(-logit));
}

float el_router_base_logit(const el_router *r, const float *logits) {
  if (r->base_column >= 0) return logits[r->base_column];
  float p = r->base_score < 0.001f ? 0.001f : r->base_score > 0.999f ? 0.999f : r->base_score;
  return logf(p / (1 - p));
}

/* A sorted list of the best so far; k is small, and few candidates get into it. */
void el_router_top(const float *logits, size_t n, size_t k, size_t *out) {
  assert(k <= n);
  size_t have = 0;
  for (size_t i = 0; i < n; i++) {
    if (have == k && (k == 0 || !(logits[i] > logits[out[k - 1]]))) continue;
    size_t at = have < k ? have++ : k - 1;
    for (; at > 0 && logits[i] > logits[out[at - 1]]; at--) out[at] = out[at - 1];
    out[at] = i;
  }
}

size_t el_router_choose(const float *logits, const bool *resident, size_t n, int top_k, float margin) {
  assert(n >= 1 && top_k >= 1);
  enum { MOST = 64 }; /* among more candidates the scores would hardly matter */
  size_t best[MOST], k = (size_t)top_k < MOST ? (size_t)top_k : MOST;
  if (k > n) k = n;
  el_router_top(logits, n, k, best);
  for (size_t i = 0; i < k; i++)
    if (resident[best[i]] && logits[best[i]] >= logits[best[0]] - margin) return best[i];
  return best[0];
}
