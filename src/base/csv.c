#include "base/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

el_csv el_csv_open(const char *path, const char *data, size_t len) {
  return (el_csv){.path = path, .p = data, .end = data + len, .line = 1};
}

void el_csv_free(el_csv *c) {
  el_buf_free(&c->text);
  free(c->ends);
  *c = (el_csv){0};
}

el_str el_csv_field(const el_csv *c, size_t i) {
  size_t begin = i ? c->ends[i - 1] : 0;
  return (el_str){c->text.data + begin, c->ends[i] - begin};
}

static el_status csv_no_memory(const el_csv *c, el_error *err) {
  return el_fail_about(err, EL_ERR_NO_MEMORY, c->path, "line %zu: out of memory", c->record_line);
}

static el_status end_field(el_csv *c, el_error *err) {
  if (c->n == EL_CSV_MAX_FIELDS)
    return el_fail_about(err, EL_ERR_FORMAT, c->path, "line %zu: more than %d fields", c->record_line,
                         EL_CSV_MAX_FIELDS);
  if (c->n == c->cap) {
    size_t cap = c->cap ? c->cap * 2 : 16;
    size_t *grown = reallocarray(c->ends, cap, sizeof *grown);
    if (!grown) return csv_no_memory(c, err);
    c->ends = grown;
    c->cap = cap;
  }
  c->ends[c->n++] = c->text.len;
  return EL_OK;
}

static el_status append_field_text(el_csv *c, const char *from, const char *to, el_error *err) {
  return el_buf_append(&c->text, from, (size_t)(to - from)) ? EL_OK : csv_no_memory(c, err);
}

/* Reads the rest of a field that began with a quote. */
static el_status read_quoted(el_csv *c, el_error *err) {
  size_t opened = c->line;
  for (;;) {
    const char *quote = memchr(c->p, '"', (size_t)(c->end - c->p));
    if (!quote)
      return el_fail_about(err, EL_ERR_FORMAT, c->path, "line %zu: column %zu opens a quote that nothing closes",
                           opened, c->n + 1);
    for (const char *p = c->p; p < quote; p++) c->line += *p == '\n';
    bool doubled = quote + 1 < c->end && quote[1] == '"';
    el_status status = append_field_text(c, c->p, quote + doubled, err);
    c->p = quote + 1 + doubled;
    if (status || !doubled) return status;
  }
}

static el_status read_plain(el_csv *c, el_error *err) {
  const char *from = c->p;
  while (c->p < c->end && *c->p != ',' && *c->p != '\n' && *c->p != '"') c->p++;
  if (c->p < c->end && *c->p == '"')
    return el_fail_about(err, EL_ERR_FORMAT, c->path,
                         "line %zu: column %zu has a quote inside a field that has none around it", c->line, c->n + 1);
  const char *to = c->p;
  if (to > from && to[-1] == '\r' && (to == c->end || *to == '\n')) to--;
  return append_field_text(c, from, to, err);
}

el_status el_csv_read(el_csv *c, bool *any, el_error *err) {
  c->text.len = c->n = 0;
  c->record_line = c->line;
  *any = c->p < c->end;
  while (*any) {
    bool quoted = c->p < c->end && *c->p == '"';
    if (quoted) c->p++;
    el_status status = quoted ? read_quoted(c, err) : read_plain(c, err);
    if (!status) status = end_field(c, err);
    if (status) return status;
    if (quoted && c->p + 1 < c->end && c->p[0] == '\r' && c->p[1] == '\n') c->p++;
    if (c->p == c->end) return EL_OK;
    char next = *c->p++;
    if (next == '\n') {
      c->line++;
      return EL_OK;
    }
    if (next != ',')
      return el_fail_about(err, EL_ERR_FORMAT, c->path, "line %zu: column %zu goes on after its closing quote", c->line,
                           c->n);
  }
  return EL_OK;
}

bool el_csv_write(el_buf *out, const char *text, size_t len) {
  /* some programs trim fields without quotes */
  bool quoted = len > 0 && (text[0] == ' ' || text[len - 1] == ' ');
  for (size_t i = 0; i < len && !quoted; i++) quoted = strchr(",\"\n\r", text[i]) != NULL;
  if (!quoted) return el_buf_append(out, text, len);
  if (!el_buf_append(out, "\"", 1)) return false;
  for (size_t i = 0; i < len; i++)
    if (!el_buf_append(out, "\"\"", text[i] == '"' ? 2 : 0) || (text[i] != '"' && !el_buf_append(out, text + i, 1)))
      return false;
  return el_buf_append(out, "\"", 1);
}
