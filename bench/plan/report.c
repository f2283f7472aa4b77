/* What a plan says: a table, or one JSON object of schema "edgelora-plan/1". */
#include <stdlib.h>
#include <string.h>

#include "bench/load/report.h"
#include "bench/measure/figures.h"
#include "bench/plan/plan.h"

static double block_bytes(const el_plan *p) {
  return (double)p->sim.budget.layout.block_bytes;
}

/* Adapters that fit the pool beside n sequences with a whole context each. */
static long room_beside(const el_plan *p, int n) {
  const el_budget *b = &p->sim.budget;
  double kv = n * el_kv_layout_bytes(&b->layout, (uint64_t)el_pages_for(b->ctx_size)) / block_bytes(p);
  return kv < b->n_blocks ? (long)((b->n_blocks - kv) / p->sim.adapter_blocks) : 0;
}

/* Bytes of a node with the most that was ever in use. */
static double memory_of(const el_plan *p) {
  return (double)p->costs.started_bytes + block_bytes(p) * p->result.most_blocks;
}

/* Of the time in which nodes were up. */
static double share_of(const el_plan *p, double seconds) {
  double all = p->result.seconds * p->options->nodes;
  return all > 0 ? seconds / all : 0;
}

static double hit_rate(const el_sim_result *r) {
  return r->hits + r->misses ? (double)r->hits / (double)(r->hits + r->misses) : -1;
}

/* What requests waited for; the first that is large is what more of would help. */
static const char *limit_of(const el_plan *p) {
  const el_sim_result *r = &p->result;
  const double large = 0.1;
  if (share_of(p, r->memory_seconds) > large) return "memory: requests wait for room in the pool (--memory)";
  if (share_of(p, r->adapter_seconds) > large)
    return "loads: slots are free while adapters come (--memory, faster disk)";
  if (p->busiest > 0.9 && share_of(p, r->full_seconds) > large)
    return "computing: all slots are taken, and steps never pause";
  if (share_of(p, r->full_seconds) > large) return "slots: all are taken (--slots)";
  return p->busiest > 0.9 ? "computing: steps never pause" : "nothing: there is room for more";
}

/* ---- the table */

static void print_machine(const el_plan *p) {
  const el_costs *c = &p->costs;
  const el_plan_options *o = p->options;
  const double mb = block_bytes(p) / 1e6;
  printf("machine     %s; %d thread%s, %s", c->cpu, c->threads, c->threads == 1 ? "" : "s", c->isa);
  if (o->nodes > 1) printf("; %d of them, balanced by %s", o->nodes, o->balance);
  printf("\nmodel       %s, %.1f MB of weights\n", c->model, (double)c->weight_bytes / 1e6);
  printf("adapters    %d offered, rank %d, %.2f MB in memory; loaded in %.1f ms, beside steps in %.1f ms\n",
         p->sim.n_adapters, c->rank, mb * p->sim.adapter_blocks, c->load * 1e3, c->load_beside * 1e3);
  printf("pool        %.0f MB: %ld adapters, or %ld beside %d sequences of %d tokens\n", mb * p->sim.budget.n_blocks,
         room_beside(p, 0), room_beside(p, p->sim.n_slots), p->sim.n_slots, p->sim.budget.ctx_size);
}

static void print_plan_load(const el_plan *p) {
  const el_plan_options *o = p->options;
  const el_load_spec *s = &p->spec;
  if (o->clients)
    printf("load        closed loop, %d client%s", o->clients, o->clients == 1 ? "" : "s");
  else
    printf("load        open loop, %zu arrivals", p->trace.n);
  if (o->replay) {
    printf(" of %s\n", o->replay);
    return;
  }
  if (!o->clients) printf(": %g a second, cv %g", s->rate, s->cv);
  printf("; %d-%d tokens in, %d-%d out; seed %llu\n", s->in_min, s->in_max, s->out_min, s->out_max,
         (unsigned long long)s->seed);
}

static void print_engine(const el_plan *p) {
  const el_sim_result *r = &p->result;
  if (hit_rate(r) < 0)
    puts("cache       not asked for an adapter");
  else
    printf("cache       %.1f%% hits (%llu of %llu), %llu loads, %llu evictions\n", 100 * hit_rate(r),
           (unsigned long long)r->hits, (unsigned long long)(r->hits + r->misses), (unsigned long long)r->loads,
           (unsigned long long)r->evictions);
  printf("memory      %.0f MB%s: %.0f at the start, %.0f of the pool\n", memory_of(p) / 1e6,
         p->options->nodes > 1 ? " on the node with the most" : "", (double)p->costs.started_bytes / 1e6,
         block_bytes(p) * r->most_blocks / 1e6);
  printf("steps       %.1f%% of the time, %.1f rows each", 100 * share_of(p, r->step_seconds),
         r->steps ? (double)r->rows / (double)r->steps : 0);
  if (p->options->nodes > 1)
    printf("; %.1f%% on the idlest node, %.1f%% on the busiest", 100 * p->idlest, 100 * p->busiest);
  printf("\nwaiting     %.1f%% of the time for slots, %.1f%% for adapters, %.1f%% for memory\n",
         100 * share_of(p, r->full_seconds), 100 * share_of(p, r->adapter_seconds),
         100 * share_of(p, r->memory_seconds));
  printf("limit       %s\n", limit_of(p));
  if (p->saturated >= 0) printf("at most     %.3f requests/s, in a closed loop\n", p->saturated);
}

