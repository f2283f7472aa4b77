#include "bench/plan/sim.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "engine/admission.h"
#include "kernels/select.h"

/* Nothing is ever in the pool: its blocks need not have the size of real ones. */
enum { PAGE_BYTES = 64 };

enum { STATUS_BAD = 400, STATUS_BUSY = 503 };

/* A client of a closed loop whose request failed rests, as that of `edgelora-bench load` does. */
#define REST_SECONDS 0.1

/* An adapter, and the blocks that it has while it is in memory. */
typedef struct resident {
  el_adapter adapter;
  uint32_t blocks[];
} resident;

/* A request on its way. */
typedef struct job {
  size_t number; /* in the log */
  int client;
  double sent, first, last;
  uint64_t texts;
} job;

/* A client that is about to send, at that time. */
typedef struct ready {
  int client;
  double at;
} ready;

struct el_sim {
  el_sim_options o;
  el_registry *registry;
  el_sites *sites;
  el_entry **entries;   /* [n_adapters] references */
  resident **residents; /* [n_adapters] made when first loaded */
  size_t n_entries;
  el_memory memory;
  bool has_memory;
  el_scheduler scheduler;
  el_log silent;
  el_seq_limits limits;
  int32_t *prompt; /* [ctx_size] */
  uint64_t random, last_id;
  double now; /* seconds; goes on from run to run */

  /* The load that the loader is at. */
  bool loading;
  double load_left, load_began; /* seconds of one core; when */
  int n_loaded;                 /* loads that have ended and were not taken */

  /* The run. */
  const el_sim_load *load;
  el_load_log *log;
  el_sim_result *result;
  double start;
  size_t next;  /* of the items, or of those drawn */
  ready *ready; /* [clients] in any order */
  int n_ready;
  int n_unfinished;
  bool stopped; /* nothing more is sent */
  el_status status;
  el_error *err;
};

static void fail_simulation(el_sim *s, const char *what) {
  if (!s->status) s->status = el_fail(s->err, EL_ERR_NO_MEMORY, "simulation: out of memory for %s", what);
  s->stopped = true;
}

static double run_time(const el_sim *s) {
  return s->now - s->start;
}

static int32_t next_token(el_sim *s) {
  return (int32_t)(el_mix64(s->random += EL_GOLDEN_GAMMA) % (uint64_t)s->limits.n_vocab);
}

/* ---- requests */

/* A request has ended: the log, and its client's next one. */
static void end_sequence(el_sim *s, job *j, el_load_end how, int status, const el_seq *q) {
  el_load_answer answer = {.end = how,
                           .status = status,
                           .sent = j->sent,
                           .first = j->first,
                           .last = j->last,
                           .done = run_time(s),
                           .texts = j->texts,
                           .prompt_tokens = -1,
                           .completion_tokens = -1,
                           .cached_tokens = -1};
  if (how == EL_LOAD_DONE) {
    answer.prompt_tokens = q->n_prompt;
    answer.completion_tokens = el_seq_n_new(q);
    answer.cached_tokens = q->cached_tokens;
    s->result->cached_tokens += (uint64_t)q->cached_tokens;
  } else {
    snprintf(answer.why, sizeof answer.why, "HTTP status %d", status);
  }
  el_load_log_end(s->log, j->number, &answer, 0, run_time(s));
  if (s->load->clients)
    s->ready[s->n_ready++] = (ready){j->client, how == EL_LOAD_DONE ? s->now : s->now + REST_SECONDS};
  free(j);
}

/* The sequence leaves the engine. */
static void drop_sequence(el_sim *s, el_seq *q) {
  el_scheduler_remove(&s->scheduler, q);
  el_registry_put(s->registry, q->adapter);
  el_seq_free(q);
  s->n_unfinished--;
}

static void refuse_item(void *sim, el_seq *q, const el_error *error) {
  el_sim *s = sim;
  end_sequence(s, q->user, EL_LOAD_STATUS, STATUS_BAD, q);
  drop_sequence(s, q);
}

