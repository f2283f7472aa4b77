#include <string.h>

#include "bench/report/page.h"
#include "bench/report/table.h"

static void put_head(el_text *t, const el_report *r, const el_report_table *table) {
  el_text_printf(t, "\n## %s\n\n", table->title);
  if (*table->note) el_text_printf(t, "%s\n\n", table->note);
  el_text_printf(t, "| %s |", r->series_dim == EL_DIM_SERVER ? "server" : el_report_dims[r->series_dim].title);
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (r->varies[d] && d != r->series_dim) el_text_printf(t, " %s |", el_report_dims[d].key);
  for (size_t i = 0; i < table->n_columns; i++) {
    const el_report_column *c = &table->columns[i];
    /* A cell cannot span columns here, so each has the whole name. */
    el_text_printf(t, " %s%s%s |", c->group, *c->group ? ", " : "", c->title);
  }
  el_text_put(t, "\n|---|");
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++)
    if (r->varies[d] && d != r->series_dim) el_text_put(t, "---:|");
  for (size_t i = 0; i < table->n_columns; i++) el_text_put(t, "---:|");
  el_text_put(t, "\n");
}

static void put_row(el_text *t, const el_report *r, const el_report_table *table, const el_report_row *row) {
  el_text_put(t, "| ");
  el_text_markdown(t, el_report_series_name(r, row->series));
  if (row->n_runs > 1) el_text_printf(t, " (%zu runs)", row->n_runs);
  if (el_report_interrupted(r, row)) el_text_put(t, " (interrupted)");
  el_text_put(t, " |");
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) {
    if (!r->varies[d] || d == r->series_dim) continue;
    const char *text = r->runs[row->runs[0]].dims[d].text;
    el_text_put(t, " ");
    el_text_markdown(t, text ? text : EL_REPORT_ABSENT);
    el_text_put(t, " |");
  }
  for (size_t i = 0; i < table->n_columns; i++) {
    el_report_cell cell = el_report_table_cell(r, table, row, table->columns[i].metric);
    el_text_printf(t, " %s%s", cell.better > 0 ? "▲ " : cell.better < 0 ? "▼ " : "", cell.value);
    if (*cell.spread) el_text_printf(t, " (%s)", cell.spread);
    el_text_put(t, " |");
  }
  el_text_put(t, "\n");
}

static void put_facts(el_text *t, const el_report_run *run) {
  el_text_put(t, "\n### ");
  if (run->dims[EL_DIM_SERVER].text) {
    el_text_markdown(t, run->dims[EL_DIM_SERVER].text);
    el_text_put(t, ": ");
  }
  el_text_markdown(t, run->file);
  el_text_put(t, "\n\n");
  for (size_t i = 0; i < run->n_facts; i++) {
    el_text_put(t, "- ");
    el_text_markdown(t, run->facts[i].name);
    el_text_put(t, ": ");
    el_text_markdown(t, run->facts[i].value);
    el_text_put(t, "\n");
  }
}

void el_report_markdown(el_text *t, const el_report *r) {
  el_text common = {0};
  el_report_common_name(r, &common);
  el_text_put(t, "# ");
  el_text_markdown(t, r->title);
  el_text_put(t, "\n");
  if (common.buf.len) {
    el_text_put(t, "\n");
    el_text_markdown(t, common.buf.data);
    el_text_put(t, "\n");
  }
  for (size_t i = 0; i < EL_REPORT_TABLES; i++) {
    const el_report_table *table = &el_report_tables[i];
    if (!el_report_table_shown(r, table)) continue;
    put_head(t, r, table);
    for (size_t k = 0; k < r->n_rows; k++)
      if (el_report_table_has_row(r, table, &r->rows[k])) put_row(t, r, table, &r->rows[k]);
  }
  el_text_put(t, "\n## Machine, versions and runs\n");
  for (size_t i = 0; i < r->n_runs; i++) put_facts(t, &r->runs[i]);
  t->failed |= common.failed;
  el_text_free(&common);
}
