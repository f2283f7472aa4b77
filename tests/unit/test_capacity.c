/* The simulation of edgelora-bench plan on cases whose outcome is known, and its files. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "arch/arch.h"
#include "bench/load/summary.h"
#include "bench/plan/balance.h"
#include "bench/plan/shapes.h"
#include "bench/plan/sim.h"
#include "bytes.h"

static void ok(el_status status, const el_error *err) {
  if (status) fail_msg("%s", err->message);
}

extern const el_arch el_arch_llama;

/* A step takes 10 ms, whatever it has; nothing else takes any time. */
static const el_costs plain = {.model = "m",
                               .cpu = "c",
                               .isa = "i",
                               .cores = 2,
                               .threads = 1,
                               .shape = {.arch = &el_arch_llama,
                                         .n_layers = 2,
                                         .n_embd = 64,
                                         .n_ff = 128,
                                         .n_head = 2,
                                         .n_head_kv = 1,
                                         .head_dim = 32,
                                         .n_vocab = 1000,
                                         .ctx_train = 4096},
                               .kv_type = "f16",
                               .adapter_type = "q8",
                               .kv = {.full_bytes = 4096},
                               .rank = 8,
                               .weight_bytes = 1000,
                               .started_bytes = 2000,
                               .adapter = {.n_blocks = 1, .rank = 8, .bytes = 500},
                               .rows = {{.rows = 1, .base = 0.01}, {.rows = 128, .base = 0.01}},
                               .n_rows = 2,
                               .slow_beside = 1,
                               .slow_queued = 1};

static el_sim_options options(const el_costs *c, int n_slots, uint32_t n_blocks, int n_adapters) {
  return (el_sim_options){.costs = c,
                          .budget = {.n_blocks = n_blocks,
                                     .layout = {.block_bytes = 64 * 64, .per_block = 64},
                                     .reserve = n_adapters > 0,
                                     .ctx_size = 1024},
                          .n_slots = n_slots,
                          .step_rows = 128,
                          .max_queue = 1 << 20,
                          .n_adapters = n_adapters,
                          .adapter_blocks = 1,
                          .seed = 1};
}

typedef struct outcome {
  el_load_log log;
  el_sim_result result;
  el_load_summary summary;
} outcome;

static outcome run(const el_sim_options *o, const el_sim_load *load) {
  el_sim *sim;
  el_error err;
  outcome out = {.log = {.n = 0}};
  ok(el_sim_new(o, &sim, &err), &err);
  ok(el_sim_run(sim, load, &out.log, &out.result, &err), &err);
  el_sim_free(sim);
  assert_true(el_load_summarize(&out.log, out.result.seconds, 6, &out.summary));
  return out;
}

static void near(double got, double want, double relative) {
  if (fabs(got - want) > relative * fabs(want)) fail_msg("%.9g, expected %.9g", got, want);
}

static el_load_item item(double at, int adapter, int n_in, int n_out) {
  return (el_load_item){at, adapter, n_in, n_out};
}

/* ---- time */

static void alone_a_request_takes_its_steps(void **state) {
  const el_load_item items[] = {item(1, EL_LOAD_BASE, 100, 10), item(5, EL_LOAD_BASE, 300, 1)};
  const el_sim_options o = options(&plain, 4, 8, 0);
  outcome out = run(&o, &(el_sim_load){.items = items, .n = 2, .drain = true});
  assert_int_equal(out.summary.done, 2);
  /* The prompt's step gives the first of 10 tokens; 300 tokens are three steps of 128 rows at most. */
  near(out.log.records[0].first - out.log.records[0].at, 0.01, 1e-6);
  near(out.log.records[0].done - out.log.records[0].at, 0.10, 1e-6);
  near(out.log.records[1].done - out.log.records[1].at, 0.03, 1e-6);
  assert_int_equal(out.result.steps, 13);
  near(out.result.seconds, 5.03, 1e-6);
  el_load_log_free(&out.log);
}

