/* Whatever comes after whatever: requests that name an adapter, the base, several with scales, or leave it to the
 * router; for text, or for a vector; activated adapters, and conversations that go from them to the base and on;
 * cancellations; adapters whose files grow, shrink, break, vanish and change between any two steps and loads; pools of
 * several sizes. The engine never stops, each request ends once, one that asks for what is there and stays the same is
 * answered as if it were alone, whatever it guesses of its answer, one that fails is told why, and no block, page or
 * reference is lost.
 *
 * Nothing has a thread of its own here: one generator decides what comes next, so a number repeats a run.
 * EL_PROPERTY_SEED: this one alone. EL_PROPERTY_SECONDS: how long new ones are tried (6). */
#include <signal.h>

#include "changing_adapters.h"
#include "routed_rig.h"

enum {
  N_DIR = 6, /* in a folder that is looked through; the first three are the router's columns */
  LOOSE = N_DIR,
  RANDOM, /* of random weights */
  N_ITEMS,
  CTX = 80,
  MAX_JOBS = 400,
  MAX_LIVE = 24,
  N_OPS = 700
};

/* What was asked, and what came of it. */
typedef struct job {
  struct world *w;
  el_request q;
  int32_t prompt[CTX];
  el_adapter_scale scales[3];
  int named[3], n_named;
  const char *candidates[2];
  uint64_t id;
  int cancel_at; /* tokens; -1: never */
  bool cancelled;
  int version[N_ITEMS];
  bool clean[N_ITEMS]; /* what the registry knows is what is there */

  int n, n_done, n_choices, n_prompt_logprobs, n_vectors;
  float vector[FAKE_EMBD];
  int32_t tokens[CTX];
  float logprobs[CTX], prompt_logprobs[CTX];
  char chosen[EL_MAX_NAME_BYTES + 1];
  bool same[N_ITEMS]; /* nothing has changed until its end */
  float seeds[N_ITEMS];
  int activated[N_ITEMS];
  bool innocent; /* nothing kept it from being answered */
  el_event last;
} job;

typedef struct world {
  uint64_t rng, guesses;
  routed t;
  el_engine *e, *quiet;
  const char *quiet_dir; /* of the adapters that it has from files */
  shelf dir, loose;
  shelf_item items[N_ITEMS];
  bool listed[N_ITEMS], clean[N_ITEMS]; /* clean: looked at since its files last changed */
  int n_blocks, per_block, reserve, windowed_per_block;
  job *jobs; /* [n_jobs] */
  int n_jobs, n_live, n_compared, n_failed;
  int n_vectors;
  /* Of the compared ones: those whose adapter began inside of the prompt, behind a whole page; with cached pages. */
  int n_activated, n_paged, n_cached;
} world;

static uint64_t seed_of_run;

static void give_up(int signal) {
  fprintf(stderr, "the engine does not come back: EL_PROPERTY_SEED=%llu\n", (unsigned long long)seed_of_run);
  abort();
}