/* As el_submit. */
static el_seq *admit_item(el_sim *s, const el_load_item *item, job *j, int *status) {
  int n = item->n_in < s->limits.ctx_size ? item->n_in : s->limits.ctx_size;
  for (int i = 0; i < n; i++) s->prompt[i] = next_token(s);
  el_request request = el_request_default();
  request.prompt = s->prompt;
  request.n_prompt = (size_t)item->n_in;
  request.max_tokens = item->n_out;
  request.ignore_eos = true;
  request.user = j;
  el_seq *q = NULL;
  el_error error;
  *status = STATUS_BAD;
  if (item->n_in > s->limits.ctx_size) return NULL;
  el_status failed = el_seq_new(&request, &s->limits, &q, &error);
  if (failed == EL_ERR_NO_MEMORY) fail_simulation(s, "a request");
  if (failed) return NULL;
  assert(item->adapter < s->o.n_adapters);
  el_entry *adapter = item->adapter < 0 ? NULL : s->entries[item->adapter];
  bool fits = !el_memory_check(&s->memory, adapter, (uint64_t)(q->n_prompt + q->max_new), EL_PAGE_TOKENS, &error);
  if (fits) *status = STATUS_BUSY;
  if (!fits || s->n_unfinished >= s->scheduler.n_slots + s->o.max_queue) {
    el_seq_free(q);
    return NULL;
  }
  if (adapter) el_registry_hold(s->registry, adapter);
  q->adapter = adapter;
  q->id = ++s->last_id;
  q->submitted_ns = (uint64_t)(s->now * 1e9);
  return q;
}

/* The engine has a request that was sent at `sent`. */
static void enqueue_item(el_sim *s, const el_load_item *item, int client, double sent) {
  job *j = calloc(1, sizeof *j);
  size_t number = j ? el_load_log_begin(s->log, item) : SIZE_MAX;
  if (number == SIZE_MAX) {
    free(j);
    fail_simulation(s, "a request");
    return;
  }
  *j = (job){.number = number, .client = client, .sent = sent};
  int status;
  el_seq *q = admit_item(s, item, j, &status);
  if (!q) {
    end_sequence(s, j, EL_LOAD_STATUS, status, NULL);
    return;
  }
  s->n_unfinished++;
  el_scheduler_add(&s->scheduler, q);
}

/* ---- what arrives */

/* When the engine has the next request; INFINITY: never. */
static double next_arrival_time(const el_sim *s) {
  const el_sim_load *l = s->load;
  double at = INFINITY;
  if (s->stopped) return at;
  if (!l->clients && s->next < l->n) at = s->start + l->items[s->next].at;
  for (int i = 0; i < s->n_ready; i++) at = fmin(at, s->ready[i].at);
  return at + s->o.costs->request;
}

/* A client's next request, if there is another one. */
static void enqueue_next(el_sim *s, int client, double at) {
  const el_sim_load *l = s->load;
  if ((l->most && s->next >= l->most) || (!l->workload && s->next == l->n) || (l->duration > 0 && at >= l->duration))
    return;
  el_load_item item = l->workload ? el_load_workload_next(l->workload) : l->items[s->next];
  item.at = at;
  if (l->own_adapter) item.adapter = client % s->o.n_adapters;
  s->next++;
  enqueue_item(s, &item, client, at);
}

static void take_arrivals(el_sim *s) {
  while (next_arrival_time(s) <= s->now) {
    if (!s->load->clients) {
      const el_load_item *item = &s->load->items[s->next++];
      enqueue_item(s, item, 0, item->at);
      continue;
    }
    int i = 0;
    while (s->ready[i].at + s->o.costs->request > s->now) i++;
    const ready r = s->ready[i];
    memmove(s->ready + i, s->ready + i + 1, (size_t)(--s->n_ready - i) * sizeof *s->ready);
    enqueue_next(s, r.client, r.at - s->start);
  }
}

/* ---- loads */

static int loads_to_do(el_sim *s) {
  return el_loader_n(s->memory.loader) - s->n_loaded;
}

