/* The engine with all its threads while adapters' files change without a pause: clients that submit, poll, cancel and
 * are there when it closes; folders that are watched, examples that are read for the router. Every request ends once,
 * those for the base and for what stays the same are answered as if they were alone. What test_engine_property.c does
 * by hand, here time decides. EL_PROPERTY_SECONDS: how long (2). */
#include <signal.h>

#include "changing_adapters.h"
#include "routed_rig.h"

enum { N_CHANGING = 5, N_STEADY = 2, N_ITEMS = N_CHANGING + N_STEADY, N_CLIENTS = 3, N_AT_ONCE = 12, CTX = 80 };

typedef struct storm {
  rig *r;
  shelf shelf;
  shelf_item items[N_ITEMS];
  int n_blocks;
  atomic_bool stop;
  atomic_int n_done, n_failed, n_steady;
} storm;

static void give_up(int signal) {
  must(false, "the engine does not come back");
}

/* --- what is asked for */

typedef struct asked {
  storm *s;
  el_request q;
  int32_t prompt[CTX];
  el_adapter_scale scales[2];
  uint64_t id;
  bool steady; /* nothing keeps it from being answered */
  int n, n_choices;
  int32_t tokens[CTX];
  el_event last;
  atomic_int n_done;
} asked;

static void take(const el_event *ev) {
  asked *a = ev->user;
  must(!atomic_load(&a->n_done), "an event after the end");
  a->n_choices += ev->type == EL_EVENT_DECISION;
  if (ev->type == EL_EVENT_TOKEN) a->tokens[a->n++] = ev->token.id;
  if (ev->type != EL_EVENT_DONE) return;
  a->last = *ev;
  atomic_fetch_add(&a->n_done, 1);
}

static void make_request(storm *s, asked *a, uint64_t *rng) {
  memset(a, 0, sizeof *a);
  a->s = s;
  a->q = el_request_default();
  el_request *q = &a->q;
  q->n_prompt = 1 + (size_t)below(rng, 40);
  int letter = "abdx"[below(rng, 4)];
  for (size_t i = 0; i < q->n_prompt; i++) a->prompt[i] = below(rng, 30) ? letter : 'y';
  q->prompt = a->prompt;
  q->max_tokens = below(rng, CTX - 40);
  q->ignore_eos = true;
  q->user = a;
  if (below(rng, 2)) q->on_event = take;
  int kind = below(rng, 8), i = below(rng, N_ITEMS);
  if (kind < 2) {
    q->adapter.by = EL_BY_ROUTER;
    a->steady = true; /* the base is always left */
  } else if (kind < 6) {
    q->adapter.name = s->items[i].name;
    a->steady = i >= N_CHANGING;
  } else if (kind < 7) {
    a->scales[0] = (el_adapter_scale){s->items[i].name, 0.5f};
    a->scales[1] = (el_adapter_scale){s->items[N_ITEMS - 1 - (i == N_ITEMS - 1)].name, 1};
    q->adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {a->scales, 2}};
  } else {
    a->steady = true;
  }
}

/* What a steady one, or the base, answers alone; the prompt is all that the answer depends on beside it. */
static void compare(storm *s, rig *quiet, const asked *a) {
  static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
  static asked alone;
  pthread_mutex_lock(&one_at_a_time);
  memset(&alone, 0, sizeof alone);
  alone.q = a->q;
  alone.q.on_event = NULL;
  alone.q.user = &alone;
  must(!el_submit(quiet->engine, &alone.q, &alone.id, NULL), "the quiet engine refuses");
  for (el_event ev; !atomic_load(&alone.n_done);) {
    must(!el_next_event(quiet->engine, alone.id, -1, &ev), "no event");
    take(&ev);
  }
  must(alone.n == a->n && !memcmp(alone.tokens, a->tokens, sizeof *a->tokens * (size_t)a->n),
       "another answer than alone");
  atomic_fetch_add(&s->n_steady, 1);
  pthread_mutex_unlock(&one_at_a_time);
}

static void judge(storm *s, rig *quiet, const asked *a) {
  must(atomic_load(&a->n_done) == 1, "no end, or two");
  atomic_fetch_add(&s->n_done, 1);
  if (a->last.done.finish == EL_FINISH_CANCELLED) return;
  if (a->last.done.finish == EL_FINISH_ERROR) {
    atomic_fetch_add(&s->n_failed, 1);
    must(a->last.done.error.code && *a->last.done.error.message, "an error that does not tell why");
    must(!a->steady || a->n_choices,
         a->last.done.error.message); /* what was chosen may be gone when it is loaded again */
  } else if (a->steady && a->q.adapter.by != EL_BY_ROUTER) {
    compare(s, quiet, a);
  }
}

typedef struct client {
  storm *s;
  rig *quiet;
  uint64_t rng;
  asked asked[N_AT_ONCE];
} client;

static void submit(client *c, asked *a) {
  el_error err = {0};
  make_request(c->s, a, &c->rng);
  if (el_submit(c->s->r->engine, &a->q, &a->id, &err)) {
    must(!a->steady && *err.message, err.message);
    a->id = 0;
  } else if (below(&c->rng, 5) == 0) {
    el_cancel(c->s->r->engine, a->id);
  }
}

