/* What a request gives does not depend on what else runs: many random requests from several threads, in pools that are
 * too small for their pages and for their adapters, with cancellations and adapters that come and go, with and without
 * the prefix cache, each compared with the same request alone and without it. */
#include "engine_fixture.h"
#include "random_request.h"

enum { N_REQUESTS = 200, N_CLIENTS = 4, N_ADAPTERS = 12, CTX = 96 };

typedef struct job {
  el_request q;
  int32_t prompt[CTX];
  el_logit_bias bias[2];
  const char *stop[2];
  bool poll;
  int cancel_after;  /* tokens; -1: never */
  bool cancel_early; /* as soon as it is submitted: it may wait, load or run */
} job;

static const char *const adapter_names[N_ADAPTERS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};

static void make_job(job *j, uint64_t *s) {
  static const char *const stops[] = {"e", "hello", "x\xe2\x82\xac", " ", "STOP", "\n"};
  j->q = el_request_default();
  /* Prompts that share beginnings are likelier to hide a mix-up: the alphabet is small, and many begin as one of three
   * others do, up to some point. */
  j->q.n_prompt = 1 + (size_t)below(s, below(s, 3) ? 20 : CTX - 1);
  for (size_t i = 0; i < j->q.n_prompt; i++) j->prompt[i] = 'a' + below(s, 2);
  int like = below(s, 6), n_like = below(s, CTX);
  for (int i = 0; like < 3 && i < n_like; i++) {
    j->prompt[i] = 'a' + (i * (like + 3) % 7 & 1);
    if ((size_t)i >= j->q.n_prompt) j->q.n_prompt++;
  }
  j->q.prompt = j->prompt;
  int longest = CTX - (int)j->q.n_prompt;
  j->q.max_tokens = below(s, 8) == 0 ? 0 : below(s, 4) == 0 ? -1 : below(s, longest + 1);
  int a = below(s, 2) ? below(s, N_ADAPTERS + 1) : N_ADAPTERS - below(s, 3);
  j->q.adapter.name = a < N_ADAPTERS ? adapter_names[a] : NULL;
  el_sampling *p = &j->q.sampling;
  random_sampling(s, p);
  p->seed = next_random(s);
  j->bias[0] = (el_logit_bias){below(s, FAKE_VOCAB), 2};
  j->bias[1] = (el_logit_bias){below(s, FAKE_VOCAB), -100};
  p->logit_bias = j->bias;
  p->n_logit_bias = (size_t)below(s, 3);
  j->stop[0] = stops[below(s, 6)];
  j->stop[1] = stops[below(s, 6)];
  j->q.stop = j->stop;
  j->q.n_stop = (size_t)below(s, 3);
  j->q.ignore_eos = below(s, 2);
  j->q.logprobs = below(s, 2);
  j->q.top_logprobs = below(s, 5);
  j->q.prompt_logprobs = below(s, 4) == 0;
  j->poll = below(s, 2);
  j->cancel_after = below(s, 6) == 0 ? below(s, 30) : -1;
  j->cancel_early = below(s, 12) == 0;
}

static void cancel_at(result *r, const el_event *e) {
  const job *j = r->context;
  if (j->cancel_after >= 0 && r->n >= j->cancel_after) el_cancel(r->engine, e->request);
}

static void must(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "%s\n", what);
  abort(); /* cmocka's assertions are for the main thread */
}

static void run_job(el_engine *engine, const job *j, result *out) {
  el_request q = j->q;
  uint64_t id;
  el_error err;
  out->engine = engine;
  q.user = out;
  if (!j->poll) {
    q.on_event = result_on_event;
    must(!el_submit(engine, &q, &id, &err), err.message);
    result_wait(out);
    return;
  }
  must(!el_submit(engine, &q, &id, &err), err.message);
  for (el_event e = {0}; e.type != EL_EVENT_DONE || !out->n_done;) {
    must(!el_next_event(engine, id, -1, &e), "no event");
    result_take(out, &e);
  }
}

typedef struct client {
  el_engine *engine;
  const job *jobs;
  result *out;
  int ith;
} client;

