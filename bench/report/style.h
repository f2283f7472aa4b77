/* The look of a report, light, dark and on paper. */
#ifndef EL_BENCH_REPORT_STYLE_H
#define EL_BENCH_REPORT_STYLE_H

extern const char el_report_style[];

#endif