static void a_saturated_slot_answers_one_request_a_service_time(void **state) {
  el_load_workload w;
  el_error err;
  const el_load_spec spec = {.without = EL_LOAD_BASE, .in_min = 8, .in_max = 8, .out_min = 10, .out_max = 10};
  ok(el_load_workload_init(&w, &spec, &err), &err);
  for (int slots = 1; slots <= 4; slots *= 2) {
    const el_sim_options o = options(&plain, slots, 8, 0);
    outcome out = run(&o, &(el_sim_load){.workload = &w, .clients = 8, .duration = 100, .drain = true});
    near(out.summary.requests_per_second, 10.0 * slots, 0.01); /* rows of a step cost nothing here */
    near(out.result.step_seconds, out.result.seconds, 1e-6);
    near(out.result.full_seconds, out.result.seconds, 0.01);
    el_load_log_free(&out.log);
  }
  el_load_workload_free(&w);
}

/* One slot, arrivals by chance, a service that always takes as long: the mean wait is rho s / (2 (1 - rho)) (the
 * Pollaczek-Khinchine formula for M/D/1). */
static void waiting_is_that_of_a_queue_with_one_server(void **state) {
  enum { N = 60000 };
  el_error err;
  el_load_workload w;
  static el_load_item items[N];
  const el_load_spec spec = {
      .without = EL_LOAD_BASE, .rate = 7, .cv = 1, .in_min = 8, .in_max = 8, .out_min = 10, .out_max = 10, .seed = 3};
  ok(el_load_workload_init(&w, &spec, &err), &err);
  for (int i = 0; i < N; i++) items[i] = el_load_workload_next(&w);
  const el_sim_options o = options(&plain, 1, 8, 0);
  outcome out = run(&o, &(el_sim_load){.items = items, .n = N, .drain = true});
  assert_int_equal(out.summary.done, N);
  near(out.summary.latency.mean - 0.1, 0.7 * 0.1 / (2 * 0.3), 0.05);
  el_load_log_free(&out.log);
  el_load_workload_free(&w);
}

static void a_step_costs_the_sum_of_its_parts(void **state) {
  el_costs c = plain;
  c.n_rows = 3;
  c.rows[0] = (el_cost_row){1, 1, 10, 100, 1000};
  c.rows[1] = (el_cost_row){2, 2, 20, 200, 2000};
  c.rows[2] = (el_cost_row){4, 6, 40, 400, 4000};
  c.decode_position = 1e-3;
  c.prompt_position = 1e-4;
  c.step = 1e4;
  c.token = 1e5;
  near(el_costs_step(&c, &(el_cost_step){.rows = 1}), 1e4 + 1, 1e-9);
  near(el_costs_step(&c, &(el_cost_step){.rows = 3}), 1e4 + 4, 1e-9);
  near(el_costs_step(&c, &(el_cost_step){.rows = 6}), 1e4 + 10, 1e-9); /* as from 2 to 4 */
  near(el_costs_step(&c, &(el_cost_step){.rows = 2, .logits = 1, .tokens = 1}), 1e4 + 2 + 10 + 1e5, 1e-9);
  near(el_costs_step(&c, &(el_cost_step){.rows = 4, .adapter_rows = 2, .adapters = 1}), 1e4 + 6 + 200, 1e-9);
  near(el_costs_step(&c, &(el_cost_step){.rows = 4, .adapter_rows = 4, .adapters = 3}), 1e4 + 6 + 400 + 8000, 1e-9);
  near(el_costs_step(&c, &(el_cost_step){.rows = 1, .decode_positions = 50, .prompt_positions = 100}),
       1e4 + 1 + 0.05 + 0.01, 1e-9);
}

/* ---- adapters */

static void a_cold_adapter_is_waited_for_and_a_warm_one_is_not(void **state) {
  el_costs c = plain;
  c.load = 0.5;
  c.load_beside = c.load_queued = 0.5;
  const el_load_item items[] = {item(1, 0, 8, 1), item(3, 0, 8, 1), item(5, 1, 8, 1), item(5, 2, 8, 1)};
  const el_sim_options o = options(&c, 4, 8, 3);
  outcome out = run(&o, &(el_sim_load){.items = items, .n = 4, .drain = true});
  static const double want[] = {0.51, 0.01, 0.51, 1.01}; /* one load after the other */
  for (int i = 0; i < 4; i++) near(out.log.records[i].done - out.log.records[i].at, want[i], 1e-6);
  assert_int_equal(out.result.hits, 1);
  assert_int_equal(out.result.misses, 3);
  assert_int_equal(out.result.loads, 3);
  near(out.result.load_seconds, 1.5, 1e-6);
  el_load_log_free(&out.log);
}