/* All its callbacks first, then it polls: so many requests wait at once. */
static void *client_main(void *p) {
  client *c = p;
  for (int i = c->ith; i < N_REQUESTS; i += N_CLIENTS) {
    if (c->jobs[i].poll) continue;
    el_request q = c->jobs[i].q;
    q.user = &c->out[i];
    q.on_event = result_on_event;
    c->out[i].engine = c->engine;
    uint64_t id;
    must(!el_submit(c->engine, &q, &id, NULL), "submit");
    if (c->jobs[i].cancel_early) el_cancel(c->engine, id);
  }
  for (int i = c->ith; i < N_REQUESTS; i += N_CLIENTS)
    if (c->jobs[i].poll) run_job(c->engine, &c->jobs[i], &c->out[i]);
  for (int i = c->ith; i < N_REQUESTS; i += N_CLIENTS) result_wait(&c->out[i]);
  return NULL;
}

/* Adapters that nobody asks for come and go meanwhile. */
static void *churn_main(void *p) {
  el_engine *engine = p;
  for (int i = 0; i < 100; i++) {
    must(!el_adapter_add_random(engine, "passing", 1, (uint64_t)i, NULL), "add");
    int32_t prompt = 'q';
    el_request q = el_request_default();
    q.prompt = &prompt;
    q.n_prompt = 1;
    q.max_tokens = 3;
    q.adapter.name = "passing";
    uint64_t id;
    el_event e;
    must(!el_submit(engine, &q, &id, NULL), "submit");
    must(!el_adapter_remove(engine, "passing", NULL), "remove");
    el_stats st;
    el_engine_stats(engine, &st);
    do must(!el_next_event(engine, id, -1, &e), "no event");
    while (e.type != EL_EVENT_DONE);
  }
  return NULL;
}

static void add_adapters(rig *r) {
  for (int i = 0; i < N_ADAPTERS; i++) rig_add_rank(r, adapter_names[i], 1 + i % 3, (uint64_t)i * 77);
}

static void assert_same(const job *j, const result *alone, const result *mixed, int i) {
  bool cancelled = mixed->last.done.finish == EL_FINISH_CANCELLED;
  if (cancelled && j->cancel_after < 0 && !j->cancel_early) fail_msg("request %d was cancelled", i);
  if (cancelled ? mixed->n > alone->n : mixed->n != alone->n)
    fail_msg("request %d: %d tokens, alone %d", i, mixed->n, alone->n);
  for (int t = 0; t < mixed->n; t++) {
    if (mixed->tokens[t] != alone->tokens[t]) fail_msg("request %d: token %d differs", i, t);
    assert_memory_equal(&mixed->logprobs[t], &alone->logprobs[t], sizeof(float));
    assert_memory_equal(mixed->top[t], alone->top[t], sizeof mixed->top[t]);
  }
  if (mixed->n_prompt_events) {
    assert_int_equal(mixed->n_prompt_logprobs, alone->n_prompt_logprobs);
    assert_memory_equal(mixed->prompt_logprobs, alone->prompt_logprobs, sizeof(float) * alone->n_prompt_logprobs);
  }
  if (cancelled) return;
  assert_int_equal(mixed->n_prompt_events, alone->n_prompt_events);
  assert_int_equal(mixed->last.done.finish, alone->last.done.finish);
  assert_string_equal(mixed->stop, alone->stop);
  assert_int_equal(mixed->text_len, alone->text_len);
  assert_memory_equal(mixed->text, alone->text, alone->text_len);
  assert_int_equal(mixed->last.done.completion_tokens, alone->last.done.completion_tokens);
  assert_true(mixed->last.done.cached_tokens >= 0 && mixed->last.done.cached_tokens < mixed->last.done.prompt_tokens);
  if (j->q.prompt_logprobs) assert_int_equal(mixed->last.done.cached_tokens, 0);
}

