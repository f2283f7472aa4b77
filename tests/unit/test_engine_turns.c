/* Tenants take turns: whose request starts next, whose prompt has rows in a step, and who is let into a full queue. On
 * the fake model, turn by turn: nothing here depends on how fast anything is. */
#include "engine_fixture.h"
#include "random_request.h"

enum { MANY = 200 };

/* What a tenant's requests came to, in the order of their ends. */
typedef struct asked {
  uint64_t tenant;
  int n_tokens, n_done, started_as; /* its first token was that many'th of all first ones */
  el_event last;
} asked;

static struct {
  asked all[MANY];
  int n, n_started, n_done;
  int done[MANY]; /* indices, in order of their ends */
} log_;

static void note(const el_event *e) {
  asked *a = e->user;
  if (e->type == EL_EVENT_TOKEN && !a->n_tokens++) a->started_as = ++log_.n_started;
  if (e->type != EL_EVENT_DONE) return;
  a->n_done++;
  a->last = *e;
  log_.done[log_.n_done++] = (int)(a - log_.all);
}

static rig open_by_hand(int n_slots, int ctx, int step_rows, int max_queue) {
  rig r;
  el_error err;
  el_engine_options o = rig_options(n_slots, ctx, step_rows);
  o.max_queue = max_queue;
  o.prefix_cache = false; /* all cost what they are long */
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  const el_pool_setup pool = {.n_blocks = 4096, .pages_per_block = 1, .by_hand = true};
  if (el_engine_open_pool(&o, pool, &r.engine, &err)) fail_msg("%s", err.message);
  memset(&log_, 0, sizeof log_);
  return r;
}

static el_status submit_weighed(rig *r, uint64_t tenant, int weight, int n_prompt, int max_tokens) {
  static int32_t prompt[512];
  for (int i = 0; i < n_prompt; i++) prompt[i] = 'a' + i % 26;
  asked *a = &log_.all[log_.n];
  *a = (asked){.tenant = tenant};
  el_request q = ask(prompt, (size_t)n_prompt, max_tokens);
  q.tenant = tenant;
  q.weight = weight;
  q.ignore_eos = true;
  q.on_event = note;
  q.user = a;
  el_error err;
  el_status status = el_submit(r->engine, &q, NULL, &err);
  log_.n += !status;
  return status;
}

static int submit(rig *r, uint64_t tenant, int n_prompt, int max_tokens) {
  assert_int_equal(submit_weighed(r, tenant, 0, n_prompt, max_tokens), EL_OK);
  return log_.n - 1;
}

static void run_all(rig *r) {
  while (log_.n_done < log_.n) assert_true(el_loop_turn(r->engine) || log_.n_done == log_.n);
}

static int n_done_of(uint64_t tenant, int among) {
  int n = 0;
  for (int i = 0; i < among; i++) n += log_.all[log_.done[i]].tenant == tenant;
  return n;
}

/* ---------------------------------------------------------------- who is next */

static void one_tenants_requests_start_in_order_of_arrival(void **state) {
  rig r = open_by_hand(1, 64, 16, 100);
  for (int i = 0; i < 20; i++) submit(&r, 5, 1 + i * 7 % 11, 1 + i % 3);
  run_all(&r);
  for (int i = 0; i < 20; i++) assert_int_equal(log_.done[i], i);
  rig_close(&r);
}

/* The bound: what runs, then one request of each other tenant. */
static void a_tenants_first_request_is_behind_one_of_each_other_tenant(void **state) {
  enum { OTHERS = 5 };
  rig r = open_by_hand(2, 64, 16, 200);
  for (int i = 0; i < 30; i++)
    for (int t = 1; t <= OTHERS; t++) submit(&r, (uint64_t)t, 1 + (i + t) % 9, 1 + (i * t) % 5);
  for (int i = 0; i < 40; i++) el_loop_turn(r.engine);
  const int before = log_.n_started, running = r.engine->scheduler.n_running;
  assert_true(before < log_.n / 2); /* most wait */
  const int mine = submit(&r, 77, 3, 2);
  run_all(&r);
  assert_true(log_.all[mine].started_as <= before + running + OTHERS + 1);
  rig_close(&r);
}

