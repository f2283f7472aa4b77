/* The two forms of a report. */
#ifndef EL_BENCH_LOAD_REPORT_H
#define EL_BENCH_LOAD_REPORT_H

#include <jansson.h>

#include "bench/load/run.h"
#include "bench/load/summary.h"

/* Throughput, latencies and SLO, as lines of the table. */
void el_load_print_summary(const el_load_summary *s, double slo_first);
/* The same as JSON: "summary" of the file. NULL: no memory. */
json_t *el_load_summary_json(const el_load_summary *s, double slo_first);
/* gaps: those of the log, sorted. NULL: no memory. */
json_t *el_load_report_json(const el_load_run *r, const el_load_summary *s, const double *gaps);

#endif