/* Both take longer beside each other. */
static void loads_and_steps_slow_each_other_down(void **state) {
  el_costs c = plain;
  c.load = 0.1;
  c.load_beside = 0.2;
  c.slow_beside = 1.25;
  const el_load_item items[] = {item(1, EL_LOAD_BASE, 8, 100), item(1.0001, 0, 8, 1)};
  const el_sim_options o = options(&c, 4, 8, 1);
  outcome out = run(&o, &(el_sim_load){.items = items, .n = 2, .drain = true});
  near(out.log.records[0].done - 1, 1 + 0.2 * (1 - 1 / 1.25), 1e-3);
  near(out.log.records[1].done - 1, 0.22, 0.1); /* the load, the step that it ends in, and its own */
  el_load_log_free(&out.log);
}

static bool is_another(const void *user, const el_cache_item *item) {
  return item != user;
}

/* The same requests one after the other, and the policy alone. */
static void hits_are_those_of_the_policy(void **state) {
  enum { N = 3000, ADAPTERS = 60, ROOM = 10 };
  el_error err;
  for (int p = 0; el_cache_policy_name(p); p++) {
    el_load_workload w;
    el_cache cache;
    static el_load_item items[N];
    el_cache_item entries[ADAPTERS] = {{.size = 0}};
    uint64_t hits = 0;
    const el_load_spec spec = {
        .n_adapters = ADAPTERS, .alpha = 1, .in_min = 8, .in_max = 8, .out_min = 1, .out_max = 1, .seed = 5};
    ok(el_load_workload_init(&w, &spec, &err), &err);
    ok(el_cache_init(&cache, el_cache_policy_name(p), &err), &err);
    for (int i = 0; i < N; i++) {
      items[i] = el_load_workload_next(&w);
      el_cache_item *e = &entries[items[i].adapter];
      el_cache_use(&cache, e);
      hits += e->resident;
      if (e->resident) continue;
      /* The newcomer takes the block in which no pages are at the moment; its pages then drive another one out. */
      el_cache_insert(&cache, e, 1);
      if (cache.n_items > ROOM) el_cache_remove(&cache, el_cache_victim(&cache, is_another, e), true);
    }
    /* One block more is for the pages of the one request that runs. */
    el_sim_options o = options(&plain, 1, ROOM + 1, ADAPTERS);
    o.policy = el_cache_policy_name(p);
    outcome out = run(&o, &(el_sim_load){.items = items, .n = N, .clients = 1, .drain = true});
    assert_int_equal(out.summary.done, N);
    if (out.result.hits != hits)
      fail_msg("%s: %d hits, the policy alone has %d", o.policy, (int)out.result.hits, (int)hits);
    el_load_log_free(&out.log);
    el_load_workload_free(&w);
  }
}

/* ---- limits */

static void what_the_engine_refuses_is_refused(void **state) {
  const el_load_item items[] = {item(1, EL_LOAD_BASE, 1024, 5), item(1, EL_LOAD_BASE, 2000, 5),
                                item(1, EL_LOAD_BASE, 1000, 100), item(1, EL_LOAD_BASE, 8, 5),
                                item(1, EL_LOAD_BASE, 8, 5)};
  el_sim_options o = options(&plain, 1, 8, 0);
  o.max_queue = 1;
  outcome out = run(&o, &(el_sim_load){.items = items, .n = 5, .drain = true});
  assert_int_equal(out.log.records[0].status, 400); /* no room for an answer */
  assert_int_equal(out.log.records[1].status, 400);
  assert_int_equal(out.log.records[2].status, 200);
  assert_int_equal(out.log.records[2].completion_tokens, 24); /* up to the context's end */
  assert_int_equal(out.log.records[3].status, 200);
  assert_int_equal(out.log.records[4].status, 503); /* one runs, one waits */
  el_load_log_free(&out.log);
}

