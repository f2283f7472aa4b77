#include "bench/report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/figures.h"
#include "bench/report/ticks.h"

double el_report_median(const double *sorted, size_t n) {
  return n ? (sorted[(n - 1) / 2] + sorted[n / 2]) / 2 : NAN;
}

int el_report_compare(const el_report_run *a, const el_report_run *b, el_report_dim d) {
  const el_report_value *x = &a->dims[d], *y = &b->dims[d];
  if (!x->text || !y->text) return (x->text != NULL) - (y->text != NULL);
  if (!isnan(x->number) && !isnan(y->number)) return (x->number > y->number) - (x->number < y->number);
  int order = strcmp(x->text, y->text);
  return (order > 0) - (order < 0);
}

static bool same_series(const el_report *r, size_t a, size_t b) {
  return el_report_compare(&r->runs[a], &r->runs[b], r->series_dim) == 0;
}

static int compare_cases(const el_report *r, size_t a, size_t b) {
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) {
    int order = d == r->series_dim ? 0 : el_report_compare(&r->runs[a], &r->runs[b], d);
    if (order) return order;
  }
  return 0;
}

/* ---- series, cases and rows */

static void find_series(el_report *r) {
  for (size_t i = 0; i < r->n_runs; i++) {
    size_t k = 0;
    while (k < r->n_series && !same_series(r, r->series[k], i)) k++;
    if (k == r->n_series) r->series[r->n_series++] = i;
  }
}

/* By insertion: they are few, and a comparison needs the report. */
static void find_cases(el_report *r) {
  for (size_t i = 0; i < r->n_runs; i++) {
    size_t k = r->n_cases;
    while (k > 0 && compare_cases(r, r->cases[k - 1], i) > 0) k--;
    if (k > 0 && compare_cases(r, r->cases[k - 1], i) == 0) continue;
    memmove(&r->cases[k + 1], &r->cases[k], (r->n_cases - k) * sizeof *r->cases);
    r->cases[k] = i;
    r->n_cases++;
  }
}

static void find_figures(const el_report *r, el_report_row *row, double *scratch) {
  for (el_report_metric m = 0; m < EL_REPORT_METRICS; m++) {
    size_t n = 0;
    for (size_t i = 0; i < row->n_runs; i++) {
      double value = r->runs[row->runs[i]].metrics[m];
      if (!isnan(value)) scratch[n++] = value;
    }
    el_sort_figures(scratch, n);
    el_report_figure *f = &row->figures[m];
    *f = (el_report_figure){el_report_median(scratch, n), n ? scratch[0] : NAN, n ? scratch[n - 1] : NAN, (int)n};
  }
}

static bool find_rows(el_report *r) {
  double *scratch = malloc(r->n_runs * sizeof *scratch);
  if (!scratch) return false;
  bool ok = true;
  for (size_t c = 0; c < r->n_cases && ok; c++) {
    for (size_t s = 0; s < r->n_series && ok; s++) {
      el_report_row row = {.series = (int)s, .situation = (int)c, .runs = malloc(r->n_runs * sizeof *row.runs)};
      ok = row.runs != NULL;
      for (size_t i = 0; i < r->n_runs && ok; i++)
        if (same_series(r, r->series[s], i) && compare_cases(r, r->cases[c], i) == 0) row.runs[row.n_runs++] = i;
      if (row.n_runs) {
        find_figures(r, &row, scratch);
        r->rows[r->n_rows++] = row;
      } else {
        free(row.runs);
      }
    }
  }
  free(scratch);
  return ok;
}

/* ---- names */

const char *el_report_series_name(const el_report *r, int series) {
  const char *text = r->runs[r->series[series]].dims[r->series_dim].text;
  return text ? text : "not told";
}

static void put_value(el_text *out, const el_report_run *run, el_report_dim d) {
  if (!run->dims[d].text) return;
  if (out->buf.len) el_text_put(out, ", ");
  const char *format = el_report_dims[d].format, *slot = strstr(format, "%s");
  el_text_printf(out, "%.*s%s%s", (int)(slot - format), format, run->dims[d].text, slot + 2);
}