#define CHECK(what)                                                                                              \
  do {                                                                                                           \
    if (!(what)) {                                                                                               \
      fprintf(stderr, "line %d: %s: EL_PROPERTY_SEED=%llu\n", __LINE__, #what, (unsigned long long)seed_of_run); \
      abort();                                                                                                   \
    }                                                                                                            \
  } while (0)

static void show_line(void *user, el_log_level level, const char *line) {
  fprintf(stderr, "%s\n", line);
}

/* A run that is repeated alone is told. */
#define TELL(...)                                                 \
  do {                                                            \
    if (getenv("EL_PROPERTY_SEED")) fprintf(stderr, __VA_ARGS__); \
  } while (0)

/* ------------------------------------------------------------------ open */

static shelf *shelf_of(world *w, int i) {
  return i == LOOSE ? &w->loose : &w->dir;
}

static void look_through(world *w) {
  el_error err;
  CHECK(!el_adapter_rescan(w->e, NULL, &err));
  for (int i = 0; i < N_DIR; i++) w->clean[i] = w->listed[i] = true; /* as far as there is something */
}

static void add_loose(world *w) {
  char path[160];
  el_error err;
  shelf_path(&w->loose, &w->items[LOOSE], NULL, path);
  if (!el_adapter_add(w->e, w->items[LOOSE].name, path, &err)) w->listed[LOOSE] = w->clean[LOOSE] = true;
}

static el_kv_layout layout_of(const world *w, int step_rows) {
  const el_kv_shape shape = el_kv_shape_of(NULL, EL_KV_F16);
  return el_kv_layout_of(&shape, (uint32_t)w->per_block, (uint32_t)w->windowed_per_block, step_rows);
}

/* In the place of what is worth guessing. */
static int guess_anything(void *user, const el_seq *q, int32_t *tokens, int most) {
  world *w = user;
  const int n = most > 0 ? below(&w->guesses, most + 1) : 0;
  for (int i = 0; i < n; i++)
    tokens[i] = below(&w->guesses, 3) ? 'a' + below(&w->guesses, 26) : below(&w->guesses, FAKE_VOCAB);
  return n;
}

static void open_world(world *w, const rig *quiet, uint64_t seed) {
  static const char *const names[N_ITEMS] = {"a", "b", "c", "d", "e", "f", "loose", "random"};
  static const char *const policies[] = {NULL, "lru", "s3-fifo", "none"};
  *w = (world){.rng = seed * EL_GOLDEN_GAMMA, .guesses = seed, .quiet = quiet->engine, .quiet_dir = quiet->dir};
  uint64_t *r = &w->rng;
  w->jobs = calloc(MAX_JOBS, sizeof *w->jobs);
  assert_non_null(w->jobs);
  el_engine_options o = rig_options(1 + below(r, 6), 40 + below(r, CTX - 40), 8 + below(r, 20));
  o.step_adapters = below(r, 3) ? 0 : 1 + below(r, 3);
  o.prefix_cache = below(r, 4);
  o.cache_policy = policies[below(r, 4)];
  o.router_top_k = 1 + below(r, 3);
  o.router_margin = (float)below(r, 3);
  o.max_queue = 1000;
  o.speculate = below(r, 3) ? below(r, EL_MAX_SPECULATE + 1) : EL_SPECULATE_AUTO;
  if (getenv("EL_PROPERTY_SEED")) o.log = show_line;
  w->per_block = 1 + below(r, 3);
  w->windowed_per_block = 1 + below(r, 3);
  w->reserve = below(r, 2) ? below(r, 8) : 0;
  static const int windows[] = {0, 0, 1, 5, 16, 21, 33, CTX + 9}; /* less than a page, no whole pages, more than all */
  fake.window = windows[below(r, 8)];
  const el_kv_layout layout = layout_of(w, o.step_rows);
  int least = (int)el_kv_layout_blocks(&layout, (uint64_t)el_pages_for(o.ctx_size)) + w->reserve;
  w->n_blocks = least + below(r, 4) * below(r, 12);
  make_dir(w->t.dir);
  snprintf(w->t.path, sizeof w->t.path, "%s/letters.gguf", w->t.dir);
  put_router(w->t.path, 1 + below(r, 64));
  fake_write_model(w->t.r.dir, w->t.r.path);
  o.model_path = w->t.r.path;
  o.router_path = w->t.path;
  el_error err;
  const el_pool_setup pool = {(uint32_t)w->n_blocks, (uint32_t)w->per_block, (uint32_t)w->reserve, .by_hand = true,
                              (uint32_t)w->windowed_per_block};
  if (el_engine_open_pool(&o, pool, &w->t.r.engine, &err)) fail_msg("%s", err.message);
  w->e = w->t.r.engine;
  if (below(r, 2)) {
    w->e->speculation.guess = guess_anything;
    w->e->speculation.guess_user = w;
  }
  make_dir(w->dir.dir);
  make_dir(w->loose.dir);
  for (int i = 0; i < N_ITEMS; i++) w->items[i].name = names[i];
  w->dir.activates = w->loose.activates = true;
  for (int i = 0; i < RANDOM; i++)
    shelf_put_activated(shelf_of(w, i), &w->items[i], 1 + below(r, 6), (float)(i + 1), shelf_activation(&w->dir, r));
  if (el_adapter_add_dir(w->e, w->dir.dir, NULL, NULL, &err)) fail_msg("%s", err.message);
  for (int i = 0; i < N_DIR; i++) w->clean[i] = w->listed[i] = true;
  add_loose(w);
  w->items[RANDOM].rank = 1 + below(r, 4);
  w->items[RANDOM].good = true;
  if (!el_adapter_add_random(w->e, names[RANDOM], w->items[RANDOM].rank, 77, &err))
    w->listed[RANDOM] = w->clean[RANDOM] = true;
}

/* -------------------------------------------------------------- innocence */

/* Whether what it asks for fits the pool, as the adapters are now. */
static bool fits(const world *w, const job *j) {
  int tokens = (int)j->q.n_prompt + (j->q.embed ? 0 : j->q.max_tokens), rank = 0;
  int kv = (int)el_kv_layout_blocks(&w->e->memory.layout, (uint64_t)el_pages_for(tokens));
  for (int i = 0; i < j->n_named; i++) rank += w->items[j->named[i]].rank;
  return kv + rank <= w->n_blocks;
}

/* Whether all that it names is there, and known as it is. */
static bool is_innocent(const world *w, const job *j, const bool *same) {
  for (int i = 0; i < j->n_named; i++) {
    int k = j->named[i];
    if (!w->items[k].good || !w->listed[k] || !same[k]) return false;
    if (j->n_named > 1 && w->items[k].activated) return false;
  }
  return j->q.adapter.by != EL_BY_ROUTER && fits(w, j);
}

/* ---------------------------------------------------------------- events */

static void take(const el_event *ev) {
  job *j = ev->user;
  world *w = j->w;
  CHECK(!j->n_done && ev->request == j->id);
  if (ev->type == EL_EVENT_DECISION) {
    CHECK(!j->n && !j->n_choices++);
    snprintf(j->chosen, sizeof j->chosen, "%s", ev->decision.adapter);
  } else if (ev->type == EL_EVENT_PROMPT) {
    CHECK(!j->n && !j->n_prompt_logprobs);
    j->n_prompt_logprobs = (int)ev->prompt.n;
    memcpy(j->prompt_logprobs, ev->prompt.logprobs, ev->prompt.n * sizeof(float));
  } else if (ev->type == EL_EVENT_EMBEDDING) {
    CHECK(j->q.embed && !j->n_vectors++ && ev->embedding.n == FAKE_EMBD);
    memcpy(j->vector, ev->embedding.values, sizeof j->vector);
  } else if (ev->type == EL_EVENT_TOKEN) {
    CHECK(!j->q.embed);
    j->tokens[j->n] = ev->token.id;
    j->logprobs[j->n++] = ev->token.logprob;
    if (j->n == j->cancel_at && w->e) el_cancel(w->e, j->id);
  } else {
    j->n_done++;
    j->last = *ev;
    w->n_live--;
    for (int i = 0; i < N_ITEMS; i++) {
      j->same[i] = j->clean[i] && j->version[i] == atomic_load(&w->items[i].version);
      j->seeds[i] = w->items[i].seed;
      j->activated[i] = w->items[i].activated;
    }
    j->innocent = w->e && is_innocent(w, j, j->same);
  }
}

static void take_polled(world *w) {
  for (int i = 0; i < w->n_jobs; i++) {
    job *j = &w->jobs[i];
    el_event ev;
    while (j->id && !j->q.on_event && !j->n_done && !el_next_event(w->e, j->id, 0, &ev)) take(&ev);
  }
}

/* -------------------------------------------------------------- requests */

static void make_job(world *w, job *j) {
  static const char *const patterns[] = {"a", "*", "b", "nobody", "fake model", "d*"};
  uint64_t *r = &w->rng;
  *j = (job){.w = w, .cancel_at = below(r, 12) ? -1 : 1 + below(r, 10)};
  el_request *q = &j->q;
  *q = el_request_default();
  int ctx = w->e->limits.ctx_size;
  q->prompt = j->prompt;
  q->n_prompt = 1 + (size_t)below(r, below(r, 3) ? 20 : ctx - 1);
  int letter = "abcx"[below(r, 4)], plain = below(r, 3) ? CTX : below(r, 40); /* many begin alike */
  for (int i = 0; i < (int)q->n_prompt; i++) j->prompt[i] = i < plain || below(r, 6) ? letter : 'a' + below(r, 3);
  if (below(r, 2) && q->n_prompt > 2) {
    int n = (int)q->n_prompt, at = n - 2 - below(r, n - 1 < 12 ? n - 1 : 12);
    j->prompt[at] = 'a';
    j->prompt[at + 1] = 'b'; /* which activates most of those that are to be activated */
  }
  q->max_tokens = below(r, 9) ? below(r, ctx - (int)q->n_prompt + 1) : 0;
  q->logprobs = true;
  q->prompt_logprobs = below(r, 6) == 0;
  q->ignore_eos = below(r, 2);
  if (below(r, 2)) q->sampling.temperature = 0.8f;
  q->sampling.seed = next_random(r);
  q->user = j;
  q->tenant = (uint64_t)(w->n_jobs / 3 % 4);
  q->weight = w->n_jobs % 5 * 7;
  q->on_event = below(r, 4) ? take : NULL;
  int kind = below(r, 10);
  if (kind < 3) {
    q->adapter.by = EL_BY_ROUTER;
    q->adapter.router.only_decide = below(r, 8) == 0;
    q->adapter.router.n_scores = below(r, 6);
    q->adapter.router.n_candidates = below(r, 2) ? (size_t)below(r, 3) : 0;
    for (size_t i = 0; i < q->adapter.router.n_candidates; i++) j->candidates[i] = patterns[below(r, 6)];
    q->adapter.router.candidates = j->candidates;
  } else if (kind < 7) {
    j->n_named = 1;
    j->named[0] = below(r, N_ITEMS);
    q->adapter.name = w->items[j->named[0]].name;
  } else if (kind < 9) {
    j->n_named = 2 + (below(r, 4) == 0);
    int first = below(r, 3) ? 0 : below(r, 5); /* the same ones come again */
    for (int i = 0; i < j->n_named; i++) {
      j->named[i] = (first + i * 2) % N_ITEMS;
      j->scales[i] = (el_adapter_scale){w->items[j->named[i]].name, below(r, 4) ? 0.5f : 1};
    }
    q->adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {j->scales, (size_t)j->n_named}};
  }
  if (q->adapter.by == EL_BY_ROUTER || below(r, 4)) return;
  static const el_embed ways[] = {EL_EMBED_MEAN, EL_EMBED_MEAN, EL_EMBED_LAST, EL_EMBED_CLS, EL_EMBED_AS_MODEL};
  q->embed = ways[below(r, 5)];
  q->logprobs = q->prompt_logprobs = false;
}

