/* Figures that were measured several times, and how they are printed as JSON. */
#ifndef EL_BENCH_MEASURE_FIGURES_H
#define EL_BENCH_MEASURE_FIGURES_H

#include <jansson.h>

typedef struct el_bench_figure {
  double median, min, max;
} el_bench_figure;

/* Sorts the values. */
el_bench_figure el_bench_spread(double *values, int n);
el_bench_figure el_bench_scaled(el_bench_figure f, double factor);
/* As JSON: {"median", "min", "max"}. */
json_t *el_bench_figure_json(const el_bench_figure *f);

/* Prints a report, which it takes, or says that there is no memory for it (NULL). The exit status. */
int el_bench_print_json(json_t *report);

#endif
