/* edgelora-bench plan: what a machine will do under a load, by simulation. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/commands.h"
#include "bench/load/run.h"
#include "bench/plan/measure.h"
#include "bench/plan/plan.h"
#include "bench/plan/shapes.h"
#include "kernels/select.h"

/* ---- options */

static int check_source(const el_cli_command *self, const el_plan *p) {
  const el_plan_options *o = p->options;
  if (o->costs && o->shape) return el_cli_usage_error(self, "--costs and --shape: costs are either read or computed");
  if ((o->costs || o->shape) && (p->common.model || o->adapter))
    return el_cli_usage_error(self, "%s: nothing is measured with %s", p->common.model ? "--model" : "--adapter",
                              o->costs ? "--costs" : "--shape");
  if (o->shape && (o->gops <= 0 || o->gbs <= 0))
    return el_cli_usage_error(self, "--shape needs --gops and --gbs: what the machine computes and reads");
  if (!o->shape && (o->gops > 0 || o->gbs > 0))
    return el_cli_usage_error(self, "--gops and --gbs: only with --shape, else costs are measured or read");
  if (o->costs && o->save_costs) return el_cli_usage_error(self, "--save-costs: %s has them already", o->costs);
  return -1;
}

static int check_plan_options(const el_cli_command *self, el_plan *p) {
  const el_plan_options *o = p->options;
  int code = check_source(self, p);
  if (code >= 0) return code;
  if (!el_balance_get(o->balance, &p->balance))
    return el_cli_usage_error(self, "--balance: '%s' is none of random, hash, bounded and share", o->balance);
  if (o->own_adapter && !o->clients) return el_cli_usage_error(self, "--own-adapter needs --clients");
  if (o->own_adapter && !o->n_adapters) return el_cli_usage_error(self, "--own-adapter: there are no adapters");
  if (o->nodes > 1 && o->clients) return el_cli_usage_error(self, "--nodes: a balancer needs an open loop");
  if (!o->clients && !o->replay && o->rate <= 0)
    return el_cli_usage_error(self, "--rate: an open loop needs more than 0");
  if (o->duration <= 0 && !o->replay && !(o->clients && o->n_requests))
    return el_cli_usage_error(self, "--duration: needs more than 0");
  if (o->seed > INT64_MAX) return el_cli_usage_error(self, "--seed: more than 2^63-1");
  const el_engine_options *e = &p->common.options;
  if (e->n_slots > EL_MAX_SLOTS) return el_cli_usage_error(self, "--slots: %d is above %d", e->n_slots, EL_MAX_SLOTS);
  if (e->n_slots > e->step_rows)
    return el_cli_usage_error(self, "--step-rows: %d is below --slots, %d: each slot may need a row", e->step_rows,
                              e->n_slots);
  if (e->step_rows > EL_MAX_STEP_ROWS)
    return el_cli_usage_error(self, "--step-rows: %d is above %d", e->step_rows, EL_MAX_STEP_ROWS);
  return el_load_parse_lengths(self, o->input, o->output, &p->spec);
}

/* ---- costs */

/* Types of keys, values and adapters are part of what was measured. */
static int check_types(const el_plan *p) {
  const el_engine_options *o = &p->common.options;
  const struct {
    const char *option, *asked, *measured;
  } types[] = {{"--kv-type", o->kv_type, p->costs.kv_type}, {"--adapter-type", o->adapter_type, p->costs.adapter_type}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].asked && strcmp(types[i].asked, types[i].measured)) {
      el_cli_error("%s: %s was measured with %s", types[i].option, p->options->costs, types[i].measured);
      return EL_EXIT_FAILED;
    }
  return -1;
}