static bool tells_why(const el_error *e) {
  static const char *const reasons[] = {"there is none",     "takes ",       "memory for",     "changed",
                                        "router knows none", "combined",     "safetensors",    "adapter_config",
                                        "neither a GGUF",    "No such file", "Not a directory"};
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    if (strstr(e->message, reasons[i])) return e->code != EL_OK;
  fprintf(stderr, "no reason: %s\n", e->message);
  return false;
}

/* The prompt goes on where another one ended: that, its answer, as far as there is room for it, and a little more. */
static void go_on_from(world *w, job *j) {
  const int recent = w->n_jobs < 8 || !below(&w->rng, 4) ? w->n_jobs : 8; /* what a cache is likely to have yet */
  const job *before = &w->jobs[w->n_jobs - 1 - below(&w->rng, recent)];
  for (int i = 0; i < 3 && before->q.n_prompt < EL_PAGE_TOKENS; i++)
    before = &w->jobs[w->n_jobs - 1 - below(&w->rng, recent)];
  int most = w->e->limits.ctx_size - 1, n = 0, more = below(&w->rng, 8);
  for (int i = 0; i < (int)before->q.n_prompt && n < most; i++) j->prompt[n++] = before->prompt[i];
  for (int i = 0; i < before->n && n < most; i++) j->prompt[n++] = before->tokens[i];
  for (int i = 0; i < more && n < most; i++) j->prompt[n++] = 'a' + below(&w->rng, 3);
  if (n > EL_PAGE_TOKENS && below(&w->rng, 4)) {
    j->prompt[n - 2] = 'a';
    j->prompt[n - 1] = 'b'; /* the next turn's invocation */
  }
  j->q.n_prompt = (size_t)n;
  j->q.max_tokens = below(&w->rng, most - n + 2);
}

