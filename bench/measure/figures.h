/* How a bench by batch size tells its figures: a table for a person, or one JSON object. */
#ifndef EL_BENCH_MEASURE_FIGURES_H
#define EL_BENCH_MEASURE_FIGURES_H

#include <jansson.h>

#include "edgelora.h"

typedef struct el_cli_bench_figure {
  double median, min, max;
} el_cli_bench_figure;

/* Sorts the values. */
el_cli_bench_figure el_cli_bench_spread(double *values, int n);
/* As JSON: {"median", "min", "max"}. */
json_t *el_cli_bench_figure_json(const el_cli_bench_figure *f);

/* The CPU's own name where the system tells it, else its architecture. */
void el_cli_bench_cpu_name(char *out, size_t size);

typedef struct el_cli_bench_row {
  int npl;
  el_cli_bench_figure prompt, decode; /* tokens per second, of the whole batch */
} el_cli_bench_row;

typedef struct el_cli_bench_report {
  const el_engine *engine;
  bool json;
  int npp, ntg, repeat, n_adapters;
  float temperature, top_p;
  const int *ranks;
  size_t n_ranks;
  json_t *results;
} el_cli_bench_report;

/* The machine, the model and the adapters; then rows as they come; then the end, which gives the exit status. */
void el_cli_bench_begin(el_cli_bench_report *r);
bool el_cli_bench_add(el_cli_bench_report *r, const el_cli_bench_row *row);
int el_cli_bench_end(el_cli_bench_report *r);
void el_cli_bench_free(el_cli_bench_report *r);

/* Prints a report, which it takes, or says that there is no memory for it (NULL). The exit status. */
int el_cli_print_json(json_t *report);

#endif
