/* Whoever waits is woken, or told why nothing will come: requests whose adapter is found to be too large after they
 * were taken, in each of the states in which that can be found. On the fake model: an adapter takes `rank` blocks of
 * one page each. */
#include "routed_rig.h"

/* What the log said last with this word in it. */
static struct {
  pthread_mutex_t mutex;
  const char *word;
  int n;
  char line[512];
} heard = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void hear(void *user, el_log_level level, const char *line) {
  pthread_mutex_lock(&heard.mutex);
  if (heard.word && strstr(line, heard.word)) {
    heard.n++;
    snprintf(heard.line, sizeof heard.line, "%s", line);
  }
  pthread_mutex_unlock(&heard.mutex);
}

static void listen_for(const char *word) {
  pthread_mutex_lock(&heard.mutex);
  heard.word = word;
  heard.n = 0;
  pthread_mutex_unlock(&heard.mutex);
}

static void add_dir(rig *r, const char *dir) {
  el_error err;
  if (el_adapter_add_dir(r->engine, dir, NULL, NULL, &err)) fail_msg("%s", err.message);
}

static el_request with(const char *adapter, int max_tokens) {
  static const int32_t prompt[] = {'x'};
  el_request q = ask(prompt, 1, max_tokens);
  q.adapter.name = adapter;
  q.ignore_eos = true;
  return q;
}

/* Ends with an error that has these parts; afterwards the engine serves the base. */
static void assert_fails(rig *r, el_request q, el_status code, const char *a, const char *b, const char *c) {
  static result out, after;
  result_init(&out), result_init(&after);
  rig_run(r, q, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
  assert_contains(out.last.done.error.message, a);
  assert_contains(out.last.done.error.message, b);
  assert_contains(out.last.done.error.message, c);
  assert_int_equal(out.last.done.error.code, code);
  rig_run(r, with(NULL, 3), &after);
  assert_int_equal(after.n, 3);
}

/* --- named */

static void an_unread_adapter_that_is_too_large_fails_its_request_with_the_figures(void **state) {
  char dir[64];
  make_dir(dir);
  put_fake_peft_rank(dir, "large", 40, 1);
  put_fake_peft_rank(dir, "medium", 7, 2);
  put_fake_peft_rank(dir, "small", 4, 3);
  rig r = rig_open_options(rig_options(2, 64, 16), 10);
  add_dir(&r, dir);
  assert_fails(&r, with("large", 5), EL_ERR_TOO_LARGE, "adapter large: takes", "pool has", "MiB");
  assert_fails(&r, with("medium", 63), EL_ERR_TOO_LONG, "64 tokens", "memory for 48", "adapter medium");
  const el_adapter_scale two[] = {{"medium", 0.5f}, {"small", 1}};
  el_request q = with(NULL, 5);
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {two, 2}};
  assert_fails(&r, q, EL_ERR_TOO_LARGE, "medium*0.5 + small*1: takes", "pool has", "MiB");
  rig_close(&r);
  remove_tree(dir);
}

/* A file that says that it is larger than the pool drives nobody out. */
static void a_file_larger_than_the_pool_evicts_nothing(void **state) {
  char dir[64];
  make_dir(dir);
  put_fake_peft_rank(dir, "large", 200, 1);
  rig r = rig_open_options(rig_options(2, 64, 16), 10);
  add_dir(&r, dir);
  rig_add_rank(&r, "b", 5, 1);
  static result out;
  result_init(&out);
  rig_run(&r, with("b", 1), &out);
  assert_fails(&r, with("large", 5), EL_ERR_TOO_LARGE, "adapter large: takes", "pool has", "MiB");
  assert_int_equal(rig_stats(&r).adapter_evictions, 0);
  rig_close(&r);
  remove_tree(dir);
}