void el_report_case_name(const el_report *r, int situation, el_text *out) {
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (d != r->series_dim && r->varies[d]) put_value(out, &r->runs[r->cases[situation]], d);
}

void el_report_row_name(const el_report *r, const el_report_row *row, el_text *out) {
  const el_report_run *run = &r->runs[row->runs[0]];
  if (r->series_dim == EL_DIM_SERVER)
    el_text_put(out, el_report_series_name(r, row->series));
  else
    put_value(out, run, r->series_dim);
  el_text_put(out, ""); /* so that there is a text, also of an empty name */
  el_report_case_name(r, row->situation, out);
}

void el_report_common_name(const el_report *r, el_text *out) {
  for (el_report_dim d = EL_DIM_SERVER + 1; d < EL_REPORT_DIMS; d++)
    if (!r->varies[d]) put_value(out, &r->runs[0], d);
}

bool el_report_interrupted(const el_report *r, const el_report_row *row) {
  for (size_t i = 0; i < row->n_runs; i++)
    if (r->runs[row->runs[i]].interrupted) return true;
  return false;
}

/* ---- the baseline */

static el_status find_baseline(el_report *r, const char *baseline, el_error *err) {
  r->base_series = r->base_row = -1;
  if (!baseline) return EL_OK;
  for (size_t s = 0; s < r->n_series && r->base_series < 0; s++)
    if (strcmp(el_report_series_name(r, (int)s), baseline) == 0) r->base_series = (int)s;
  if (r->base_series >= 0) return EL_OK;
  el_text known = {0};
  for (size_t s = 0; s < r->n_series; s++) {
    el_text_put(&known, s ? ", '" : "'");
    el_text_clean(&known, el_report_series_name(r, (int)s));
    el_text_put(&known, "'");
  }
  for (size_t i = 0; i < r->n_rows && r->base_row < 0 && !known.failed; i++) {
    el_text name = {0};
    el_report_row_name(r, &r->rows[i], &name);
    if (!name.failed && strcmp(name.buf.data, baseline) == 0) r->base_row = (int)i;
    known.failed |= name.failed;
    el_text_free(&name);
  }
  el_status status = EL_OK;
  if (known.failed)
    status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  else if (r->base_row < 0)
    status = el_fail(err, EL_ERR_INVALID, "baseline: '%s' is no name of the report; there are %.300s", baseline,
                     known.buf.data);
  el_text_free(&known);
  return status;
}

const el_report_row *el_report_base_of(const el_report *r, const el_report_row *row) {
  const el_report_row *base = NULL;
  if (r->base_row >= 0) base = &r->rows[r->base_row];
  for (size_t i = 0; i < r->n_rows && r->base_series >= 0 && !base; i++)
    if (r->rows[i].series == r->base_series && r->rows[i].situation == row->situation) base = &r->rows[i];
  return base == row ? NULL : base;
}

double el_report_ratio(const el_report_row *row, const el_report_row *base, el_report_metric m) {
  double a = row->figures[m].median, b = base->figures[m].median;
  double ratio = el_report_metrics[m].better < 0 ? b / a : a / b;
  return a > 0 && b > 0 && isfinite(ratio) ? ratio : NAN;
}

static bool alike_but_in(const el_report *r, size_t a, size_t b, el_report_dim except) {
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (d != except && el_report_compare(&r->runs[a], &r->runs[b], d) != 0) return false;
  return true;
}

/* Every server spells its model's name as it likes, and some tell none; and a slow one is measured for longer, or with
 * fewer requests. As long as each server has one name, and one length of each workload, these say nothing about the
 * workload; dropped, runs of different servers can be put beside each other. The list of runs has them still. */