/* Whether one is under way. */
static bool is_loading(el_sim *s) {
  if (s->loading) return true;
  if (!loads_to_do(s)) return false;
  s->loading = true;
  s->load_left = s->o.costs->load;
  s->load_began = s->now;
  return true;
}

static size_t index_of(const el_entry *e) {
  return (size_t)e->seed;
}

/* The load under way has come to its end, `after` seconds from now. */
static void end_load(el_sim *s, double after) {
  size_t i = index_of(el_loader_at(s->memory.loader, s->n_loaded)->entry);
  uint32_t n = s->o.adapter_blocks;
  if (!s->residents[i]) s->residents[i] = calloc(1, sizeof(resident) + n * sizeof(uint32_t));
  s->loading = false;
  if (!s->residents[i]) {
    fail_simulation(s, "an adapter");
    return;
  }
  const el_pack_size size = {.n_blocks = n, .rank = s->o.costs->rank, .bytes = (uint64_t)n * PAGE_BYTES};
  double took = s->now + after - s->load_began;
  el_loader_pretend(s->memory.loader, &size, &s->residents[i]->adapter, s->residents[i]->blocks,
                    (uint64_t)(took * 1e9));
  s->n_loaded++;
}

static void no_failure(void *user, el_entry *entry, const el_error *error) {}

static void collect_rows(el_sim *s) {
  if (!s->n_loaded) return;
  s->result->loads += (uint64_t)s->n_loaded;
  s->n_loaded = 0;
  el_memory_collect(&s->memory, no_failure, NULL);
}

/* Time passes beside a step of `seconds`: what it takes with the loads that go on meanwhile, which both slow down. */
static double seconds_beside_loads(el_sim *s, double seconds) {
  const el_costs *c = s->o.costs;
  double passed = 0;
  while (seconds > 0 && is_loading(s)) {
    bool queued = loads_to_do(s) > 1;
    double took = queued ? c->load_queued : c->load_beside, speed = took > c->load ? c->load / took : 1;
    double slow = 1 / (queued ? c->slow_queued : c->slow_beside);
    double until_loaded = s->load_left / speed, until_step = seconds / slow;
    bool first = until_loaded <= until_step;
    double part = first ? until_loaded : until_step;
    s->result->load_seconds += part;
    passed += part;
    seconds = first ? seconds - part * slow : 0;
    s->load_left -= part * speed;
    if (first) {
      end_load(s, passed);
      if (loads_to_do(s)) {
        is_loading(s);
        s->load_began = s->now + passed;
      }
    }
  }
  return passed + (seconds > 0 ? seconds : 0);
}

/* ---- the step */

static el_cost_step cost_of_step(const el_scheduler *s) {
  el_cost_step c = {.rows = s->n_rows};
  const el_adapter *last = NULL;
  for (int i = 0; i < s->n_pieces; i++) {
    const el_piece *p = &s->pieces[i];
    const el_adapter *a = p->seq->adapter ? p->seq->adapter->adapter : NULL;
    bool decodes = p->seq->n_tokens > p->seq->n_prompt && p->n == 1;
    double positions = (double)p->n * (p->from + (p->n + 1) / 2.0);
    *(decodes ? &c.decode_positions : &c.prompt_positions) += positions;
    if (p->from + p->n == p->seq->n_tokens) c.tokens++;
    if (!a) continue;
    c.adapter_rows += p->n;
    c.adapters += a != last; /* the same ones are together */
    last = a;
  }
  for (int i = 0; i < s->n_rows; i++) c.logits += s->rows[i].wants_logits;
  return c;
}

static void take_token(el_sim *s, el_seq *q) {
  job *j = q->user;
  double at = run_time(s);
  q->tokens[q->n_tokens++] = next_token(s);
  if (j->texts++)
    el_load_log_gap(s->log, at - j->last);
  else
    j->first = at;
  j->last = at;
  if (el_seq_n_new(q) < q->max_new) return;
  end_sequence(s, j, EL_LOAD_DONE, 200, q);
  drop_sequence(s, q);
}

