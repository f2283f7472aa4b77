/* A profiling table: prompts, and a score for each candidate's answer to each of them.
 *
 * CSV (RFC 4180: quoted fields may contain commas, quotes and line ends) with the columns `prompt`,
 * `task` (optional) and `score_NAME` for each candidate. Or JSONL, with one object per line:
 * {"prompt": ..., "task": ..., "scores": {NAME: x, ...}}, or with fields score_NAME. A file whose first
 * byte is { is JSONL. Other columns are ignored. The candidate "base" is the base model. */
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
  char **tasks;   /* [n_rows]; NULL: the table has no tasks */
  size_t *lines;  /* [n_rows] the line of the file where the row begins; the first line is 1 */
  float *scores;  /* [n_rows, n_columns] 0 to 1 */
} el_table;

#define EL_TABLE_MAX_BYTES ((size_t)1 << 30)
#define EL_TABLE_BASE "base"

el_status el_table_read(const char *path, el_table **out, el_error *err);
/* The same from memory; `path` is for messages. */
el_status el_table_parse(const char *data, size_t len, const char *path, el_table **out, el_error *err);
void el_table_free(el_table *t);

/* The index of a name's column; -1: there is none. */
int el_table_column(const el_table *t, const char *name);

#endif
