/* Measured figures, from which medians and percentiles are taken. None of them may be NaN. */
#ifndef EL_BASE_FIGURES_H
#define EL_BASE_FIGURES_H

#include <stddef.h>
#include <stdlib.h>

static inline int el_by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts in ascending order. */
static inline void el_sort_figures(double *values, size_t n) {
  qsort(values, n, sizeof *values, el_by_value);
}

#endif
