/* The page. Its look is in style.c. */
#include <stdlib.h>
#include <string.h>

#include "bench/report/charts.h"
#include "bench/report/page.h"
#include "bench/report/style.h"
#include "bench/report/svg.h"
#include "bench/report/table.h"

static void put_series(el_text *t, const el_report *r, const el_report_row *row) {
  el_text_put(t, "<th scope=\"row\">");
  if (r->n_series > 1)
    el_text_printf(t,
                   "<svg class=\"key s%d%s\" viewBox=\"0 0 16 10\" aria-hidden=\"true\"><path class=\"line\" "
                   "d=\"M1 5H15\"/></svg>",
                   row->series % EL_SVG_COLOURS + 1, row->series >= EL_SVG_COLOURS ? " again" : "");
  el_text_xml(t, el_report_series_name(r, row->series));
  if (row->n_runs > 1) el_text_printf(t, " <small>%zu runs</small>", row->n_runs);
  if (el_report_interrupted(r, row)) el_text_put(t, " <small>interrupted</small>");
  el_text_put(t, "</th>");
}

static bool is_column(const el_report *r, el_report_dim d) {
  return r->varies[d] && d != r->series_dim;
}

static void put_head(el_text *t, const el_report *r, const el_report_table *table) {
  el_text_put(t, "<thead><tr><th rowspan=\"2\" class=\"name\">");
  el_text_put(t, r->series_dim == EL_DIM_SERVER ? "server" : el_report_dims[r->series_dim].title);
  el_text_put(t, "</th>");
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (is_column(r, d)) el_text_printf(t, "<th rowspan=\"2\">%s</th>", el_report_dims[d].key);
  for (size_t i = 0; i < table->n_columns;) {
    size_t end = i + 1;
    while (end < table->n_columns && strcmp(table->columns[end].group, table->columns[i].group) == 0) end++;
    el_text_printf(t, "<th colspan=\"%zu\" class=\"first\">%s</th>", end - i, table->columns[i].group);
    i = end;
  }
  el_text_put(t, "</tr><tr>");
  for (size_t i = 0; i < table->n_columns; i++) {
    bool first = i == 0 || strcmp(table->columns[i].group, table->columns[i - 1].group) != 0;
    el_text_printf(t, "<th%s>%s</th>", first ? " class=\"first\"" : "", table->columns[i].title);
  }
  el_text_put(t, "</tr></thead>\n");
}

static void put_cell(el_text *t, const el_report_cell *cell, bool first, bool bad) {
  bool words = strchr(cell->value, ' ') && !strpbrk(cell->value, "0123456789"); /* they may take two lines */
  const char *tone = cell->better > 0 ? "better" : cell->better < 0 || bad ? "worse" : words ? "told" : "";
  el_text_printf(t, "<td class=\"%s%s%s\">", first ? "first" : "", first && *tone ? " " : "", tone);
  if (cell->better) el_text_put(t, cell->better > 0 ? "▲ " : "▼ ");
  el_text_put(t, cell->value);
  if (*cell->spread) el_text_printf(t, "<small>%s</small>", cell->spread);
  el_text_put(t, "</td>");
}

static void put_table(el_text *t, const el_report *r, const el_report_table *table) {
  el_text_printf(t, "<section class=\"whole\">\n<h2>%s</h2>\n", table->title);
  if (*table->note) el_text_printf(t, "<p class=\"note\">%s</p>\n", table->note);
  el_text_put(t, "<div class=\"wide\"><table class=\"figures\">\n");
  put_head(t, r, table);
  el_text_put(t, "<tbody>\n");
  const el_report_row *before = NULL;
  for (size_t i = 0; i < r->n_rows; i++) {
    const el_report_row *row = &r->rows[i];
    if (!el_report_table_has_row(r, table, row)) continue;
    bool new_case = before && row->situation != before->situation;
    before = row;
    el_text_put(t, new_case ? "<tr class=\"new\">" : "<tr>");
    put_series(t, r, row);
    for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) {
      if (!is_column(r, d)) continue;
      const char *text = r->runs[row->runs[0]].dims[d].text;
      el_text_put(t, "<td>");
      el_text_xml(t, text ? text : EL_REPORT_ABSENT);
      el_text_put(t, "</td>");
    }
    for (size_t k = 0; k < table->n_columns; k++) {
      const el_report_column *c = &table->columns[k];
      el_report_cell cell = el_report_table_cell(r, table, row, c->metric);
      bool first = k == 0 || strcmp(c->group, table->columns[k - 1].group) != 0;
      put_cell(t, &cell, first, c->metric == EL_METRIC_ERRORS && row->figures[c->metric].median > 0);
    }
    el_text_put(t, "</tr>\n");
  }
  el_text_put(t, "</tbody></table></div>\n</section>\n");
}

