#include "bench/report/charts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/figures.h"
#include "bench/report/svg.h"

typedef struct page {
  el_text *t;
  const el_report *r;
  int n_charts; /* so far */
  bool joint;   /* one workload: what would be sections of one chart each share one */
  bool open;    /* the section that they share has begun */
} page;

/* Ends that charts of a section share, so that they can be compared at a glance. */
typedef struct ends {
  double low, high;
} ends;

static void widen(ends *e, double value) {
  if (!(value >= e->low)) e->low = value;
  if (!(value <= e->high)) e->high = value;
}

/* Where values are this far apart, a linear axis would press most of them against its end. */
static bool wants_log(const ends *e) {
  return e->low > 0 && e->high / e->low >= 30;
}

/* ---- parts of the page */

static void put_legend(page *p) {
  const el_report *r = p->r;
  if (r->n_series < 2) return;
  el_text_put(p->t, "<ul class=\"legend\">");
  for (size_t s = 0; s < r->n_series; s++) {
    el_text_printf(p->t,
                   "<li><svg class=\"s%zu%s\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"line\" "
                   "d=\"M1 5H25\"/></svg>",
                   s % EL_SVG_COLOURS + 1, s >= EL_SVG_COLOURS ? " again" : "");
    el_text_xml(p->t, el_report_series_name(r, (int)s));
    el_text_put(p->t, "</li>");
  }
  el_text_put(p->t, "</ul>\n");
}

static void begin_section(page *p, const char *title, const char *text) {
  el_text_printf(p->t, "<section>\n<h2>%s</h2>\n<p class=\"note\">%s</p>\n", title, text);
}

static void begin_charts(page *p) {
  put_legend(p);
  el_text_put(p->t, "<div class=\"charts\">\n");
}

static void end_section(page *p) {
  el_text_put(p->t, "</div>\n</section>\n");
}

/* A section whose charts have a case each: its own, or where there is one case, a part of the one that they share. */
static void begin_case_section(page *p, const char *title, const char *text) {
  if (p->joint && p->open) return;
  p->open = p->joint;
  if (p->joint)
    begin_section(
        p, "Latency, first token and memory",
        "Curves: the share of requests that were answered, or had their first token, within a time, counted from "
        "their arrival. Memory: what of the server is in memory (resident set).");
  else
    begin_section(p, title, text);
  begin_charts(p);
}

static void end_case_section(page *p) {
  if (!p->joint) end_section(p);
}

static void put_chart(page *p, const el_svg_chart *c) {
  el_text_put(p->t, "<figure>");
  if (c->title && *c->title) {
    el_text_put(p->t, "<figcaption>");
    el_text_xml(p->t, c->title);
    el_text_put(p->t, "</figcaption>\n");
  }
  el_svg_chart_draw(p->t, c, ++p->n_charts);
  el_text_put(p->t, "</figure>\n");
}

static void free_lines(el_svg_line *lines, size_t n) {
  for (size_t i = 0; lines && i < n; i++) {
    free(lines[i].points);
    free((char *)lines[i].name);
  }
  free(lines);
}

/* A text that is an argument; the page is lost where there is no memory for it. */
static char *take(page *p, el_text *text) {
  char *out = text->failed ? NULL : text->buf.data ? text->buf.data : strdup("");
  if (!out) {
    el_text_free(text);
    p->t->failed = true;
  }
  return out;
}

/* `only`: where there is one case. */
static char *case_name(page *p, int situation, const char *only) {
  el_text name = {0};
  if (p->joint)
    el_text_put(&name, only);
  else
    el_report_case_name(p->r, situation, &name);
  return take(p, &name);
}

static char *row_name(page *p, const el_report_row *row) {
  el_text name = {0};
  el_report_row_name(p->r, row, &name);
  return take(p, &name);
}

/* ---- distributions */

typedef const el_report_samples *(*samples_of)(const el_report_run *run);

static const el_report_samples *latency_of(const el_report_run *run) {
  return &run->latency;
}

static const el_report_samples *ttft_of(const el_report_run *run) {
  return &run->ttft;
}

static const el_report_samples *memory_of(const el_report_run *run) {
  return &run->memory;
}

/* The requests of all repetitions together, as a distribution: (value, share of requests that took no longer). Failed
 * requests are among them: the curve of a server that fails some ends below 100%. */
