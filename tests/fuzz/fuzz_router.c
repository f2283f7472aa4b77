/* Router files: whatever opens has names, features, weights and a background that fit each other, and scores a prompt
 * and an adapter's examples with finite numbers. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "router/examples.h"
#include "router/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_EXAMPLES = 2 };

static void check(const el_router *r) {
  const el_features *f = &r->features;
  assert(f->n_taps >= 1 && f->n_taps <= EL_ROUTER_MAX_TAPS && f->taps[f->n_taps - 1] <= r->base.n_layers);
  for (int i = 0; i < f->n_slices; i++) assert(f->slices[i].tap >= 0 && f->slices[i].tap < f->n_taps);
  assert(r->n_classifier_slices >= 1 && r->n_classifier_slices <= f->n_slices && r->example_slice < f->n_slices);
  assert(r->base_column < r->n_columns && r->facts.best_column < r->n_columns);
  for (int i = 0; i < r->n_columns; i++) assert(el_router_column(r, r->names[i]) == i);
}

static float *numbers(size_t n) {
  float *x = malloc((n + 1) * sizeof *x);
  if (!x) abort();
  for (size_t i = 0; i < n; i++) x[i] = (float)(int)(i * 7 % 13) - 6;
  return x;
}

/* Weights are of any size, so a logit may be infinite; but what examples say is a cosine, and has bounds. */
static void score(const el_router *r) {
  float *x = numbers(el_features_n(&r->features)), *z = numbers(el_router_vector(r)),
        *logits = malloc(((size_t)r->n_columns + 1) * sizeof *logits);
  int16_t *center = malloc((size_t)r->examples.padded * sizeof *center);
  if (!logits || !center) abort();
  el_router_embed(r, x, z);
  el_router_logits(r, z, logits);
  el_router_base_logit(r, logits);
  el_example_query q;
  el_examples_query(&r->examples, z + r->dim, &q);
  assert(isfinite(q.half_crowd));
  float *examples = numbers(N_EXAMPLES * (size_t)r->examples.dim);
  el_example_place place = el_examples_place(&r->examples, examples, N_EXAMPLES, (size_t)r->examples.dim, center);
  assert(isfinite(place.gain));
  free(examples);
  free(center);
  free(logits);
  free(x);
  free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_router *r = NULL;
  el_error e = {0};
  el_status status = el_router_open_memory(data, size, "r.gguf", NULL, &r, &e);
  assert(status ? !r && e.message[0] : r != NULL);
  if (r) {
    check(r);
    score(r);
  }
  el_router_free(r);
  return 0;
}
