/* Values out of a run's JSON file, checked: a failure names the file and the field. */
#ifndef EL_BENCH_REPORT_IN_H
#define EL_BENCH_REPORT_IN_H

#include <jansson.h>

#include "bench/report/data.h"

typedef struct el_report_in {
  const char *path; /* of the file; "-": standard input */
  el_report_run *run;
  el_error *err;
} el_report_in;

el_status el_report_in_load(const el_report_in *r, json_t **out);

/* Of an object; absent and null are the same. */
json_t *el_report_in_get(json_t *object, const char *key);

/* `path`: keys with points between them; "a.b" of {"a": {"b": 1}}. What is absent leaves *out as it is, but for
 * el_report_in_find, which makes it NULL; what is something else than it should be is an error. */
el_status el_report_in_find(const el_report_in *r, json_t *root, const char *path, json_t **out);
/* From 0 on. */
el_status el_report_in_number(const el_report_in *r, json_t *root, const char *path, double *out);
el_status el_report_in_text(const el_report_in *r, json_t *root, const char *path, const char **out);
el_status el_report_in_bool(const el_report_in *r, json_t *root, const char *path, bool *out);

/* Where the columns of these names stand in rows: a table is an array of column names, and an array of arrays. */
el_status el_report_in_columns(const el_report_in *r, const json_t *columns, const char *field,
                               const char *const *names, size_t n, size_t *places);
/* A time or a size of a row, from 0 on; NAN where it is null. */
el_status el_report_in_cell(const el_report_in *r, const json_t *row, size_t place, const char *field, size_t number,
                            const char *name, double *out);

/* "FILE: field: what"; EL_ERR_FORMAT. */
el_status el_report_in_wrong(const el_report_in *r, const char *field, const char *what);

/* A number as a person writes it: floats of the command line are 0.1 again, not 0.100000001. */
void el_report_number_text(double x, char *out, size_t size);

/* Everything that is shown of the file as it is, into run->facts. */
el_status el_report_facts_read(const el_report_in *r, json_t *root);

#endif