static void *client_main(void *arg) {
  client *c = arg;
  for (;;) {
    for (int i = 0; i < N_AT_ONCE; i++) submit(c, &c->asked[i]);
    if (atomic_load(&c->s->stop)) return NULL; /* these are there when it closes */
    for (int i = 0; i < N_AT_ONCE; i++) {
      asked *a = &c->asked[i];
      if (!a->id) continue;
      if (below(&c->rng, 8) == 0) el_cancel(c->s->r->engine, a->id);
      for (el_event ev; !a->q.on_event && !atomic_load(&a->n_done);) {
        must(!el_next_event(c->s->r->engine, a->id, -1, &ev), "no event");
        take(&ev);
      }
      while (!atomic_load(&a->n_done)) usleep(100);
      judge(c->s, c->quiet, a);
    }
  }
}

/* --- the weather */

static void put_examples(storm *s, int i) {
  static const char text[] = "{\"prompt\": \"dddd\"}\n{\"prompt\": \"ddd\"}\n";
  char path[160];
  shelf_path(&s->shelf, &s->items[i], NULL, path);
  int dir = open(path, O_DIRECTORY | O_RDONLY);
  int fd = dir < 0 ? -1 : openat(dir, "examples.jsonl", O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd >= 0) must(write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1, "cannot write");
  if (fd >= 0) close(fd);
  if (dir >= 0) close(dir);
}

static void *weather_main(void *arg) {
  storm *s = arg;
  uint64_t rng = 7;
  while (!atomic_load(&s->stop)) {
    int i = below(&rng, N_CHANGING);
    shelf_change(&s->shelf, &s->items[i], s->n_blocks, &rng);
    if (i > 2 && below(&rng, 2)) put_examples(s, i);
    if (below(&rng, 40) == 0) el_adapter_rescan(s->r->engine, NULL, NULL);
    if (below(&rng, 10) == 0) el_adapter_remove(s->r->engine, s->items[i].name, NULL);
    usleep((useconds_t)below(&rng, 4000));
  }
  return NULL;
}

static void run(double seconds, int n_blocks, const char *policy) {
  static const char *const names[N_ITEMS] = {"a", "b", "c", "d", "e", "still", "calm"};
  static client clients[N_CLIENTS];
  static storm s;
  memset(&s, 0, sizeof s);
  s.n_blocks = n_blocks;
  el_engine_options o = rig_options(4, CTX, 16);
  o.speculate = 6;
  o.cache_policy = policy;
  o.router_margin = 1;
  routed t = open_with(o, (uint64_t)n_blocks);
  rig quiet = rig_open_options(rig_options(2, CTX, 64), 60);
  s.r = &t.r;
  make_dir(s.shelf.dir);
  el_error err;
  for (int i = 0; i < N_ITEMS; i++) {
    s.items[i].name = names[i];
    shelf_put(&s.shelf, &s.items[i], 1 + i % 3, (float)(i + 1));
  }
  for (int i = N_CHANGING; i < N_ITEMS; i++) {
    char path[160];
    shelf_path(&s.shelf, &s.items[i], NULL, path);
    assert_int_equal(el_adapter_add(quiet.engine, names[i], path, &err), EL_OK);
  }
  assert_int_equal(el_adapter_add_dir(t.r.engine, s.shelf.dir, NULL, NULL, &err), EL_OK);
  pthread_t weather, threads[N_CLIENTS];
  pthread_create(&weather, NULL, weather_main, &s);
  for (int i = 0; i < N_CLIENTS; i++) {
    clients[i] = (client){.s = &s, .quiet = &quiet, .rng = (uint64_t)i + 1};
    pthread_create(&threads[i], NULL, client_main, &clients[i]);
  }
  usleep((useconds_t)(seconds * 1e6));
  atomic_store(&s.stop, true);
  alarm(60);
  pthread_join(weather, NULL);
  for (int i = 0; i < N_CLIENTS; i++) pthread_join(threads[i], NULL);
  el_engine_close(t.r.engine); /* asserts that every reference has come back */
  alarm(0);
  t.r.engine = NULL;
  for (int i = 0; i < N_CLIENTS; i++)
    for (int k = 0; k < N_AT_ONCE; k++) {
      const asked *a = &clients[i].asked[k];
      if (a->id && a->q.on_event) judge(&s, &quiet, a);
    }
  print_message("%d blocks, %s: %d requests ended, %d with an error, %d answers compared\n", n_blocks,
                policy ? policy : "frequency", atomic_load(&s.n_done), atomic_load(&s.n_failed),
                atomic_load(&s.n_steady));
  assert_true(atomic_load(&s.n_done) > 20);
  remove_tree(s.shelf.dir);
  rig_close(&quiet);
  close_routed(&t);
}

static void requests_end_whatever_happens_to_files(void **state) {
  const char *given = getenv("EL_PROPERTY_SECONDS");
  double seconds = given ? atof(given) : 2;
  setenv("EDGELORA_ABORT_ON_BUG", "1", 1);
  signal(SIGALRM, give_up);
  run(seconds / 3, 10, NULL);
  run(seconds / 3, 16, "none");
  run(seconds / 3, 40, "s3-fifo");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(requests_end_whatever_happens_to_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
