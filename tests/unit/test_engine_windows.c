/* What a window is worth: pages of windowed layers are given back when no row can reach them, so more and longer
 * sequences fit. On the fake model, whose rows check that all pages that they reach have what their own sequence put
 * there; an engine without windowed pages says what the answer is. */
#include "arch/arch.h"
#include "engine_fixture.h"
#include "kernels/select.h"

enum { CTX = 256, PAGE = EL_PAGE_TOKENS, ROWS = 16 };

static int32_t text[CTX];

/* One windowed page in a block, three of the others. */
static rig open_windowed(int window, int n_slots, uint32_t n_blocks) {
  rig r;
  el_error err;
  el_engine_options o = rig_options(n_slots, CTX, ROWS);
  fake.window = window;
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  if (el_engine_open_pool(&o, (el_pool_setup){n_blocks, 3, 0, false, 1}, &r.engine, &err)) fail_msg("%s", err.message);
  fake_take_counts();
  return r;
}

static el_request ask_for(const int32_t *prompt, size_t n, int max_tokens) {
  el_request q = ask(prompt, n, max_tokens);
  q.ignore_eos = true;
  return q;
}

/* Rows that a request took. */
static int run(rig *r, const int32_t *prompt, size_t n, int max_tokens, result *out) {
  result_init(out);
  fake_take_counts();
  rig_run(r, ask_for(prompt, n, max_tokens), out);
  assert_int_equal(out->last.done.finish, EL_FINISH_LENGTH);
  return fake_take_counts().rows;
}

static result a, b;

/* The same from an engine that has one kind of pages and gives none back. */
static void assert_answer(const result *got, const int32_t *prompt, size_t n, int max_tokens) {
  static result want;
  const int window = fake.window;
  rig r = open_windowed(0, 1, 0);
  run(&r, prompt, n, max_tokens, &want);
  assert_int_equal(got->n, want.n);
  assert_memory_equal(got->tokens, want.tokens, (size_t)want.n * sizeof *want.tokens);
  rig_close(&r);
  fake.window = window;
}

static int most_windowed(const rig *r) {
  return r->engine->memory.layout.most_windowed;
}

static void watch(result *r, const el_event *event) {
  int *most = r->context, now = (int)atomic_load(&r->engine->memory.count.windowed_used);
  if (event->type == EL_EVENT_TOKEN && now > *most) *most = now;
}

static void a_long_sequence_has_the_windowed_pages_of_its_window(void **state) {
  static const int windows[] = {1, 5, 16, 20, 40};
  for (int i = 0; i < 5; i++) {
    rig r = open_windowed(windows[i], 1, 100);
    int most = 0;
    result_init(&a);
    a.hook = watch;
    a.context = &most;
    rig_run(&r, ask_for(text, 120, 136), &a);
    assert_int_equal(a.last.done.finish, EL_FINISH_LENGTH);
    assert_true(most > 0 && most <= (windows[i] + ROWS) / PAGE + 2 && most <= most_windowed(&r));
    assert_answer(&a, text, 120, 136);
    rig_close(&r);
  }
}

/* As many as hold `blocks` when all pages stay; all of them at once when a window of 20 passes. */
static void more_sequences_fit_side_by_side(void **state) {
  enum { N = 4, TOKENS = 13 * PAGE };
  static result out[N];
  for (int window = 20; window <= CTX; window += CTX - 20) {
    rig r = open_windowed(window, N, N * (5 + 4)); /* 13 pages each, 4 windowed ones at most: with 20 and 16 rows */
    fake_hold();
    for (int i = 0; i < N; i++) {
      result_init(&out[i]);
      text[0] = 'A' + i;
      rig_submit(&r, ask_for(text, TOKENS - 100, 100), &out[i]);
    }
    fake_release();
    for (int i = 0; i < N; i++) result_wait(&out[i]);
    assert_int_equal(rig_stats(&r).preemptions > 0, window == CTX);
    for (int i = 0; i < N; i++) {
      text[0] = 'A' + i;
      assert_answer(&out[i], text, TOKENS - 100, 100);
    }
    rig_close(&r);
  }
}