static bool distribution(page *p, const el_report_row *row, samples_of samples, el_svg_line *line) {
  size_t n = 0, n_ended = 0;
  for (size_t i = 0; i < row->n_runs; i++) {
    n += samples(&p->r->runs[row->runs[i]])->n;
    n_ended += p->r->runs[row->runs[i]].n_ended;
  }
  double *values = malloc((n + 1) * sizeof *values);
  el_svg_point *points = malloc((n + 1) * sizeof *points);
  *line = (el_svg_line){.name = row_name(p, row), .series = row->series, .shape = EL_SVG_STEPS, .points = points};
  bool ok = values && points && line->name;
  if (ok) {
    n = 0;
    for (size_t i = 0; i < row->n_runs; i++) {
      const el_report_samples *s = samples(&p->r->runs[row->runs[i]]);
      for (size_t k = 0; k < s->n; k++) values[n++] = s->items[k].value;
    }
    el_sort_figures(values, n);
    if (n) points[line->n++] = (el_svg_point){values[0], 0, 0, 0};
    for (size_t i = 0; i < n; i++) {
      double share = 100.0 * (double)(i + 1) / (double)n_ended;
      points[line->n++] = (el_svg_point){values[i], share, share, share};
    }
  } else {
    p->t->failed = true;
  }
  free(values);
  return ok;
}

static void put_distributions(page *p, const char *title, const char *text, const char *x_title, samples_of samples,
                              bool with_slo) {
  const el_report *r = p->r;
  ends x = {NAN, NAN};
  for (size_t i = 0; i < r->n_runs; i++) {
    const el_report_samples *s = samples(&r->runs[i]);
    for (size_t k = 0; k < s->n; k++) widen(&x, s->items[k].value);
  }
  if (isnan(x.low)) return;
  for (size_t i = 0; i < r->n_runs && with_slo; i++)
    if (!isnan(r->runs[i].slo)) widen(&x, r->runs[i].slo);
  begin_case_section(p, title, text);
  for (size_t c = 0; c < r->n_cases; c++) {
    el_svg_line *lines = calloc(r->n_series, sizeof *lines);
    size_t n = 0, n_points = 0;
    double slo = NAN;
    bool ok = lines != NULL;
    for (size_t i = 0; i < r->n_rows && ok; i++) {
      if (r->rows[i].situation != (int)c) continue;
      ok = distribution(p, &r->rows[i], samples, &lines[n]);
      n_points += lines[n++].n;
      if (with_slo) slo = r->runs[r->rows[i].runs[0]].slo;
    }
    char *name = case_name(p, (int)c, title);
    if (ok && name && n_points) {
      el_svg_chart chart = {.title = name,
                            .x_title = x_title,
                            .y_title = "% of requests",
                            .x_log = wants_log(&x),
                            .x_least = x.low,
                            .x_most = x.high,
                            .y_least = 0,
                            .y_most = 100,
                            .x_mark = slo,
                            .y_mark = NAN,
                            .mark = "goal",
                            .lines = lines,
                            .n_lines = n};
      put_chart(p, &chart);
    }
    if (!ok) p->t->failed = true;
    free(name);
    free_lines(lines, n);
  }
  end_case_section(p);
}

/* ---- over one dimension */

static const el_report_metric swept[] = {EL_METRIC_REQUEST_RATE, EL_METRIC_TOKENS_OUT, EL_METRIC_LATENCY_MEAN,
                                         EL_METRIC_TTFT_P99,     EL_METRIC_SLO,        EL_METRIC_HIT_RATE,
                                         EL_METRIC_MEMORY};

/* Whether two rows differ in nothing but the series and, maybe, this dimension. */
static bool agree_but_for(const el_report *r, const el_report_row *a, const el_report_row *b, el_report_dim but) {
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (d != but && d != r->series_dim && el_report_compare(&r->runs[a->runs[0]], &r->runs[b->runs[0]], d) != 0)
      return false;
  return true;
}

static double place_of(const el_report *r, const el_report_row *row, el_report_dim d) {
  return r->runs[row->runs[0]].dims[d].number;
}

/* Rows are in order of their cases; `first` is the first one of those that agree with it. */
static bool is_first(const el_report *r, size_t first, el_report_dim d) {
  for (size_t i = 0; i < first; i++)
    if (agree_but_for(r, &r->rows[i], &r->rows[first], d)) return false;
  return true;
}

/* Whether some series has two values of the dimension among the rows that agree with this one. */
static bool has_line(const el_report *r, size_t first, el_report_dim d) {
  for (size_t i = first; i < r->n_rows; i++) {
    if (isnan(place_of(r, &r->rows[i], d)) || !agree_but_for(r, &r->rows[first], &r->rows[i], d)) continue;
    for (size_t k = i + 1; k < r->n_rows; k++)
      if (r->rows[k].series == r->rows[i].series && agree_but_for(r, &r->rows[i], &r->rows[k], d) &&
          place_of(r, &r->rows[k], d) != place_of(r, &r->rows[i], d))
        return true;
  }
  return false;
}