static void print_plan(const el_plan *p) {
  const el_load_summary *s = &p->summary;
  print_machine(p);
  print_plan_load(p);
  printf("requests    %zu sent, %zu done, %zu refused; %.1f s\n", s->n, s->done, s->errors, s->seconds);
  if (s->other_lengths) printf("            %zu of them were cut to the context\n", s->other_lengths);
  el_load_print_summary(s, (double)p->options->slo_first);
  print_engine(p);
}

/* ---- JSON */

static json_t *plan_workload_json(const el_plan *p) {
  const el_plan_options *o = p->options;
  const el_load_spec *s = &p->spec;
  json_t *w = json_pack("{s:s, s:i, s:b, s:i, s:i, s:s, s:f, s:I}", "loop", o->clients ? "closed" : "open", "clients",
                        o->clients, "own_adapter", o->own_adapter, "adapters", p->sim.n_adapters, "nodes", o->nodes,
                        "balance", o->balance, "warm_up", (double)o->warm_up, "seed", (json_int_t)o->seed);
  if (!w) return NULL;
  if (o->replay) {
    json_object_set_new(w, "replay", json_string(o->replay));
    return w;
  }
  json_object_set_new(w, "alpha", json_real(s->alpha));
  json_object_set_new(w, "input", json_pack("[i, i]", s->in_min, s->in_max));
  json_object_set_new(w, "output", json_pack("[i, i]", s->out_min, s->out_max));
  json_object_set_new(w, "duration", json_real((double)o->duration));
  if (o->n_requests) json_object_set_new(w, "requests", json_integer(o->n_requests));
  if (!o->clients) json_object_set_new(w, "rate", json_real(s->rate));
  if (!o->clients) json_object_set_new(w, "cv", json_real(s->cv));
  return w;
}

static json_t *engine_json(const el_plan *p) {
  return json_pack("{s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:i}", "slots", p->sim.n_slots, "step_rows", p->sim.step_rows,
                   "step_adapters", p->sim.step_adapters, "queue", p->sim.max_queue, "ctx_size", p->sim.budget.ctx_size,
                   "pool_bytes", (json_int_t)(block_bytes(p) * p->sim.budget.n_blocks), "pool_blocks",
                   (int)p->sim.budget.n_blocks, "adapter_blocks", (int)p->sim.adapter_blocks);
}

static json_t *plan_cache_json(const el_sim_result *r) {
  return json_pack("{s:I, s:I, s:I, s:I, s:o}", "hits", (json_int_t)r->hits, "misses", (json_int_t)r->misses, "loads",
                   (json_int_t)r->loads, "evictions", (json_int_t)r->evictions, "hit_rate",
                   hit_rate(r) < 0 ? json_null() : json_real(hit_rate(r)));
}

static json_t *limits_json(const el_plan *p) {
  const el_sim_result *r = &p->result;
  return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "says", limit_of(p), "steps", share_of(p, r->step_seconds),
                   "steps_busiest_node", p->busiest, "steps_idlest_node", p->idlest, "waiting_for_slots",
                   share_of(p, r->full_seconds), "waiting_for_adapters", share_of(p, r->adapter_seconds),
                   "waiting_for_memory", share_of(p, r->memory_seconds));
}

static json_t *plan_json(const el_plan *p) {
  const el_sim_result *r = &p->result;
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:o}", "schema", "edgelora-plan/1",
                   "version", el_version(), "costs", el_costs_json(&p->costs), "engine", engine_json(p), "workload",
                   plan_workload_json(p), "summary", el_load_summary_json(&p->summary, (double)p->options->slo_first),
                   "cache", plan_cache_json(r), "limits", limits_json(p), "memory_bytes", (json_int_t)memory_of(p),
                   "steps", (json_int_t)r->steps, "rows_per_step", r->steps ? (double)r->rows / (double)r->steps : 0,
                   "preemptions", (json_int_t)r->preemptions, "saturating_requests_per_second",
                   p->saturated < 0 ? json_null() : json_real(p->saturated));
}

int el_plan_report(const el_plan *p) {
  if (p->options->json) return el_bench_print_json(plan_json(p));
  print_plan(p);
  return el_cli_end(EL_EXIT_OK);
}
