/* A report in its three forms. */
#ifndef EL_BENCH_REPORT_PAGE_H
#define EL_BENCH_REPORT_PAGE_H

#include "bench/report/report.h"

/* One file that needs no other and runs no script. */
void el_report_html(el_text *t, const el_report *r);
void el_report_markdown(el_text *t, const el_report *r);
/* "edgelora-report/1": see docs/command-line.md. */
void el_report_json(el_text *t, const el_report *r);

#endif
