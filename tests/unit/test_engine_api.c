/* The engine on a fake model: polling, what is refused, adapters, options. */
#include <math.h>

#include "engine_fixture.h"

static el_status try_submit(rig *r, el_request q, el_error *err) {
  uint64_t id = 77;
  el_status status = el_submit(r->engine, &q, &id, err);
  if (status) assert_int_equal(id, 77);
  return status;
}

/* ----------------------------------------------------------------- polling */

static void events_can_be_taken_one_by_one(void **state) {
  static const int script[] = {'?', '?', HELLO, WORLD, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  el_request q = ASK(-1, 1, 'a', 'b');
  q.prompt_logprobs = q.logprobs = true;
  q.top_logprobs = 2;
  q.user = &r;
  uint64_t id;
  assert_int_equal(el_submit(r.engine, &q, &id, NULL), EL_OK);
  el_event e;
  assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_PROMPT);
  assert_int_equal(e.prompt.n, 3);
  assert_int_equal(e.request, id);
  assert_ptr_equal(e.user, &r);
  assert_int_equal(el_next_event(r.engine, id, 5000, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_TOKEN);
  assert_int_equal(e.text_len, 5);
  usleep(20000); /* what was taken stays while more comes */
  assert_memory_equal(e.text, "hello", 5);
  assert_int_equal(e.token.n_top, 2);
  assert_int_equal(e.token.top[0].token, HELLO);
  assert_int_equal(el_next_event(r.engine, id, 5000, &e), EL_OK);
  assert_memory_equal(e.text, " world", 6);
  assert_int_equal(el_next_event(r.engine, id, 5000, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_DONE);
  assert_int_equal(e.done.finish, EL_FINISH_STOP);
  assert_int_equal(e.done.completion_tokens, 2);
  assert_int_equal(el_next_event(r.engine, id, 0, &e), EL_ERR_NOT_FOUND);
  assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_ERR_NOT_FOUND);
  assert_int_equal(el_next_event(r.engine, 999, -1, &e), EL_ERR_NOT_FOUND);
  rig_close(&r);
}

static void waiting_for_an_event_ends_at_its_time_limit(void **state) {
  rig r = rig_open(2, 64, 16);
  uint64_t id;
  el_event e;
  fake_hold();
  el_request q = ASK(2, 'a');
  q.ignore_eos = true;
  assert_int_equal(el_submit(r.engine, &q, &id, NULL), EL_OK);
  assert_int_equal(el_next_event(r.engine, id, 0, &e), EL_ERR_BUSY);
  uint64_t begin = el_now_ns();
  assert_int_equal(el_next_event(r.engine, id, 30, &e), EL_ERR_BUSY);
  assert_true(el_now_ns() - begin >= 29000000);
  fake_release();
  for (int i = 0; i < 3; i++) assert_int_equal(el_next_event(r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_DONE);
  rig_close(&r);
}

static void events_that_nobody_takes_do_not_harm(void **state) {
  rig r = rig_open(2, 64, 16);
  el_event e;
  uint64_t ids[EL_KEEP_DONE + 20];
  for (int i = 0; i < EL_KEEP_DONE + 20; i++) {
    el_request q = ASK(2, 'a', 'b');
    q.ignore_eos = true;
    assert_int_equal(el_submit(r.engine, &q, &ids[i], NULL), EL_OK);
    if (i % 5 == 0) continue; /* never asked for */
    for (int k = 0; k < 3; k++) assert_int_equal(el_next_event(r.engine, ids[i], -1, &e), EL_OK);
    assert_int_equal(e.type, EL_EVENT_DONE);
  }
  for (int i = 0; i < EL_KEEP_DONE + 20; i++)
    assert_int_equal(el_next_event(r.engine, ids[i], -1, &e), i % 5 ? EL_ERR_NOT_FOUND : EL_OK);
  rig_close(&r);
}

typedef struct reader {
  el_engine *engine;
  uint64_t id;
  el_status status;
  el_event last;
} reader;

/* As many as may run and wait at once are kept; what goes first is the oldest. */
static void requests_that_nobody_takes_to_their_end_are_forgotten(void **state) {
  enum { SLOTS = 2, QUEUE = 6, KEPT = SLOTS + QUEUE, MORE = 30 };
  el_engine_options o = rig_options(SLOTS, 64, 16);
  o.max_queue = QUEUE;
  rig r = rig_open_options(o, 0);
  uint64_t ids[KEPT + MORE];
  el_event e;
  for (uint64_t i = 0; i < KEPT + MORE; i++) {
    el_request q = ASK(2, 'a');
    q.ignore_eos = true;
    assert_int_equal(el_submit(r.engine, &q, &ids[i], NULL), EL_OK);
    while (rig_stats(&r).requests_done <= i) usleep(200);
  }
  /* The last one may be counted before its end can be taken. */
  assert_int_equal(el_next_event(r.engine, ids[KEPT + MORE - 1], 5000, &e), EL_OK);
  for (int i = 0; i < MORE; i++) assert_int_equal(el_next_event(r.engine, ids[i], -1, &e), EL_ERR_NOT_FOUND);
  for (int i = MORE; i < KEPT + MORE - 1; i++) {
    for (int k = 0; k < 3; k++) assert_int_equal(el_next_event(r.engine, ids[i], -1, &e), EL_OK);
    assert_int_equal(e.type, EL_EVENT_DONE);
  }
  rig_close(&r);
}

static void *read_all(void *p) {
  reader *r = p;
  while (!(r->status = el_next_event(r->engine, r->id, -1, &r->last)) && r->last.type != EL_EVENT_DONE) continue;
  return NULL;
}

static int n_readers(el_engine *e) {
  pthread_mutex_lock(&e->mutex);
  int n = e->n_readers;
  pthread_mutex_unlock(&e->mutex);
  return n;
}

static void who_waits_for_events_hears_that_the_engine_closes(void **state) {
  rig r = rig_open(2, 512, 16);
  reader readers[3];
  pthread_t threads[3];
  /* A prompt of several slow steps: no event comes before the last one, so that all are inside el_next_event when the
   * engine closes; who calls it later would use an engine that is gone. */
  fake.step_us = 50000;
  int32_t prompt[200];
  for (size_t i = 0; i < sizeof prompt / sizeof *prompt; i++) prompt[i] = 'a';
  for (int i = 0; i < 3; i++) {
    el_request q = ask(prompt, sizeof prompt / sizeof *prompt, -1);
    readers[i].engine = r.engine;
    assert_int_equal(el_submit(r.engine, &q, &readers[i].id, NULL), EL_OK);
    assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
  }
  while (n_readers(r.engine) < 3) usleep(100);
  el_engine_close(r.engine);
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(readers[i].status, EL_OK);
    assert_int_equal(readers[i].last.done.finish, EL_FINISH_CANCELLED);
  }
  remove_tree(r.dir);
  fake = (fake_options){0};
}

/* ---------------------------------------------------------------- requests */

static void refuse(rig *r, el_request q, el_status status, const char *part) {
  el_error err = {0};
  assert_int_equal(try_submit(r, q, &err), status);
  assert_int_equal(err.code, status);
  assert_contains(err.message, part);
  assert_int_equal(err.field == NULL, status == EL_ERR_NOT_FOUND); /* it is the name that is not there */
}

static void requests_that_cannot_run_are_refused_at_once(void **state) {
  rig r = rig_open(2, 50, 16);
  int32_t prompt[60];
  for (int i = 0; i < 60; i++) prompt[i] = 'a';
  refuse(&r, ask(prompt, 51, 0), EL_ERR_TOO_LONG, "51 tokens, the context has 50");
  refuse(&r, ask(prompt, 50, 1), EL_ERR_TOO_LONG, "50");
  refuse(&r, ask(prompt, SIZE_MAX, 1), EL_ERR_TOO_LONG, "prompt");
  refuse(&r, ask(prompt, 0, 1), EL_ERR_INVALID, "prompt");
  refuse(&r, ask(NULL, 3, 1), EL_ERR_INVALID, "prompt");
  refuse(&r, ask(prompt, 3, -2), EL_ERR_INVALID, "max_tokens");
  prompt[2] = FAKE_VOCAB;
  refuse(&r, ask(prompt, 3, 1), EL_ERR_INVALID, "prompt[2]");
  prompt[2] = -1;
  refuse(&r, ask(prompt, 3, 1), EL_ERR_INVALID, "prompt[2]");
  el_request q = ASK(1, 'a');
  q.adapter.name = "nobody\n";
  refuse(&r, q, EL_ERR_NOT_FOUND, "nobody\\n");
  q = ASK(1, 'a');
  q.sampling.temperature = NAN;
  refuse(&r, q, EL_ERR_INVALID, "temperature");
  q = ASK(1, 'a');
  q.top_logprobs = 21;
  refuse(&r, q, EL_ERR_INVALID, "top_logprobs");
  q.top_logprobs = -1;
  refuse(&r, q, EL_ERR_INVALID, "top_logprobs");
  q = ASK(1, 'a');
  q.n_stop = 1;
  refuse(&r, q, EL_ERR_INVALID, "stop");
  const char *stop[EL_MAX_STOPS + 1];
  for (int i = 0; i <= EL_MAX_STOPS; i++) stop[i] = "x";
  q.stop = stop;
  q.n_stop = EL_MAX_STOPS + 1;
  refuse(&r, q, EL_ERR_INVALID, "stop");
  q.n_stop = 2;
  stop[1] = "";
  refuse(&r, q, EL_ERR_INVALID, "stop[1]");
  stop[1] = NULL;
  refuse(&r, q, EL_ERR_INVALID, "stop[1]");
  stop[1] = "a\xff";
  refuse(&r, q, EL_ERR_INVALID, "stop[1]");
  static char long_stop[EL_MAX_STOP_BYTES + 2];
  memset(long_stop, 'x', EL_MAX_STOP_BYTES + 1);
  stop[1] = long_stop;
  refuse(&r, q, EL_ERR_INVALID, "stop[1]");
  long_stop[EL_MAX_STOP_BYTES] = 0;
  result out;
  result_init(&out);
  rig_run(&r, q, &out); /* the longest that is allowed */
  el_stats st;
  el_engine_stats(r.engine, &st);
  assert_int_equal(st.requests_submitted, 1);
  assert_int_equal(el_submit(r.engine, NULL, NULL, NULL), EL_ERR_INVALID);
  rig_close(&r);
}

static void a_full_queue_is_said_and_takes_requests_again_later(void **state) {
  el_engine_options o = rig_options(2, 64, 16);
  o.max_queue = 3;
  rig r = rig_open_options(o, 0);
  result out[6];
  fake_hold();
  el_error err;
  for (int i = 0; i < 5; i++) {
    result_init(&out[i]);
    rig_submit(&r, ASK(2, 'a'), &out[i]);
  }
  assert_int_equal(try_submit(&r, ASK(1, 'a'), &err), EL_ERR_BUSY);
  assert_contains(err.message, "5");
  fake_release();
  for (int i = 0; i < 5; i++) result_wait(&out[i]);
  result_init(&out[5]);
  rig_run(&r, ASK(2, 'a'), &out[5]);
  assert_true(out[4].last.done.queued_ms > 0);
  rig_close(&r);
}

static void everything_a_request_points_to_is_copied(void **state) {
  static const int script[] = {HELLO, STOP_WORD, -1};
  fake.scripts[1] = script;
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  fake_hold();
  int32_t *prompt = malloc(sizeof *prompt);
  char *stop = strdup("STOP"), *name = strdup("a");
  const char **stops = malloc(sizeof *stops);
  el_logit_bias *bias = malloc(sizeof *bias);
  rig_add(&r, "a", 1);
  *prompt = 1;
  *stops = stop;
  *bias = (el_logit_bias){'x', 1};
  el_request q = ask(prompt, 1, -1);
  q.adapter.name = name;
  q.stop = stops;
  q.n_stop = 1;
  q.sampling.logit_bias = bias;
  q.sampling.n_logit_bias = 1;
  rig_submit(&r, q, &out);
  *prompt = 99;
  free(prompt);
  free(stop);
  free(name);
  free(stops);
  free(bias);
  fake_release();
  result_wait(&out);
  assert_true(result_text_is(&out, "hello"));
  assert_string_equal(out.stop, "STOP");
  rig_close(&r);
}

static void submit_chain(result *r, const el_event *e) {
  int *left = r->context;
  if (e->type != EL_EVENT_DONE || (*left)-- == 0) return;
  result *next = r + 1;
  next->hook = submit_chain;
  next->context = left;
  next->engine = r->engine;
  el_request q = ASK(2, 'a');
  q.on_event = result_on_event;
  q.user = next;
  if (el_submit(r->engine, &q, NULL, NULL)) abort(); /* though there is no queue: its own slot is free */
}

static void a_callback_can_submit(void **state) {
  el_engine_options o = rig_options(1, 64, 16);
  o.max_queue = 0;
  rig r = rig_open_options(o, 0);
  static result out[20];
  for (int i = 0; i < 20; i++) result_init(&out[i]);
  int left = 19;
  out[0].hook = submit_chain;
  out[0].context = &left;
  rig_submit(&r, ASK(2, 'a'), &out[0]);
  for (int i = 0; i < 20; i++) result_wait(&out[i]);
  rig_close(&r);
}

/* ---------------------------------------------------------------- adapters */

static void adapters_are_listed_in_order_and_refused_by_name(void **state) {
  rig r = rig_open(2, 64, 16);
  el_error err;
  rig_add(&r, "b", 1);
  rig_add(&r, "a", 2);
  assert_int_equal(el_adapter_add_random(r.engine, "b", 1, 3, &err), EL_ERR_EXISTS);
  assert_int_equal(el_adapter_add_random(r.engine, "fake model", 1, 3, &err), EL_ERR_EXISTS);
  assert_contains(err.message, "base");
  assert_int_equal(el_adapter_add_random(r.engine, "", 1, 3, &err), EL_ERR_INVALID);
  assert_int_equal(el_adapter_add_random(r.engine, NULL, 1, 3, &err), EL_ERR_INVALID);
  assert_int_equal(el_adapter_add_random(r.engine, "a\tb", 1, 3, &err), EL_ERR_INVALID);
  assert_int_equal(el_adapter_add(r.engine, "c", "/does/not/exist", &err), EL_ERR_IO);
  assert_int_equal(el_adapter_remove(r.engine, "c", &err), EL_ERR_NOT_FOUND);
  el_adapter_info *list;
  size_t n;
  assert_int_equal(el_adapter_list(r.engine, &list, &n, &err), EL_OK);
  assert_int_equal(n, 2);
  assert_string_equal(list[0].name, "b");
  assert_string_equal(list[1].name, "a");
  assert_string_equal(list[1].path, "");
  assert_true(list[0].created > 1600000000);
  el_free(list);
  assert_int_equal(el_adapter_remove(r.engine, "b", &err), EL_OK);
  rig_add(&r, "b", 4);
  assert_int_equal(el_adapter_list(r.engine, &list, &n, &err), EL_OK);
  assert_string_equal(list[1].name, "b");
  el_free(list);
  rig_close(&r);
}

static void a_removed_adapter_serves_those_who_have_it_and_then_is_freed(void **state) {
  rig r = rig_open(2, 64, 16);
  rig_add(&r, "a", 1);
  result first, second, again;
  result_init(&first), result_init(&second), result_init(&again);
  el_request q = ASK(30, 'a');
  q.ignore_eos = true;
  q.adapter.name = "a";
  rig_run(&r, q, &first);
  fake_hold();
  rig_submit(&r, q, &second);
  el_error err;
  assert_int_equal(el_adapter_remove(r.engine, "a", &err), EL_OK);
  assert_int_equal(try_submit(&r, q, &err), EL_ERR_NOT_FOUND);
  assert_int_equal(rig_stats(&r).adapters_resident, 1);
  rig_add(&r, "a", 2); /* the name is free; it is another adapter */
  rig_submit(&r, q, &again);
  fake_release();
  result_wait(&second);
  result_wait(&again);
  while (rig_stats(&r).adapters_resident != 1) usleep(100); /* its memory goes right after its last request */
  assert_int_equal(second.n, 30);
  assert_memory_equal(first.tokens, second.tokens, 30 * sizeof(int32_t));
  assert_memory_not_equal(first.tokens, again.tokens, 30 * sizeof(int32_t));
  rig_close(&r);
}

static void the_base_has_three_names(void **state) {
  rig r = rig_open(2, 64, 16);
  result out[3];
  const char *names[] = {NULL, "", "fake model"};
  for (int i = 0; i < 3; i++) {
    result_init(&out[i]);
    el_request q = ASK(20, 'a');
    q.ignore_eos = true;
    q.adapter.name = names[i];
    rig_run(&r, q, &out[i]);
    assert_memory_equal(out[i].tokens, out[0].tokens, 20 * sizeof(int32_t));
  }
  rig_close(&r);
}

typedef struct adder {
  el_engine *engine;
  pthread_barrier_t *barrier;
  int n_added;
} adder;

static void *add_many(void *p) {
  adder *a = p;
  pthread_barrier_wait(a->barrier);
  for (int i = 0; i < 50; i++) {
    char name[16];
    snprintf(name, sizeof name, "n%d", i);
    el_error err;
    el_status status = el_adapter_add_random(a->engine, name, 1, 1, &err);
    if (status && status != EL_ERR_EXISTS) abort();
    a->n_added += !status;
  }
  return NULL;
}

static void of_two_that_add_the_same_name_one_wins(void **state) {
  rig r = rig_open(2, 64, 16);
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 4);
  adder adders[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    adders[i] = (adder){r.engine, &barrier, 0};
    assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adders[i]), 0);
  }
  int added = 0;
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    added += adders[i].n_added;
  }
  assert_int_equal(added, 50);
  assert_int_equal(rig_stats(&r).adapters, 50);
  pthread_barrier_destroy(&barrier);
  rig_close(&r);
}