/* Submits a copy of a request; its prompt and names are those of `j`. */
static void submit(world *w, job *j) {
  el_error err = {0};
  for (int i = 0; i < N_ITEMS; i++) {
    j->version[i] = atomic_load(&w->items[i].version);
    j->clean[i] = w->clean[i];
  }
  w->n_live++;
  el_status status = el_submit(w->e, &j->q, &j->id, &err);
  TELL("  request %llu: %s%s%s\n", (unsigned long long)j->id, j->q.adapter.by == EL_BY_ROUTER ? "auto" : "",
       j->n_named ? w->items[j->named[0]].name : "", j->n_named > 1 ? " and others" : "");
  if (!status) return;
  w->n_live--;
  j->n_done = 1;
  j->last = (el_event){.type = EL_EVENT_DONE, .done = {.finish = EL_FINISH_ERROR, .error = err}};
  CHECK(tells_why(&err));
  CHECK(!is_innocent(w, j, j->clean) && j->q.adapter.by != EL_BY_ROUTER); /* auto is told later */
}

static void submit_some(world *w) {
  job first;
  make_job(w, &first);
  if (w->n_jobs && below(&w->rng, 2)) go_on_from(w, &first);
  int n = below(&w->rng, 5) ? 1 : 2 + below(&w->rng, 3); /* several choices of an answer */
  for (int i = 0; i < n && w->n_jobs < MAX_JOBS; i++) {
    job *j = &w->jobs[w->n_jobs++];
    *j = first;
    j->q.sampling.seed += (uint64_t)i;
    j->q.prompt = j->prompt;
    j->q.user = j;
    if (j->q.adapter.by == EL_BY_ROUTER) j->q.adapter.router.candidates = j->candidates;
    if (j->q.adapter.by == EL_BY_SCALES) j->q.adapter.scales.list = j->scales;
    submit(w, j);
  }
}

