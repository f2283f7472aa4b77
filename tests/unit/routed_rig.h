/* An engine with a router, on the fake model, whose states count tokens modulo 32: column "a" expects a lot of prompts
 * with many 'a', and so on. */
#ifndef EL_TESTS_ROUTED_RIG_H
#define EL_TESTS_ROUTED_RIG_H

#include "engine_fixture.h"
#include "router/examples.h"

enum { N_COLUMNS = 4 };
static const char *const columns[N_COLUMNS] = {"a", "b", "c", "base"};

static inline float *floats(size_t n) {
  float *p = calloc(n, sizeof *p);
  assert_non_null(p);
  return p;
}

/* Writes it into the rig's folder. top_k and margin of 0: nothing but the best. */
static inline void put_router(const char *path, int max_tokens) {
  el_router *r = calloc(1, sizeof *r);
  assert_non_null(r);
  r->base_name = strdup("fake model");
  r->base_architecture = strdup("llama");
  r->base = (el_base_id){r->base_name, r->base_architecture, 2, FAKE_EMBD, FAKE_VOCAB, FAKE_FINGERPRINT};
  r->features = (el_features){.n_embd = FAKE_EMBD,
                              .n_taps = 1,
                              .taps = {1},
                              .n_slices = 1,
                              .slices = {{0, EL_POOL_MEAN}},
                              .max_tokens = max_tokens};
  r->dim = FAKE_EMBD;
  r->projection = floats(FAKE_EMBD * FAKE_EMBD);
  for (int i = 0; i < FAKE_EMBD; i++) r->projection[i * FAKE_EMBD + i] = 1;
  r->origin = floats(FAKE_EMBD);
  r->n_columns = N_COLUMNS;
  r->base_column = 3;
  r->names = calloc(N_COLUMNS, sizeof *r->names);
  r->weights = floats(N_COLUMNS * FAKE_EMBD);
  r->bias = floats(N_COLUMNS);
  for (int i = 0; i < N_COLUMNS; i++) {
    r->names[i] = strdup(columns[i]);
    if (i == r->base_column) continue;
    r->weights[i * FAKE_EMBD + columns[i][0] % 32] = 8;
    r->bias[i] = -4;
  }
  r->n_classifier_slices = 1;
  r->examples = (el_example_rule){
      .dim = FAKE_EMBD, .center = floats(FAKE_EMBD), .scale = floats(FAKE_EMBD), .slope = 10, .offset = -5};
  for (int i = 0; i < FAKE_EMBD; i++) r->examples.scale[i] = 1;
  el_error err;
  const float background[FAKE_EMBD] = {1}; /* one prompt that is near to none of a test */
  if (el_examples_background(&r->examples, background, 1, &err)) fail_msg("%s", err.message);
  r->top_k = 2;
  r->margin = 0.5f;
  r->facts.table = strdup("letters");
  if (el_router_save(r, NULL, NULL, path, &err)) fail_msg("%s", err.message);
  el_router_free(r);
}

typedef struct routed {
  rig r;
  char dir[64], path[128]; /* of the router */
} routed;

static inline routed open_limited(el_engine_options o, uint64_t n_pages, int max_tokens) {
  routed t;
  make_dir(t.dir);
  snprintf(t.path, sizeof t.path, "%s/letters.gguf", t.dir);
  put_router(t.path, max_tokens);
  o.router_path = t.path;
  t.r = rig_open_options(o, n_pages);
  return t;
}

static inline routed open_with(el_engine_options o, uint64_t n_pages) {
  return open_limited(o, n_pages, 64);
}

static inline void close_routed(routed *t) {
  rig_close(&t->r);
  remove_tree(t->dir);
}

/* --- what a decision said */

typedef struct decision {
  int n_events;
  char adapter[64], names[8][64];
  float scores[8];
  bool resident[8];
  size_t n;
} decision;

static inline void keep_decision(result *r, const el_event *e) {
  decision *c = r->context;
  if (e->type != EL_EVENT_DECISION) return;
  const el_event_decision *d = &e->decision;
  if (r->n || d->n_candidates > 8) abort();
  c->n_events++;
  snprintf(c->adapter, sizeof c->adapter, "%s", d->adapter);
  c->n = d->n_candidates;
  for (size_t i = 0; i < c->n; i++) {
    snprintf(c->names[i], sizeof c->names[i], "%s", d->candidates[i].name);
    c->scores[i] = d->candidates[i].score;
    c->resident[i] = d->candidates[i].resident;
  }
}

static inline el_request automatic(const char *prompt, int32_t tokens[64], int max_tokens) {
  size_t n = strlen(prompt);
  for (size_t i = 0; i < n; i++) tokens[i] = (unsigned char)prompt[i];
  el_request q = ask(tokens, n, max_tokens);
  q.adapter = (el_adapter_selection){.by = EL_BY_ROUTER, .router.n_scores = 3};
  q.ignore_eos = true;
  q.logprobs = true;
  return q;
}

#endif