/* Of those that wait behind others, too: they need not come to the front first. */
static void all_that_wait_for_it_hear_at_once(void **state) {
  enum { N = 30 };
  static result busy[2], out[N];
  uint64_t ids[2];
  char dir[64];
  make_dir(dir);
  put_fake_peft_rank(dir, "large", 100, 1);
  rig r = rig_open_options(rig_options(2, 450, 16), 60);
  add_dir(&r, dir);
  fake.step_us = 3000;
  for (int i = 0; i < 2; i++) {
    result_init(&busy[i]);
    ids[i] = rig_submit(&r, with(NULL, 440), &busy[i]);
  }
  result_wait_tokens(&busy[1], 1);
  fake_hold(); /* until all are there, nobody hears of a size */
  for (int i = 0; i < N; i++) {
    result_init(&out[i]);
    rig_submit(&r, with(i == 0 || i == N - 1 ? "large" : NULL, 1), &out[i]);
  }
  fake_release();
  result_wait(&out[0]);
  result_wait(&out[N - 1]);
  assert_int_equal(busy[0].n_done + busy[1].n_done, 0);
  assert_contains(out[N - 1].last.done.error.message, "adapter large: takes");
  for (int i = 0; i < 2; i++) el_cancel(r.engine, ids[i]);
  for (int i = 0; i < N; i++) result_wait(&out[i]);
  for (int i = 0; i < 2; i++) result_wait(&busy[i]);
  rig_close(&r);
  remove_tree(dir);
}

/* --- changed while it was out of memory */

typedef struct replacement {
  const char *dir;
  int rank; /* 0: it is gone */
  bool done;
} replacement;

/* Between two steps, once an adapter has been evicted. */
static void replace_evicted(result *r, const el_event *e) {
  replacement *p = r->context;
  el_stats st;
  el_engine_stats(r->engine, &st);
  if (p->done || !st.adapter_evictions || e->type != EL_EVENT_TOKEN) return;
  static const char *const parts[] = {"/adapter_model.safetensors", "/adapter_config.json", ""};
  p->done = true;
  for (int i = 0; i < 3; i++) {
    char path[160];
    snprintf(path, sizeof path, "%s/b%s", p->dir, parts[i]);
    if (remove(path)) abort();
  }
  if (p->rank) put_fake_peft_rank(p->dir, "b", p->rank, 3);
}

/* Two sequences outgrow the pool; the younger gives its pages back, the older one's growth drives out its adapter, and
 * its folder is another one when its turn comes again. */
static void preempted_and_changed(int rank, const char *reason) {
  static result older, younger;
  char dir[64];
  make_dir(dir);
  replacement change = {.dir = dir, .rank = rank};
  put_fake_peft_rank(dir, "a", 2, 1);
  put_fake_peft_rank(dir, "b", 8, 2);
  rig r = rig_open_options(rig_options(2, 100, 16), 14);
  add_dir(&r, dir);
  result_init(&older), result_init(&younger);
  rig_run(&r, with("a", 1), &older); /* both are in memory: they start together */
  rig_run(&r, with("b", 1), &younger);
  result_init(&older), result_init(&younger);
  older.hook = replace_evicted;
  older.context = &change;
  fake_hold();
  rig_submit(&r, with("a", 95), &older);
  rig_submit(&r, with("b", 70), &younger);
  fake_release();
  result_wait(&older);
  result_wait(&younger);
  assert_true(change.done);
  assert_int_equal(rig_stats(&r).preemptions, 1);
  assert_int_equal(older.n, 95);
  assert_int_equal(younger.last.done.finish, EL_FINISH_ERROR);
  assert_contains(younger.last.done.error.message, reason);
  result_init(&older);
  rig_run(&r, with("a", 5), &older);
  assert_int_equal(older.n, 5);
  rig_close(&r);
  remove_tree(dir);
}

static void an_adapter_that_outgrew_the_pool_while_evicted_fails_its_request(void **state) {
  preempted_and_changed(40, "adapter b: takes");
  preempted_and_changed(10, "memory for 64"); /* it fits, but not beside the request's pages */
  preempted_and_changed(0, "/b");             /* it is gone */
}

/* --- auto */

/* candidates: two at most; NULL: all. */
static void automatic_with(routed *t, const char *prompt, const char *const *candidates, decision *c, result *out) {
  static int32_t tokens[64];
  *c = (decision){0};
  result_init(out);
  out->hook = keep_decision;
  out->context = c;
  el_request q = automatic(prompt, tokens, 5);
  q.adapter.router.candidates = candidates;
  q.adapter.router.n_candidates = candidates ? 1 + (candidates[1] != NULL) : 0;
  rig_run(&t->r, q, out);
}