/* ------------------------------------------------------------------- time */

static void turn(world *w, int n) {
  while (n-- && el_loop_turn(w->e)) continue;
}

/* As if a second had passed: each name's files are looked at when a request comes. */
static void look_at_names(world *w) {
  for (int i = 0; i < RANDOM; i++) {
    el_entry *entry;
    el_error err;
    if (el_registry_get(w->e->registry, w->items[i].name, &entry, &err)) continue;
    atomic_store(&entry->checked_ns, 0);
    el_registry_put(w->e->registry, entry);
    el_status status = el_registry_get(w->e->registry, w->items[i].name, &entry, &err);
    w->clean[i] = !status;
    if (!status) el_registry_put(w->e->registry, entry);
  }
}

static void do_something(world *w) {
  uint64_t *r = &w->rng;
  int what = below(r, 100), i = below(r, RANDOM);
  if (what < 48) TELL("- %d %s\n", what, w->items[i].name);
  if (what < 22 && w->n_live < MAX_LIVE) {
    submit_some(w);
  } else if (what < 26 && w->n_jobs) {
    job *j = &w->jobs[w->n_jobs - 1 - below(r, w->n_jobs < 30 ? w->n_jobs : 30)];
    if (j->id) {
      j->cancelled = true;
      el_cancel(w->e, j->id);
    }
  } else if (what < 32) {
    w->clean[i] = false;
    shelf_change(shelf_of(w, i), &w->items[i], w->n_blocks, r);
    TELL("  %s: rank %d\n", w->items[i].good ? "good" : "broken", w->items[i].rank);
  } else if (what < 36) {
    look_through(w);
  } else if (what < 38) {
    look_at_names(w);
  } else if (what < 40) {
    if (w->listed[i] && !el_adapter_remove(w->e, w->items[i].name, NULL)) w->listed[i] = false;
  } else if (what < 42) {
    if (!w->listed[LOOSE]) add_loose(w);
  } else if (what < 48) {
    take_polled(w);
  } else if (what < 70) {
    el_loader_work(w->e->memory.loader);
  } else {
    turn(w, 1 + below(r, 20));
  }
}