/* Pages for one long sequence at a time: others wait for memory, not for slots. */
static void a_small_pool_makes_requests_wait(void **state) {
  el_sim_options o = options(&plain, 4, 1, 0);
  o.budget.reserve = 0;
  static const el_load_item items[] = {{1, EL_LOAD_BASE, 900, 50}, {1, EL_LOAD_BASE, 900, 50}};
  outcome out = run(&o, &(el_sim_load){.items = items, .n = 2, .drain = true});
  assert_int_equal(out.summary.done, 2);
  assert_true(out.log.records[1].first > out.log.records[0].done);
  assert_true(out.result.memory_seconds > 0.5 && out.result.full_seconds == 0);
  el_load_log_free(&out.log);
}

/* As much memory as two sequences have all of whose pages stay holds five that give windowed ones back. */
static void windows_make_room(void **state) {
  const el_kv_shape shapes[] = {{.full_bytes = 18 << 14}, {3 << 14, 15 << 14, 128}};
  static const el_load_item items[] = {{0, EL_LOAD_BASE, 900, 100},
                                       {0, EL_LOAD_BASE, 900, 100},
                                       {0, EL_LOAD_BASE, 900, 100},
                                       {0, EL_LOAD_BASE, 900, 100},
                                       {0, EL_LOAD_BASE, 900, 100}};
  double seconds[2];
  for (int i = 0; i < 2; i++) {
    el_sim_options o = options(&plain, 6, 1, 0);
    o.budget.layout = el_kv_layout_new(&shapes[i], 512 << 10, o.step_rows);
    o.budget.n_blocks = (uint32_t)((48 << 20) / o.budget.layout.block_bytes);
    outcome out = run(&o, &(el_sim_load){.items = items, .n = 5, .drain = true});
    assert_int_equal(out.summary.done, 5);
    seconds[i] = out.result.memory_seconds;
    el_load_log_free(&out.log);
  }
  assert_true(seconds[0] > 1 && seconds[1] == 0);
}

static void the_same_seed_gives_the_same_run(void **state) {
  el_costs c = plain;
  c.load = c.load_beside = c.load_queued = 0.03;
  outcome out[2];
  el_error err;
  for (int i = 0; i < 2; i++) {
    el_load_workload w;
    const el_load_spec spec = {
        .n_adapters = 40, .alpha = 1, .in_min = 8, .in_max = 300, .out_min = 1, .out_max = 50, .seed = 9};
    ok(el_load_workload_init(&w, &spec, &err), &err);
    el_sim_options o = options(&c, 8, 20, 40);
    o.prefix_cache = true;
    out[i] = run(&o, &(el_sim_load){.workload = &w, .clients = 30, .duration = 60});
    el_load_workload_free(&w);
  }
  assert_int_equal(out[0].log.n, out[1].log.n);
  assert_true(out[0].log.n > 100 && out[0].result.evictions > 10);
  for (size_t i = 0; i < out[0].log.n; i++) assert_true(out[0].log.records[i].done == out[1].log.records[i].done);
  assert_memory_equal(&out[0].result, &out[1].result, sizeof out[0].result);
  for (int i = 0; i < 2; i++) el_load_log_free(&out[i].log);
}

/* ---- nodes */

