/* Comma-separated values as RFC 4180 has them. A field in quotes may hold anything, a quote is doubled in it; a line
 * ends with LF or CRLF. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "router/table_private.h"

/* One record: its fields lie one after the other in `text`, ends[i] is where field i ends. */
typedef struct record {
  el_buf text;
  size_t *ends;
  size_t n, cap;
  size_t line; /* where it begins */
} record;

typedef struct csv {
  el_table_builder *b;
  const char *p, *end;
  size_t line;
  record r;
  /* What the columns are: a candidate's number, or one of these. */
  int *columns;
  size_t n_columns;
} csv;

enum { IGNORED = -1, PROMPT = -2, TASK = -3 };
enum { MAX_FIELDS = 4096 }; /* of a record */

static el_str field(const record *r, size_t i) {
  size_t begin = i ? r->ends[i - 1] : 0;
  return (el_str){r->text.data + begin, r->ends[i] - begin};
}

static el_status end_field(csv *c) {
  record *r = &c->r;
  if (r->n == MAX_FIELDS)
    return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: more than %d fields", c->b->t->path, r->line, MAX_FIELDS);
  if (r->n == r->cap) {
    size_t cap = r->cap ? r->cap * 2 : 16;
    size_t *grown = reallocarray(r->ends, cap, sizeof *grown);
    if (!grown) return el_table_no_memory(c->b);
    r->ends = grown;
    r->cap = cap;
  }
  r->ends[r->n++] = r->text.len;
  return EL_OK;
}

static el_status add_text(csv *c, const char *from, const char *to) {
  return el_buf_append(&c->r.text, from, (size_t)(to - from)) ? EL_OK : el_table_no_memory(c->b);
}

/* The rest of a field that began with a quote. */
static el_status read_quoted(csv *c) {
  size_t opened = c->line;
  for (;;) {
    const char *quote = memchr(c->p, '"', (size_t)(c->end - c->p));
    if (!quote)
      return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: column %zu opens a quote that nothing closes",
                     c->b->t->path, opened, c->r.n + 1);
    for (const char *p = c->p; p < quote; p++) c->line += *p == '\n';
    bool doubled = quote + 1 < c->end && quote[1] == '"';
    el_status status = add_text(c, c->p, quote + doubled);
    c->p = quote + 1 + doubled;
    if (status || !doubled) return status;
  }
}

static el_status read_plain(csv *c) {
  const char *from = c->p;
  while (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '"') c->p++;
  if (c->p < c->end && *c->p == '"')
    return el_fail(c->b->err, EL_ERR_FORMAT,
                   "%s: line %zu: column %zu has a quote inside a field that has none around it", c->b->t->path,
                   c->line, c->r.n + 1);
  const char *to = c->p;
  if (to > from && to[-1] == '\r' && (to == c->end || *to == '\n')) to--;
  return add_text(c, from, to);
}

/* The next record; false in *any at the end. */
static el_status read_record(csv *c, bool *any) {
  record *r = &c->r;
  r->text.len = r->n = 0;
  r->line = c->line;
  *any = c->p < c->end;
  while (*any) {
    bool quoted = c->p < c->end && *c->p == '"';
    if (quoted) c->p++;
    el_status status = quoted ? read_quoted(c) : read_plain(c);
    if (!status) status = end_field(c);
    if (status) return status;
    if (quoted && c->p + 1 < c->end && c->p[0] == '\r' && c->p[1] == '\n') c->p++;
    if (c->p == c->end) return EL_OK;
    char next = *c->p++;
    if (next == '\n') {
      c->line++;
      return EL_OK;
    }
    if (next != ',')
      return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: column %zu goes on after its closing quote",
                     c->b->t->path, c->line, r->n);
  }
  return EL_OK;
}

static el_status twice(csv *c, const char *name) {
  return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: column %s is there twice", c->b->t->path, c->r.line, name);
}

static el_status read_header(csv *c) {
  char shown[EL_SHOW];
  const char *path = c->b->t->path;
  bool any = false, prompt = false, task = false;
  el_status status = read_record(c, &any);
  if (status) return status;
  if (!any) return el_fail(c->b->err, EL_ERR_FORMAT, "%s: the file is empty", path);
  c->n_columns = c->r.n;
  if (!(c->columns = calloc(c->n_columns, sizeof *c->columns))) return el_table_no_memory(c->b);
  for (size_t i = 0; i < c->n_columns; i++) {
    el_str name = field(&c->r, i);
    el_str_show(name, shown, sizeof shown);
    c->columns[i] = IGNORED;
    if (el_str_eq(name, "prompt")) {
      if (prompt) return twice(c, "prompt");
      prompt = true;
      c->columns[i] = PROMPT;
    } else if (el_str_eq(name, "task")) {
      if (task) return twice(c, "task");
      task = true;
      c->columns[i] = TASK;
    } else if (el_str_skip(&name, "score_")) {
      c->columns[i] = c->b->t->n_columns;
      if ((status = el_table_add_column(c->b, name, c->r.line, shown))) return status;
    }
  }
  if (!prompt) return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line 1: column prompt is missing", path);
  if (c->b->t->n_columns == 0)
    return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line 1: there is no column of scores (score_NAME)", path);
  return EL_OK;
}

static el_status read_score(csv *c, size_t i) {
  el_str s = field(&c->r, i);
  char text[32], *end, shown[EL_SHOW];
  const char *name = c->b->t->names[c->columns[i]];
  if (s.len > 0 && s.len < sizeof text) {
    memcpy(text, s.data, s.len);
    text[s.len] = 0;
    double score = strtod(text, &end);
    if (end == text + s.len) return el_table_set_score(c->b, c->columns[i], score, c->r.line);
  }
  return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is '%s', which is no number", c->b->t->path,
                 c->r.line, name, el_str_show(s, shown, sizeof shown));
}

static el_status read_row(csv *c) {
  el_str prompt = {0}, task = {0};
  if (c->r.n == 1 && c->n_columns > 1 && field(&c->r, 0).len == 0) return EL_OK; /* an empty line */
  if (c->r.n != c->n_columns)
    return el_fail(c->b->err, EL_ERR_FORMAT, "%s: line %zu: %zu fields, the first line has %zu", c->b->t->path,
                   c->r.line, c->r.n, c->n_columns);
  for (size_t i = 0; i < c->n_columns; i++) {
    if (c->columns[i] == PROMPT) prompt = field(&c->r, i);
    if (c->columns[i] == TASK) task = field(&c->r, i);
  }
  el_status status = el_table_add_row(c->b, prompt, task, c->r.line);
  for (size_t i = 0; !status && i < c->n_columns; i++)
    if (c->columns[i] >= 0) status = read_score(c, i);
  return status;
}

el_status el_table_parse_csv(el_table_builder *b, const char *data, size_t len) {
  csv c = {.b = b, .p = data, .end = data + len, .line = 1};
  bool any = true;
  el_status status = read_header(&c);
  while (!status && !(status = read_record(&c, &any)) && any) status = read_row(&c);
  el_buf_free(&c.r.text);
  free(c.r.ends);
  free(c.columns);
  return status;
}
