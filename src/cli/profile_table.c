#include "cli/profile_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/csv.h"
#include "base/error.h"
#include "base/json_out.h"

bool el_table_format_of(const char *path, el_table_format *out) {
  el_str s = {path, strlen(path)};
  if (el_str_chop(&s, ".csv"))
    *out = EL_TABLE_CSV;
  else if (el_str_chop(&s, ".jsonl"))
    *out = EL_TABLE_JSONL;
  else
    return false;
  return true;
}

typedef struct table {
  const el_prompts *prompts;
  const char *const *names;
  size_t n_names;
  const double *scores;
} table;

static bool csv_text(el_buf *b, const char *text) {
  return el_csv_write(b, text, strlen(text));
}

static bool csv_header(el_buf *b, const table *t) {
  el_buf name = {0};
  bool ok = csv_text(b, "prompt") && (!t->prompts->has_tasks || el_buf_append(b, ",task", 5));
  for (size_t i = 0; ok && i < t->n_names; i++) {
    name.len = 0;
    ok = el_buf_printf(&name, "score_%s", t->names[i]) && el_buf_append(b, ",", 1) && csv_text(b, name.data);
  }
  el_buf_free(&name);
  return ok && el_buf_append(b, "\n", 1);
}

/* Six digits exceed the precision of every scorer. */
static bool csv_row(el_buf *b, const table *t, size_t i) {
  const el_prompt *p = &t->prompts->items[i];
  bool ok = csv_text(b, p->text) &&
            (!t->prompts->has_tasks || (el_buf_append(b, ",", 1) && csv_text(b, p->task ? p->task : "")));
  for (size_t k = 0; ok && k < t->n_names; k++) ok = el_buf_printf(b, ",%.6g", t->scores[i * t->n_names + k]);
  return ok && el_buf_append(b, "\n", 1);
}

static bool jsonl_row(el_buf *b, const table *t, size_t i) {
  const el_prompt *p = &t->prompts->items[i];
  bool ok = el_buf_append(b, "{\"prompt\":", 10) && el_json_cstring(b, p->text);
  if (ok && t->prompts->has_tasks) ok = el_buf_append(b, ",\"task\":", 8) && el_json_cstring(b, p->task ? p->task : "");
  ok = ok && el_buf_append(b, ",\"scores\":{", 11);
  for (size_t k = 0; ok && k < t->n_names; k++)
    ok = el_buf_append(b, ",", k > 0) && el_json_cstring(b, t->names[k]) &&
         el_buf_printf(b, ":%.6g", t->scores[i * t->n_names + k]);
  return ok && el_buf_append(b, "}}\n", 3);
}

/* A row at a time: prompts can be long. */
static el_status write_rows(FILE *f, const char *path, el_table_format format, const table *t, size_t n_rows,
                            el_error *err) {
  el_buf b = {0};
  el_status status = EL_OK;
  if (format == EL_TABLE_CSV && !csv_header(&b, t)) status = EL_ERR_NO_MEMORY;
  for (size_t i = 0; !status && i < n_rows; i++) {
    bool ok = format == EL_TABLE_CSV ? csv_row(&b, t, i) : jsonl_row(&b, t, i);
    if (!ok) status = EL_ERR_NO_MEMORY;
    if (ok && fwrite(b.data, 1, b.len, f) != b.len) status = EL_ERR_IO;
    b.len = 0;
  }
  int why = errno;
  el_buf_free(&b);
  if (status == EL_ERR_NO_MEMORY) return el_fail(err, status, "%s: out of memory for a row", path);
  return status ? el_fail(err, status, "%s: %s", path, strerror(why)) : EL_OK;
}

el_status el_profile_table_write(const char *path, el_table_format format, const el_prompts *prompts, size_t n_rows,
                                 const char *const *names, size_t n_names, const double *scores, el_error *err) {
  const table t = {.prompts = prompts, .names = names, .n_names = n_names, .scores = scores};
  char *part = NULL;
  if (asprintf(&part, "%s.new", path) < 0) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  FILE *f = fopen(part, "we");
  el_status status =
      f ? write_rows(f, part, format, &t, n_rows, err) : el_fail(err, EL_ERR_IO, "%s: %s", part, strerror(errno));
  if (f) {
    bool whole = fflush(f) == 0 && fsync(fileno(f)) == 0;
    int why = errno;
    if (fclose(f) && whole) {
      whole = false;
      why = errno;
    }
    if (!status && !whole) status = el_fail(err, EL_ERR_IO, "%s: %s", part, strerror(why));
    if (!status && rename(part, path)) status = el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
    if (status) unlink(part);
  }
  free(part);
  return status;
}