/* Why nobody else runs, for so long. */
static void account_step(el_sim *s, double seconds) {
  const el_scheduler *e = &s->scheduler;
  if (!e->waiting) return;
  if (e->n_running == e->n_slots)
    s->result->full_seconds += seconds;
  else if (e->waiting->adapter && !e->waiting->adapter->adapter)
    s->result->adapter_seconds += seconds;
  else
    s->result->memory_seconds += seconds;
}

/* False: nothing runs, or it waits for a load. */
static bool simulate_step(el_sim *s) {
  el_scheduler *e = &s->scheduler;
  el_scheduler_plan(e);
  if (!e->n_rows) return false;
  const el_cost_step cost = cost_of_step(e);
  double seconds = seconds_beside_loads(s, el_costs_step(s->o.costs, &cost));
  account_step(s, seconds);
  s->now += seconds;
  s->result->step_seconds += seconds;
  s->result->steps++;
  s->result->rows += (uint64_t)e->n_rows;
  for (int i = 0; i < e->n_pieces; i++) {
    el_seq *q = e->pieces[i].seq;
    if (!q) continue;
    el_scheduler_computed(e, q, e->pieces[i].n);
    if (q->n_computed == q->n_tokens) take_token(s, q);
  }
  return true;
}

/* Time goes on to the next arrival or the next load's end; false: there is neither. */
static bool sleep_on(el_sim *s) {
  double arrival = next_arrival_time(s), loaded = is_loading(s) ? s->now + s->load_left : INFINITY;
  double until = fmin(arrival, loaded);
  if (isinf(until)) return false;
  double seconds = until - s->now;
  account_step(s, seconds);
  if (s->loading) {
    s->result->load_seconds += seconds;
    s->load_left -= seconds;
    if (loaded <= arrival) end_load(s, seconds);
  }
  s->now = until;
  return true;
}

static void count_blocks(const el_sim *s, uint32_t *n) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < s->memory.pool.n_blocks; i++) used += s->memory.pool.touched[i];
  *n = used;
}

/* ---- the run */

/* What has not ended is cut. */
static void cut_off_rest(el_sim *s) {
  el_scheduler *e = &s->scheduler;
  s->stopped = true;
  while (e->n_running || e->waiting) {
    el_seq *q = e->n_running ? e->running[0] : e->waiting;
    end_sequence(s, q->user, EL_LOAD_CUT, 0, q);
    drop_sequence(s, q);
  }
  s->n_ready = 0;
}

static void run_all(el_sim *s) {
  const el_sim_load *l = s->load;
  const el_admission_end ended = {refuse_item, s};
  for (;;) {
    take_arrivals(s);
    collect_rows(s);
    if (!l->drain && l->duration > 0 && run_time(s) >= l->duration) break;
    el_admission_run(&s->scheduler, (uint64_t)(s->now * 1e9), &ended);
    if (!simulate_step(s) && !el_scheduler_unscatter(&s->scheduler) && !sleep_on(s)) break;
    if (s->status) break;
  }
  cut_off_rest(s);
}

el_status el_sim_run(el_sim *s, const el_sim_load *load, el_load_log *log, el_sim_result *out, el_error *err) {
  assert(!load->own_adapter || s->o.n_adapters);
  assert(!load->clients || !load->workload || load->most || load->duration > 0); /* or it would never end */
  *out = (el_sim_result){0};
  const el_memory_counters *m = &s->memory.count;
  uint64_t hits = atomic_load(&m->hits), misses = atomic_load(&m->misses), evictions = atomic_load(&m->evictions),
           preempted = s->scheduler.n_preempted;
  s->load = load;
  s->log = log;
  s->result = out;
  s->start = s->now;
  s->next = 0;
  s->stopped = false;
  s->status = EL_OK;
  s->err = err;
  s->ready = malloc(sizeof *s->ready * ((size_t)load->clients + 1));
  if (!s->ready) return el_fail(err, EL_ERR_NO_MEMORY, "simulation: out of memory for %d clients", load->clients);
  for (s->n_ready = 0; s->n_ready < load->clients; s->n_ready++) s->ready[s->n_ready] = (ready){s->n_ready, s->now};
  run_all(s);
  free(s->ready);
  if (log->lost) fail_simulation(s, "the times of tokens");
  out->seconds = run_time(s);
  out->hits = atomic_load(&m->hits) - hits;
  out->misses = atomic_load(&m->misses) - misses;
  out->evictions = atomic_load(&m->evictions) - evictions;
  out->preemptions = s->scheduler.n_preempted - preempted;
  count_blocks(s, &out->most_blocks);
  return s->status;
}

