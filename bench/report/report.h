/* Runs put in order: repetitions become rows of medians, rows with the same workload become a case, and one dimension
 * (usually the server) names the series, which have the same colour in all charts. */
#ifndef EL_BENCH_REPORT_REPORT_H
#define EL_BENCH_REPORT_REPORT_H

#include "bench/report/data.h"
#include "bench/report/text.h"

typedef struct el_report_figure {
  double median, low, high;
  int n; /* runs that have it; 0: not available */
} el_report_figure;

typedef struct el_report_row {
  int series, situation;
  size_t *runs; /* which ones; rising */
  size_t n_runs;
  el_report_figure figures[EL_REPORT_METRICS];
} el_report_row;

typedef struct el_report {
  const char *title;
  el_report_run *runs;
  size_t n_runs;
  el_report_dim series_dim;
  bool varies[EL_REPORT_DIMS]; /* runs differ in it */
  size_t *series;              /* [n_series] the first run of each, in the order of the files */
  size_t n_series;
  size_t *cases; /* [n_cases] a run of each: equal in all but the series' dimension; in the order of their values */
  size_t n_cases;
  el_report_row *rows; /* by case, then by series */
  size_t n_rows;
  int base_series; /* the baseline: a series, beside which each case is put, ... */
  int base_row;    /* ... or a row, beside which all are; -1: not */
} el_report;

/* Takes what `runs` holds, whatever it returns. `group`: the key of the dimension that names the series, NULL: the
 * server. `baseline`: a series' name or a row's, or NULL. */
el_status el_report_init(el_report *r, const char *title, el_report_run *runs, size_t n_runs, const char *group,
                         const char *baseline, el_error *err);
void el_report_free(el_report *r);

/* Their names, not escaped. A row's is its series' and, where there are several cases, its case's. */
const char *el_report_series_name(const el_report *r, int series);
void el_report_case_name(const el_report *r, int situation, el_text *out);
void el_report_row_name(const el_report *r, const el_report_row *row, el_text *out);
/* What all runs have in common. */
void el_report_common_name(const el_report *r, el_text *out);

/* Whether one of its runs was ended early: its slowest requests may be those that were cut off. */
bool el_report_interrupted(const el_report *r, const el_report_row *row);

/* The row that `row` is put beside; NULL: none, or itself. */
const el_report_row *el_report_base_of(const el_report *r, const el_report_row *row);
/* How many times better its median is than the base's, whichever way the figure counts: 2 is twice the throughput, and
 * half the latency. NAN: it is not known, or one of them is 0. */
double el_report_ratio(const el_report_row *row, const el_report_row *base, el_report_metric m);

/* -1, 0, 1 by a dimension's numbers, else by its text. Runs that do not say come first. */
int el_report_compare(const el_report_run *a, const el_report_run *b, el_report_dim d);

/* Of sorted values: the mean of the two in the middle where there is no middle. */
double el_report_median(const double *sorted, size_t n);

/* How many decimals show three digits of a number: 0 ... 5. */
int el_report_decimals(double value);
/* A metric's value with its unit where its column has none ("1.25 GiB", "99.5%"), three significant digits. */
void el_report_metric_text(el_report_metric m, double value, char *out, size_t size);

#endif
