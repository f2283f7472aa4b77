/* What the parts of `edgelora-bench plan` share. */
#ifndef EL_BENCH_PLAN_PLAN_H
#define EL_BENCH_PLAN_PLAN_H

#include "bench/load/summary.h"
#include "bench/load/trace.h"
#include "bench/plan/balance.h"
#include "bench/plan/sim.h"
#include "cli/open.h"

typedef struct el_plan_options {
  const char *costs, *save_costs, *shape, *adapter, *input, *output, *replay, *balance;
  float gops, gbs, temperature, alpha, rate, cv, duration, warm_up, slo_first;
  int rank, n_adapters, clients, n_requests, nodes;
  uint64_t seed;
  bool own_adapter, no_drain, json;
} el_plan_options;

typedef struct el_plan {
  const el_plan_options *options;
  el_cli_engine common;
  el_costs costs;
  el_sim_options sim;
  el_load_spec spec;
  el_load_trace trace; /* of an open loop, or replayed; adapters are numbers */
  el_balance balance;

  /* Results; of several nodes together, but for what is said to be one's. */
  el_load_log log;
  el_load_summary summary;
  el_sim_result result;   /* seconds: the longest node's; most_blocks: of the node with the most */
  double busiest, idlest; /* nodes: their shares of the time inside steps */
  double saturated;       /* requests/s of a closed loop that keeps one node's slots full; -1: not simulated */
} el_plan;

/* Runs the simulations. Returns -1, or the exit status of a failure that has been said. */
int el_plan_simulate(el_plan *p);
/* The table, or with --json an object. The exit status. */
int el_plan_report(const el_plan *p);

#endif
