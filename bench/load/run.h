/* What the parts of `edgelora-bench load` share: its options, the run, and the report. */
#ifndef EL_BENCH_LOAD_RUN_H
#define EL_BENCH_LOAD_RUN_H

#include "bench/load/ask.h"
#include "bench/load/energy.h"
#include "bench/load/procfs.h"
#include "bench/load/record.h"
#include "bench/load/trace.h"
#include "cli/cli.h"

typedef struct el_load_options {
  const char *url_text, *api_text, *model, *adapters, *prefix, *input, *output;
  const char *trace, *replay, *json;
  int n_adapters; /* -1: not given */
  float alpha, rate, cv, duration, timeout, slo_first, speed, temperature, top_p;
  int clients;    /* 0: an open loop */
  int n_requests; /* 0: no bound */
  int server_pid; /* 0: not told */
  uint64_t seed, prompt_seed;
  bool automatic, own_adapter, no_drain, progress;
} el_load_options;

typedef struct el_load_sample {
  double at; /* seconds after the start */
  el_load_process process;
} el_load_sample;

typedef struct el_load_run {
  const el_load_options *options;
  el_load_spec spec;
  el_load_url url;
  el_load_ask ask;
  el_load_names names;
  char *base;
  el_load_trace trace; /* an open loop's, or a replayed one; adapters are places in `names` */
  el_load_log log;
  int signal_fd;

  double start, seconds; /* el_seconds() of the start; until the last answer */
  long long began;       /* seconds since the epoch */
  double load;           /* the system's load average at the start: is anybody else at work? */
  int signal;            /* that ended it; 0: none */
  bool no_memory;
  double cpu_seconds; /* of this program during the run */
  uint64_t connections;
  el_load_counters before, after;
  el_energy energy;
  el_load_sample *samples;
  size_t n_samples, cap_samples;
} el_load_run;

/* --input and --output, each a number or MIN:MAX. -1, or the exit status of a mistake that has been said. */
int el_load_parse_lengths(const el_cli_command *self, const char *input, const char *output, el_load_spec *spec);
/* Runs the load. Returns -1, or the exit status of a failure that has been said. */
int el_load_run_all(el_load_run *r);
/* The table, or with --json the file too. The exit status. */
int el_load_report(const el_load_run *r);

#endif
