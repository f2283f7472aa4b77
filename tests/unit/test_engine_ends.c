/* The engine on a fake model: what ends an answer, what of its tokens is text, and what else was likely. */
#include "engine_fixture.h"

#define LIST(...)     \
  (const int32_t[]) { \
    __VA_ARGS__       \
  }

static void a_stop_token_ends_as_eos_does_and_is_named(void **state) {
  static const int script[] = {HELLO, 'S', WORLD, '!', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result a, b, c;
  result_init(&a), result_init(&b), result_init(&c);
  el_request q = ASK(-1, 1);
  q.stop_tokens = LIST('!', WORLD, '?');
  q.n_stop_tokens = 3;
  q.ignore_eos = true;
  rig_run(&r, q, &a);
  assert_true(result_text_is(&a, "helloS"));
  assert_int_equal(a.last.done.finish, EL_FINISH_STOP);
  assert_int_equal(a.last.done.token.id, WORLD);
  assert_true(a.last.done.stop_token);
  assert_int_equal(a.last.done.completion_tokens, 2);
  q.include_stop = true;
  rig_run(&r, q, &b);
  assert_true(result_text_is(&b, "helloS world"));
  rig_run(&r, ASK(-1, 1), &c);
  assert_int_equal(c.last.done.token.id, FAKE_EOS);
  assert_false(c.last.done.stop_token);
  rig_close(&r);
}

static void a_stop_string_is_part_of_the_text_when_asked_for(void **state) {
  static const int script[] = {HELLO, 'S', ST, OP, WORLD, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result a;
  result_init(&a);
  el_request q = ASK(-1, 1);
  q.stop = (const char *const[]){"STO"};
  q.n_stop = 1;
  q.include_stop = true;
  rig_run(&r, q, &a);
  assert_true(result_text_is(&a, "helloSSTO"));
  assert_string_equal(a.stop, "STO");
  rig_close(&r);
}

static void nothing_ends_before_min_tokens(void **state) {
  static const int script[] = {HELLO, -1};
  static const int stops[] = {'S', 'a', 'S', 'b', 'c', -1};
  fake.scripts[1] = script;
  fake.scripts[2] = stops;
  rig r = rig_open(2, 64, 16);
  result a, b, c;
  result_init(&a), result_init(&b), result_init(&c);
  el_request q = ASK(9, 1);
  q.min_tokens = 4;
  q.stop_tokens = LIST(WORLD);
  q.n_stop_tokens = 1;
  rig_run(&r, q, &a);
  assert_true(a.n >= 4);
  for (int i = 0; i < 4; i++) assert_true(a.tokens[i] != FAKE_EOS && a.tokens[i] != WORLD);
  q = ASK(9, 2);
  q.stop = (const char *const[]){"S"};
  q.n_stop = 1;
  q.min_tokens = 2;
  rig_run(&r, q, &b);
  assert_true(result_text_is(&b, "Sa"));
  assert_string_equal(b.stop, "S");
  q.min_tokens = 4; /* what came before is not looked at again */
  rig_run(&r, q, &c);
  assert_true(result_text_is(&c, "SaSbc"));
  assert_null(c.last.done.stop);
  rig_close(&r);
}

static void control_tokens_are_text_where_they_are_to_be_shown(void **state) {
  static const int script[] = {HELLO, FAKE_EOS, '!', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result out[3];
  for (int i = 0; i < 3; i++) result_init(&out[i]);
  el_request q = ASK(3, 1);
  q.ignore_eos = true;
  rig_run(&r, q, &out[0]);
  assert_true(result_text_is(&out[0], "hello!"));
  q.shown_tokens = LIST(7, FAKE_EOS);
  q.n_shown_tokens = 2;
  rig_run(&r, q, &out[1]);
  assert_true(result_text_is(&out[1], "hello<eos>!"));
  q.n_shown_tokens = 0;
  q.show_special = true;
  rig_run(&r, q, &out[2]);
  assert_true(result_text_is(&out[2], "hello<eos>!"));
  rig_close(&r);
}

static void only_allowed_tokens_are_drawn(void **state) {
  rig r = rig_open(2, 64, 16);
  for (int hot = 0; hot < 2; hot++) {
    result a;
    result_init(&a);
    el_request q = ASK(12, 9, 10);
    q.sampling.temperature = (float)hot * 1.5f;
    q.sampling.frequency_penalty = 1;
    q.sampling.allowed_tokens = LIST('a', 'b', WORLD);
    q.sampling.n_allowed_tokens = 3;
    rig_run(&r, q, &a);
    assert_int_equal(a.n, 12);
    for (int i = 0; i < a.n; i++) assert_true(a.tokens[i] == 'a' || a.tokens[i] == 'b' || a.tokens[i] == WORLD);
  }
  rig_close(&r);
}

static void keep_prompt_top(result *out, const el_event *e) {
  if (e->type != EL_EVENT_PROMPT) return;
  if (e->prompt.n_top != 3) abort();
  memcpy(out->context, e->prompt.top, e->prompt.n * e->prompt.n_top * sizeof *e->prompt.top);
}

/* What would have been drawn after each beginning of the prompt, with its alternatives. */
static void alternatives_of_a_prompt_are_those_of_generation(void **state) {
  rig r = rig_open(2, 64, 8);
  result gen, score, polled;
  result_init(&gen), result_init(&score), result_init(&polled);
  el_request q = ASK(20, 9, 10, 11);
  q.ignore_eos = q.logprobs = true;
  q.top_logprobs = 3;
  rig_run(&r, q, &gen);
  int32_t all[23] = {9, 10, 11};
  memcpy(all + 3, gen.tokens, sizeof *all * 20);
  el_token_logprob top[23][3], again[23][3];
  score.hook = keep_prompt_top;
  score.context = top;
  q = ask(all, 23, 0);
  q.prompt_logprobs = true;
  q.prompt_top_logprobs = 3;
  rig_run(&r, q, &score);
  for (int i = 0; i < 20; i++) assert_memory_equal(top[3 + i], gen.top[i], sizeof top[0]);

  uint64_t id;
  el_event e;
  el_error err;
  assert_int_equal(el_submit(r.engine, &q, &id, &err), EL_OK);
  assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_PROMPT);
  memcpy(again, e.prompt.top, sizeof again);
  assert_memory_equal(again[1], top[1], 22 * sizeof top[0]);
  rig_close(&r);
}

static void the_token_that_ended_has_its_log_probability(void **state) {
  static const int script[] = {HELLO, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  uint64_t id;
  el_event e;
  el_error err;
  el_request q = ASK(-1, 1);
  q.logprobs = true;
  q.top_logprobs = 2;
  assert_int_equal(el_submit(r.engine, &q, &id, &err), EL_OK);
  do assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  while (e.type != EL_EVENT_DONE);
  const el_event_token *end = &e.done.token;
  assert_int_equal(end->id, FAKE_EOS);
  assert_int_equal(end->n_top, 2);
  assert_int_equal(end->top[0].token, FAKE_EOS);
  assert_true(end->logprob < 0 && end->top[0].logprob == end->logprob && end->top[1].logprob < end->logprob);
  rig_close(&r);
}

static void what_is_out_of_range_is_named(void **state) {
  rig r = rig_open(2, 64, 16);
  int32_t many[EL_MAX_STOP_TOKENS + 1] = {0};
  struct {
    const char *field;
    el_request q;
  } cases[] = {{"stop_tokens", ASK(1, 1)},   {"stop_tokens", ASK(1, 1)}, {"stop_tokens", ASK(1, 1)},
               {"shown_tokens", ASK(1, 1)},  {"min_tokens", ASK(1, 1)},  {"prompt_top_logprobs", ASK(1, 1)},
               {"allowed_tokens", ASK(1, 1)}};
  cases[0].q.stop_tokens = LIST(1, FAKE_VOCAB), cases[0].q.n_stop_tokens = 2;
  cases[1].q.stop_tokens = many, cases[1].q.n_stop_tokens = EL_MAX_STOP_TOKENS + 1;
  cases[2].q.n_stop_tokens = 1;
  cases[3].q.shown_tokens = LIST(-1), cases[3].q.n_shown_tokens = 1;
  cases[4].q.min_tokens = -1;
  cases[5].q.prompt_logprobs = true, cases[5].q.prompt_top_logprobs = 21;
  cases[6].q.sampling.allowed_tokens = LIST(FAKE_VOCAB), cases[6].q.sampling.n_allowed_tokens = 1;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t id;
    el_error err;
    assert_int_equal(el_submit(r.engine, &cases[i].q, &id, &err), EL_ERR_INVALID);
    assert_contains(err.message, cases[i].field);
    assert_string_equal(err.field, cases[i].field);
  }
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stop_token_ends_as_eos_does_and_is_named),
      cmocka_unit_test(a_stop_string_is_part_of_the_text_when_asked_for),
      cmocka_unit_test(nothing_ends_before_min_tokens),
      cmocka_unit_test(control_tokens_are_text_where_they_are_to_be_shown),
      cmocka_unit_test(only_allowed_tokens_are_drawn),
      cmocka_unit_test(alternatives_of_a_prompt_are_those_of_generation),
      cmocka_unit_test(the_token_that_ended_has_its_log_probability),
      cmocka_unit_test(what_is_out_of_range_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