/* However much one asks for at once, and with slots that all are its own. */
static void five_hundred_requests_of_one_tenant_hold_up_nobody(void **state) {
  enum { N = 150 }; /* of 3 rows and more each: what they are is not what counts */
  rig r = open_by_hand(4, 64, 16, 1000);
  for (int i = 0; i < N; i++) submit(&r, 1, 3, 10 + i % 4);
  for (int i = 0; i < 5; i++) el_loop_turn(r.engine);
  assert_int_equal(r.engine->scheduler.n_running, 4);
  const int first = submit(&r, 2, 3, 10), ended = log_.n_done;
  while (!log_.all[first].n_tokens) el_loop_turn(r.engine);
  assert_true(log_.n_done - ended <=
              4); /* the slots that become free first: no second one of the other's started since */
  assert_true(log_.all[first].started_as <= 4 + 1);
  run_all(&r);
  rig_close(&r);
}

/* With as many waiting, each has as many rows as another, whatever its requests look like. */
static void tenants_have_rows_by_their_weights(void **state) {
  static const struct {
    uint64_t tenant;
    int weight, n_prompt, max_tokens, n;
  } kinds[] = {{1, EL_WEIGHT_NORMAL, 20, 4, 60}, {2, EL_WEIGHT_NORMAL, 2, 10, 100}, {3, EL_WEIGHT_HIGH, 4, 8, 30}};
  rig r = open_by_hand(1, 64, 16, 1000);
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < kinds[k].n; i++)
      assert_int_equal(submit_weighed(&r, kinds[k].tenant, kinds[k].weight, kinds[k].n_prompt, kinds[k].max_tokens), 0);
  while (n_done_of(3, log_.n_done) < 30) el_loop_turn(r.engine); /* until one has no more */
  /* 30 of 12 rows for the heavy one; a quarter of that for each other one, but for a request of its own and one of the
   * heavy one's. */
  const int rows1 = 24 * n_done_of(1, log_.n_done), rows2 = 12 * n_done_of(2, log_.n_done);
  assert_true(rows1 >= 90 - 24 - 12 && rows1 <= 90 + 24 + 12);
  assert_true(rows2 >= 90 - 12 - 12 && rows2 <= 90 + 12 + 12);
  run_all(&r);
  rig_close(&r);
}

/* Who was away has saved nothing up, and whoever used the machine alone owes nothing for it. */
static void being_idle_saves_nothing_up(void **state) {
  rig r = open_by_hand(1, 64, 16, 1000);
  submit(&r, 2, 4, 4);
  for (int i = 0; i < 60; i++) submit(&r, 1, 4, 4);
  run_all(&r);
  const int before = log_.n_done;
  for (int i = 0; i < 20; i++) submit(&r, 1, 4, 4);
  for (int i = 0; i < 20; i++) submit(&r, 2, 4, 4);
  while (log_.n_done < before + 20) el_loop_turn(r.engine);
  int ones = 0;
  for (int i = before; i < before + 20; i++) ones += log_.all[log_.done[i]].tenant == 1;
  assert_true(ones >= 9 && ones <= 11);
  run_all(&r);
  rig_close(&r);
}

