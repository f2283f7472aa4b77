#include "router/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "router/table_private.h"

el_status el_table_no_memory(const el_table_builder *b) {
  return el_fail(b->err, EL_ERR_NO_MEMORY, "%s: no memory for its rows", b->t->path);
}

int el_table_column(const el_table *t, const char *name) {
  for (int i = 0; i < t->n_columns; i++)
    if (!strcmp(t->names[i], name)) return i;
  return -1;
}

/* Checks a text that becomes a C string: valid UTF-8 without NUL. */
static el_status check_table_text(const el_table_builder *b, el_str s, size_t line, const char *what, size_t max) {
  if (s.len > max)
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: %s has %zu bytes; the limit is %zu", b->t->path, line, what,
                   s.len, max);
  for (size_t i = 0; i < s.len;) {
    int n = el_utf8_length(s.data + i, s.len - i);
    if (n == 0 || !s.data[i])
      return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: %s is not valid text: byte 0x%02x at %zu of it is %s",
                     b->t->path, line, what, (unsigned char)s.data[i], i, n ? "NUL" : "not UTF-8");
    i += (size_t)n;
  }
  return EL_OK;
}

el_status el_table_add_column(el_table_builder *b, el_str name, size_t line, const char *column) {
  el_table *t = b->t;
  char shown[EL_SHOW];
  el_status status = check_table_text(b, name, line, column, EL_MAX_NAME_BYTES);
  if (status) return status;
  if (name.len == 0)
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: column %s names no candidate", t->path, line, column);
  for (int i = 0; i < t->n_columns; i++)
    if (el_str_eq(name, t->names[i]))
      return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the scores of %s are there twice", t->path, line,
                     el_str_show(name, shown, sizeof shown));
  if (t->n_columns == EL_MAX_TABLE_COLUMNS)
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: more than %d candidates", t->path, line, EL_MAX_TABLE_COLUMNS);
  char **grown = realloc(t->names, ((size_t)t->n_columns + 1) * sizeof *grown);
  if (!grown) return el_table_no_memory(b);
  t->names = grown;
  if (!(t->names[t->n_columns] = el_str_dup(name))) return el_table_no_memory(b);
  if (el_str_eq(name, EL_TABLE_BASE)) t->base = t->n_columns;
  t->n_columns++;
  return EL_OK;
}

/* Makes *p hold `cap` items. False: out of memory; *p is unchanged. */
static bool grow_table_array(void *p, size_t cap, size_t size) {
  void *old, *grown;
  memcpy(&old, p, sizeof old);
  if (!(grown = reallocarray(old, cap, size))) return false;
  memcpy(p, &grown, sizeof grown);
  return true;
}

static bool reserve_table_row(el_table_builder *b) {
  el_table *t = b->t;
  if (t->n_rows < b->cap) return true;
  size_t cap = b->cap ? b->cap * 2 : 64;
  if (!grow_table_array(&t->prompts, cap, sizeof *t->prompts) || !grow_table_array(&t->tasks, cap, sizeof *t->tasks) ||
      !grow_table_array(&t->lines, cap, sizeof *t->lines) ||
      !grow_table_array(&t->scores, cap * (size_t)t->n_columns, sizeof *t->scores))
    return false;
  b->cap = cap;
  return true;
}

el_status el_table_add_row(el_table_builder *b, el_str prompt, el_str task, size_t line) {
  el_table *t = b->t;
  el_status status;
  if (t->n_rows == EL_MAX_TABLE_ROWS)
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: more than %d rows", t->path, line, EL_MAX_TABLE_ROWS);
  if (prompt.len == 0) return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the prompt is empty", t->path, line);
  if ((status = check_table_text(b, prompt, line, "the prompt", EL_MAX_TABLE_PROMPT)) ||
      (status = check_table_text(b, task, line, "the task", EL_MAX_NAME_BYTES)))
    return status;
  if (!reserve_table_row(b)) return el_table_no_memory(b);
  char *copy = el_str_dup(prompt), *task_copy = task.data ? el_str_dup(task) : NULL;
  if (!copy || (task.data && !task_copy)) {
    free(copy);
    free(task_copy);
    return el_table_no_memory(b);
  }
  t->prompts[t->n_rows] = copy;
  t->tasks[t->n_rows] = task_copy;
  t->lines[t->n_rows] = line;
  for (int i = 0; i < t->n_columns; i++) t->scores[t->n_rows * (size_t)t->n_columns + (size_t)i] = NAN;
  t->n_rows++;
  return EL_OK;
}

el_status el_table_set_score(el_table_builder *b, int column, double score, size_t line) {
  el_table *t = b->t;
  if (!(score >= 0 && score <= 1)) /* NaN is refused here too */
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the score of %s is %g; scores are 0 to 1", t->path, line,
                   t->names[column], score);
  t->scores[(t->n_rows - 1) * (size_t)t->n_columns + (size_t)column] = (float)score;
  return EL_OK;
}

/* A table without tasks has no array of them, so that a NULL is never taken for a name. */
static el_status finish_table(el_table_builder *b) {
  el_table *t = b->t;
  size_t with_task = 0;
  if (t->n_rows == 0) return el_fail(b->err, EL_ERR_FORMAT, "%s: the table has no rows", t->path);
  for (size_t i = 0; i < t->n_rows; i++) with_task += t->tasks[i] != NULL;
  if (with_task == t->n_rows) return EL_OK;
  if (with_task > 0) {
    size_t i = 0;
    while (t->tasks[i]) i++;
    return el_fail(b->err, EL_ERR_FORMAT, "%s: line %zu: the task is missing, which other rows have", t->path,
                   t->lines[i]);
  }
  free(t->tasks);
  t->tasks = NULL;
  return EL_OK;
}

el_status el_table_parse(const char *data, size_t len, const char *path, el_table **out, el_error *err) {
  static const char bom[] = "\xef\xbb\xbf"; /* spreadsheets put it first */
  el_table *t = calloc(1, sizeof *t);
  if (!t || !(t->path = strdup(path))) {
    free(t);
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  }
  t->base = -1;
  el_table_builder b = {.t = t, .err = err};
  if (len >= 3 && !memcmp(data, bom, 3)) {
    data += 3;
    len -= 3;
  }
  el_status status =
      len > 0 && data[0] == '{' ? el_table_parse_jsonl(&b, data, len) : el_table_parse_csv(&b, data, len);
  if (!status) status = finish_table(&b);
  if (status) {
    el_table_free(t);
    return status;
  }
  *out = t;
  return EL_OK;
}

el_status el_table_read(const char *path, el_table **out, el_error *err) {
  el_file f;
  el_status status = el_file_read(path, EL_TABLE_MAX_BYTES, &f, err);
  if (status) return status;
  status = el_table_parse((const char *)f.data, f.size, path, out, err);
  el_file_close(&f);
  return status;
}

void el_table_free(el_table *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n_rows; i++) {
    free(t->prompts[i]);
    if (t->tasks) free(t->tasks[i]);
  }
  for (int i = 0; i < t->n_columns; i++) free(t->names[i]);
  free(t->names);
  free(t->prompts);
  free(t->tasks);
  free(t->lines);
  free(t->scores);
  free(t->path);
  free(t);
}
