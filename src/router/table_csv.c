/* A table as comma-separated values. */
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/error.h"
#include "router/table_private.h"

typedef struct csv {
  el_table_builder *b;
  el_csv r;
  /* The meaning of a column: a candidate's number, or one of these. */
  int *columns;
  size_t n_columns;
} csv;

enum { IGNORED = -1, PROMPT = -2, TASK = -3 };

static el_status fail_column_twice(csv *c, const char *name) {
  return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: column %s is there twice", c->b->t->path, c->r.record_line,
                 name);
}

static el_status read_csv_header(csv *c) {
  char shown[EL_SHOW];
  const char *path = c->b->t->path;
  bool any = false, prompt = false, task = false;
  el_status status = el_csv_read(&c->r, &any, c->b->err);
  if (status) return status;
  if (!any) return el_fail(c->b->err, EL_ERR_FORMAT, "%s: the file is empty", path);
  c->n_columns = c->r.n;
  if (!(c->columns = calloc(c->n_columns, sizeof *c->columns))) return el_table_no_memory(c->b);
  for (size_t i = 0; i < c->n_columns; i++) {
    el_str name = el_csv_field(&c->r, i);
    el_str_show(name, shown, sizeof shown);
    c->columns[i] = IGNORED;
    if (el_str_eq(name, "prompt")) {
      if (prompt) return fail_column_twice(c, "prompt");
      prompt = true;
      c->columns[i] = PROMPT;
    } else if (el_str_eq(name, "task")) {
      if (task) return fail_column_twice(c, "task");
      task = true;
      c->columns[i] = TASK;
    } else if (el_str_skip(&name, "score_")) {
      c->columns[i] = c->b->t->n_columns;
      if ((status = el_table_add_column(c->b, name, c->r.record_line, shown))) return status;
    }
  }
  if (!prompt) return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line 1: column prompt is missing", path);
  if (c->b->t->n_columns == 0)
    return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line 1: there is no column of scores (score_NAME)", path);
  return EL_OK;
}

static el_status read_csv_score(csv *c, size_t i) {
  el_str s = el_csv_field(&c->r, i);
  char text[32], *end, shown[EL_SHOW];
  const char *name = c->b->t->names[c->columns[i]];
  if (s.len > 0 && s.len < sizeof text) {
    memcpy(text, s.data, s.len);
    text[s.len] = 0;
    double score = strtod(text, &end);
    if (end == text + s.len) return el_table_set_score(c->b, c->columns[i], score, c->r.record_line);
  }
  return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is '%s', which is no number", c->b->t->path,
                 c->r.record_line, name, el_str_show(s, shown, sizeof shown));
}

static el_status read_csv_row(csv *c) {
  el_str prompt = {0}, task = {0};
  if (c->r.n == 1 && c->n_columns > 1 && el_csv_field(&c->r, 0).len == 0) return EL_OK; /* an empty line */
  if (c->r.n != c->n_columns)
    return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: %zu fields, the first line has %zu", c->b->t->path,
                   c->r.record_line, c->r.n, c->n_columns);
  for (size_t i = 0; i < c->n_columns; i++) {
    if (c->columns[i] == PROMPT) prompt = el_csv_field(&c->r, i);
    if (c->columns[i] == TASK) task = el_csv_field(&c->r, i);
  }
  el_status status = el_table_add_row(c->b, prompt, task, c->r.record_line);
  for (size_t i = 0; !status && i < c->n_columns; i++)
    if (c->columns[i] >= 0) status = read_csv_score(c, i);
  return status;
}

el_status el_table_parse_csv(el_table_builder *b, const char *data, size_t len) {
  csv c = {.b = b, .r = el_csv_open(b->t->path, data, len)};
  bool any = true;
  el_status status = read_csv_header(&c);
  while (!status && !(status = el_csv_read(&c.r, &any, b->err)) && any) status = read_csv_row(&c);
  el_csv_free(&c.r);
  free(c.columns);
  return status;
}