static void a_balancer_keeps_its_promise(void **state) {
  enum { N = 20000, ADAPTERS = 500, NODES = 20 };
  static el_load_item items[N];
  static int node_of[N], used[ADAPTERS][NODES], all[NODES];
  el_load_workload w;
  el_error err;
  const el_load_spec spec = {
      .n_adapters = ADAPTERS, .alpha = 1, .in_min = 1, .in_max = 1, .out_min = 1, .out_max = 1, .seed = 2};
  ok(el_load_workload_init(&w, &spec, &err), &err);
  for (int i = 0; i < N; i++) items[i] = el_load_workload_next(&w);
  el_load_workload_free(&w);
  items[0].adapter = EL_LOAD_BASE;
  for (int how = EL_BALANCE_RANDOM; how <= EL_BALANCE_SHARE; how++) {
    memset(used, 0, sizeof used);
    memset(all, 0, sizeof all);
    assert_true(el_balance_items((el_balance)how, items, N, ADAPTERS, NODES, 10, 1, node_of));
    int most = 0, places = 0;
    for (int i = 1; i < N; i++) {
      assert_in_range(node_of[i], 0, NODES - 1);
      int n = ++used[items[i].adapter][node_of[i]];
      if (n > most) most = n;
      all[node_of[i]]++;
      places += n == 1;
    }
    int even = N / NODES;
    if (how == EL_BALANCE_RANDOM) assert_true(places > 4 * ADAPTERS);
    if (how == EL_BALANCE_HASH) assert_true(places <= ADAPTERS && most > 2 * even); /* the most popular one's node */
    if (how == EL_BALANCE_RING) assert_true(places < 3 * ADAPTERS && most < 2 * even && most > even / 2);
    if (how != EL_BALANCE_SHARE) continue;
    assert_true(places < ADAPTERS + 3 * NODES && most < even * 6 / 10);
    for (int i = 0; i < NODES; i++) assert_in_range(all[i], even * 9 / 10, even * 11 / 10);
  }
}

/* ---- files */

static void costs_come_back_from_their_file(void **state) {
  char path[] = "/tmp/edgelora-costs-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  el_costs c = plain, back;
  el_error err;
  c.rows[1].more = 0.25;
  c.request = 0.125;
  c.kv = (el_kv_shape){640, 1280, 100};
  ok(el_costs_save(&c, path, &err), &err);
  ok(el_costs_read(path, &back, &err), &err);
  assert_int_equal(back.n_rows, 2);
  near(back.rows[1].more, 0.25, 1e-5);
  near(back.request, 0.125, 1e-5);
  assert_int_equal(back.adapter.n_blocks, 1);
  assert_int_equal(back.shape.n_vocab, 1000);
  assert_string_equal(back.adapter_type, "q8");
  assert_memory_equal(&back.kv, &c.kv, sizeof c.kv);
  /* A file from before there were windowed pages: one kind, as the shape says. */
  json_t *root = json_load_file(path, 0, NULL);
  json_object_del(root, "kv_page");
  assert_int_equal(json_dump_file(root, path, 0), 0);
  json_decref(root);
  ok(el_costs_read(path, &back, &err), &err);
  assert_int_equal(back.kv.full_bytes, el_kv_page_bytes(&back.shape, EL_KV_F16));
  assert_int_equal(back.kv.windowed_bytes, 0);
  unlink(path);
}

/* What a file says with one field changed: the message names it. */
static void costs_that_cannot_be_are_refused(void **state) {
  static const struct {
    const char *key, *value, *says;
  } cases[] = {{"schema", "\"other/1\"", "schema"},
               {"rank", "0", "rank"},
               {"rank", "1.5", "rank: is no whole number"},
               {"rank", "100000", "rank: 100000 is not from 1 to 1024"},
               {"cores", "-1", "cores"},
               {"kv_page", "{\"full_bytes\":100,\"windowed_bytes\":0,\"window\":0}", "kv_page.full_bytes"},
               {"kv_page", "{\"full_bytes\":64,\"windowed_bytes\":64,\"window\":0}", "kv_page.window"},
               {"kv_type", "\"f64\"", "kv_type: is unknown"},
               {"adapter_type", "7", "adapter_type"},
               {"adapter_blocks", "1e9", "adapter_blocks"},
               {"weight_bytes", "1e300", "weight_bytes"},
               {"columns", "[\"rows\"]", "columns: has no 'base'"},
               {"steps", "[]", "steps: has 0 rows"},
               {"steps", "[[2, 1, 1, 1, 1]]", "steps[0]: 'rows' must"},
               {"steps", "[[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]", "steps[1]: 'rows' must"},
               {"steps", "[[1, 0, 1, 1, 1]]", "steps[0]: 'base' must"},
               {"steps", "[[1, 1, null, 1, 1]]", "steps[0]: 'logits'"},
               {"steps", "[[1e12, 1, 1, 1, 1]]", "steps[0]: 'rows'"},
               {"shape", "{}", "shape.n_layers: is missing"},
               {"shape", "3", "shape"},
               {"seconds", "{\"step\": \"x\"}", "seconds.decode_position"},
               {"slower", "{\"beside\": 0.5}", "slower.beside: 0.5 is not from 1"},
               {"model", "null", "model: is missing"}};
  char path[] = "/tmp/edgelora-costs-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  el_costs back;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *root = el_costs_json(&plain), *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
    el_error err = {.code = EL_OK};
    assert_true(root && value);
    json_object_set_new(root, cases[i].key, value);
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
    if (el_costs_read(path, &back, &err) != EL_ERR_FORMAT || !strstr(err.message, cases[i].says) ||
        strncmp(err.message, path, strlen(path)))
      fail_msg("%s = %s: '%s'", cases[i].key, cases[i].value, err.message);
  }
  el_error err;
  unlink(path);
  assert_int_equal(el_costs_read(path, &back, &err), EL_ERR_IO);
}

