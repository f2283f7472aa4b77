/* Values out of a JSON file, checked: a failure names the file and the field. */
#ifndef EL_BENCH_PLAN_FIELDS_H
#define EL_BENCH_PLAN_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "edgelora.h"

typedef struct el_fields {
  const char *path; /* of the file; "-": standard input */
  el_error *err;
} el_fields;

el_status el_fields_load(const el_fields *r, json_t **out);

/* Of an object; absent and null are the same. */
json_t *el_fields_get(json_t *object, const char *key);

/* `path`: keys with points between them; "a.b" of {"a": {"b": 1}}. What is absent leaves *out as it is, but for
 * el_fields_find, which makes it NULL; what is something else than it should be is an error. */
el_status el_fields_find(const el_fields *r, json_t *root, const char *path, json_t **out);
/* From 0 on. */
el_status el_fields_number(const el_fields *r, json_t *root, const char *path, double *out);
el_status el_fields_text(const el_fields *r, json_t *root, const char *path, const char **out);

/* Where the columns of these names stand in rows: a table is an array of column names, and an array of arrays. */
el_status el_fields_columns(const el_fields *r, const json_t *columns, const char *field, const char *const *names,
                            size_t n, size_t *places);
/* A time or a size of a row, from 0 on; NAN where it is null. */
el_status el_fields_cell(const el_fields *r, const json_t *row, size_t place, const char *field, size_t number,
                         const char *name, double *out);

/* "FILE: field: what"; EL_ERR_FORMAT. */
el_status el_fields_wrong(const el_fields *r, const char *field, const char *what);

#endif
