/* The engine in simulated time: real requests wait, get adapters, slots and pages, and have rows in steps by the
 * engine's own admission, scheduler, memory, prefix cache and cache policy (src/engine, src/adapter/cache.h). There is
 * no model and no disk: el_costs says how long a step and a load take, and tokens are random.
 *
 * Not simulated: what the network and clients take, `auto`, and other work on the machine. */
#ifndef EL_BENCH_PLAN_SIM_H
#define EL_BENCH_PLAN_SIM_H

#include "bench/load/record.h"
#include "bench/plan/costs.h"

typedef struct el_sim_options {
  const el_costs *costs; /* must outlive the simulation */
  el_budget budget;      /* the pool, and the context of a sequence */
  int n_slots, step_rows, step_adapters, max_queue;
  bool prefix_cache;
  const char *policy; /* of el_memory_options */
  int n_adapters;     /* that are offered */
  uint32_t adapter_blocks;
  uint64_t seed; /* of the tokens */
} el_sim_options;

/* An open loop: items at their times. A closed loop: `clients` of them, each of which sends its next request when its
 * last one has ended, drawn from `workload`, or the next item if that is NULL. */
typedef struct el_sim_load {
  const el_load_item *items; /* [n] adapters: numbers below n_adapters, or EL_LOAD_BASE */
  size_t n;
  int clients; /* 0: open */
  el_load_workload *workload;
  bool own_adapter; /* client i asks for adapter i, over again if there are fewer */
  double duration;  /* closed: nothing is sent later; 0: no bound */
  size_t most;      /* closed: requests, 0: no bound */
  bool drain;       /* else what has not ended by `duration` is cut */
} el_sim_load;

typedef struct el_sim_result {
  double seconds;
  uint64_t hits, misses, evictions, loads, preemptions, steps, rows, cached_tokens;
  double step_seconds;    /* inside steps */
  double load_seconds;    /* in which an adapter was being loaded */
  double full_seconds;    /* requests waited for a slot */
  double adapter_seconds; /* slots were free, and requests waited for their adapters */
  double memory_seconds;  /* slots were free, and requests waited for room in the pool */
  uint32_t most_blocks;   /* of the pool, that were ever in use */
} el_sim_result;

typedef struct el_sim el_sim;

el_status el_sim_new(const el_sim_options *o, el_sim **out, el_error *err);
void el_sim_free(el_sim *s); /* NULL is allowed */
/* Runs a load from time 0 on. What is in memory stays there for the next run: the first may be a warm-up. Requests and
 * times go into `log`, those that the engine refuses as EL_LOAD_STATUS. */
el_status el_sim_run(el_sim *s, const el_sim_load *load, el_load_log *log, el_sim_result *out, el_error *err);

#endif
