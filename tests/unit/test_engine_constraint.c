/* Answers under a constraint, on a model whose own tokens are a hash: whatever it would like to say, the text is what
 * is allowed, and nobody else notices. */
#include "engine_fixture.h"

static const el_constraint *open_constraint(rig *r, el_constraint_type type, const char *text) {
  const el_constraint *c = NULL;
  el_error err;
  el_constraint_source s = {.type = type, .text = text, .len = strlen(text)};
  if (el_constraint_open(r->engine, &s, &c, &err)) fail_msg("%s", err.message);
  return c;
}

static el_request constrained(el_request q, const el_constraint *c) {
  q.constraint = c;
  return q;
}

static bool is_five_letters(const result *r) {
  bool ok = r->text_len == 5;
  for (size_t i = 0; i < r->text_len; i++) ok = ok && r->text[i] >= 'a' && r->text[i] <= 'f';
  return ok;
}

static void the_text_is_what_is_allowed_and_ends_when_it_is_whole(void **state) {
  rig r = rig_open(4, 96, 32);
  const el_constraint *c = open_constraint(&r, EL_CONSTRAINT_REGEX, "[a-f]{5}");
  for (int i = 0; i < 40; i++) {
    result a;
    result_init(&a);
    el_request q = constrained(ASK(64, 10 + i), c);
    if (i % 4) q.sampling.temperature = 1.0f;
    if (i % 4 == 2) q.sampling.top_p = 0.5f;
    if (i % 4 == 3) q.sampling.top_k = 3, q.sampling.frequency_penalty = 1, q.sampling.repeat_penalty = 1.5f;
    q.sampling.seed = (uint64_t)i;
    q.ignore_eos = i % 2;
    q.min_tokens = i % 3 ? 0 : 20; /* what is whole ends all the same */
    rig_run(&r, q, &a);
    assert_true(is_five_letters(&a));
    assert_int_equal(a.last.done.finish, EL_FINISH_STOP);
  }
  el_constraint_close(r.engine, c);
  rig_close(&r);
}

static void log_probabilities_are_the_models_own(void **state) {
  rig r = rig_open(1, 96, 32);
  const el_constraint *c = open_constraint(&r, EL_CONSTRAINT_REGEX, "[a-f]");
  result free_one, a;
  result_init(&free_one);
  result_init(&a);
  el_request q = ASK(1, 10, 11);
  q.logprobs = true;
  q.top_logprobs = 20;
  rig_run(&r, q, &free_one);
  rig_run(&r, constrained(q, c), &a);
  assert_memory_equal(free_one.top[0], a.top[0], sizeof a.top[0]);
  assert_true(a.tokens[0] >= 'a' && a.tokens[0] <= 'f');
  assert_true(a.logprobs[0] <= free_one.logprobs[0]);
  el_constraint_close(r.engine, c);
  rig_close(&r);
}

static void the_end_of_a_generation_is_drawn_only_where_the_text_may_end(void **state) {
  static const int stops_soon[] = {'a', -1}, never_allowed[] = {-1};
  rig r = rig_open(2, 96, 32);
  fake.scripts[0] = stops_soon;
  fake.scripts[1] = never_allowed;
  const el_constraint *some = open_constraint(&r, EL_CONSTRAINT_REGEX, "a*");
  const el_constraint *three = open_constraint(&r, EL_CONSTRAINT_REGEX, "aaab?");
  result a, b, d;
  result_init(&a);
  result_init(&b);
  result_init(&d);
  rig_run(&r, constrained(ASK(20, 0), some), &a);
  assert_true(result_text_is(&a, "a"));
  assert_int_equal(a.last.done.finish, EL_FINISH_STOP);
  rig_run(&r, constrained(ASK(20, 1), three), &b); /* it would end at once */
  assert_true(result_text_is(&b, "aaa"));
  assert_int_equal(b.last.done.finish, EL_FINISH_STOP);
  el_request q = constrained(ASK(20, 1), three); /* a stop token is an end, too */
  const int32_t stop = 'z';
  q.ignore_eos = true;
  q.stop_tokens = &stop;
  q.n_stop_tokens = 1;
  q.sampling.logit_bias = &(el_logit_bias){'z', 1000};
  q.sampling.n_logit_bias = 1;
  rig_run(&r, q, &d);
  assert_true(result_text_is(&d, "aaa"));
  assert_int_equal(d.last.done.finish, EL_FINISH_STOP);
  el_constraint_close(r.engine, some);
  el_constraint_close(r.engine, three);
  rig_close(&r);
}