static void a_directory_is_added_without_reading_what_it_holds(void **state) {
  rig r = rig_open(2, 64, 16);
  el_error err;
  size_t added = 9, failed = 9;
  write_file(r.dir, "fake model.gguf", "", 0);
  assert_int_equal(el_adapter_add_dir(r.engine, r.dir, &added, &failed, &err), EL_OK);
  assert_int_equal(added, 1);  /* the model itself is no adapter: a request is told so */
  assert_int_equal(failed, 1); /* the name is the base's */
  result out;
  result_init(&out);
  el_request q = ASK(2, 'a');
  q.adapter.name = "fake";
  rig_run(&r, q, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
  assert_contains(out.last.done.error.message, "fake.gguf");
  assert_int_equal(el_adapter_add_dir(r.engine, "/does/not/exist", &added, &failed, &err), EL_ERR_IO);
  rig_close(&r);
}

/* ------------------------------------------------------------------ engine */

static void the_engine_says_what_it_is(void **state) {
  rig r = rig_open(3, 0, 16);
  el_model_info info;
  el_engine_info(r.engine, &info);
  assert_string_equal(info.name, "fake model");
  assert_string_equal(info.architecture, "llama");
  assert_string_equal(info.isa, "scalar");
  assert_int_equal(info.n_vocab, FAKE_VOCAB);
  assert_int_equal(info.ctx_train, FAKE_CTX_TRAIN);
  assert_int_equal(info.ctx_size, FAKE_CTX_TRAIN);
  assert_int_equal(info.n_slots, 3);
  assert_int_equal(info.n_threads, 1);
  assert_int_equal(info.step_rows, 16);
  assert_true(info.kv_bytes > 0 && info.kv_bytes < info.pool_bytes && info.pool_bytes % info.block_bytes == 0);
  assert_int_equal(el_tokenizer_n_vocab(el_engine_tokenizer(r.engine)), FAKE_VOCAB);
  rig_close(&r);
}

static void refuse_options(el_engine_options o, el_status status, const char *part) {
  el_engine *e = NULL;
  el_error err = {0};
  assert_int_equal(el_engine_open(&o, &e, &err), status);
  assert_null(e);
  assert_contains(err.message, part);
}

static void options_out_of_range_are_refused_by_name(void **state) {
  char dir[64], path[128];
  fake_write_model(dir, path);
  el_engine_options o = rig_options(2, 64, 16), ok;
  refuse_options(o, EL_ERR_INVALID, "model_path");
  o.model_path = path;
  ok = o;
  o.n_slots = 0, refuse_options(o, EL_ERR_INVALID, "n_slots");
  o.n_slots = EL_MAX_SLOTS + 1, refuse_options(o, EL_ERR_INVALID, "n_slots");
  o.n_slots = 17, refuse_options(o, EL_ERR_INVALID, "step_rows");
  o = ok, o.step_rows = 0, refuse_options(o, EL_ERR_INVALID, "step_rows");
  o = ok, o.step_adapters = -1, refuse_options(o, EL_ERR_INVALID, "step_adapters");
  o = ok, o.ctx_size = -1, refuse_options(o, EL_ERR_INVALID, "ctx_size");
  o = ok, o.ctx_size = EL_MAX_CTX_SIZE + 1, refuse_options(o, EL_ERR_INVALID, "ctx_size");
  o = ok, o.n_threads = -1, refuse_options(o, EL_ERR_INVALID, "n_threads");
  o = ok, o.cpu_list = "0-", refuse_options(o, EL_ERR_INVALID, "cpu_list");
  o = ok, o.cpu_list = "1023", refuse_options(o, EL_ERR_INVALID, "cpu_list: CPU 1023");
  o = ok, o.cpu_list = "auto", o.n_threads = 1024, refuse_options(o, EL_ERR_INVALID, "too few for 1024 threads");
  o = ok, o.max_queue = -1, refuse_options(o, EL_ERR_INVALID, "max_queue");
  o = ok, o.model_name = "a\nb", refuse_options(o, EL_ERR_INVALID, "model_name");
  o = ok, o.isa = "vax", refuse_options(o, EL_ERR_UNSUPPORTED, "vax");
  o = ok, o.model_path = "/does/not/exist", refuse_options(o, EL_ERR_IO, "/does/not/exist");
  el_engine *e = NULL;
  el_error err;
  assert_int_equal(el_engine_open(NULL, &e, &err), EL_ERR_INVALID);
  assert_int_equal(el_engine_open_pool(&ok, (el_pool_setup){.n_blocks = 3, .pages_per_block = 1}, &e, &err),
                   EL_ERR_INVALID); /* a context takes 4 */
  assert_contains(err.message, "pages");
  el_engine_close(NULL);
  remove_tree(dir);
}

static void an_idle_engine_takes_no_time(void **state) {
  rig r = rig_open(2, 64, 16);
  result out;
  result_init(&out);
  rig_run(&r, ASK(5, 'a'), &out);
  usleep(50000);
  struct timespec before, after;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  usleep(300000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) * 1e-6;
  assert_true(ms < 15);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(events_can_be_taken_one_by_one),
      cmocka_unit_test(waiting_for_an_event_ends_at_its_time_limit),
      cmocka_unit_test(events_that_nobody_takes_do_not_harm),
      cmocka_unit_test(requests_that_nobody_takes_to_their_end_are_forgotten),
      cmocka_unit_test(who_waits_for_events_hears_that_the_engine_closes),
      cmocka_unit_test(requests_that_cannot_run_are_refused_at_once),
      cmocka_unit_test(a_full_queue_is_said_and_takes_requests_again_later),
      cmocka_unit_test(everything_a_request_points_to_is_copied),
      cmocka_unit_test(a_callback_can_submit),
      cmocka_unit_test(adapters_are_listed_in_order_and_refused_by_name),
      cmocka_unit_test(a_removed_adapter_serves_those_who_have_it_and_then_is_freed),
      cmocka_unit_test(the_base_has_three_names),
      cmocka_unit_test(of_two_that_add_the_same_name_one_wins),
      cmocka_unit_test(a_directory_is_added_without_reading_what_it_holds),
      cmocka_unit_test(the_engine_says_what_it_is),
      cmocka_unit_test(options_out_of_range_are_refused_by_name),
      cmocka_unit_test(an_idle_engine_takes_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
