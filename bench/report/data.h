/* What a report knows of one run: a file of `edgelora-bench load --json`, checked and made flat. */
#ifndef EL_BENCH_REPORT_DATA_H
#define EL_BENCH_REPORT_DATA_H

#include <stdbool.h>
#include <stddef.h>

#include "edgelora.h"

/* In what runs can differ on purpose. Two runs that agree in all of them are repetitions of each other. */
typedef enum el_report_dim {
  EL_DIM_SERVER,
  EL_DIM_MODEL,
  EL_DIM_ADAPTERS,
  EL_DIM_SELECTION,
  EL_DIM_LOOP,
  EL_DIM_CLIENTS,
  EL_DIM_RATE,
  EL_DIM_ALPHA,
  EL_DIM_CV,
  EL_DIM_INPUT,
  EL_DIM_OUTPUT,
  EL_DIM_DURATION,
  EL_DIM_REQUESTS,
  EL_DIM_REPLAY,
  EL_DIM_SPEED,
  EL_REPORT_DIMS
} el_report_dim;

typedef struct el_report_dim_info {
  const char *key;    /* on the command line and in JSON */
  const char *title;  /* of an axis */
  const char *format; /* how a value reads within a name: "%s adapters" */
} el_report_dim_info;
extern const el_report_dim_info el_report_dims[EL_REPORT_DIMS];

typedef struct el_report_value {
  char *text;    /* NULL: the run does not say */
  double number; /* NAN: it is no number */
} el_report_value;

typedef enum el_report_metric {
  EL_METRIC_REQUEST_RATE,
  EL_METRIC_TOKENS_IN,
  EL_METRIC_TOKENS_OUT,
  EL_METRIC_LATENCY_MEAN,
  EL_METRIC_LATENCY_P50,
  EL_METRIC_LATENCY_P90,
  EL_METRIC_LATENCY_P99,
  EL_METRIC_TTFT_MEAN,
  EL_METRIC_TTFT_P50,
  EL_METRIC_TTFT_P99,
  EL_METRIC_GAP_P50,
  EL_METRIC_GAP_P99,
  EL_METRIC_TOKEN_P50,
  EL_METRIC_TOKEN_P99,
  EL_METRIC_SLO,
  EL_METRIC_REQUESTS,
  EL_METRIC_ERRORS,
  EL_METRIC_HIT_RATE,
  EL_METRIC_MEMORY,
  EL_METRIC_ENERGY,
  EL_METRIC_LATE,
  EL_METRIC_OWN_CPU,
  EL_REPORT_METRICS
} el_report_metric;

typedef enum el_report_unit {
  EL_UNIT_RATE,
  EL_UNIT_SECONDS,
  EL_UNIT_MILLISECONDS, /* in tables; values are seconds */
  EL_UNIT_SHARE,
  EL_UNIT_COUNT,
  EL_UNIT_BYTES,
  EL_UNIT_JOULES
} el_report_unit;

typedef struct el_report_metric_info {
  const char *key;   /* in JSON */
  const char *title; /* of an axis, with the unit */
  el_report_unit unit;
  int better; /* 1: more is, -1: less is, 0: neither */
} el_report_metric_info;
extern const el_report_metric_info el_report_metrics[EL_REPORT_METRICS];

typedef struct el_report_fact {
  char *name, *value;
} el_report_fact;

typedef struct el_report_sample {
  double at, value; /* seconds after the run's start */
} el_report_sample;

typedef struct el_report_samples {
  el_report_sample *items;
  size_t n;
} el_report_samples;

typedef struct el_report_run {
  char *file;
  el_report_value dims[EL_REPORT_DIMS];
  double metrics[EL_REPORT_METRICS]; /* NAN: not available */
  double slo;                        /* seconds to the first token; NAN: none was set */
  bool interrupted;
  el_report_fact *facts; /* machine, versions and options */
  size_t n_facts;
  size_t n_ended;                  /* requests that succeeded or failed, not those that ended with the run */
  el_report_samples latency, ttft; /* of the requests that succeeded, by arrival; values in seconds */
  el_report_samples memory;        /* the server's, values in bytes */
} el_report_run;

/* No file of a run is longer, and no run has more requests: a thousand requests a second for an hour and a half. */
enum { EL_REPORT_REQUESTS_MAX = 5000000, EL_REPORT_FILE_MAX = 1 << 30 };

/* `name`: what the server is called instead of what the file says; NULL: as it says. Errors name file and field. */
el_status el_report_run_read(el_report_run *run, const char *path, const char *name, el_error *err);
void el_report_run_free(el_report_run *run);

#endif