static void a_longer_context_fits_the_same_memory(void **state) {
  el_budget plan[2];
  el_error err;
  const el_kernels *k;
  el_engine_options o = rig_options(4, 0, ROWS);
  const el_hparams h = {.arch = el_arch_find((el_str){"llama", 5}),
                        .n_layers = 2,
                        .n_embd = 32,
                        .n_ff = 32,
                        .n_head = 1,
                        .n_head_kv = 1,
                        .head_dim = 32,
                        .n_vocab = 100,
                        .ctx_train = 1 << 20};
  const el_kv_shape shapes[2] = {{.full_bytes = 18 << 14},
                                 {.full_bytes = 3 << 14, .windowed_bytes = 15 << 14, .window = 512}};
  assert_int_equal(el_kernels_get("scalar", &k, &err), EL_OK);
  o.memory_bytes = (uint64_t)64 << 20;
  o.ctx_size = 3000; /* as without a size, it would be the most that fits */
  for (int i = 0; i < 2; i++)
    if (el_budget_plan(&o, &h, &shapes[i], k, &plan[i], &err)) fail_msg("%s", err.message);
  const uint64_t of_one = el_kv_layout_most(&plan[0].layout, plan[0].n_blocks - plan[0].reserve),
                 of_two = el_kv_layout_most(&plan[1].layout, plan[1].n_blocks - plan[1].reserve);
  assert_in_range(of_one, 210, 228);   /* 64 MiB of 288 KiB */
  assert_in_range(of_two, 1000, 1365); /* of 48 KiB, and some 36 pages of 240 KiB */
  o.ctx_size = (int)of_two * PAGE;
  assert_int_equal(el_budget_plan(&o, &h, &shapes[1], k, &plan[1], &err), EL_OK);
  o.ctx_size++;
  assert_int_equal(el_budget_plan(&o, &h, &shapes[1], k, &plan[1], &err), EL_ERR_INVALID);
  assert_contains(err.message, "ctx_size");
}

static void a_second_turn_finds_the_first_one_and_its_answer(void **state) {
  rig r = open_windowed(20, 2, 100);
  run(&r, text, 37, 140, &a);
  int32_t turn[CTX];
  memcpy(turn, text, 37 * sizeof *turn);
  memcpy(turn + 37, a.tokens, 140 * sizeof *turn);
  for (int i = 177; i < 190; i++) turn[i] = 'q';
  assert_int_equal(run(&r, turn, 190, 5, &b), 190 - 11 * PAGE + 4);
  assert_int_equal(b.last.done.cached_tokens, 11 * PAGE);
  assert_answer(&b, turn, 190, 5);
  rig_close(&r);
}

static void evict_windowed(rig *r, uint32_t n) {
  /* Nothing runs, and the engine thread sleeps. */
  while (n--) el_prefix_evict_windowed(&r->engine->memory.prefix);
}

/* Of 12 pages, a window of 20 wants the last 2, or 3 where it reaches further. */
static void a_prefix_is_found_as_far_as_its_windows_are(void **state) {
  rig r = open_windowed(20, 2, 100);
  el_prefix *p = &r.engine->memory.prefix;
  run(&r, text, 12 * PAGE + 1, 1, &a);
  assert_int_equal(p->n_cached, 12);
  const uint32_t n_passed = p->idle_windowed[true].n, n_last = p->idle_windowed[false].n;
  assert_int_equal(n_passed + n_last, 12);
  assert_int_equal(n_last, 12 - el_window_begin(12 * PAGE + 1, 20));
  /* They part anywhere: all windows are there. */
  assert_int_equal(run(&r, text, 7 * PAGE + 1, 1, &b), 1);
  /* The oldest go: those of the first pages, which no window reaches that is behind them. */
  evict_windowed(&r, 4);
  assert_int_equal(p->n_cached, 12);
  assert_int_equal(run(&r, text, 12 * PAGE + 1, 1, &b), 1);
  assert_memory_equal(a.tokens, b.tokens, sizeof *a.tokens);
  assert_answer(&b, text, 12 * PAGE + 1, 1);
  /* Without any, all is computed, and is then there again: the full pages were there all the time. */
  evict_windowed(&r, r.engine->memory.windowed.n_idle);
  assert_int_equal(p->n_cached, 12);
  assert_int_equal(run(&r, text, 12 * PAGE + 1, 1, &b), 12 * PAGE + 1);
  assert_int_equal(b.last.done.cached_tokens, 0);
  assert_memory_equal(a.tokens, b.tokens, sizeof *a.tokens);
  assert_int_equal(p->n_cached, 12);
  assert_int_equal(run(&r, text, 12 * PAGE + 1, 1, &b), 1);
  /* What a prefix wants is there for it, and for others as far as it goes. */
  evict_windowed(&r, p->idle_windowed[true].n);
  assert_int_equal(run(&r, text, 12 * PAGE + 1, 1, &b), 1);
  assert_int_equal(run(&r, text, 9 * PAGE + 1, 1, &b), 9 * PAGE + 1);
  assert_int_equal(run(&r, text, 9 * PAGE + 1, 1, &b), 1);
  rig_close(&r);
}