/* All that was asked for comes to its end, in a number of turns that grows with what is left to compute alone. */
static void finish_all(world *w) {
  for (int n = 0; w->n_live; n++) {
    CHECK(n < 20000);
    while (el_loader_work(w->e->memory.loader)) continue;
    turn(w, 1);
    take_polled(w);
  }
}

/* --------------------------------------------------------- what must hold */

static void count_known(void *user, const el_entry *e) {
  CHECK(e->refs == 1 && !e->n_pins);
  *(int *)user += e->adapter != NULL;
}

/* Nobody has anything any more; and what could be had again adds up to all that there is. */
static void check_memory(world *w) {
  el_memory *m = &w->e->memory;
  while (el_loader_work(m->loader)) continue;
  turn(w, 2);
  CHECK(!w->e->scheduler.waiting && !w->e->scheduler.n_running && !el_loader_n(m->loader));
  CHECK(m->kv.n_used == m->kv.n_idle && !m->pinned && m->pool.count[EL_USE_ADAPTER] == m->cache.size);
  CHECK(m->windowed.n_used == m->windowed.n_idle);
  CHECK(m->pool.count[EL_USE_FREE] + m->pool.count[EL_USE_KV] + m->pool.count[EL_USE_ADAPTER] == m->pool.n_blocks);
  int n = 0;
  el_registry_each_known(w->e->registry, count_known, &n);
  for (int i = 0; i < RANDOM; i++) shelf_remove(shelf_of(w, i), &w->items[i]);
  look_through(w);
  el_adapter_remove(w->e, "loose", NULL);
  el_adapter_remove(w->e, "random", NULL);
  turn(w, 1);
  CHECK(!m->cache.n_items && !m->pool.count[EL_USE_ADAPTER]); /* a reference that is lost keeps its adapter */
  while (el_prefix_n_idle(&m->prefix)) el_prefix_evict(&m->prefix);
  CHECK(m->pool.count[EL_USE_FREE] == m->pool.n_blocks && !m->prefix.n_cached);
}

static void check_stats(world *w) {
  el_stats st;
  el_engine_stats(w->e, &st);
  int submitted = 0, failed = 0, cancelled = 0;
  for (int i = 0; i < w->n_jobs; i++) {
    if (!w->jobs[i].id) continue;
    submitted++;
    failed += w->jobs[i].last.done.finish == EL_FINISH_ERROR;
    cancelled += w->jobs[i].last.done.finish == EL_FINISH_CANCELLED;
  }
  CHECK(st.requests_submitted == (uint64_t)submitted && st.requests_failed == (uint64_t)failed);
  CHECK(st.requests_cancelled == (uint64_t)cancelled);
  CHECK(st.requests_done == (uint64_t)(submitted - failed - cancelled) && !st.slots_busy && !st.queued);
  CHECK(!st.kv_pages_used);
}