/* What the rows have in common that others in the report do not. */
static char *rest_name(page *p, const el_report_row *row, el_report_dim but, const char *metric) {
  const el_report *r = p->r;
  el_report narrow = *r;
  narrow.varies[but] = false;
  el_text name = {0}, whole = {0};
  el_report_case_name(&narrow, row->situation, &name);
  el_text_put(&whole, metric);
  if (name.buf.len) el_text_printf(&whole, " (%s)", name.buf.data);
  whole.failed |= name.failed;
  el_text_free(&name);
  return take(p, &whole);
}

static double shown(el_report_metric m, double value) {
  return el_report_metrics[m].unit == EL_UNIT_SHARE   ? 100 * value
         : el_report_metrics[m].unit == EL_UNIT_BYTES ? value / (1 << 20)
                                                      : value;
}

static void put_sweep_chart(page *p, size_t first, el_report_dim d, el_report_metric m) {
  const el_report *r = p->r;
  el_svg_line *lines = calloc(r->n_series, sizeof *lines);
  char *name = rest_name(p, &r->rows[first], d, el_report_metrics[m].title);
  ends x = {NAN, NAN}, y = {NAN, NAN};
  size_t n_points = 0;
  bool ok = lines && name;
  for (size_t s = 0; s < r->n_series && ok; s++) {
    el_svg_line *line = &lines[s];
    *line = (el_svg_line){.name = strdup(el_report_series_name(r, (int)s)),
                          .series = (int)s,
                          .shape = EL_SVG_LINE,
                          .points = malloc((r->n_rows + 1) * sizeof *line->points)};
    ok = line->name && line->points;
    for (size_t i = first; i < r->n_rows && ok; i++) {
      const el_report_row *row = &r->rows[i];
      const el_report_figure *f = &row->figures[m];
      double at = place_of(r, row, d);
      if (row->series != (int)s || !f->n || isnan(at) || !agree_but_for(r, &r->rows[first], row, d)) continue;
      line->points[line->n++] = (el_svg_point){at, shown(m, f->median), shown(m, f->low), shown(m, f->high)};
      widen(&x, at);
      widen(&y, shown(m, f->low));
      widen(&y, shown(m, f->high));
    }
    n_points += line->n;
  }
  if (ok && n_points) {
    bool share = el_report_metrics[m].unit == EL_UNIT_SHARE,
         far = wants_log(&y) && el_report_metrics[m].unit == EL_UNIT_SECONDS;
    el_svg_chart chart = {.title = name,
                          .x_title = el_report_dims[d].title,
                          .y_title = "",
                          .x_log = wants_log(&x),
                          .y_log = far,
                          .y_zero = !far,
                          .x_least = NAN,
                          .x_most = NAN,
                          .y_least = NAN,
                          .y_most = share ? 100 : NAN,
                          .x_mark = NAN,
                          .y_mark = NAN,
                          .lines = lines,
                          .n_lines = r->n_series};
    put_chart(p, &chart);
  }
  if (!ok) p->t->failed = true;
  free(name);
  free_lines(lines, r->n_series);
}

static void put_sweeps(page *p, el_report_dim d) {
  const el_report *r = p->r;
  bool begun = false;
  if (!r->varies[d] || d == r->series_dim) return;
  for (size_t first = 0; first < r->n_rows; first++) {
    if (!is_first(r, first, d) || !has_line(r, first, d)) continue;
    if (!begun) {
      el_text title = {0};
      el_text_printf(&title, "Over %s", el_report_dims[d].title);
      begin_section(p, title.failed ? "" : title.buf.data,
                    "Medians of repeated runs; where there are several, a bar from the least to the most.");
      el_text_free(&title);
      begin_charts(p);
      begun = true;
    }
    for (size_t i = 0; i < sizeof swept / sizeof *swept; i++) put_sweep_chart(p, first, d, swept[i]);
  }
  if (begun) end_section(p);
}

/* ---- over time */

static bool time_line(const el_report_run *run, samples_of samples, double scale, el_svg_line *line) {
  const el_report_samples *s = samples(run);
  line->points = malloc((s->n + 1) * sizeof *line->points);
  if (!line->points) return false;
  for (size_t i = 0; i < s->n; i++) {
    double y = s->items[i].value * scale;
    line->points[line->n++] = (el_svg_point){s->items[i].at, y, y, y};
  }
  return true;
}

