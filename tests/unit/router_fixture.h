/* Small routers made by hand, on a base that there is not. */
#ifndef EL_TESTS_ROUTER_FIXTURE_H
#define EL_TESTS_ROUTER_FIXTURE_H

#include "base/random.h"
#include "bytes.h"
#include "router/examples.h"
#include "router/router.h"

static const el_base_id tiny_base = {.name = "tiny",
                                     .architecture = "llama",
                                     .n_layers = 4,
                                     .n_embd = 32,
                                     .n_vocab = 32,
                                     .fingerprint = 0xfeedfacecafebeef};

/* In [-1, 1). */
static inline float uniform(uint64_t *state) {
  return (float)((int64_t)el_mix64(*state += EL_GOLDEN_GAMMA) >> 40) / (float)(1 << 23);
}

static inline float *random_floats(size_t n, uint64_t seed) {
  float *x = malloc(n * sizeof *x);
  assert_non_null(x);
  for (size_t i = 0; i < n; i++) x[i] = uniform(&seed);
  return x;
}

/* Candidates "base", "sql", "shell"; two slices of the states after 0 and 2 layers. */
static inline el_router *make_router_of(int dim, int n_embd, int n_background) {
  static const char *const names[] = {"base", "sql", "shell"};
  el_router *r = calloc(1, sizeof *r);
  el_error e = {0};
  assert_non_null(r);
  const size_t width = (size_t)n_embd;
  r->base = tiny_base;
  r->base.n_embd = n_embd;
  r->base_name = strdup(tiny_base.name);
  r->base_architecture = strdup(tiny_base.architecture);
  r->features = (el_features){.n_embd = n_embd,
                              .n_taps = 2,
                              .taps = {0, 2},
                              .n_slices = 2,
                              .slices = {{0, EL_POOL_UNIT_MEAN}, {1, EL_POOL_UNIT_LAST}},
                              .max_tokens = 64};
  r->dim = dim;
  r->n_classifier_slices = 2;
  r->example_slice = 1;
  r->projection = random_floats((size_t)dim * 2 * width, 1);
  for (size_t i = 0; i < (size_t)dim * 2 * width; i++) /* as files have it */
    r->projection[i] = el_f16_to_f32(el_f32_to_f16(r->projection[i]));
  r->origin = random_floats((size_t)dim, 2);
  r->n_columns = 3;
  r->names = calloc(3, sizeof *r->names);
  for (int i = 0; i < 3; i++) r->names[i] = strdup(names[i]);
  r->base_column = 0;
  r->weights = random_floats((size_t)dim * 3, 3);
  r->bias = random_floats(3, 4);
  r->base_score = 0.25f;
  r->examples = (el_example_rule){.dim = n_embd,
                                  .center = random_floats(width, 5),
                                  .scale = malloc(width * sizeof(float)),
                                  .slope = 4,
                                  .offset = -12};
  for (int i = 0; i < n_embd; i++) r->examples.scale[i] = 1;
  float *vectors = random_floats(width * (size_t)n_background, 6);
  if (el_examples_background(&r->examples, vectors, n_background, &e)) fail_msg("%s", e.message);
  free(vectors);
  r->top_k = 3;
  r->margin = 0.05f;
  r->facts = (el_router_facts){.table = strdup("t.csv"),
                               .valid = strdup("v.csv"),
                               .n_rows = 100,
                               .n_valid = 20,
                               .seed = UINT64_MAX,
                               .l2 = 0.5f,
                               .l2_shared = 1,
                               .chosen = 0.75f,
                               .best_column = 1};
  return r;
}

static inline el_router *make_router(int dim, int n_background) {
  return make_router_of(dim, tiny_base.n_embd, n_background);
}

#endif