/* The quiet engine's name for what an adapter of this item answers: it has one for each seed. */
static const char *quiet_name(world *w, const job *j, int i, char name[32]) {
  uint32_t bits = 77;
  int activated = i == RANDOM ? 0 : j->activated[i];
  if (i != RANDOM) memcpy(&bits, &j->seeds[i], sizeof bits);
  snprintf(name, 32, "seed-%u-%d", bits, activated);
  el_adapter_info *info;
  if (!el_adapter_get(w->quiet, name, &info, NULL)) {
    el_free(info);
  } else if (!activated) {
    CHECK(!el_adapter_add_random(w->quiet, name, 1, bits, NULL));
  } else {
    char path[128];
    put_fake_peft_with(w->quiet_dir, name, 1, j->seeds[i], shelf_activations[activated]);
    snprintf(path, sizeof path, "%s/%s", w->quiet_dir, name);
    CHECK(!el_adapter_add(w->quiet, name, path, NULL));
  }
  return name;
}

/* Runs it alone and compares all that came. */
static void compare(world *w, const job *j) {
  static job alone;
  char names[3][32];
  alone = *j;
  alone.n = alone.n_done = alone.n_prompt_logprobs = alone.n_vectors = 0;
  world none = {.e = NULL};
  alone.w = &none;
  alone.cancel_at = -1;
  el_request *q = &alone.q;
  q->prompt = alone.prompt;
  q->on_event = NULL;
  q->user = &alone;
  int chosen = -1;
  for (int i = 0; j->n_choices && i < N_ITEMS; i++)
    if (!strcmp(j->chosen, w->items[i].name)) chosen = i;
  const int one = j->n_named == 1 ? j->named[0] : chosen;
  if (j->n_named > 1) {
    q->adapter.scales.list = alone.scales;
    for (int i = 0; i < j->n_named; i++) alone.scales[i].adapter = quiet_name(w, j, j->named[i], names[i]);
  } else {
    const char *name = one >= 0 ? quiet_name(w, j, one, names[0]) : NULL;
    q->adapter = (el_adapter_selection){.by = EL_BY_NAME, .name = name};
  }
  CHECK(!el_submit(w->quiet, q, &alone.id, NULL));
  for (el_event ev; !alone.n_done;) {
    CHECK(!el_next_event(w->quiet, alone.id, -1, &ev));
    take(&ev);
  }
  TELL("compared: request %llu, %d tokens\n", (unsigned long long)j->id, j->n);
  CHECK(alone.n == j->n && alone.last.done.finish == j->last.done.finish);
  CHECK(!memcmp(alone.tokens, j->tokens, sizeof *j->tokens * (size_t)j->n));
  CHECK(!memcmp(alone.logprobs, j->logprobs, sizeof *j->logprobs * (size_t)j->n));
  CHECK(alone.n_prompt_logprobs == j->n_prompt_logprobs);
  CHECK(j->n_vectors == (j->q.embed != EL_EMBED_NONE) && alone.n_vectors == j->n_vectors);
  CHECK(!memcmp(alone.vector, j->vector, sizeof j->vector));
  w->n_vectors += j->n_vectors;
  CHECK(alone.last.done.base_tokens == j->last.done.base_tokens &&
        alone.last.done.not_invoked == j->last.done.not_invoked);
  w->n_activated += j->last.done.base_tokens > 0 && !j->last.done.not_invoked;
  w->n_paged += j->last.done.base_tokens >= EL_PAGE_TOKENS && !j->last.done.not_invoked;
  w->n_cached += j->last.done.base_tokens > 0 && j->last.done.cached_tokens > 0;
  CHECK(!memcmp(alone.prompt_logprobs, j->prompt_logprobs, sizeof(float) * (size_t)j->n_prompt_logprobs));
  w->n_compared++;
}