static int get_costs(el_plan *p) {
  const el_plan_options *o = p->options;
  el_error err;
  if (o->costs) return el_costs_read(o->costs, &p->costs, &err) ? el_cli_failed(&err) : check_types(p);
  if (o->shape) {
    const el_shape_machine m = {.gops = (double)o->gops,
                                .gbs = (double)o->gbs,
                                .kv_type = p->common.options.kv_type,
                                .adapter_type = p->common.options.adapter_type,
                                .rank = o->rank,
                                .step_rows = p->common.options.step_rows};
    return el_shape_costs(o->shape, &m, &p->costs, &err) ? el_cli_failed(&err) : -1;
  }
  const el_plan_measure m = {.common = &p->common,
                             .rank = o->rank,
                             .adapter = o->adapter,
                             .temperature = o->temperature,
                             .progress = !p->common.quiet};
  int code = el_plan_measure_costs(&m, &p->costs);
  if (code < 0 && o->save_costs && el_costs_save(&p->costs, o->save_costs, &err)) code = el_cli_failed(&err);
  return code;
}

/* ---- what is simulated */

static int size_pool(el_plan *p) {
  el_engine_options o = p->common.options;
  const el_kernels *kernels = NULL;
  el_sites *sites = NULL;
  el_error err;
  o.kv_type = p->costs.kv_type;
  o.adapter_type = p->costs.adapter_type;
  p->sim = (el_sim_options){.costs = &p->costs,
                            .n_slots = o.n_slots,
                            .step_rows = o.step_rows,
                            .step_adapters = o.step_adapters,
                            .max_queue = o.max_queue,
                            .prefix_cache = !p->common.no_prefix_cache,
                            .policy = o.cache_policy,
                            .n_adapters = p->options->n_adapters,
                            .seed = p->options->seed};
  el_status status = el_kernels_get(NULL, &kernels, &err);
  if (!status) status = el_budget_plan(&o, &p->costs.shape, &p->costs.kv, kernels, &p->sim.budget, &err);
  if (!status && !p->costs.adapter.n_blocks) {
    size_t block = p->sim.budget.layout.block_bytes;
    status = el_sites_new(&p->costs.shape, &sites, &err);
    if (!status)
      status = el_memory_adapter_blocks(sites, kernels, p->sim.budget.adapter_layout, block, p->costs.rank,
                                        &p->costs.adapter.n_blocks, &err);
    el_sites_free(sites);
  }
  p->sim.adapter_blocks = p->costs.adapter.n_blocks;
  if (!status && p->sim.adapter_blocks >= p->sim.budget.n_blocks)
    status = el_fail(&err, EL_ERR_NO_MEMORY, "--memory: one adapter takes %u blocks, all of it are %u",
                     p->sim.adapter_blocks, p->sim.budget.n_blocks);
  return status ? el_cli_failed(&err) : -1;
}

/* Adapters of a trace are numbered in the order in which they appear. One without gets those of the power law. */
static int read_trace(el_plan *p) {
  const el_plan_options *o = p->options;
  el_load_trace *t = &p->trace;
  el_error err;
  if (el_load_trace_load(o->replay, t, &err)) return el_cli_failed(&err);
  if (o->n_requests && t->n > (size_t)o->n_requests) t->n = (size_t)o->n_requests;
  for (size_t i = 0; i < t->n; i++)
    if (t->items[i].adapter == EL_LOAD_AUTO) {
      el_cli_error("%s: request %zu leaves the choice of the adapter to the server, which is not simulated", o->replay,
                   i + 1);
      return EL_EXIT_FAILED;
    }
  if (t->has_adapters) {
    if (t->names.n > (size_t)p->sim.n_adapters) p->sim.n_adapters = (int)t->names.n;
    return -1;
  }
  return el_load_trace_assign(t, &p->spec, &err) ? el_cli_failed(&err) : -1;
}

static int draw_arrivals(el_plan *p) {
  const el_plan_options *o = p->options;
  el_error err;
  el_status status = el_load_trace_draw(&p->trace, &p->spec, (double)o->duration, (size_t)o->n_requests, &err);
  return status ? el_cli_failed(&err) : -1;
}