/* In a pool that is full, what the window has passed goes before whole conversations. */
static void windowed_pages_that_were_passed_go_first(void **state) {
  enum { N = 6 };
  int32_t chat[N][CTX];
  rig r = open_windowed(20, 1, 62);
  for (int i = 0; i < N; i++) {
    memcpy(chat[i], text, sizeof chat[i]);
    chat[i][0] = 'A' + i;
    run(&r, chat[i], 12 * PAGE + 1, 2, &a); /* 12 pages: 4 blocks, and 12 if all of the windowed ones stayed */
  }
  for (int i = 0; i < N; i++) assert_int_equal(run(&r, chat[i], 12 * PAGE + 1, 1, &a), 1);
  rig_close(&r);
}

static void a_sequence_that_was_driven_out_finds_its_own_pages(void **state) {
  static result old, young;
  rig r = open_windowed(20, 2, 11);
  fake.step_us = 200;
  result_init(&old);
  rig_submit(&r, ask_for(text, 60, 120), &old); /* 12 pages in the end: 4 blocks, and 4 */
  result_wait_tokens(&old, 1);
  int32_t other[CTX];
  for (int i = 0; i < CTX; i++) other[i] = 'A' + i % 26;
  result_init(&young);
  rig_submit(&r, ask_for(other, 40, 100), &young);
  result_wait(&old);
  result_wait(&young);
  assert_true(rig_stats(&r).preemptions >= 1);
  assert_int_equal(old.last.done.cached_tokens + young.last.done.cached_tokens, 0); /* nobody else had computed them */
  assert_answer(&old, text, 60, 120);
  assert_answer(&young, other, 40, 100);
  rig_close(&r);
}

/* The pool holds one whole context, and no block more: whatever sequences have left where, the last one comes to its
 * end. */
static void pages_that_lie_scattered_stop_nobody(void **state) {
  enum { N = 6 };
  static result out[N];
  const el_kv_shape shape = {.full_bytes = 64, .windowed_bytes = 64, .window = 20};
  const el_kv_layout l = el_kv_layout_of(&shape, 3, 1, ROWS);
  rig r = open_windowed(20, N, (uint32_t)el_kv_layout_blocks(&l, CTX / PAGE));
  for (int turn = 0; turn < 4; turn++) {
    fake_hold();
    for (int i = 0; i < N; i++) {
      result_init(&out[i]);
      text[0] = 'A' + i + turn;
      rig_submit(&r, ask_for(text, 10 + (size_t)(i * 17 + turn), 200 - i * 17), &out[i]);
    }
    fake_release();
    for (int i = 0; i < N; i++) {
      result_wait(&out[i]);
      text[0] = 'A' + i + turn;
      assert_answer(&out[i], text, 10 + (size_t)(i * 17 + turn), 200 - i * 17);
    }
  }
  rig_close(&r);
}

int main(void) {
  for (int i = 0; i < CTX; i++) text[i] = 'a' + i * i % 23;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_long_sequence_has_the_windowed_pages_of_its_window),
      cmocka_unit_test(more_sequences_fit_side_by_side),
      cmocka_unit_test(a_longer_context_fits_the_same_memory),
      cmocka_unit_test(a_second_turn_finds_the_first_one_and_its_answer),
      cmocka_unit_test(a_prefix_is_found_as_far_as_its_windows_are),
      cmocka_unit_test(windowed_pages_that_were_passed_go_first),
      cmocka_unit_test(a_sequence_that_was_driven_out_finds_its_own_pages),
      cmocka_unit_test(pages_that_lie_scattered_stop_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
