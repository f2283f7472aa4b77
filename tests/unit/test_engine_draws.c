/* Tokens are drawn by all compute threads: the same ones, however many there are, and what fails is one request's. */
#include "engine_fixture.h"

enum { N = 32, N_PATTERNS = 3 };

static el_request request_of(int i, const el_constraint *const *c) {
  static const el_logit_bias bias[] = {{'a', 2}, {'b', -100}, {'c', -100}};
  static int32_t prompts[N][4];
  memcpy(prompts[i], (int32_t[]){10 + i, 20, 30, 40}, sizeof *prompts);
  el_request q = ask(prompts[i], 4, 40);
  q.sampling.temperature = i % 8 ? 0.5f + 0.1f * (float)(i % 8) : 0;
  q.sampling.seed = (uint64_t)i;
  q.logprobs = i % 2;
  q.top_logprobs = i % 2 ? i % 7 : 0;
  q.prompt_logprobs = i % 3 == 0;
  if (i % 5 == 1) q.sampling.top_p = 0.8f;
  if (i % 5 == 2) q.sampling.top_k = 7;
  if (i % 5 == 3) q.sampling.min_p = 0.1f;
  if (i % 4 == 1) q.sampling.repeat_penalty = 1.2f, q.sampling.frequency_penalty = 0.3f;
  if (i % 4 == 2) q.sampling.logit_bias = bias, q.sampling.n_logit_bias = 2;
  if (i % 3 == 1) q.constraint = c[i / 3 % 2];
  if (i == 16) { /* its text needs what is banned: a dead end */
    q.constraint = c[2];
    q.sampling.logit_bias = bias;
    q.sampling.n_logit_bias = 3;
  }
  return q;
}

/* All at once, so that threads share each step's draws; several have the same constraint. */
static void run_all(int n_threads, bool shares, result *results) {
  static const char *const patterns[N_PATTERNS] = {"[a-f]{20}x*", "(hello|[0-9]+x){3,20}", "a?[bc]"};
  el_engine_options o = rig_options(16, 96, 64);
  o.n_threads = n_threads;
  rig r = rig_open_options(o, 0);
  if (shares) el_draws_share_from(r.engine->draws, 0);
  const el_constraint *c[N_PATTERNS];
  el_error err;
  for (int k = 0; k < N_PATTERNS; k++) {
    const el_constraint_source s = {.type = EL_CONSTRAINT_REGEX, .text = patterns[k], .len = strlen(patterns[k])};
    if (el_constraint_open(r.engine, &s, &c[k], &err)) fail_msg("%s", err.message);
  }
  fake_hold();
  for (int i = 0; i < N; i++) {
    result_init(&results[i]);
    rig_submit(&r, request_of(i, c), &results[i]);
  }
  for (int k = 0; k < N_PATTERNS; k++) el_constraint_close(r.engine, c[k]);
  fake_release();
  for (int i = 0; i < N; i++) result_wait(&results[i]);
  rig_close(&r);
}

static void draws_and_log_probabilities_are_the_same_with_any_number_of_threads(void **state) {
  static result one[N], several[N];
  run_all(1, false, one);
  for (int n_threads = 2; n_threads <= 6; n_threads += 2) {
    run_all(n_threads, n_threads > 2, several); /* at the end they are fewer than threads */
    for (int i = 0; i < N; i++) {
      const result *a = &one[i], *b = &several[i];
      assert_int_equal(a->last.done.finish, b->last.done.finish);
      assert_int_equal(a->n, b->n);
      assert_memory_equal(a->tokens, b->tokens, sizeof *a->tokens * (size_t)a->n);
      assert_memory_equal(a->logprobs, b->logprobs, sizeof *a->logprobs * (size_t)a->n);
      assert_int_equal(a->n_top, b->n_top);
      for (int k = 0; k < a->n; k++) assert_memory_equal(a->top[k], b->top[k], sizeof *a->top[k] * a->n_top);
      assert_int_equal(a->n_prompt_logprobs, b->n_prompt_logprobs);
      assert_memory_equal(a->prompt_logprobs, b->prompt_logprobs, sizeof(float) * a->n_prompt_logprobs);
      assert_int_equal(a->text_len, b->text_len);
      assert_memory_equal(a->text, b->text, a->text_len);
    }
  }
}

static void a_draw_that_fails_ends_its_own_request_alone(void **state) {
  static result results[N];
  run_all(4, false, results);
  for (int i = 0; i < N; i++) {
    if (i != 16) {
      assert_int_not_equal(results[i].last.done.finish, EL_FINISH_ERROR);
      continue;
    }
    assert_int_equal(results[i].last.done.finish, EL_FINISH_ERROR);
    assert_int_equal(results[i].last.done.error.code, EL_ERR_INVALID);
    assert_contains(results[i].last.done.error.message, "constraint");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(draws_and_log_probabilities_are_the_same_with_any_number_of_threads),
      cmocka_unit_test(a_draw_that_fails_ends_its_own_request_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