static void output_does_not_depend_on_what_else_runs(void **state) {
  static const struct {
    int slots, rows, pages;
    bool cache;
    int step_adapters;
    const char *policy;
  } setups[] = {{.slots = 8, .rows = 8, .pages = 9},
                {.slots = 5, .rows = 17, .pages = 13},
                {.slots = 16, .rows = 16, .pages = 20},
                {.slots = 16, .rows = 128},
                {.slots = 8, .rows = 8, .pages = 9, .cache = true},
                {.slots = 5, .rows = 17, .pages = 13, .cache = true},
                {.slots = 16, .rows = 16, .pages = 20, .cache = true},
                {.slots = 4, .rows = 16, .pages = 60, .cache = true},
                {.slots = 16, .rows = 128, .cache = true},
                {.slots = 8, .rows = 8, .pages = 9, .step_adapters = 1},
                {.slots = 16, .rows = 16, .pages = 60, .cache = true, .step_adapters = 3},
                {.slots = 5, .rows = 17, .pages = 13, .cache = true, .policy = "none"},
                {.slots = 16, .rows = 128, .policy = "none"}};
  static job jobs[N_REQUESTS];
  result *alone = calloc(N_REQUESTS, sizeof *alone), *mixed = calloc(N_REQUESTS, sizeof *mixed);
  assert_true(alone && mixed);
  uint64_t seed = 2026;
  for (int i = 0; i < N_REQUESTS; i++) make_job(&jobs[i], &seed);

  el_engine_options o = rig_options(1, CTX, 64);
  o.prefix_cache = false;
  rig one = rig_open_options(o, 0);
  add_adapters(&one);
  int n_tokens = 0, n_stopped = 0, n_cancelled = 0, n_again = 0, n_evicted = 0, n_found = 0;
  for (int i = 0; i < N_REQUESTS; i++) {
    result_init(&alone[i]);
    run_job(one.engine, &jobs[i], &alone[i]);
    n_tokens += alone[i].n;
    n_stopped += alone[i].last.done.stop != NULL;
  }
  rig_close(&one);
  assert_true(n_tokens > 2000 && n_stopped > 10); /* the jobs are worth something */

  for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
    o = rig_options(setups[k].slots, CTX, setups[k].rows);
    o.speculate = (int)(k % 3) * 4;
    o.prefix_cache = setups[k].cache;
    o.step_adapters = setups[k].step_adapters;
    o.cache_policy = setups[k].policy;
    rig r = rig_open_options(o, (uint64_t)setups[k].pages);
    add_adapters(&r);
    client clients[N_CLIENTS];
    pthread_t threads[N_CLIENTS], churn;
    for (int i = 0; i < N_REQUESTS; i++) {
      result_init(&mixed[i]);
      mixed[i].hook = cancel_at;
      mixed[i].context = &jobs[i];
    }
    for (int i = 0; i < N_CLIENTS; i++) {
      clients[i] = (client){r.engine, jobs, mixed, i};
      assert_int_equal(pthread_create(&threads[i], NULL, client_main, &clients[i]), 0);
    }
    assert_int_equal(pthread_create(&churn, NULL, churn_main, r.engine), 0);
    for (int i = 0; i < N_CLIENTS; i++) pthread_join(threads[i], NULL);
    pthread_join(churn, NULL);
    int cached = 0;
    for (int i = 0; i < N_REQUESTS; i++) {
      assert_same(&jobs[i], &alone[i], &mixed[i], i);
      n_cancelled += mixed[i].last.done.finish == EL_FINISH_CANCELLED;
      cached += mixed[i].last.done.cached_tokens;
    }
    el_stats st;
    el_engine_stats(r.engine, &st);
    n_again += (int)st.preemptions;
    n_evicted += (int)st.adapter_evictions;
    assert_int_equal(st.kv_pages_used, 0);
    assert_int_equal(st.pool_blocks_kv == 0, st.kv_pages_cached == 0);
    assert_true(setups[k].cache || (st.kv_pages_cached == 0 && st.cached_tokens == 0));
    assert_true(st.cached_tokens >= (uint64_t)cached); /* sequences that were driven out find their own */
    n_found += cached;
    assert_int_equal(st.slots_busy, 0);
    assert_int_equal(st.adapter_hits + st.adapter_misses > 100, true);
    assert_int_equal(st.requests_submitted, N_REQUESTS + 100);
    assert_int_equal(st.requests_done + st.requests_cancelled, N_REQUESTS + 100);
    rig_close(&r);
  }
  assert_true(n_cancelled > 10);
  assert_true(n_again >= 50);   /* sequences were driven out of the small pools, */
  assert_true(n_evicted >= 50); /* and adapters; */
  assert_true(n_found > 2000);  /* prefixes were found */
  free(alone);
  free(mixed);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(output_does_not_depend_on_what_else_runs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