static void drop_what_servers_differ_in(el_report *r, el_report_dim d) {
  bool all_agree = true;
  for (size_t i = 0; i < r->n_runs; i++)
    for (size_t k = 0; k < i; k++) {
      if (el_report_compare(&r->runs[i], &r->runs[k], d) == 0) continue;
      all_agree = false;
      if (d == EL_DIM_MODEL ? el_report_compare(&r->runs[i], &r->runs[k], EL_DIM_SERVER) == 0
                            : alike_but_in(r, i, k, d))
        return;
    }
  for (size_t i = 0; i < r->n_runs && !all_agree; i++) {
    free(r->runs[i].dims[d].text);
    r->runs[i].dims[d] = (el_report_value){NULL, NAN};
  }
}

/* ---- the whole */

el_status el_report_init(el_report *r, const char *title, el_report_run *runs, size_t n_runs, const char *group,
                         const char *baseline, el_error *err) {
  *r = (el_report){
      .title = title, .runs = runs, .n_runs = n_runs, .series_dim = EL_DIM_SERVER, .base_row = -1, .base_series = -1};
  if (group) {
    el_text known = {0};
    r->series_dim = 0;
    while (r->series_dim < EL_REPORT_DIMS && strcmp(el_report_dims[r->series_dim].key, group) != 0) {
      el_text_printf(&known, "%s%s", r->series_dim ? ", " : "", el_report_dims[r->series_dim].key);
      r->series_dim++;
    }
    el_status status = EL_OK;
    if (r->series_dim == EL_REPORT_DIMS)
      status = el_fail(err, EL_ERR_INVALID, "group: '%s' is none of %s", group, known.failed ? "them" : known.buf.data);
    el_text_free(&known);
    if (status) return status;
  }
  static const el_report_dim loose[] = {EL_DIM_MODEL, EL_DIM_REQUESTS, EL_DIM_DURATION};
  for (size_t i = 0; i < sizeof loose / sizeof *loose; i++)
    if (loose[i] != r->series_dim) drop_what_servers_differ_in(r, loose[i]);
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    for (size_t i = 1; i < n_runs; i++)
      if (el_report_compare(&runs[0], &runs[i], d) != 0) r->varies[d] = true;
  r->series = malloc(n_runs * sizeof *r->series);
  r->cases = malloc(n_runs * sizeof *r->cases);
  r->rows = calloc(n_runs, sizeof *r->rows); /* each run is in one row */
  if (!r->series || !r->cases || !r->rows) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  find_series(r);
  find_cases(r);
  if (!find_rows(r)) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  return find_baseline(r, baseline, err);
}

void el_report_free(el_report *r) {
  for (size_t i = 0; i < r->n_runs; i++) el_report_run_free(&r->runs[i]);
  for (size_t i = 0; i < r->n_rows; i++) free(r->rows[i].runs);
  free(r->runs);
  free(r->series);
  free(r->cases);
  free(r->rows);
  *r = (el_report){0};
}

/* ---- values as text */

int el_report_decimals(double value) {
  double size = fabs(value);
  if (!(size > 0)) return 0;
  int decimals = 2 - (int)floor(log10(size) + 1e-9);
  return decimals < 0 ? 0 : decimals > 5 ? 5 : decimals;
}

void el_report_metric_text(el_report_metric m, double value, char *out, size_t size) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  char number[64];
  size_t unit = 0;
  switch (el_report_metrics[m].unit) {
    case EL_UNIT_SHARE:
      el_number_text(100 * value, value < 0.9995 || value >= 1 ? (value > 0 && value < 1) : 2, number, sizeof number);
      snprintf(out, size, "%s%%", number);
      return;
    case EL_UNIT_SECONDS: /* milliseconds are enough, where there are some */
      el_number_text(value, value >= 0.01 && value < 1 ? 3 : el_report_decimals(value), out, size);
      return;
    case EL_UNIT_MILLISECONDS: el_number_text(1e3 * value, el_report_decimals(1e3 * value), out, size); return;
    case EL_UNIT_COUNT: el_number_text(value, value != floor(value), out, size); return;
    case EL_UNIT_BYTES:
      while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
      }
      el_number_text(value, value < 1000 ? el_report_decimals(value) : 0, number, sizeof number);
      snprintf(out, size, "%s %s", number, units[unit]);
      return;
    default: el_number_text(value, el_report_decimals(value), out, size);
  }
}
