/* Requests for a vector instead of text. */
#include <math.h>

#include "engine_fixture.h"

enum { N_PROMPT = 50, STEP_ROWS = 8 };

typedef struct vector {
  result r;
  float x[FAKE_EMBD];
  int n;
} vector;

static void keep(result *r, const el_event *e) {
  vector *v = r->context;
  if (e->type == EL_EVENT_TOKEN) abort();
  if (e->type != EL_EVENT_EMBEDDING) return;
  if (e->embedding.n != FAKE_EMBD || v->n++) abort();
  memcpy(v->x, e->embedding.values, sizeof v->x);
}

static void vector_init(vector *v) {
  result_init(&v->r);
  v->n = 0;
  v->r.hook = keep;
  v->r.context = v;
}

static el_request embed(const int32_t *prompt, int n, el_embed how) {
  el_request q = ask(prompt, (size_t)n, 5);
  q.embed = how;
  return q;
}

static void run(rig *r, el_request q, vector *out) {
  vector_init(out);
  rig_run(r, q, &out->r);
}

static void assert_done(const vector *v) {
  assert_int_equal(v->n, 1);
  assert_int_equal(v->r.last.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(v->r.last.done.completion_tokens, 0);
}

static void assert_same(const vector *a, const vector *b) {
  assert_done(a);
  assert_done(b);
  assert_memory_equal(a->x, b->x, sizeof a->x);
}

static const int32_t *prompt_of(int letter) {
  static int32_t p[N_PROMPT];
  for (int i = 0; i < N_PROMPT; i++) p[i] = letter + i * i % 7;
  return p;
}

/* The mean over positions of what `last` gives for the text up to each of them. */
static void the_mean_is_that_of_each_positions_state(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  const int32_t *p = prompt_of('a');
  vector mean, cls, first, one;
  double sum[FAKE_EMBD] = {0};
  for (int n = 1; n <= N_PROMPT; n++) {
    run(&r, embed(p, n, EL_EMBED_LAST), &one);
    assert_done(&one);
    for (int i = 0; i < FAKE_EMBD; i++) sum[i] += (double)one.x[i];
    if (n == 1) first = one;
  }
  run(&r, embed(p, N_PROMPT, EL_EMBED_MEAN), &mean);
  assert_done(&mean);
  for (int i = 0; i < FAKE_EMBD; i++) assert_true(mean.x[i] == (float)(sum[i] / N_PROMPT));
  run(&r, embed(p, N_PROMPT, EL_EMBED_CLS), &cls);
  assert_same(&cls, &first);
  rig_close(&r);
}

static void a_model_that_says_nothing_pools_by_the_mean(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  el_model_info info;
  vector mean, as_model;
  el_engine_info(r.engine, &info);
  assert_int_equal(info.pooling, EL_EMBED_NONE);
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &mean);
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_AS_MODEL), &as_model);
  assert_same(&mean, &as_model);
  rig_close(&r);
}

/* Chunks of all sizes, beside requests for text and for other vectors, with and without a prefix cache that has been
 * filled; and with so few pages that sequences lose theirs. */
static void a_vector_is_the_same_bits_whatever_happens_around_it(void **state) {
  static const el_embed ways[] = {EL_EMBED_MEAN, EL_EMBED_LAST, EL_EMBED_CLS};
  enum { WAYS = 3, ADAPTERS = 2, ROUNDS = 4, N = WAYS * ADAPTERS };
  const char *const adapters[ADAPTERS] = {"", "a"};
  static vector alone[N], together[N];
  static result others[N];
  rig quiet = rig_open(1, 64, 64);
  rig_add(&quiet, "a", 7);
  for (int i = 0; i < N; i++) {
    el_request q = embed(prompt_of('a'), N_PROMPT, ways[i % WAYS]);
    q.adapter.name = adapters[i / WAYS];
    run(&quiet, q, &alone[i]);
  }
  rig_close(&quiet);
  int preempted = 0;
  for (int round = 0; round < ROUNDS; round++) {
    el_engine_options o = rig_options(2 * N, 64, 2 * N + 5 * round);
    o.prefix_cache = round % 2;
    rig r = rig_open_options(o, 16);
    rig_add(&r, "a", 7);
    fake_hold();
    for (int i = 0; i < N; i++) {
      el_request text = ask(prompt_of('b' + i), 15, 40);
      text.ignore_eos = true;
      result_init(&others[i]);
      rig_submit(&r, text, &others[i]);
      el_request q = embed(prompt_of('a'), N_PROMPT, ways[i % WAYS]);
      q.adapter.name = adapters[i / WAYS];
      vector_init(&together[i]);
      rig_submit(&r, q, &together[i].r);
    }
    fake_release();
    for (int i = 0; i < N; i++) {
      result_wait(&together[i].r);
      result_wait(&others[i]);
      assert_same(&together[i], &alone[i]);
    }
    preempted += (int)rig_stats(&r).preemptions;
    rig_close(&r);
  }
  assert_true(preempted > 0);
}

