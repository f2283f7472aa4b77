/* The simulations of a plan: a warm-up and the load for each node, and a closed loop that shows how much one node can
 * serve. */
#include <stdlib.h>

#include "base/error.h"
#include "base/figures.h"
#include "bench/plan/plan.h"

enum {
  WARM_IN = 8,
  WARM_OUT = 2,
  SATURATED_CLIENTS = 4,   /* for each slot */
  SATURATED_REQUESTS = 40, /* for each slot, MIN_REQUESTS at least */
  MIN_REQUESTS = 400
};

/* A seed that is not the load's: what is asked for in the warm-up is another draw of the same law. */
static uint64_t other_seed(uint64_t seed) {
  return seed ^ 0x5741524d;
}

/* Items of a trace are what the warm-up asks for; NULL: it draws. */
static el_status warm_up(const el_plan *p, el_sim *sim, const el_load_item *items, size_t n, el_error *err) {
  el_load_spec spec = p->spec;
  spec.rate = 0;
  spec.in_min = spec.in_max = WARM_IN;
  spec.out_min = spec.out_max = WARM_OUT;
  spec.seed = other_seed(spec.seed);
  el_load_workload w;
  el_load_item *own = items ? malloc((n + 1) * sizeof *own) : NULL;
  if (items && !own) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %zu requests", n);
  for (size_t i = 0; own && i < n; i++) {
    own[i] = items[i];
    own[i].n_in = WARM_IN;
    own[i].n_out = WARM_OUT;
  }
  el_status status = el_load_workload_init(&w, &spec, err);
  el_load_log log = {0};
  el_sim_result ignored;
  const el_sim_load load = {.items = own,
                            .n = n,
                            .workload = items ? NULL : &w,
                            .clients = p->sim.n_slots,
                            .own_adapter = p->options->own_adapter,
                            .duration = (double)p->options->warm_up};
  if (!status) status = el_sim_run(sim, &load, &log, &ignored, err);
  el_load_workload_free(&w);
  el_load_log_free(&log);
  free(own);
  return status;
}

static el_status run_one(const el_plan *p, const el_sim_load *load, const el_load_item *warm, size_t n_warm,
                         el_load_log *log, el_sim_result *out, el_error *err) {
  el_sim *sim = NULL;
  el_status status = el_sim_new(&p->sim, &sim, err);
  if (!status && p->options->warm_up > 0) status = warm_up(p, sim, warm, n_warm, err);
  if (!status) status = el_sim_run(sim, load, log, out, err);
  el_sim_free(sim);
  return status;
}

static el_status run_closed(el_plan *p, el_error *err) {
  const el_plan_options *o = p->options;
  el_load_workload w;
  el_status status = el_load_workload_init(&w, &p->spec, err);
  const el_sim_load load = {.items = p->trace.items,
                            .n = p->trace.n,
                            .workload = o->replay ? NULL : &w,
                            .clients = o->clients,
                            .own_adapter = o->own_adapter,
                            .duration = o->n_requests ? 0 : (double)o->duration,
                            .most = (size_t)o->n_requests,
                            .drain = !o->no_drain};
  if (!status) status = run_one(p, &load, o->replay ? p->trace.items : NULL, p->trace.n, &p->log, &p->result, err);
  el_load_workload_free(&w);
  p->busiest = p->idlest = p->result.seconds > 0 ? p->result.step_seconds / p->result.seconds : 0;
  return status;
}

/* ---- several nodes */

static void add_node(el_plan *p, const el_sim_result *r, bool first) {
  el_sim_result *sum = &p->result;
  double busy = r->seconds > 0 ? r->step_seconds / r->seconds : 0;
  if (first || busy > p->busiest) p->busiest = busy;
  if (first || busy < p->idlest) p->idlest = busy;
  if (r->seconds > sum->seconds) sum->seconds = r->seconds;
  if (r->most_blocks > sum->most_blocks) sum->most_blocks = r->most_blocks;
  sum->hits += r->hits;
  sum->misses += r->misses;
  sum->evictions += r->evictions;
  sum->loads += r->loads;
  sum->preemptions += r->preemptions;
  sum->steps += r->steps;
  sum->rows += r->rows;
  sum->cached_tokens += r->cached_tokens;
  sum->step_seconds += r->step_seconds;
  sum->load_seconds += r->load_seconds;
  sum->full_seconds += r->full_seconds;
  sum->adapter_seconds += r->adapter_seconds;
  sum->memory_seconds += r->memory_seconds;
}