static void shapes_follow_the_roofline(void **state) {
  el_error err;
  const el_shape_machine m = {.gops = 1000, .gbs = 50, .rank = 16, .step_rows = 128};
  el_costs c;
  for (int i = 0; el_shape_name(i); i++) {
    ok(el_shape_costs(el_shape_name(i), &m, &c, &err), &err);
    assert_int_equal(c.rows[c.n_rows - 1].rows, 128);
    /* One row reads the layers' weights; 128 rows compute. */
    double output = 2.0 * c.shape.n_vocab * c.shape.n_embd;
    assert_true(c.rows[0].base > 0 && c.rows[0].base < (double)c.weight_bytes / 50e9);
    near(c.rows[c.n_rows - 1].logits, output * 128 / 1000e9, 1e-6);
    for (int r = 1; r < c.n_rows; r++) assert_true(c.rows[r].base >= c.rows[r - 1].base);
  }
  ok(el_shape_costs("llama-3.1-8b-q8_0", &m, &c, &err), &err);
  near((double)c.weight_bytes, 8.03e9 * 8.5 / 8, 0.01); /* 8.03 billion parameters */
  ok(el_shape_costs("llama-3.2-3b-q4_0", &m, &c, &err), &err);
  near((double)c.weight_bytes, 3.21e9 * 4.5 / 8, 0.01);
  ok(el_shape_costs("openelm-1.1b-q4_0", &m, &c, &err), &err);
  near((double)c.weight_bytes, 1.08e9 * 4.5 / 8, 0.02);
  assert_int_equal(el_shape_costs("gpt-9", &m, &c, &err), EL_ERR_NOT_FOUND);
  assert_non_null(strstr(err.message, "gpt-9"));
  assert_non_null(strstr(err.message, "llama-3.2-3b-q4_0"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(alone_a_request_takes_its_steps),
                                     cmocka_unit_test(a_saturated_slot_answers_one_request_a_service_time),
                                     cmocka_unit_test(waiting_is_that_of_a_queue_with_one_server),
                                     cmocka_unit_test(a_step_costs_the_sum_of_its_parts),
                                     cmocka_unit_test(a_cold_adapter_is_waited_for_and_a_warm_one_is_not),
                                     cmocka_unit_test(loads_and_steps_slow_each_other_down),
                                     cmocka_unit_test(hits_are_those_of_the_policy),
                                     cmocka_unit_test(what_the_engine_refuses_is_refused),
                                     cmocka_unit_test(a_small_pool_makes_requests_wait),
                                     cmocka_unit_test(windows_make_room),
                                     cmocka_unit_test(the_same_seed_gives_the_same_run),
                                     cmocka_unit_test(a_balancer_keeps_its_promise),
                                     cmocka_unit_test(costs_come_back_from_their_file),
                                     cmocka_unit_test(costs_that_cannot_be_are_refused),
                                     cmocka_unit_test(shapes_follow_the_roofline)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