static bool has_fact(const el_report_run *run, const el_report_fact *fact) {
  for (size_t k = 0; k < run->n_facts; k++)
    if (strcmp(run->facts[k].name, fact->name) == 0 && strcmp(run->facts[k].value, fact->value) == 0) return true;
  return false;
}

static void put_fact(el_text *t, const el_report_fact *fact) {
  el_text_put(t, "<dt>");
  el_text_xml(t, fact->name);
  el_text_put(t, "</dt><dd>");
  el_text_xml(t, fact->value);
  el_text_put(t, "</dd>\n");
}

static void put_run_name(el_text *t, const el_report_run *run) {
  el_text_put(t, "<h3>");
  el_text_xml(t, run->dims[EL_DIM_SERVER].text ? run->dims[EL_DIM_SERVER].text : "");
  el_text_put(t, " <small>");
  el_text_xml(t, run->file);
  el_text_put(t, "</small></h3>\n");
}

/* Facts that all runs share stand once, before the others. They are the first run's, less what others do not have. */
static void put_runs(el_text *t, const el_report *r) {
  el_report_run shared = {.n_facts = 0};
  shared.facts = calloc(r->runs[0].n_facts + 1, sizeof *shared.facts);
  if (!shared.facts) {
    t->failed = true;
    return;
  }
  for (size_t k = 0; k < r->runs[0].n_facts; k++) {
    size_t i = 0;
    while (i < r->n_runs && has_fact(&r->runs[i], &r->runs[0].facts[k])) i++;
    if (i == r->n_runs) shared.facts[shared.n_facts++] = r->runs[0].facts[k];
  }
  el_text_put(t, "<section>\n<h2>Machine, versions and runs</h2>\n");
  if (r->n_runs > 1)
    el_text_put(t, "<h3>All runs</h3>\n");
  else
    put_run_name(t, &r->runs[0]);
  el_text_put(t, "<dl>\n");
  for (size_t k = 0; k < shared.n_facts; k++) put_fact(t, &shared.facts[k]);
  el_text_put(t, "</dl>\n<div class=\"runs\">\n");
  for (size_t i = 0; i < r->n_runs && r->n_runs > 1; i++) {
    const el_report_run *run = &r->runs[i];
    el_text_put(t, "<div class=\"run\">");
    put_run_name(t, run);
    el_text_put(t, "<dl>\n");
    for (size_t k = 0; k < run->n_facts; k++)
      if (!has_fact(&shared, &run->facts[k])) put_fact(t, &run->facts[k]);
    el_text_put(t, "</dl>\n</div>\n");
  }
  el_text_put(t, "</div>\n</section>\n");
  free(shared.facts);
}

void el_report_html(el_text *t, const el_report *r) {
  el_text common = {0};
  el_report_common_name(r, &common);
  el_text_put(
      t,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      /* Names are escaped; should one get through, nothing runs and nothing is fetched. */
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
  el_text_xml(t, r->title);
  el_text_put(t, "</title>\n<style>\n");
  el_text_put(t, el_report_style);
  el_text_put(t, "</style>\n</head>\n<body>\n<header>\n<h1>");
  el_text_xml(t, r->title);
  el_text_put(t, "</h1>\n");
  if (common.buf.len) {
    el_text_put(t, "<p>");
    el_text_xml(t, common.buf.data);
    el_text_put(t, "</p>\n");
  }
  el_text_put(t, "</header>\n");
  put_table(t, r, &el_report_tables[0]);
  if (el_report_table_shown(r, &el_report_tables[1])) put_table(t, r, &el_report_tables[1]);
  el_report_charts(t, r);
  put_table(t, r, &el_report_tables[2]);
  put_runs(t, r);
  el_text_printf(t, "<footer>edgelora-bench report %s</footer>\n</body>\n</html>\n", EL_VERSION);
  t->failed |= common.failed;
  el_text_free(&common);
}
