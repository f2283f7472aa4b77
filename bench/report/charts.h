/* Which charts a report has: what the same workload's servers do beside each other, how that changes over one
 * dimension, and what happened over the time of each run. Small ones with the same axes, rather than one with all. */
#ifndef EL_BENCH_REPORT_CHARTS_H
#define EL_BENCH_REPORT_CHARTS_H

#include "bench/report/report.h"

/* All sections of charts, as HTML. */
void el_report_charts(el_text *t, const el_report *r);

#endif
