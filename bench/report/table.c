#include "bench/report/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/report/ticks.h"

static const el_report_column headline[] = {
    {"Throughput", "req/s", EL_METRIC_REQUEST_RATE},
    {"Throughput", "tok/s in", EL_METRIC_TOKENS_IN},
    {"Throughput", "tok/s out", EL_METRIC_TOKENS_OUT},
    {"Latency (s)", "mean", EL_METRIC_LATENCY_MEAN},
    {"Latency (s)", "p50", EL_METRIC_LATENCY_P50},
    {"Latency (s)", "p90", EL_METRIC_LATENCY_P90},
    {"Latency (s)", "p99", EL_METRIC_LATENCY_P99},
    {"First token (s)", "p50", EL_METRIC_TTFT_P50},
    {"First token (s)", "p99", EL_METRIC_TTFT_P99},
    {"First token (s)", "in goal", EL_METRIC_SLO},
    {"", "errors", EL_METRIC_ERRORS},
    {"", "cache hits", EL_METRIC_HIT_RATE},
    {"", "peak memory", EL_METRIC_MEMORY},
    {"", "J/request", EL_METRIC_ENERGY},
};

static const el_report_column ratios[] = {
    {"Throughput", "req/s", EL_METRIC_REQUEST_RATE}, {"Throughput", "tok/s out", EL_METRIC_TOKENS_OUT},
    {"Latency", "mean", EL_METRIC_LATENCY_MEAN},     {"Latency", "p50", EL_METRIC_LATENCY_P50},
    {"Latency", "p99", EL_METRIC_LATENCY_P99},       {"First token", "p50", EL_METRIC_TTFT_P50},
    {"First token", "p99", EL_METRIC_TTFT_P99},      {"First token", "in goal", EL_METRIC_SLO},
    {"", "peak memory", EL_METRIC_MEMORY},           {"", "J/request", EL_METRIC_ENERGY},
};

static const el_report_column further[] = {
    {"Requests", "answered", EL_METRIC_REQUESTS},
    {"Requests", "failed", EL_METRIC_ERRORS},
    {"First token (s)", "mean", EL_METRIC_TTFT_MEAN},
    {"Between tokens (ms)", "p50", EL_METRIC_GAP_P50},
    {"Between tokens (ms)", "p99", EL_METRIC_GAP_P99},
    {"A token of a request (ms)", "p50", EL_METRIC_TOKEN_P50},
    {"A token of a request (ms)", "p99", EL_METRIC_TOKEN_P99},
    {"Load generator", "latest (ms)", EL_METRIC_LATE},
    {"Load generator", "of a core", EL_METRIC_OWN_CPU},
};

#define COLUMNS(x) .columns = (x), .n_columns = sizeof(x) / sizeof *(x)

const el_report_table el_report_tables[EL_REPORT_TABLES] = {
    {.title = "Results", .note = "", COLUMNS(headline)},
    {.title = "Beside the baseline",
     .note = "How many times better than the baseline with the same workload, by medians: rates are divided by the "
             "baseline's; the baseline's times, memory and energy are divided by the row's. ▲ is better, ▼ worse.",
     COLUMNS(ratios),
     .ratios = true},
    {.title = "Further figures",
     .note = "“Latest” is how much later than planned the generator sent a request, at worst; latencies count from the "
             "plan.",
     COLUMNS(further)},
};

bool el_report_table_has_row(const el_report *r, const el_report_table *t, const el_report_row *row) {
  return !t->ratios || el_report_base_of(r, row);
}

bool el_report_table_shown(const el_report *r, const el_report_table *t) {
  return !t->ratios || r->base_series >= 0 || r->base_row >= 0;
}

static el_report_cell ratio_cell(const el_report *r, const el_report_row *row, el_report_metric m) {
  el_report_cell cell = {.value = EL_REPORT_ABSENT};
  const el_report_row *base = el_report_base_of(r, row);
  double ratio = base ? el_report_ratio(row, base, m) : NAN;
  if (isnan(ratio)) return cell;
  char number[40];
  el_number_text(ratio, el_report_decimals(ratio), number, sizeof number);
  snprintf(cell.value, sizeof cell.value, "%sx", number);
  /* What reads as 1.00x is neither. */
  if (strcmp(cell.value, "1.00x") != 0) cell.better = ratio > 1 ? 1 : -1;
  return cell;
}

el_report_cell el_report_table_cell(const el_report *r, const el_report_table *t, const el_report_row *row,
                                    el_report_metric m) {
  if (t->ratios) return ratio_cell(r, row, m);
  el_report_cell cell = {.value = EL_REPORT_ABSENT};
  const el_report_figure *f = &row->figures[m];
  if (!f->n) {
    if (m == EL_METRIC_ENERGY) snprintf(cell.value, sizeof cell.value, "not available");
    return cell;
  }
  char low[28], high[28];
  el_report_metric_text(m, f->median, cell.value, sizeof cell.value);
  el_report_metric_text(m, f->low, low, sizeof low);
  el_report_metric_text(m, f->high, high, sizeof high);
  if (f->n < 2 || strcmp(low, high) == 0) return cell;
  /* The unit stands once. */
  size_t number = strcspn(low, " %");
  if (strcmp(low + number, high + strcspn(high, " %")) == 0) low[number] = 0;
  snprintf(cell.spread, sizeof cell.spread, "%s–%s", low, high);
  return cell;
}
