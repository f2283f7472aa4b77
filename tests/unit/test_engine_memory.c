/* The engine with each of its allocations failing in turn: an error that says so, no crash, no leak, and others are
 * served on. The linker sends the allocations of the project's own code here (-Wl,--wrap). */
#include "engine_fixture.h"
#include "failing_memory.h"

static void an_engine_that_cannot_be_opened_says_so(void **state) {
  char dir[64], path[128];
  fake_write_model(dir, path);
  for (int all = 0; all < 2; all++)
    for (int n = 0;; n++) {
      el_engine_options o = rig_options(2, 64, 16);
      o.speculate = 4;
      o.n_threads = 2;
      o.model_path = path;
      el_engine *e = NULL;
      el_error err = {0};
      fail_after(n, all);
      el_status status = el_engine_open(&o, &e, &err);
      bool failed = stop_failing();
      el_engine_close(e);
      if (!failed) {
        assert_int_equal(status, EL_OK);
        assert_true(n > 20);
        break;
      }
      assert_null(e);
      if (status != EL_ERR_NO_MEMORY) fail_msg("allocation %d: %s: %s", n, el_status_name(status), err.message);
      assert_true(strlen(err.message) > 0);
    }
  remove_tree(dir);
}

static const int script[] = {0xe2, 0x82, FAKE_WORD, 'S', 'T', 'x', FAKE_WORD + 1, -1};

static el_request ask_for_all(void) {
  static const int32_t prompt[] = {1};
  static const char *const stop[] = {"STOP"};
  static const el_logit_bias bias[] = {{'z', -1}};
  el_request q = el_request_default();
  q.prompt = prompt;
  q.n_prompt = 1;
  q.adapter.name = "a";
  q.stop = stop;
  q.n_stop = 1;
  q.sampling.logit_bias = bias;
  q.sampling.n_logit_bias = 1;
  static const int32_t stop_tokens[] = {'y', 'w'}, shown_tokens[] = {FAKE_EOS};
  q.stop_tokens = stop_tokens;
  q.n_stop_tokens = 2;
  q.shown_tokens = shown_tokens;
  q.n_shown_tokens = 1;
  q.min_tokens = 1;
  q.logprobs = q.prompt_logprobs = true;
  q.top_logprobs = q.prompt_top_logprobs = 3;
  return q;
}

static void no_memory(el_status status, const el_error *err) {
  if (status != EL_ERR_NO_MEMORY) fail_msg("%s: %s", el_status_name(status), err->message);
}

static void check(const result *r) {
  if (r->last.done.finish == EL_FINISH_ERROR)
    no_memory(r->last.done.error.code, &r->last.done.error);
  else
    assert_true(result_text_is(r, "\xef\xbf\xbdhelloSTx world"));
}

/* An adapter comes, a request with a callback and one without run, all with allocation n failing. */
static bool session(rig *r, int n, bool all) {
  static result called, polled;
  result_init(&called), result_init(&polled);
  el_error err = {0};
  uint64_t id;
  fail_after(n, all);
  el_status status = el_adapter_add_random(r->engine, "a", 1, 1, &err);
  if (status) {
    no_memory(status, &err);
    bool failed = stop_failing();
    assert_true(failed);
    return true;
  }
  el_request q = ask_for_all();
  q.on_event = result_on_event;
  q.user = &called;
  called.engine = r->engine;
  status = el_submit(r->engine, &q, &id, &err);
  if (status)
    no_memory(status, &err);
  else
    result_wait(&called);
  bool ran = !status;
  q.on_event = NULL;
  status = el_submit(r->engine, &q, &id, &err);
  if (status) no_memory(status, &err);
  for (el_event e; !status && !polled.n_done;) {
    assert_int_equal(el_next_event(r->engine, id, -1, &e), EL_OK);
    result_take(&polled, &e);
  }
  el_adapter_info *list = NULL;
  size_t n_list;
  el_status listed = el_adapter_list(r->engine, &list, &n_list, &err);
  if (listed) no_memory(listed, &err);
  bool failed = stop_failing();
  el_free(list);
  if (ran) check(&called);
  if (!status) check(&polled);
  if (!failed) assert_true(ran && !status && !listed && !called.last.done.error.code && !polled.last.done.error.code);
  assert_int_equal(el_adapter_remove(r->engine, "a", &err), EL_OK);
  return failed;
}

static void a_failed_allocation_costs_its_request_only(void **state) {
  fake.scripts[1] = script;
  el_engine_options o = rig_options(2, 64, 16);
  o.speculate = 4;
  rig r = rig_open_options(o, 0);
  for (int all = 0; all < 2; all++) {
    int n = 0;
    while (session(&r, n, all)) n++;
    assert_true(n > 15);
    el_stats st;
    el_engine_stats(r.engine, &st);
    assert_int_equal(st.kv_pages_used, 0);
    assert_int_equal(st.slots_busy + st.queued, 0);
  }
  rig_close(&r);
}

static int allocations_of(rig *r, int max_tokens) {
  static const int32_t prompt[] = {'a', 'b'};
  static const char *const stop[] = {"hello hello hello"}; /* begins often, never comes */
  result out;
  result_init(&out);
  el_request q = ask_for_all();
  q.prompt = prompt;
  q.n_prompt = 2;
  q.adapter.name = NULL;
  q.stop = stop;
  q.n_stop_tokens = 0; /* what is drawn are hashes */
  q.max_tokens = max_tokens;
  q.ignore_eos = true;
  fail_after(INT32_MAX, false);
  rig_run(r, q, &out);
  assert_int_equal(out.n, max_tokens);
  return INT32_MAX - atomic_load(&allocations_left);
}

static void a_token_takes_no_allocation(void **state) {
  rig r = rig_open(2, 200, 16);
  assert_int_equal(allocations_of(&r, 5), allocations_of(&r, 190));
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_engine_that_cannot_be_opened_says_so),
      cmocka_unit_test(a_failed_allocation_costs_its_request_only),
      cmocka_unit_test(a_token_takes_no_allocation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
