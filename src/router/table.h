/* A profiling table: prompts, and how well each candidate answered them.
 *
 * CSV (RFC 4180: quoted fields may hold commas, quotes and line ends) with the columns `prompt`, `task` (may be absent)
 * and `score_NAME` for each candidate; or JSONL, a line {"prompt": ..., "task": ..., "scores": {NAME: x, ...}} or with
 * fields score_NAME. Which of them it is shows in the first byte: a JSONL file begins with {. Other columns are
 * ignored. The candidate called "base" is the base model. */
#ifndef EL_ROUTER_TABLE_H
#define EL_ROUTER_TABLE_H

#include "edgelora.h"

typedef struct el_table {
  char *path;
  size_t n_rows;
  int n_columns;
  int base;       /* the base model's column; -1: there is none */
  char **names;   /* [n_columns] candidates, as after "score_" */
  char **prompts; /* [n_rows] UTF-8, not empty */
  char **tasks;   /* [n_rows]; NULL: the table has no such column */
  size_t *lines;  /* [n_rows] where each begins in the file, from 1 */
  float *scores;  /* [n_rows, n_columns] 0 to 1 */
} el_table;

#define EL_TABLE_MAX_BYTES ((size_t)1 << 30)
#define EL_TABLE_BASE "base"

el_status el_table_read(const char *path, el_table **out, el_error *err);
/* The same from memory; `path` is for messages. */
el_status el_table_parse(const char *data, size_t len, const char *path, el_table **out, el_error *err);
void el_table_free(el_table *t);

/* The column of a name; -1: there is none. */
int el_table_column(const el_table *t, const char *name);

#endif
