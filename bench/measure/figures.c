#include "bench/measure/figures.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/figures.h"
#include "cli/cli.h"

el_bench_figure el_bench_spread(double *values, int n) {
  el_sort_figures(values, (size_t)n);
  return (el_bench_figure){(values[(n - 1) / 2] + values[n / 2]) / 2, values[0], values[n - 1]};
}

el_bench_figure el_bench_scaled(el_bench_figure f, double factor) {
  return (el_bench_figure){f.median * factor, f.min * factor, f.max * factor};
}

json_t *el_bench_figure_json(const el_bench_figure *f) {
  return json_pack("{s:f, s:f, s:f}", "median", f->median, "min", f->min, "max", f->max);
}

int el_bench_print_json(json_t *report) {
  char *text = report ? json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
  json_decref(report);
  if (!text) return el_cli_no_memory();
  puts(text);
  free(text);
  return el_cli_end(EL_EXIT_OK);
}