static int make_plan(const el_cli_command *self, el_plan *p) {
  const el_plan_options *o = p->options;
  int code = check_plan_options(self, p);
  if (code < 0) code = get_costs(p);
  if (code < 0) code = size_pool(p);
  if (code < 0 && o->replay) code = read_trace(p);
  if (code < 0 && !o->replay && !o->clients) code = draw_arrivals(p);
  if (code < 0) code = el_plan_simulate(p);
  if (code >= 0) return code;
  if (!el_load_summarize(&p->log, p->result.seconds, (double)o->slo_first, &p->summary)) return el_cli_no_memory();
  return el_plan_report(p);
}

static int run_plan(const el_cli_command *self, int argc, char **argv) {
  el_plan_options o = {.input = "8:128",
                       .output = "8:256",
                       .balance = "share",
                       .n_adapters = 1000,
                       .rank = 16,
                       .temperature = 1,
                       .nodes = 1,
                       .alpha = 1,
                       .rate = 0.5f,
                       .cv = 1.5f,
                       .duration = 300,
                       .warm_up = 30,
                       .slo_first = 6,
                       .seed = 1};
  el_plan p = {.options = &o, .common = el_cli_engine_default(), .saturated = -1};
  char shapes[256] = "compute the costs of a model that you do not have: ";
  size_t len = strlen(shapes);
  el_shape_names(shapes + len, sizeof shapes - len);
  const el_cli_option costs[] = {
      {'m', "model", "FILE", EL_CLI_TEXT, &p.common.model, 0, 0,
       "the base model: its steps are measured on this machine, which takes seconds to minutes; default: the model "
       "that "
       "'make model' puts into the cache"},
      {0, "adapter", "PATH", EL_CLI_TEXT, &o.adapter, 0, 0,
       "an adapter like yours, to measure its size and its loading; default: a random one"},
      {0, "rank", "R", EL_CLI_INT, &o.rank, 1, EL_MAX_RANK, "rank of the random adapter; default 16"},
      {0, "temperature", "T", EL_CLI_REAL, &o.temperature, 0, 100,
       "temperature of sampling while its cost is measured; 0: always the most likely token; default 1"},
      {0, "save-costs", "FILE", EL_CLI_TEXT, &o.save_costs, 0, 0, "save the measured costs to this file"},
      {0, "costs", "FILE", EL_CLI_TEXT, &o.costs, 0, 0,
       "read saved costs, of this machine or another, instead of measuring"},
      {0, "shape", "NAME", EL_CLI_TEXT, &o.shape, 0, 0, shapes},
      {0, "gops", "X", EL_CLI_REAL, &o.gops, 0, 1e9,
       "with --shape: billions of operations a second that steps reach (see 'edgelora-bench batch --profile')"},
      {0, "gbs", "X", EL_CLI_REAL, &o.gbs, 0, 1e6,
       "with --shape: billions of bytes a second that are read (see 'edgelora-bench peak')"},
  };
  const el_cli_option load[] = {
      {0, "adapters", "N", EL_CLI_INT, &o.n_adapters, 0, 1000000,
       "number of adapters; 0: the base model alone; default 1000"},
      {0, "alpha", "X", EL_CLI_REAL, &o.alpha, 0, 100,
       "request the i-th adapter with a probability proportional to 1/i^X; default 1"},
      {0, "rate", "R", EL_CLI_REAL, &o.rate, 0, 1e6, "requests a second; default 0.5"},
      {0, "cv", "X", EL_CLI_REAL, &o.cv, 0, 100,
       "coefficient of variation of the times between requests, which are Gamma distributed; default 1.5"},
      {0, "duration", "SECONDS", EL_CLI_REAL, &o.duration, 0, 1e6, "simulate requests for this long; default 300"},
      {0, "no-drain", NULL, EL_CLI_FLAG, &o.no_drain, 0, 0,
       "end when the last request has been sent, without waiting for the last answers"},
      {'n', "requests", "N", EL_CLI_INT, &o.n_requests, 1, EL_TRACE_MAX_ITEMS, "end after N requests"},
      {0, "clients", "N", EL_CLI_INT, &o.clients, 1, 100000,
       "closed loop instead: N clients, each of which sends its next request when it has the answer to the last one"},
      {0, "own-adapter", NULL, EL_CLI_FLAG, &o.own_adapter, 0, 0, "each client requests an adapter of its own"},
      {0, "input", "MIN:MAX", EL_CLI_TEXT, &o.input, 0, 0, "tokens of a prompt, uniformly distributed; default 8:128"},
      {0, "output", "MIN:MAX", EL_CLI_TEXT, &o.output, 0, 0,
       "tokens of an answer, uniformly distributed; default 8:256"},
      {0, "seed", "N", EL_CLI_U64, &o.seed, 0, 0,
       "seed of arrival times, adapters and lengths, as in 'edgelora-bench load'; default 1"},
      {0, "replay", "FILE", EL_CLI_TEXT, &o.replay, 0, 0, "the requests of a trace, as in 'edgelora-bench load'"},
      {0, "warm-up", "SECONDS", EL_CLI_REAL, &o.warm_up, 0, 1e6,
       "simulate short requests for this long before, with the same popularity of adapters, so that the cache is warm; "
       "default 30"},
      {0, "slo-ttft", "SECONDS", EL_CLI_REAL, &o.slo_first, 0, 1e6,
       "objective for the time to first token; the share of requests that meet it is reported; default 6"},
  };
  const el_cli_option nodes[] = {
      {0, "nodes", "N", EL_CLI_INT, &o.nodes, 1, 10000, "number of such machines behind a load balancer; default 1"},
      {0, "balance", "NAME", EL_CLI_TEXT, &o.balance, 0, 0,
       "how the balancer chooses a node. hash: by the adapter; bounded: the same, but a node with twice its share of "
       "the running requests is passed over, as deploy/haproxy does; share: adapters are placed so that all nodes get "
       "the same number of requests, popular adapters on several nodes; random: any node; default share"},
      {0, "json", NULL, EL_CLI_FLAG, &o.json, 0, 0, "print one JSON object instead of a table"},
  };
  el_cli_option engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {{"Costs", costs, sizeof costs / sizeof *costs},
                                 {"Load", load, sizeof load / sizeof *load},
                                 {"Machines", nodes, sizeof nodes / sizeof *nodes},
                                 el_cli_engine_group(&p.common, EL_CLI_WITH_CTX | EL_CLI_WITH_SLOTS, engine)};
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  p.spec = (el_load_spec){.n_adapters = o.n_adapters,
                          .without = EL_LOAD_BASE,
                          .alpha = (double)o.alpha,
                          .rate = o.clients ? 0 : (double)o.rate,
                          .cv = (double)o.cv,
                          .seed = o.seed};
  p.common.signal_fd = -1; /* Ctrl-C ends it as it ends any program: nothing is to be kept */
  code = make_plan(self, &p);
  el_load_trace_free(&p.trace);
  el_load_log_free(&p.log);
  return code;
}

const el_cli_command el_cmd_bench_plan = {
    .name = "plan",
    .summary = "what one machine or several will do under a load, by simulation",
    .usage = "[-m MODEL] [--adapters N] [--rate R] [options]",
    .about =
        "Measures how long steps and the loading of adapters take on this machine. Then it runs the\n"
        "scheduler, the memory and the cache of the engine in simulated time: hours of load in seconds. It\n"
        "reports throughput, latencies, cache hits, memory, and what the limit is. Costs can be saved and\n"
        "used on another machine, or computed for a model that you do not have.",
    .examples =
        "  edgelora-bench plan -m model.gguf --adapters 10000 --rate 3 --memory 1G --save-costs box.json\n"
        "  edgelora-bench plan --costs box.json --adapters 10000 --rate 30 --nodes 10\n"
        "  edgelora-bench plan --shape llama-3.1-8b-q8_0 --gops 1500 --gbs 80 --adapters 10000 --slots 20 --memory 16G",
    .run = run_plan};