static void max_tokens_and_stop_strings_end_it_as_ever(void **state) {
  static const int script[] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', -1};
  rig r = rig_open(2, 96, 32);
  fake.scripts[0] = script;
  const el_constraint *c = open_constraint(&r, EL_CONSTRAINT_REGEX, "[a-z]{50}");
  result a, b;
  result_init(&a);
  result_init(&b);
  rig_run(&r, constrained(ASK(7, 0), c), &a);
  assert_int_equal(a.last.done.finish, EL_FINISH_LENGTH);
  assert_true(result_text_is(&a, "abcdefg"));
  el_request q = constrained(ASK(40, 0), c);
  q.stop = (const char *[]){"de"};
  q.n_stop = 1;
  rig_run(&r, q, &b);
  assert_int_equal(b.last.done.finish, EL_FINISH_STOP);
  assert_true(result_text_is(&b, "abc"));
  el_constraint_close(r.engine, c);
  rig_close(&r);
}

static void a_dead_end_fails_the_request_with_the_reason(void **state) {
  rig r = rig_open(2, 96, 32);
  const el_constraint *c = open_constraint(&r, EL_CONSTRAINT_REGEX, "ab");
  el_logit_bias ban = {'b', -100};
  result a;
  result_init(&a);
  el_request q = constrained(ASK(20, 10), c);
  q.sampling.logit_bias = &ban;
  q.sampling.n_logit_bias = 1;
  rig_run(&r, q, &a);
  assert_int_equal(a.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(a.last.done.error.code, EL_ERR_INVALID);
  assert_contains(a.last.done.error.message, "constraint");
  assert_true(result_text_is(&a, "a"));
  el_constraint_close(r.engine, c);
  rig_close(&r);
}

/* Constrained and free requests in one engine, and each alone in another: the same, whoever shares the steps, whether
 * they are preempted, and whichever was first to need a mask. */
static void nobody_notices_others_constraints(void **state) {
  enum { N = 24 };
  static result alone[N], together[N];
  static const char *const patterns[] = {"[a-f]{5}", "(hello|[0-9]+x){3,8}", "[^a-z]{1,30}", "\\w+ \\w+ \\w+\\."};
  for (int pass = 0; pass < 2; pass++) {
    rig r = rig_open_options(rig_options(pass ? 8 : 1, 96, 32), pass ? 16 : 0);
    result *results = pass ? together : alone;
    const el_constraint *c[5] = {0};
    for (int k = 0; k < 4; k++) c[k] = open_constraint(&r, EL_CONSTRAINT_REGEX, patterns[k]);
    if (pass) fake_hold();
    for (int i = 0; i < N; i++) {
      el_request q = constrained(ASK(50, 10 + i, 20, 30, 40), c[i % 5]);
      q.sampling.temperature = i % 2 ? 0.9f : 0;
      q.sampling.seed = (uint64_t)i;
      q.logprobs = true;
      result_init(&results[i]);
      rig_submit(&r, q, &results[i]);
      if (!pass) result_wait(&results[i]);
    }
    for (int k = 0; k < 4; k++) el_constraint_close(r.engine, c[k]); /* requests keep their own */
    if (pass) fake_release();
    for (int i = 0; i < N; i++) result_wait(&results[i]);
    if (pass) assert_true(rig_stats(&r).preemptions > 0);
    rig_close(&r);
  }
  for (int i = 0; i < N; i++) {
    assert_int_equal(alone[i].last.done.finish, together[i].last.done.finish);
    assert_int_equal(alone[i].n, together[i].n);
    assert_memory_equal(alone[i].tokens, together[i].tokens, sizeof(int32_t) * (size_t)alone[i].n);
    assert_memory_equal(alone[i].logprobs, together[i].logprobs, sizeof(float) * (size_t)alone[i].n);
    assert_int_equal(alone[i].text_len, together[i].text_len);
    assert_memory_equal(alone[i].text, together[i].text, alone[i].text_len);
  }
}

static void the_same_source_is_compiled_once_and_a_request_can_be_cancelled(void **state) {
  rig r = rig_open(2, 96, 32);
  const el_constraint *a = open_constraint(&r, EL_CONSTRAINT_REGEX, "x*");
  const el_constraint *b = open_constraint(&r, EL_CONSTRAINT_REGEX, "x*");
  const el_constraint *c = open_constraint(&r, EL_CONSTRAINT_GRAMMAR, "root ::= \"x\"*");
  assert_ptr_equal(a, b);
  assert_ptr_not_equal(a, c);
  el_constraint_close(r.engine, a);
  el_constraint_close(r.engine, b);
  a = open_constraint(&r, EL_CONSTRAINT_REGEX, "x*"); /* kept for a while */
  assert_ptr_equal(a, b);
  /* Nobody has these: the oldest are forgotten. */
  for (int i = 0; i < 200; i++) {
    char text[32];
    snprintf(text, sizeof text, "y{%d}", i);
    el_constraint_close(r.engine, open_constraint(&r, EL_CONSTRAINT_REGEX, text));
  }
  fake_hold();
  result cancelled;
  result_init(&cancelled);
  el_request q = constrained(ASK(-1, 10), a);
  q.ignore_eos = true;
  uint64_t id = rig_submit(&r, q, &cancelled);
  el_constraint_close(r.engine, a);
  el_cancel(r.engine, id);
  fake_release();
  result_wait(&cancelled);
  assert_int_equal(cancelled.last.done.finish, EL_FINISH_CANCELLED);
  el_constraint_close(r.engine, c);
  rig_close(&r);
}

static void a_constraint_of_another_engine_or_a_wrong_one_is_refused(void **state) {
  rig r = rig_open(1, 96, 32), other = rig_open(1, 96, 32);
  const el_constraint *c = open_constraint(&other, EL_CONSTRAINT_REGEX, "x*"), *none = NULL;
  el_error err;
  uint64_t id;
  el_request q = constrained(ASK(1, 10), c);
  assert_int_equal(el_submit(r.engine, &q, &id, &err), EL_ERR_INVALID);
  assert_string_equal(err.field, "constraint");
  el_constraint_source s = {.type = EL_CONSTRAINT_REGEX, .text = "(", .len = 1};
  assert_int_equal(el_constraint_open(r.engine, &s, &none, &err), EL_ERR_INVALID);
  assert_contains(err.message, "column 1");
  assert_string_equal(err.field, "constraint");
  el_constraint_close(other.engine, c);
  rig_close(&other);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_text_is_what_is_allowed_and_ends_when_it_is_whole),
      cmocka_unit_test(log_probabilities_are_the_models_own),
      cmocka_unit_test(the_end_of_a_generation_is_drawn_only_where_the_text_may_end),
      cmocka_unit_test(max_tokens_and_stop_strings_end_it_as_ever),
      cmocka_unit_test(a_dead_end_fails_the_request_with_the_reason),
      cmocka_unit_test(nobody_notices_others_constraints),
      cmocka_unit_test(the_same_source_is_compiled_once_and_a_request_can_be_cancelled),
      cmocka_unit_test(a_constraint_of_another_engine_or_a_wrong_one_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