static void check_job(world *w, const job *j) {
  CHECK(j->n_done == 1);
  if (!j->id) return;
  if (j->last.done.finish == EL_FINISH_CANCELLED) {
    CHECK(j->cancelled || (j->cancel_at > 0 && j->n >= j->cancel_at));
    return;
  }
  if (j->last.done.finish == EL_FINISH_ERROR) {
    w->n_failed++;
    CHECK(tells_why(&j->last.done.error));
    if (j->innocent) fprintf(stderr, "request %llu: %s\n", (unsigned long long)j->id, j->last.done.error.message);
    CHECK(!j->innocent);
    CHECK(j->q.adapter.by != EL_BY_ROUTER || j->q.adapter.router.n_candidates ||
          j->n_choices); /* the base is always there */
    return;
  }
  CHECK((j->q.adapter.by == EL_BY_ROUTER) == (j->n_choices == 1));
  if (j->q.adapter.by == EL_BY_ROUTER && j->q.adapter.router.only_decide) return;
  for (int i = 0; i < j->n_named; i++)
    if (!j->same[j->named[i]]) return;
  for (int i = 0; i < N_ITEMS; i++)
    if (!strcmp(j->chosen, w->items[i].name) && !j->same[i]) return;
  compare(w, j);
}

typedef struct totals {
  int compared, vectors, activated, paged, cached, failed;
  uint64_t guessed, came;
} totals;

static void run(const rig *quiet, uint64_t seed, totals *n) {
  static world w;
  seed_of_run = seed;
  alarm(120);
  open_world(&w, quiet, seed);
  int checked = 0;
  for (int op = 0; op < N_OPS; op++) {
    do_something(&w);
    for (; checked < w.n_jobs && w.jobs[checked].n_done; checked++) check_job(&w, &w.jobs[checked]);
  }
  finish_all(&w);
  for (; checked < w.n_jobs; checked++) check_job(&w, &w.jobs[checked]);
  check_stats(&w);
  check_memory(&w);
  n->guessed += atomic_load(&w.e->speculation.n_proposed);
  n->came += atomic_load(&w.e->speculation.n_accepted);
  el_engine_close(w.e);
  for (int i = 0; i < RANDOM; i++) shelf_remove(shelf_of(&w, i), &w.items[i]);
  rmdir(w.dir.dir);
  rmdir(w.loose.dir);
  unlink(w.t.path);
  rmdir(w.t.dir);
  unlink(w.t.r.path);
  rmdir(w.t.r.dir);
  n->compared += w.n_compared;
  n->vectors += w.n_vectors;
  n->activated += w.n_activated;
  n->paged += w.n_paged;
  n->cached += w.n_cached;
  n->failed += w.n_failed;
  free(w.jobs);
  alarm(0);
}

static void the_engine_never_stops_and_nothing_is_lost(void **state) {
  const char *one = getenv("EL_PROPERTY_SEED"), *seconds = getenv("EL_PROPERTY_SECONDS");
  uint64_t budget = (uint64_t)(1e9 * (seconds ? atof(seconds) : 6)), begin = el_now_ns(), seed = 1;
  totals n = {0};
  setenv("EDGELORA_ABORT_ON_BUG", "1", 1);
  signal(SIGALRM, give_up);
  /* It computes all from the beginning. */
  el_engine_options o = rig_options(2, CTX + 1, 64);
  o.prefix_cache = false;
  rig quiet = rig_open_options(o, 0);
  if (one) {
    run(&quiet, strtoull(one, NULL, 10), &n);
  } else {
    for (; seed <= 3 || el_now_ns() - begin < budget; seed++) run(&quiet, seed, &n);
  }
  print_message(
      "%d answers compared, %d of them vectors, %d of adapters that begin inside of the prompt, %d of these behind "
      "whole pages, %d with pages of before, %llu tokens of guesses, %llu of them right, %d requests failed as they "
      "had to, up to seed %llu\n",
      n.compared, n.vectors, n.activated, n.paged, n.cached, (unsigned long long)n.guessed, (unsigned long long)n.came,
      n.failed, (unsigned long long)seed_of_run);
  /* It is not that nothing happens. */
  assert_true(one || (n.compared > 50 && n.vectors > 5 && n.failed > 10 && n.activated > 5 && 6 * n.cached > n.paged &&
                      n.came > 50 && n.guessed > n.came + 50));
  rig_close(&quiet);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_engine_never_stops_and_nothing_is_lost)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
