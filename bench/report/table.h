/* The tables of a report, which HTML and Markdown show alike. */
#ifndef EL_BENCH_REPORT_TABLE_H
#define EL_BENCH_REPORT_TABLE_H

#include "bench/report/report.h"

typedef struct el_report_column {
  const char *group; /* above it; the same one as that of the column before continues it */
  const char *title;
  el_report_metric metric;
} el_report_column;

typedef struct el_report_table {
  const char *title, *note;
  const el_report_column *columns;
  size_t n_columns;
  bool ratios; /* to the baseline instead of values */
} el_report_table;

enum { EL_REPORT_TABLES = 3 };
/* The headline, the ratios, further figures. */
extern const el_report_table el_report_tables[EL_REPORT_TABLES];

/* Whether the report has it: ratios need a baseline. */
bool el_report_table_shown(const el_report *r, const el_report_table *t);
/* Whether the row has a line in it. */
bool el_report_table_has_row(const el_report *r, const el_report_table *t, const el_report_row *row);

typedef struct el_report_cell {
  char value[48];
  char spread[64]; /* "12.1–12.9"; empty where there are no repetitions, or where they are equal */
  int better;      /* of a ratio: 1, -1; 0: neither */
} el_report_cell;

el_report_cell el_report_table_cell(const el_report *r, const el_report_table *t, const el_report_row *row,
                                    el_report_metric m);

/* What is not available is shown as this. */
#define EL_REPORT_ABSENT "–"

#endif
