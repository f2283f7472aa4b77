/* The engine on a fake model: what requests give, what steps are made of, how requests end. */
#include "engine_fixture.h"

/* ------------------------------------------------------------------ output */

static void a_request_gives_its_tokens_text_and_figures(void **state) {
  static const int script[] = {HELLO, WORLD, '!', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  rig_run(&r, ASK(-1, 1), &out);
  assert_int_equal(out.n, 3);
  for (int i = 0; i < 3; i++) assert_int_equal(out.tokens[i], script[i]);
  assert_true(result_text_is(&out, "hello world!"));
  assert_int_equal(out.last.done.finish, EL_FINISH_STOP);
  assert_null(out.last.done.stop);
  assert_int_equal(out.last.done.prompt_tokens, 1);
  assert_int_equal(out.last.done.completion_tokens, 3);
  assert_true(out.last.done.queued_ms >= 0 && out.last.done.prompt_ms > 0 && out.last.done.decode_ms > 0);
  rig_close(&r);
}

static void generation_ends_at_max_tokens_or_when_the_context_is_full(void **state) {
  static const int script[] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k',
                               'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 20, 16);
  result a, b, c;
  result_init(&a), result_init(&b), result_init(&c);
  rig_run(&r, ASK(2, 1), &a);
  assert_true(result_text_is(&a, "ab"));
  assert_int_equal(a.last.done.finish, EL_FINISH_LENGTH);
  rig_run(&r, ASK(-1, 1), &b); /* 1 + 19 = 20 */
  assert_true(result_text_is(&b, "abcdefghijklmnopqrs"));
  assert_int_equal(b.last.done.finish, EL_FINISH_LENGTH);
  rig_run(&r, ASK(1000000, 1, 'a', 'b'), &c);
  assert_true(result_text_is(&c, "cdefghijklmnopqrs"));
  assert_int_equal(c.last.done.finish, EL_FINISH_LENGTH);
  rig_close(&r);
}

static void with_no_tokens_wanted_only_the_prompt_is_computed(void **state) {
  rig r = rig_open(2, 32, 16);
  int32_t prompt[32];
  for (int i = 0; i < 32; i++) prompt[i] = 'a' + i;
  result a, b;
  result_init(&a), result_init(&b);
  rig_run(&r, ask(prompt, 32, 0), &a); /* it may fill the context */
  assert_int_equal(a.n, 0);
  assert_int_equal(a.last.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(a.last.done.prompt_tokens, 32);
  fake_counts c = fake_take_counts();
  assert_int_equal(c.rows, 32);
  assert_int_equal(c.logits, 0);
  el_request q = ask(prompt, 32, 0);
  q.prompt_logprobs = true;
  rig_run(&r, q, &b);
  assert_int_equal(b.n_prompt_events, 1);
  assert_int_equal(fake_take_counts().logits, 31);
  rig_close(&r);
}

static void a_stop_string_ends_the_text_before_it_across_tokens(void **state) {
  static const int script[] = {HELLO, 'S', ST, OP, WORLD, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result a, b, c;
  result_init(&a), result_init(&b), result_init(&c);
  el_request q = ASK(-1, 1);
  q.stop = (const char *const[]){"nothing", "STOP"};
  q.n_stop = 2;
  rig_run(&r, q, &a);
  assert_true(result_text_is(&a, "helloS"));
  assert_int_equal(a.last.done.finish, EL_FINISH_STOP);
  assert_string_equal(a.stop, "STOP");
  assert_int_equal(a.last.done.completion_tokens, 4);
  q.stop = (const char *const[]){"STOPS", " worldly"}; /* begins, but never is one */
  rig_run(&r, q, &b);
  assert_true(result_text_is(&b, "helloSSTOP world"));
  assert_null(b.last.done.stop);
  q.stop = (const char *const[]){"OP wo", "x"};
  q.max_tokens = 5;
  rig_run(&r, q, &c);
  assert_true(result_text_is(&c, "helloSST"));
  assert_int_equal(c.last.done.finish, EL_FINISH_STOP); /* not length, though it is the last token */
  rig_close(&r);
}

static void split_at_characters(result *out, const el_event *e) {
  for (size_t i = 0; i < e->text_len;) {
    int n = el_utf8_length(e->text + i, e->text_len - i);
    if (n == 0) abort();
    i += (size_t)n;
  }
}

static void events_carry_whole_characters(void **state) {
  static const int script[] = {'a', 0xe2, 0x82, 0xac, 0xff, 'b', 0xf0, 0x9f, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  out.hook = split_at_characters;
  rig_run(&r, ASK(-1, 1), &out);
  assert_true(result_text_is(&out,
                             "a\xe2\x82\xac\xef\xbf\xbd"
                             "b\xef\xbf\xbd"));
  assert_int_equal(out.n, 8);
  rig_close(&r);
}

static void the_end_token_ends_unless_it_is_ignored(void **state) {
  static const int script[] = {HELLO, FAKE_EOS, WORLD, '!', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result a, b;
  result_init(&a), result_init(&b);
  el_request q = ASK(4, 1);
  rig_run(&r, q, &a);
  assert_int_equal(a.n, 1);
  q.ignore_eos = true;
  rig_run(&r, q, &b);
  assert_int_equal(b.n, 4);
  assert_int_equal(b.tokens[1], FAKE_EOS);
  assert_true(result_text_is(&b, "hello world!"));
  assert_int_equal(b.last.done.finish, EL_FINISH_LENGTH);
  rig_close(&r);
}

static void prompt_log_probabilities_are_those_of_generation(void **state) {
  rig r = rig_open(2, 96, 8);
  rig_add(&r, "a", 5);
  result gen, score;
  result_init(&gen), result_init(&score);
  int32_t prompt[80] = {'x', 'y', 'z'};
  el_request q = ask(prompt, 3, 40);
  q.adapter.name = "a";
  q.ignore_eos = q.logprobs = true;
  q.top_logprobs = 3;
  rig_run(&r, q, &gen);
  assert_int_equal(gen.n, 40);
  assert_int_equal(gen.n_top, 3);
  for (int i = 0; i < 40; i++) {
    assert_int_equal(gen.top[i][0].token, gen.tokens[i]); /* greedy */
    assert_true(gen.top[i][0].logprob == gen.logprobs[i]);
    assert_true(gen.logprobs[i] < 0 && gen.top[i][1].logprob <= gen.top[i][0].logprob);
    prompt[3 + i] = gen.tokens[i];
  }
  q = ask(prompt, 43, 1);
  q.adapter.name = "a";
  q.prompt_logprobs = true;
  rig_run(&r, q, &score);
  assert_int_equal(score.n_prompt_logprobs, 43);
  assert_true(score.prompt_logprobs[0] == 0);
  for (int i = 0; i < 40; i++) assert_true(score.prompt_logprobs[3 + i] == gen.logprobs[i]);
  assert_int_equal(score.n, 1);
  rig_close(&r);
}

static void logits_that_are_not_finite_fail_their_request_only(void **state) {
  rig r = rig_open(4, 64, 16);
  rig_add(&r, "a", 1);
  fake.nan_at = 5;
  result bad, good, scored;
  result_init(&bad), result_init(&good), result_init(&scored);
  el_request q = ASK(20, 'a');
  q.ignore_eos = true;
  rig_submit(&r, q, &bad);
  q.adapter.name = "a";
  rig_run(&r, q, &good);
  result_wait(&bad);
  assert_int_equal(bad.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(bad.last.done.error.code, EL_ERR_FORMAT);
  assert_contains(bad.last.done.error.message, "not finite");
  assert_int_equal(bad.n, 5);
  assert_int_equal(good.n, 20);
  q = ASK(0, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
  q.prompt_logprobs = true;
  rig_run(&r, q, &scored);
  assert_int_equal(scored.last.done.finish, EL_FINISH_ERROR);
  el_stats st;
  el_engine_stats(r.engine, &st);
  assert_int_equal(st.requests_failed, 2);
  assert_int_equal(st.kv_pages_used, 0);
  rig_close(&r);
}

/* ------------------------------------------------------------------- steps */

typedef struct burst {
  rig *rig;
  el_request q[16];
  result out[16];
  int n;
} burst;

/* On the engine thread: all of them are there when the next step is made. */
static void submit_burst(result *first, const el_event *event) {
  if (event->type != EL_EVENT_DONE) return;
  burst *b = first->context;
  fake_take_counts();
  for (int i = 0; i < b->n; i++) {
    b->q[i].on_event = result_on_event;
    b->q[i].user = &b->out[i];
    if (el_submit(first->engine, &b->q[i], NULL, NULL)) abort();
  }
}

static void run_burst(rig *r, burst *b) {
  result first;
  result_init(&first);
  first.hook = submit_burst;
  first.context = b;
  for (int i = 0; i < b->n; i++) {
    result_init(&b->out[i]);
    b->out[i].engine = r->engine;
  }
  rig_run(r, ASK(0, 'x'), &first);
  for (int i = 0; i < b->n; i++) result_wait(&b->out[i]);
}

static void requests_with_different_adapters_take_the_steps_of_one(void **state) {
  static burst b;
  static const int32_t prompt[] = {'p', 'q', 'r'};
  rig r = rig_open(16, 64, 128);
  char names[16][8];
  for (int i = 1; i < 16; i++) {
    snprintf(names[i], sizeof names[i], "a%d", i);
    rig_add(&r, names[i], (uint64_t)i);
    result warm; /* its adapter comes into memory */
    result_init(&warm);
    el_request q = ask(prompt, 1, 0);
    q.adapter.name = names[i];
    rig_run(&r, q, &warm);
  }
  int steps[2];
  for (int n = 1; n <= 16; n += 15) {
    b.n = n;
    for (int i = 0; i < n; i++) {
      b.q[i] = ask(prompt, 3, 30);
      b.q[i].adapter.name = i ? names[i] : NULL;
      b.q[i].ignore_eos = true;
    }
    run_burst(&r, &b);
    fake_counts c = fake_take_counts();
    steps[n > 1] = c.steps;
    assert_int_equal(c.rows, n * (3 + 29)); /* every position once; the last token is not computed */
    assert_int_equal(c.logits, n * 30);
    assert_int_equal(c.max_rows, n * 3);
  }
  assert_int_equal(steps[0], 30);
  assert_int_equal(steps[1], 30);
  for (int i = 1; i < 16; i++) assert_memory_not_equal(b.out[i].tokens, b.out[0].tokens, 30 * sizeof(int32_t));
  rig_close(&r);
}

static void a_long_prompt_does_not_delay_tokens_of_others(void **state) {
  static burst b;
  static int32_t prompt[500];
  for (int i = 0; i < 500; i++) prompt[i] = 'a' + i % 26;
  rig r = rig_open(4, 512, 8);
  b.n = 3;
  b.q[0] = ASK(60, 'g');
  b.q[1] = ASK(60, 'h');
  b.q[2] = ask(prompt, 500, 1);
  b.q[0].ignore_eos = b.q[1].ignore_eos = true;
  run_burst(&r, &b);
  /* Two rows of each of the 60 steps are theirs from the second on; the prompt has the other six. */
  fake_counts c = fake_take_counts();
  assert_int_equal(c.max_rows, 8);
  assert_int_equal(c.rows, 60 + 60 + 500);
  assert_int_equal(c.steps, (60 + 60 + 500 + 7) / 8);
  rig_close(&r);
}

static void prompts_are_taken_in_the_order_of_arrival(void **state) {
  static burst b;
  static int32_t prompt[64];
  for (int i = 0; i < 64; i++) prompt[i] = 'a' + i % 26;
  el_engine_options o = rig_options(4, 96, 16);
  o.prefix_cache = false; /* the prompts are alike */
  rig r = rig_open_options(o, 0);
  b.n = 3;
  for (int i = 0; i < 3; i++) b.q[i] = ask(prompt, 64, 1);
  run_burst(&r, &b);
  assert_true(b.out[0].last.done.prompt_ms <= b.out[1].last.done.prompt_ms);
  assert_true(b.out[1].last.done.prompt_ms <= b.out[2].last.done.prompt_ms);
  fake_counts c = fake_take_counts();
  assert_int_equal(c.steps, 3 * 64 / 16);
  rig_close(&r);
}

static void a_short_arena_gives_the_same_output_with_more_work(void **state) {
  static burst b, alone;
  /* Pages for 3 whole contexts, 8 sequences that use one each. */
  rig wide = rig_open(8, 64, 32), tight = rig_open_options(rig_options(8, 64, 32), 12);
  b.n = alone.n = 8;
  static int32_t prompts[8][8];
  for (int i = 0; i < 8; i++) {
    for (int j = 0; j < 8; j++) prompts[i][j] = 'a' + i * j;
    b.q[i] = ask(prompts[i], 8, 50);
    b.q[i].ignore_eos = true;
    b.q[i].prompt_logprobs = i % 2;
    b.q[i].sampling.temperature = i < 4 ? 0 : 1;
    b.q[i].sampling.seed = (uint64_t)i;
  }
  memcpy(alone.q, b.q, sizeof b.q);
  run_burst(&wide, &alone);
  fake_counts c = fake_take_counts();
  assert_int_equal(c.rows, 8 * (8 + 49));
  assert_int_equal(c.logits, 8 * 50 + 4 * 7);
  run_burst(&tight, &b);
  c = fake_take_counts();
  assert_true(c.rows > 8 * (8 + 49));         /* some were driven out and computed again, */
  assert_int_equal(c.logits, 8 * 50 + 4 * 7); /* but for their logits */
  for (int i = 0; i < 8; i++) {
    assert_int_equal(b.out[i].n, 50);
    assert_memory_equal(b.out[i].tokens, alone.out[i].tokens, 50 * sizeof(int32_t));
    assert_int_equal(b.out[i].n_prompt_events, i % 2);
    assert_memory_equal(b.out[i].prompt_logprobs, alone.out[i].prompt_logprobs, 8 * sizeof(float));
  }
  el_stats st;
  el_engine_stats(tight.engine, &st);
  assert_int_equal(st.kv_pages, 12);
  assert_int_equal(st.kv_pages_used, 0);
  el_engine_close(wide.engine);
  remove_tree(wide.dir);
  rig_close(&tight);
}

static void figures_add_up(void **state) {
  rig r = rig_open(3, 64, 16);
  result out[8];
  uint64_t ids[8];
  fake_hold();
  for (int i = 0; i < 8; i++) {
    result_init(&out[i]);
    el_request q = ASK(i < 6 ? 10 : -1, 'a', 'b', 'c');
    q.ignore_eos = true;
    ids[i] = rig_submit(&r, q, &out[i]);
    if (i) assert_true(ids[i] != ids[i - 1]);
  }
  el_stats st;
  el_engine_stats(r.engine, &st);
  assert_int_equal(st.requests_submitted, 8);
  assert_true(st.slots_busy <= 3 && st.slots_busy + st.queued <= 8);
  el_cancel(r.engine, ids[6]);
  el_cancel(r.engine, ids[7]);
  fake_release();
  for (int i = 0; i < 8; i++) result_wait(&out[i]);
  el_engine_stats(r.engine, &st);
  fake_counts c = fake_take_counts();
  assert_int_equal(st.requests_done, 6);
  assert_int_equal(st.requests_cancelled, 2);
  assert_int_equal(st.requests_failed, 0);
  assert_int_equal(st.steps, c.steps);
  assert_int_equal(st.rows, c.rows);
  int generated = 0;
  for (int i = 0; i < 8; i++) generated += out[i].n;
  assert_int_equal(st.generated_tokens, generated);
  assert_int_equal(st.slots_busy, 0);
  assert_int_equal(st.queued, 0);
  assert_int_equal(st.kv_pages_used, 0);
  assert_int_equal(st.page_tokens, EL_PAGE_TOKENS);
  assert_true(st.step_seconds > 0);
  rig_close(&r);
}

/* ------------------------------------------------------------ cancellation */

static void a_cancelled_request_ends_within_a_step_whatever_it_does(void **state) {
  static int32_t prompt[400];
  for (int i = 0; i < 400; i++) prompt[i] = 'a' + i % 26;
  rig r = rig_open(1, 512, 4);
  result running, prompting, queued, after;
  result_init(&running), result_init(&prompting), result_init(&queued), result_init(&after);
  fake.step_us = 2000;
  el_request q = ASK(-1, 'a');
  q.ignore_eos = true;
  uint64_t id = rig_submit(&r, q, &running);
  uint64_t waits = rig_submit(&r, q, &queued);
  result_wait_tokens(&running, 3);
  el_cancel(r.engine, waits);
  result_wait(&queued);
  assert_int_equal(queued.last.done.finish, EL_FINISH_CANCELLED);
  assert_int_equal(queued.n, 0);
  fake_hold();
  pthread_mutex_lock(&running.mutex);
  int n = running.n;
  pthread_mutex_unlock(&running.mutex);
  el_cancel(r.engine, id);
  fake.step_us = 20000;
  fake_release();
  result_wait(&running);
  assert_int_equal(running.last.done.finish, EL_FINISH_CANCELLED);
  assert_true(running.n <= n + 2); /* of the step that was ending, and of the one that had been made */
  fake_take_counts();
  id = rig_submit(&r, ask(prompt, 400, 5), &prompting);
  while (fake_take_counts().steps == 0) usleep(100);
  el_cancel(r.engine, id);
  result_wait(&prompting);
  assert_int_equal(prompting.last.done.finish, EL_FINISH_CANCELLED);
  assert_true(fake_take_counts().steps < 90); /* the whole prompt takes 100 */
  fake_hold();
  fake.step_us = 0;
  fake_release();
  el_cancel(r.engine, id); /* finished */
  el_cancel(r.engine, 123456789);
  rig_run(&r, ASK(3, 'a'), &after);
  assert_int_equal(after.last.done.finish, EL_FINISH_LENGTH);
  rig_close(&r);
}

static void cancel_self(result *r, const el_event *e) {
  if (e->type == EL_EVENT_TOKEN && r->n == 4) el_cancel(r->engine, e->request);
}

static void a_callback_can_cancel_its_own_request(void **state) {
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  out.hook = cancel_self;
  el_request q = ASK(-1, 'a');
  q.ignore_eos = true;
  rig_run(&r, q, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_CANCELLED);
  assert_int_equal(out.n, 4);
  rig_close(&r);
}

static void a_cancelled_request_gives_out_what_was_held_back(void **state) {
  static const int script[] = {HELLO, ST, 'x', 'y', 'z', -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  out.hook = cancel_self;
  el_request q = ASK(-1, 1);
  q.stop = (const char *const[]){"STxyz!"};
  q.n_stop = 1;
  rig_run(&r, q, &out);
  assert_true(result_text_is(&out, "helloSTxy"));
  rig_close(&r);
}

static void closing_ends_every_request_with_its_event(void **state) {
  rig r = rig_open(2, 500, 16);
  result out[6];
  fake.step_us = 1000;
  for (int i = 0; i < 6; i++) {
    result_init(&out[i]);
    el_request q = ASK(-1, 'a');
    q.ignore_eos = true;
    rig_submit(&r, q, &out[i]);
  }
  result_wait_tokens(&out[0], 1);
  rig_close(&r);
  for (int i = 0; i < 6; i++) {
    assert_int_equal(out[i].n_done, 1);
    assert_int_equal(out[i].last.done.finish, EL_FINISH_CANCELLED);
  }
}

static void submit_again(result *r, const el_event *e) {
  if (e->type != EL_EVENT_DONE) return;
  el_request q = ASK(1, 'a');
  el_error err;
  *(el_status *)r->context = el_submit(r->engine, &q, NULL, &err);
}

static void a_closing_engine_takes_no_requests(void **state) {
  rig r = rig_open(1, 500, 16);
  result out;
  el_status status = EL_OK;
  result_init(&out);
  out.hook = submit_again;
  out.context = &status;
  fake.step_us = 1000;
  el_request q = ASK(-1, 'a');
  q.ignore_eos = true;
  rig_submit(&r, q, &out);
  result_wait_tokens(&out, 1);
  rig_close(&r);
  assert_int_equal(status, EL_ERR_CLOSED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_gives_its_tokens_text_and_figures),
      cmocka_unit_test(generation_ends_at_max_tokens_or_when_the_context_is_full),
      cmocka_unit_test(with_no_tokens_wanted_only_the_prompt_is_computed),
      cmocka_unit_test(a_stop_string_ends_the_text_before_it_across_tokens),
      cmocka_unit_test(events_carry_whole_characters),
      cmocka_unit_test(the_end_token_ends_unless_it_is_ignored),
      cmocka_unit_test(prompt_log_probabilities_are_those_of_generation),
      cmocka_unit_test(logits_that_are_not_finite_fail_their_request_only),
      cmocka_unit_test(requests_with_different_adapters_take_the_steps_of_one),
      cmocka_unit_test(a_long_prompt_does_not_delay_tokens_of_others),
      cmocka_unit_test(prompts_are_taken_in_the_order_of_arrival),
      cmocka_unit_test(a_short_arena_gives_the_same_output_with_more_work),
      cmocka_unit_test(figures_add_up),
      cmocka_unit_test(a_cancelled_request_ends_within_a_step_whatever_it_does),
      cmocka_unit_test(a_callback_can_cancel_its_own_request),
      cmocka_unit_test(a_cancelled_request_gives_out_what_was_held_back),
      cmocka_unit_test(closing_ends_every_request_with_its_event),
      cmocka_unit_test(a_closing_engine_takes_no_requests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