/* ---- setup */

static el_status add_simulated_adapters(el_sim *s, el_error *err) {
  size_t n = (size_t)s->o.n_adapters;
  s->entries = calloc(n + 1, sizeof *s->entries);
  s->residents = calloc(n + 1, sizeof *s->residents);
  if (!s->entries || !s->residents)
    return el_fail(err, EL_ERR_NO_MEMORY, "simulation: out of memory for %zu adapters", n);
  el_status status = EL_OK;
  for (size_t i = 0; i < n && !status; i++) {
    char name[32];
    snprintf(name, sizeof name, "a%zu", i);
    const el_entry_spec spec = {.name = name,
                                .path = "",
                                .rank = s->o.costs->rank,
                                .seed = i,
                                .dir = EL_NO_DIR,
                                .size = {.n_blocks = s->o.adapter_blocks, .rank = s->o.costs->rank, .bytes = 1}};
    status = el_registry_add(s->registry, &spec, err);
    if (!status) status = el_registry_get(s->registry, name, &s->entries[i], err);
    if (!status) s->n_entries++;
  }
  return status;
}

el_status el_sim_new(const el_sim_options *o, el_sim **out, el_error *err) {
  el_sim *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "simulation: out of memory");
  s->o = *o;
  s->random = el_mix64(o->seed + EL_GOLDEN_GAMMA);
  s->limits = (el_seq_limits){.n_vocab = o->costs->shape.n_vocab, .ctx_size = o->budget.ctx_size};
  s->now = 1; /* times of 0 mean that something has not happened */
  const el_kernels *kernels = NULL;
  el_kv_layout layout = o->budget.layout;
  layout.block_bytes =
      (size_t)PAGE_BYTES * layout.per_block * (layout.windowed_per_block ? layout.windowed_per_block : 1);
  const el_memory_options memory = {.layout = layout,
                                    .n_blocks = o->budget.n_blocks,
                                    .reserve = o->budget.reserve,
                                    .adapter_layout = o->budget.adapter_layout,
                                    .policy = o->policy,
                                    .prefix_cache = o->prefix_cache};
  s->prompt = malloc(sizeof *s->prompt * (size_t)o->budget.ctx_size);
  el_status status = s->prompt ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "simulation: out of memory");
  if (!status) status = el_kernels_get(NULL, &kernels, err);
  if (!status) status = el_registry_new("base", NULL, NULL, &s->registry, err);
  if (!status) status = el_sites_new(&o->costs->shape, &s->sites, err);
  if (!status) status = el_memory_new(&memory, s->sites, kernels, s->registry, &s->silent, &s->memory, err);
  if (!status) s->has_memory = true;
  if (!status) status = el_scheduler_init(&s->scheduler, &s->memory, o->n_slots, o->step_rows, o->step_rows, err);
  if (!status) s->scheduler.step_adapters = o->step_adapters;
  if (!status) status = add_simulated_adapters(s, err);
  if (status)
    el_sim_free(s);
  else
    *out = s;
  return status;
}

void el_sim_free(el_sim *s) {
  if (!s) return;
  if (s->has_memory) el_memory_free(&s->memory);
  for (size_t i = 0; i < s->n_entries; i++) {
    el_registry_put(s->registry, s->entries[i]);
    free(s->residents[i]);
  }
  if (s->registry) el_registry_free(s->registry);
  el_scheduler_free(&s->scheduler);
  el_sites_free(s->sites);
  free(s->entries);
  free(s->residents);
  free(s->prompt);
  free(s);
}
