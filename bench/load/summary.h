/* A run in figures. */
#ifndef EL_BENCH_LOAD_SUMMARY_H
#define EL_BENCH_LOAD_SUMMARY_H

#include "bench/load/record.h"

/* Percentiles are values that were measured: the smallest that at least so many percent do not exceed. */
typedef struct el_load_spread {
  size_t n; /* 0: the others say nothing */
  double mean, p50, p90, p99, max;
} el_load_spread;

/* Sorts the values. */
el_load_spread el_load_spread_of(double *values, size_t n);
/* Of sorted values; share: 0...1. */
double el_load_percentile(const double *sorted, size_t n, double share);

typedef struct el_load_summary {
  size_t n, done, errors, cut; /* requests: sent, answered in full, failed, ended with the run */
  double seconds;
  double requests_per_second, tokens_in_per_second, tokens_out_per_second; /* of those answered in full */
  double tokens_in, tokens_out;
  size_t other_lengths; /* done, with more or fewer tokens in or out than asked for */
  size_t uncounted;     /* done, and the server did not tell their tokens: the events with text count */
  el_load_spread latency, first, gap, late;
  el_load_spread per_token; /* a request's time from first to last text, over its tokens but the first */
  size_t slo_of, slo_met;   /* requests that count for it: done and failed ones; with the first text in time */
} el_load_summary;

/* false: no memory. */
bool el_load_summarize(const el_load_log *log, double seconds, double slo_first, el_load_summary *out);

#endif