static size_t items_of(const el_plan *p, const int *node_of, int node, el_load_item *out) {
  size_t n = 0;
  for (size_t i = 0; i < p->trace.n; i++)
    if (node_of[i] == node) out[n++] = p->trace.items[i];
  return n;
}

/* One after the other, as they are balanced by `how`. */
static el_status run_nodes(el_plan *p, el_balance how, double seconds, el_error *err) {
  const el_plan_options *o = p->options;
  int *node_of = malloc((p->trace.n + 1) * sizeof *node_of);
  el_load_item *items = malloc((p->trace.n + 1) * sizeof *items);
  bool ok = node_of && items &&
            el_balance_items(how, p->trace.items, p->trace.n, p->sim.n_adapters, o->nodes, seconds, o->seed, node_of);
  el_status status = ok ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %zu requests", p->trace.n);
  for (int node = 0; node < o->nodes && !status; node++) {
    el_sim_result r;
    const el_sim_load load = {.items = items,
                              .n = items_of(p, node_of, node, items),
                              .duration = o->no_drain ? (double)o->duration : 0,
                              .drain = !o->no_drain};
    bool own = o->nodes > 1 || o->replay; /* a node's adapters are not those of the law */
    status = run_one(p, &load, own ? items : NULL, load.n, &p->log, &r, err);
    if (!status) add_node(p, &r, node == 0);
  }
  free(node_of);
  free(items);
  return status;
}

/* How long a request is under way, on the average. */
static double mean_seconds(const el_load_log *log) {
  double sum = 0;
  size_t n = 0;
  for (size_t i = 0; i < log->n; i++) {
    if (log->records[i].end != EL_LOAD_DONE) continue;
    sum += log->records[i].done - log->records[i].at;
    n++;
  }
  return n ? sum / (double)n : 0;
}

static el_status run_open(el_plan *p, el_error *err) {
  double seconds = 0;
  if (p->balance == EL_BALANCE_RING && p->options->nodes > 1) {
    /* What is under way decides who gets a request, and who gets it how long it is under way: nodes are simulated one
     * by one, so the first comes from a run with any nodes. */
    el_status status = run_nodes(p, EL_BALANCE_RANDOM, 0, err);
    if (status) return status;
    seconds = mean_seconds(&p->log);
    el_load_log_free(&p->log);
    p->log = (el_load_log){0};
    p->result = (el_sim_result){0};
  }
  return run_nodes(p, p->balance, seconds, err);
}

/* ---- the most that one node can do */

/* Requests a second in the middle of a run: without its beginning, when all slots begin at once, and its end, when they
 * run dry. -1: no memory. */
static double rate_in_the_middle(const el_load_log *log) {
  double *done = malloc((log->n + 1) * sizeof *done);
  if (!done) return -1;
  size_t n = 0;
  for (size_t i = 0; i < log->n; i++)
    if (log->records[i].end == EL_LOAD_DONE) done[n++] = log->records[i].done;
  el_sort_figures(done, n);
  size_t from = n / 5, to = n - n / 5;
  double rate = to > from && done[to - 1] > done[from] ? (double)(to - 1 - from) / (done[to - 1] - done[from]) : 0;
  free(done);
  return rate;
}

static el_status saturate_node(el_plan *p, el_error *err) {
  el_load_workload w;
  el_load_spec spec = p->spec;
  spec.rate = 0;
  el_status status = el_load_workload_init(&w, &spec, err);
  el_load_log log = {0};
  el_sim_result r;
  int most = SATURATED_REQUESTS * p->sim.n_slots;
  const el_sim_load load = {.workload = &w,
                            .clients = SATURATED_CLIENTS * p->sim.n_slots,
                            .most = (size_t)(most > MIN_REQUESTS ? most : MIN_REQUESTS),
                            .drain = true};
  if (!status) status = run_one(p, &load, NULL, 0, &log, &r, err);
  if (!status && (p->saturated = rate_in_the_middle(&log)) < 0)
    status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %zu requests", log.n);
  el_load_workload_free(&w);
  el_load_log_free(&log);
  return status;
}

int el_plan_simulate(el_plan *p) {
  const el_plan_options *o = p->options;
  el_error err;
  el_status status = o->clients ? run_closed(p, &err) : run_open(p, &err);
  /* What a trace or single nodes of several ask for is not the law of the options. */
  if (!status && !o->clients && !o->replay && o->nodes == 1) status = saturate_node(p, &err);
  return status ? el_cli_failed(&err) : -1;
}