/* What had a slot goes on first, though its tenant has had more: a preempted one's pages were wanted by others. */
static void who_lost_its_pages_goes_before_tenants_who_have_not_begun(void **state) {
  el_error err;
  rig r;
  el_engine_options o = rig_options(2, 96, 16);
  o.prefix_cache = false;
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  if (el_engine_open_pool(&o, (el_pool_setup){.n_blocks = 8, .pages_per_block = 1, .by_hand = true}, &r.engine, &err))
    fail_msg("%s", err.message);
  memset(&log_, 0, sizeof log_);
  const int old = submit(&r, 1, 30, 60), young = submit(&r, 1, 30, 60);
  while (log_.n_started < 2) el_loop_turn(r.engine);
  const int other = submit(&r, 2, 1, 5);
  while (!r.engine->scheduler.n_preempted) assert_true(el_loop_turn(r.engine));
  while (!log_.n_done) {
    assert_int_equal(log_.all[other].n_tokens, 0);
    el_loop_turn(r.engine);
  }
  run_all(&r);
  assert_int_equal(log_.done[0], old);
  assert_true(log_.all[young].last.done.completion_tokens == 60 && log_.all[other].last.done.completion_tokens == 5);
  rig_close(&r);
}

/* ---------------------------------------------------------------- a step's rows */

/* The fake model looks at all that is before a row: what takes 3 s takes half a minute under a sanitizer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LONG = 8192 };
#else
enum { LONG = 32768 };
#endif

/* However long it is: whoever generates has a token in each step, as before. */
static void a_long_prompt_of_another_tenant_takes_nobodys_row(void **state) {
  enum { ROWS = 512 };
  rig r;
  el_error err;
  el_engine_options o = rig_options(4, LONG + 64, ROWS);
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  if (el_engine_open_pool(&o, (el_pool_setup){.n_blocks = 4096, .pages_per_block = 1, .by_hand = true}, &r.engine,
                          &err))
    fail_msg("%s", err.message);
  memset(&log_, 0, sizeof log_);
  const int mine[2] = {submit(&r, 1, 5, 400), submit(&r, 3, 5, 400)};
  while (log_.n_started < 2) el_loop_turn(r.engine);
  static int32_t prompt[LONG];
  for (int i = 0; i < LONG; i++) prompt[i] = 'a' + i % 26;
  asked *lng = &log_.all[log_.n++];
  *lng = (asked){.tenant = 2};
  el_request q = ask(prompt, LONG, 2);
  q.tenant = 2;
  q.on_event = note;
  q.user = lng;
  assert_int_equal(el_submit(r.engine, &q, NULL, &err), EL_OK);
  int late = -1, steps = 0, late_after = 0;
  for (; !lng->n_tokens; steps++) {
    const int before[2] = {log_.all[mine[0]].n_tokens, log_.all[mine[1]].n_tokens};
    assert_true(el_loop_turn(r.engine));
    for (int i = 0; i < 2; i++) assert_int_equal(log_.all[mine[i]].n_tokens, before[i] + 1);
    if (steps == 10) late = submit(&r, 4, 200, 3); /* nor does the first token of another one wait for its end */
    if (late >= 0 && !log_.all[late].n_tokens) late_after++;
  }
  assert_true(steps >= LONG / ROWS);
  assert_true(late_after <= 2);
  run_all(&r);
  rig_close(&r);
}

static void rows_are_divided_by_weight_and_none_is_left(void **state) {
  uint64_t rng = 7;
  for (int round = 0; round < 20000; round++) {
    el_flow flows[8] = {0}, *list[8];
    const int n = 1 + (int)(next_random(&rng) % 8), rows = (int)(next_random(&rng) % 300);
    int wanted = 0, shared = 0, weights = 0;
    for (int i = 0; i < n; i++) {
      list[i] = &flows[i];
      flows[i].want = 1 + (int)(next_random(&rng) % 200);
      atomic_store(&flows[i].weight, 1 + (int)(next_random(&rng) % EL_MAX_WEIGHT));
      wanted += flows[i].want;
      weights += atomic_load(&flows[i].weight);
    }
    el_turns_share(list, n, rows);
    for (int i = 0; i < n; i++) {
      const int share = flows[i].share, fair = rows * atomic_load(&flows[i].weight) / weights;
      assert_true(share >= 0 && share <= flows[i].want);
      assert_true(share >= (fair < flows[i].want ? fair : flows[i].want));
      shared += share;
    }
    assert_int_equal(shared, wanted < rows ? wanted : rows);
    assert_true(!rows || flows[0].share > 0);
  }
}

