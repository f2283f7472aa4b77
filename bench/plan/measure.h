/* The costs that `edgelora-bench plan` simulates with, measured on this machine. */
#ifndef EL_BENCH_PLAN_MEASURE_H
#define EL_BENCH_PLAN_MEASURE_H

#include "bench/plan/costs.h"
#include "cli/open.h"

typedef struct el_plan_measure {
  el_cli_engine *common; /* model and engine options; opened and closed, its options stay as they are */
  int rank;              /* of random adapters on all linear layers */
  const char *adapter;   /* its files are loaded instead of those of a random one; may be NULL */
  float temperature;     /* of the answers whose cost outside of steps is measured */
  bool progress;
} el_plan_measure;

/* Fills all of *out. Returns -1, or the exit status of a failure that has been said. */
int el_plan_measure_costs(const el_plan_measure *m, el_costs *out);

/* ---- inside */

/* Steps of the model alone: rows, decode_position, prompt_position, shape, weight_bytes, isa, threads. */
int el_plan_measure_steps(const el_plan_measure *m, el_costs *out);
/* The whole engine: started_bytes, the adapter and its loads, and what el_plan_measure_http does. */
int el_plan_measure_engine(const el_plan_measure *m, el_costs *out);
/* A server over the engine, which is open: step, token, request. */
int el_plan_measure_http(const el_plan_measure *m, el_costs *out);

static inline void el_plan_say(const el_plan_measure *m, const char *what, int done, int of) {
  if (m->progress) fprintf(stderr, "measuring %s %d of %d\n", what, done, of);
}

#endif