static void no_logits_are_computed_for_a_vector(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  vector v;
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &v);
  assert_done(&v);
  fake_counts n = fake_take_counts();
  assert_int_equal(n.logits, 0);
  assert_int_equal(n.hidden, N_PROMPT);
  run(&r, embed(prompt_of('m'), N_PROMPT, EL_EMBED_LAST), &v);
  n = fake_take_counts();
  assert_int_equal(n.logits, 0);
  assert_int_equal(n.hidden, 1);
  rig_close(&r);
}

/* What has been computed for a vector is there for others; a mean needs every position itself. */
static void vectors_and_texts_share_the_prefix_cache(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  vector v;
  result text;
  const int whole = (N_PROMPT - 1) / EL_PAGE_TOKENS * EL_PAGE_TOKENS;
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &v);
  result_init(&text);
  rig_run(&r, ask(prompt_of('a'), N_PROMPT, 1), &text);
  assert_int_equal(text.last.done.cached_tokens, whole);
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_LAST), &v);
  assert_int_equal(v.r.last.done.cached_tokens, whole);
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &v);
  assert_int_equal(v.r.last.done.cached_tokens, 0);
  rig_close(&r);
}

static void a_prompt_may_fill_the_context(void **state) {
  rig r = rig_open(1, N_PROMPT, STEP_ROWS);
  vector v;
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &v);
  assert_done(&v);
  rig_close(&r);
}

static void a_state_that_is_not_finite_fails_its_own_request(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  vector bad, good;
  fake.nan_at = 30;
  run(&r, embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN), &bad);
  assert_int_equal(bad.n, 0);
  assert_int_equal(bad.r.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(bad.r.last.done.error.code, EL_ERR_FORMAT);
  run(&r, embed(prompt_of('a'), 30, EL_EMBED_MEAN), &good);
  assert_done(&good);
  rig_close(&r);
}

static void a_vector_can_be_polled(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  vector v;
  uint64_t id;
  el_event e;
  el_request q = embed(prompt_of('a'), N_PROMPT, EL_EMBED_MEAN);
  run(&r, q, &v);
  assert_int_equal(el_submit(r.engine, &q, &id, NULL), EL_OK);
  assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_EMBEDDING);
  assert_int_equal(e.embedding.n, FAKE_EMBD);
  assert_memory_equal(e.embedding.values, v.x, sizeof v.x);
  assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_DONE);
  rig_close(&r);
}

static void assert_refused(rig *r, el_request q, el_status status) {
  el_error err = {0};
  uint64_t id;
  assert_int_equal(el_submit(r->engine, &q, &id, &err), status);
  assert_string_equal(err.field, "embed");
}

static void what_goes_with_no_vector_is_refused(void **state) {
  rig r = rig_open(2, 64, STEP_ROWS);
  el_request q = embed(prompt_of('a'), 3, EL_EMBED_MEAN);
  q.adapter.by = EL_BY_ROUTER;
  assert_refused(&r, q, EL_ERR_INVALID);
  q = embed(prompt_of('a'), 3, EL_EMBED_MEAN);
  q.logprobs = true;
  assert_refused(&r, q, EL_ERR_INVALID);
  q.logprobs = false;
  q.prompt_logprobs = true;
  assert_refused(&r, q, EL_ERR_INVALID);
  assert_refused(&r, embed(prompt_of('a'), 3, EL_EMBED_RANK), EL_ERR_INVALID);
  assert_refused(&r, embed(prompt_of('a'), 3, (el_embed)-1), EL_ERR_INVALID);
  assert_refused(&r, embed(prompt_of('a'), 3, (el_embed)99), EL_ERR_INVALID);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_mean_is_that_of_each_positions_state),
      cmocka_unit_test(a_model_that_says_nothing_pools_by_the_mean),
      cmocka_unit_test(a_vector_is_the_same_bits_whatever_happens_around_it),
      cmocka_unit_test(no_logits_are_computed_for_a_vector),
      cmocka_unit_test(vectors_and_texts_share_the_prefix_cache),
      cmocka_unit_test(a_prompt_may_fill_the_context),
      cmocka_unit_test(a_state_that_is_not_finite_fails_its_own_request),
      cmocka_unit_test(a_vector_can_be_polled),
      cmocka_unit_test(what_goes_with_no_vector_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
