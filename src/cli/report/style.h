/* The look of a report, light, dark and on paper. */
#ifndef EL_CLI_REPORT_STYLE_H
#define EL_CLI_REPORT_STYLE_H

extern const char el_report_style[];

#endif