static void put_memory(page *p) {
  const el_report *r = p->r;
  ends x = {NAN, NAN}, y = {NAN, NAN};
  for (size_t i = 0; i < r->n_runs; i++) {
    for (size_t k = 0; k < r->runs[i].memory.n; k++) {
      widen(&x, r->runs[i].memory.items[k].at);
      widen(&y, r->runs[i].memory.items[k].value);
    }
  }
  if (isnan(y.high)) return;
  bool gib = y.high >= (double)(1 << 30);
  double scale = gib ? 0x1p-30 : 0x1p-20;
  begin_case_section(p, "Memory over time", "What of the server is in memory (resident set), one line a run.");
  for (size_t c = 0; c < r->n_cases; c++) {
    el_svg_line *lines = calloc(r->n_runs, sizeof *lines);
    size_t n = 0, n_points = 0;
    bool ok = lines != NULL;
    for (size_t i = 0; i < r->n_rows && ok; i++) {
      const el_report_row *row = &r->rows[i];
      for (size_t k = 0; row->situation == (int)c && k < row->n_runs && ok; k++) {
        lines[n] = (el_svg_line){.name = row_name(p, row), .series = row->series, .shape = EL_SVG_STEPS};
        ok = lines[n].name && time_line(&r->runs[row->runs[k]], memory_of, scale, &lines[n]);
        n_points += lines[n++].n;
      }
    }
    char *name = case_name(p, (int)c, "Memory over time");
    if (ok && name && n_points) {
      el_svg_chart chart = {.title = name,
                            .x_title = "time since the start (s)",
                            .y_title = gib ? "memory (GiB)" : "memory (MiB)",
                            .y_zero = true,
                            .x_least = 0,
                            .x_most = x.high,
                            .y_least = 0,
                            .y_most = y.high * scale,
                            .x_mark = NAN,
                            .y_mark = NAN,
                            .lines = lines,
                            .n_lines = n};
      put_chart(p, &chart);
    }
    if (!ok) p->t->failed = true;
    free(name);
    free_lines(lines, n);
  }
  end_case_section(p);
}

static void put_first_tokens(page *p) {
  const el_report *r = p->r;
  ends x = {NAN, NAN}, y = {NAN, NAN};
  for (size_t i = 0; i < r->n_runs; i++) {
    for (size_t k = 0; k < r->runs[i].ttft.n; k++) {
      widen(&x, r->runs[i].ttft.items[k].at);
      widen(&y, r->runs[i].ttft.items[k].value);
    }
  }
  if (isnan(y.high)) return;
  for (size_t i = 0; i < r->n_runs; i++)
    if (!isnan(r->runs[i].slo)) widen(&y, r->runs[i].slo);
  bool far = wants_log(&y);
  begin_section(
      p, "First token over time",
      "A dot is a request, where it arrived; of repeated runs, all are drawn. A rising cloud is a queue that grows.");
  el_text_put(p->t, "<div class=\"charts\">\n"); /* each chart has one series, which its title names */
  for (size_t i = 0; i < r->n_rows; i++) {
    const el_report_row *row = &r->rows[i];
    el_svg_line *lines = calloc(row->n_runs, sizeof *lines);
    size_t n_points = 0, n = 0;
    char *name = row_name(p, row);
    bool ok = lines && name;
    for (size_t k = 0; k < row->n_runs && ok; k++) {
      lines[k] = (el_svg_line){.name = strdup(name), .series = row->series, .shape = EL_SVG_DOTS};
      ok = lines[k].name && time_line(&r->runs[row->runs[k]], ttft_of, 1, &lines[k]);
      n_points += lines[k].n;
      n++;
    }
    if (ok && n_points) {
      el_svg_chart chart = {.title = name,
                            .x_title = "time of arrival (s)",
                            .y_title = "first token (s)",
                            .y_log = far,
                            .y_zero = !far,
                            .x_least = 0,
                            .x_most = x.high,
                            .y_least = y.low,
                            .y_most = y.high,
                            .x_mark = NAN,
                            .y_mark = r->runs[row->runs[0]].slo,
                            .mark = "goal",
                            .lines = lines,
                            .n_lines = n};
      put_chart(p, &chart);
    }
    if (!ok) p->t->failed = true;
    free(name);
    free_lines(lines, n);
  }
  end_section(p);
}

void el_report_charts(el_text *t, const el_report *r) {
  page p = {.t = t, .r = r, .joint = r->n_cases == 1};
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) put_sweeps(&p, d);
  put_distributions(&p, "Latency",
                    "The share of requests that were answered to their end within a time, counted from their arrival.",
                    "latency (s)", latency_of, false);
  put_distributions(&p, "First token",
                    "The share of requests whose first token came within a time, counted from their arrival.",
                    "first token (s)", ttft_of, true);
  put_memory(&p);
  if (p.open) end_section(&p);
  put_first_tokens(&p);
}