/* ---------------------------------------------------------------- the queue */

static void a_full_queue_refuses_no_other_tenants_first_requests(void **state) {
  rig r = open_by_hand(2, 64, 16, 4);
  for (int i = 0; i < 6; i++) submit(&r, 1, 2, 30);
  assert_int_equal(submit_weighed(&r, 1, 0, 2, 2), EL_ERR_BUSY);
  for (uint64_t t = 2; t <= 4; t++) { /* as many as there are slots, up to twice the limit in all */
    submit(&r, t, 2, 2);
    submit(&r, t, 2, 2);
    assert_int_equal(submit_weighed(&r, t, 0, 2, 2), EL_ERR_BUSY);
  }
  for (uint64_t t = 5; t <= 20; t++) { /* then each tenant's first */
    submit(&r, t, 2, 2);
    assert_int_equal(submit_weighed(&r, t, 0, 2, 2), EL_ERR_BUSY);
  }
  assert_int_equal(submit_weighed(&r, 1, 0, 2, 2), EL_ERR_BUSY);
  run_all(&r);
  submit(&r, 1, 2, 2);
  run_all(&r);
  rig_close(&r);
}

static void a_weight_is_between_its_limits(void **state) {
  rig r = open_by_hand(1, 64, 16, 4);
  assert_int_equal(submit_weighed(&r, 1, -1, 2, 2), EL_ERR_INVALID);
  assert_int_equal(submit_weighed(&r, 1, EL_MAX_WEIGHT + 1, 2, 2), EL_ERR_INVALID);
  assert_int_equal(submit_weighed(&r, 1, EL_MAX_WEIGHT, 2, 2), EL_OK);
  run_all(&r);
  rig_close(&r);
}

static int count_flows(const el_engine *e) {
  int n = 0;
  for (int i = 0; i < EL_FLOW_BUCKETS; i++)
    for (const el_flow *f = e->flows.buckets[i]; f; f = f->table_next) n++;
  return n;
}

/* What is remembered of tenants that have gone is bounded, and nothing is once nobody is there. */
static void tenants_that_come_and_go_leave_nothing_behind(void **state) {
  enum { COME = 3 * EL_MAX_IDLE_FLOWS / 2 };
  rig r = open_by_hand(2, COME + 64, 16, 4);
  const int stays = submit(&r, 1, 1, COME + 10);
  for (int i = 0; i < COME; i++) {
    log_.n = 1;
    submit(&r, 1000 + (uint64_t)i * 7919, 9, 1);
    while (!log_.all[1].n_done) el_loop_turn(r.engine);
    assert_int_equal(log_.all[stays].n_done, 0);
    log_.n_done = 0;
  }
  assert_int_equal(r.engine->flows.n_idle, EL_MAX_IDLE_FLOWS);
  assert_int_equal(count_flows(r.engine), EL_MAX_IDLE_FLOWS + 1);
  while (!log_.all[stays].n_done) el_loop_turn(r.engine);
  assert_int_equal(count_flows(r.engine), 0);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_tenants_requests_start_in_order_of_arrival),
      cmocka_unit_test(a_tenants_first_request_is_behind_one_of_each_other_tenant),
      cmocka_unit_test(five_hundred_requests_of_one_tenant_hold_up_nobody),
      cmocka_unit_test(tenants_have_rows_by_their_weights),
      cmocka_unit_test(being_idle_saves_nothing_up),
      cmocka_unit_test(who_lost_its_pages_goes_before_tenants_who_have_not_begun),
      cmocka_unit_test(a_long_prompt_of_another_tenant_takes_nobodys_row),
      cmocka_unit_test(rows_are_divided_by_weight_and_none_is_left),
      cmocka_unit_test(a_full_queue_refuses_no_other_tenants_first_requests),
      cmocka_unit_test(a_weight_is_between_its_limits),
      cmocka_unit_test(tenants_that_come_and_go_leave_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