static void a_chosen_adapter_that_cannot_be_used_gives_way_to_the_next(void **state) {
  static result out, named;
  char dir[64];
  decision c;
  make_dir(dir);
  put_fake_peft_rank(dir, "a", 40, 1); /* too large */
  put_fake_peft_rank(dir, "b", 2, 2);
  put_fake_peft(dir, "c", 3);
  char path[160];
  snprintf(path, sizeof path, "%s/c", dir);
  write_file(path, "adapter_model.safetensors", "broken", 6);
  routed t = open_with(rig_options(2, 64, 16), 12);
  add_dir(&t.r, dir);
  automatic_with(&t, "aaaaabbb", (const char *const[]){"a", "b"}, &c, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(c.n_events, 1); /* what could not be is not told of */
  assert_string_equal(c.adapter, "b");
  assert_string_equal(c.names[0], "b");
  int32_t tokens[64];
  el_request q = automatic("aaaaabbb", tokens, 5);
  q.adapter.by = EL_BY_NAME;
  q.adapter.name = "b";
  result_init(&named);
  rig_run(&t.r, q, &named);
  assert_int_equal(named.n, out.n);
  assert_memory_equal(named.tokens, out.tokens, sizeof *out.tokens * (size_t)out.n);
  automatic_with(&t, "cccc", NULL, &c, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_LENGTH);
  assert_string_equal(c.adapter, "fake model");
  assert_int_equal(rig_stats(&t.r).decisions, 2);
  close_routed(&t);
  remove_tree(dir);
}

static void a_choice_without_a_next_one_fails_with_the_figures(void **state) {
  static result out;
  char dir[64];
  decision c;
  make_dir(dir);
  put_fake_peft_rank(dir, "a", 40, 1);
  routed t = open_with(rig_options(2, 64, 16), 12);
  add_dir(&t.r, dir);
  for (int i = 0; i < 2; i++) { /* its size is not known the first time */
    automatic_with(&t, "aaaa", (const char *const[]){"a", NULL}, &c, &out);
    assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
    assert_contains(out.last.done.error.message, "adapter a: takes");
    assert_int_equal(out.last.done.error.code, EL_ERR_TOO_LARGE);
    assert_int_equal(c.n_events, 0);
  }
  automatic_with(&t, "xyz", NULL, &c, &out);
  assert_string_equal(c.adapter, "fake model");
  close_routed(&t);
  remove_tree(dir);
}

/* --- the last line */

/* An entry that says that it is being loaded while nothing loads: no request does that, so it stands for what nobody
 * has thought of. */
static void what_nobody_will_wake_fails_and_the_engine_goes_on(void **state) {
  static result stuck, behind;
  el_entry *entry;
  el_engine_options o = rig_options(2, 64, 16);
  o.log = hear;
  rig r = rig_open_options(o, 20);
  rig_add_rank(&r, "a", 3, 1);
  assert_int_equal(el_registry_get(r.engine->registry, "a", &entry, NULL), EL_OK);
  char *aborts = getenv("EDGELORA_ABORT_ON_BUG");
  if (aborts) aborts = strdup(aborts);
  unsetenv("EDGELORA_ABORT_ON_BUG");
  listen_for("bug: ");
  atomic_store(&entry->state, EL_ADAPTER_LOADING);
  result_init(&stuck), result_init(&behind);
  fake_hold();
  rig_submit(&r, with("a", 5), &stuck);
  rig_submit(&r, with(NULL, 5), &behind);
  fake_release();
  result_wait(&behind);
  result_wait(&stuck);
  assert_int_equal(behind.n, 5);
  assert_int_equal(stuck.last.done.finish, EL_FINISH_ERROR);
  assert_contains(stuck.last.done.error.message, "a bug");
  assert_int_equal(heard.n, 1);
  assert_contains(heard.line, "a");
  atomic_store(&entry->state, EL_ADAPTER_ON_DISK);
  el_registry_put(r.engine->registry, entry);
  result_init(&stuck);
  rig_run(&r, with("a", 5), &stuck);
  assert_int_equal(stuck.n, 5);
  if (aborts) setenv("EDGELORA_ABORT_ON_BUG", aborts, 1);
  free(aborts);
  listen_for(NULL);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_unread_adapter_that_is_too_large_fails_its_request_with_the_figures),
      cmocka_unit_test(a_file_larger_than_the_pool_evicts_nothing),
      cmocka_unit_test(all_that_wait_for_it_hear_at_once),
      cmocka_unit_test(an_adapter_that_outgrew_the_pool_while_evicted_fails_its_request),
      cmocka_unit_test(a_chosen_adapter_that_cannot_be_used_gives_way_to_the_next),
      cmocka_unit_test(a_choice_without_a_next_one_fails_with_the_figures),
      cmocka_unit_test(what_nobody_will_wake_fails_and_the_engine_goes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
