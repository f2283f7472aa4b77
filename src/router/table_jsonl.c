/* One JSON object per line. The first line defines the candidates; every other line must have the same ones. */
#include <jansson.h>
#include <string.h>

#include "base/error.h"
#include "base/json_guard.h"
#include "router/table_private.h"

static el_status refuse_jsonl_row(const el_table_builder *b, size_t line, const char *what) {
  return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: %s", b->t->path, line, what);
}

static el_str str_of_json(const json_t *s) {
  return (el_str){json_string_value(s), json_string_length(s)};
}

/* Calls `each` for every score of a row: those in "scores", and the fields score_NAME. */
static el_status for_each_score(el_table_builder *b, json_t *row, size_t line,
                                el_status (*each)(el_table_builder *b, const char *name, const json_t *value,
                                                  size_t line)) {
  json_t *scores = json_object_get(row, "scores"), *value;
  const char *key;
  el_status status;
  if (scores && !json_is_object(scores)) return refuse_jsonl_row(b, line, "\"scores\" is no object");
  json_object_foreach(scores, key, value) {
    if ((status = each(b, key, value, line))) return status;
  }
  json_object_foreach(row, key, value) {
    if (!strncmp(key, "score_", 6) && (status = each(b, key + 6, value, line))) return status;
  }
  return EL_OK;
}

static el_status add_column(el_table_builder *b, const char *name, const json_t *value, size_t line) {
  return el_table_add_column(b, (el_str){name, strlen(name)}, line, "a candidate's name");
}

static el_status set_score(el_table_builder *b, const char *name, const json_t *value, size_t line) {
  char shown[EL_SHOW];
  int column = el_table_column(b->t, name);
  el_str_show((el_str){name, strlen(name)}, shown, sizeof shown);
  if (column < 0)
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: a score of %s, which the first line has not", b->t->path, line,
                   shown);
  if (!json_is_number(value))
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is no number", b->t->path, line, shown);
  float *at = &b->t->scores[(b->t->n_rows - 1) * (size_t)b->t->n_columns + (size_t)column];
  if (*at == *at) /* not NaN: it has been set */
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is there twice", b->t->path, line, shown);
  return el_table_set_score(b, column, json_number_value(value), line);
}

static el_status read_jsonl_row(el_table_builder *b, json_t *row, size_t line) {
  const json_t *prompt = json_object_get(row, "prompt"), *task = json_object_get(row, "task");
  el_status status;
  if (!json_is_object(row)) return refuse_jsonl_row(b, line, "no JSON object");
  if (!prompt) return refuse_jsonl_row(b, line, "\"prompt\" is missing");
  if (!json_is_string(prompt)) return refuse_jsonl_row(b, line, "\"prompt\" is no text");
  if (task && !json_is_string(task)) return refuse_jsonl_row(b, line, "\"task\" is no text");
  if (b->t->n_columns == 0) {
    if ((status = for_each_score(b, row, line, add_column))) return status;
    if (b->t->n_columns == 0)
      return refuse_jsonl_row(b, line, "there are no scores (\"scores\": {NAME: ...} or \"score_NAME\")");
  }
  el_str no_task = {0};
  if ((status = el_table_add_row(b, str_of_json(prompt), task ? str_of_json(task) : no_task, line)) ||
      (status = for_each_score(b, row, line, set_score)))
    return status;
  const float *scores = &b->t->scores[(b->t->n_rows - 1) * (size_t)b->t->n_columns];
  for (int i = 0; i < b->t->n_columns; i++)
    if (scores[i] != scores[i])
      return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is missing", b->t->path, line,
                     b->t->names[i]);
  return EL_OK;
}

el_status el_table_parse_jsonl(el_table_builder *b, const char *data, size_t len) {
  size_t line = 1;
  for (const char *p = data, *end = data + len; p < end; line++) {
    const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
    size_t n = (size_t)(stop - p);
    if (n > 0 && p[n - 1] == '\r') n--;
    if (n > 0) {
      json_error_t why;
      bool no_memory;
      json_t *row = el_json_load(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why, &no_memory);
      if (!row && no_memory) return el_fail(b->err, EL_ERR_NO_MEMORY, "%s: out of memory", b->t->path);
      if (!row)
        return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: not JSON: %s (at byte %d)", b->t->path, line, why.text,
                       why.position);
      el_status status = read_jsonl_row(b, row, line);
      json_decref(row);
      if (status) return status;
    }
    p = newline ? newline + 1 : end;
  }
  return EL_OK;
}
