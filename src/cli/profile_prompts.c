#include "cli/profile_prompts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"

typedef struct reader {
  const char *path;
  el_prompts *p;
  el_error *err;
} reader;

static el_status fail_prompts_memory(const reader *r) {
  return el_fail(r->err, EL_ERR_NO_MEMORY, "%s: out of memory for its prompts", r->path);
}

static el_status refuse_prompt(const reader *r, size_t line, const char *what) {
  return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: %s", r->path, line, what);
}

/* Copies a text, which must be UTF-8 without NUL and at most `max` bytes long. */
static el_status copy_text(const reader *r, el_str s, size_t line, const char *what, size_t max, char **out) {
  if (s.len > max)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: %s has %zu bytes; the limit is %zu", r->path, line, what,
                   s.len, max);
  for (size_t i = 0, n; i < s.len; i += n) {
    n = (size_t)el_utf8_length(s.data + i, s.len - i);
    if (n == 0 || !s.data[i])
      return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: %s is no text: byte 0x%02x at %zu of it is %s", r->path,
                     line, what, (unsigned char)s.data[i], i, n ? "NUL" : "not UTF-8");
  }
  if (!(*out = el_str_dup(s))) return fail_prompts_memory(r);
  return EL_OK;
}

/* Adds a row with its prompt; the other fields follow. */
static el_status add_prompt_row(reader *r, el_str text, size_t line, el_prompt **out) {
  el_prompts *p = r->p;
  if (text.len == 0) return refuse_prompt(r, line, "the prompt is empty");
  if (p->n == EL_PROMPTS_MAX)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: more than %d prompts", r->path, line, EL_PROMPTS_MAX);
  if (p->n == p->cap) {
    size_t cap = p->cap ? p->cap * 2 : 64;
    el_prompt *grown = reallocarray(p->items, cap, sizeof *grown);
    if (!grown) return fail_prompts_memory(r);
    p->items = grown;
    p->cap = cap;
  }
  el_prompt row = {.line = line};
  el_status status = copy_text(r, text, line, "the prompt", EL_MAX_TABLE_PROMPT, &row.text);
  if (status) return status;
  *out = &p->items[p->n++];
  **out = row;
  return EL_OK;
}

static el_status set_task(reader *r, el_prompt *row, el_str task) {
  r->p->has_tasks = true;
  return copy_text(r, task, row->line, "the task", EL_PROMPTS_MAX_TASK, &row->task);
}

static el_status add_expected(reader *r, el_prompt *row, el_str text) {
  if (row->n_expected == EL_PROMPTS_MAX_EXPECTED)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: more than %d expected answers", r->path, row->line,
                   EL_PROMPTS_MAX_EXPECTED);
  char **grown = reallocarray(row->expected, row->n_expected + 1, sizeof *grown);
  if (!grown) return fail_prompts_memory(r);
  row->expected = grown;
  el_status status =
      copy_text(r, text, row->line, "the expected answer", EL_MAX_TABLE_PROMPT, &row->expected[row->n_expected]);
  if (!status) row->n_expected++;
  return status;
}

static el_status set_scorer(reader *r, el_prompt *row, el_str name) {
  char text[16], shown[EL_SHOW];
  if (name.len < sizeof text && !memchr(name.data, 0, name.len)) {
    memcpy(text, name.data, name.len);
    text[name.len] = 0;
    row->own_scorer = el_scorer_kind_parse(text, &row->scorer);
  }
  if (row->own_scorer) return EL_OK;
  return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: there is no scorer '%s'; there are %s", r->path, row->line,
                 el_str_show(name, shown, sizeof shown), EL_SCORER_NAMES);
}

/* ---- JSONL */

static el_str str_of(const json_t *s) {
  return (el_str){json_string_value(s), json_string_length(s)};
}

static el_status read_expected(reader *r, el_prompt *row, const json_t *expected) {
  if (json_is_string(expected)) return add_expected(r, row, str_of(expected));
  if (!json_is_array(expected))
    return refuse_prompt(r, row->line, "the expected answer is neither a text nor a list of texts");
  if (json_array_size(expected) == 0) return refuse_prompt(r, row->line, "the list of expected answers is empty");
  for (size_t i = 0; i < json_array_size(expected); i++) {
    const json_t *item = json_array_get(expected, i);
    if (!json_is_string(item)) return refuse_prompt(r, row->line, "an expected answer in the list is no text");
    el_status status = add_expected(r, row, str_of(item));
    if (status) return status;
  }
  return EL_OK;
}

/* A member, or NULL if it is missing or null. */
static const json_t *prompt_member(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  return json_is_null(value) ? NULL : value;
}

static el_status read_prompt_object(reader *r, const json_t *object, size_t line) {
  if (!json_is_object(object)) return refuse_prompt(r, line, "no JSON object");
  const json_t *prompt = prompt_member(object, "prompt"), *task = prompt_member(object, "task");
  const json_t *expected = prompt_member(object, "expected"), *completion = prompt_member(object, "completion");
  const json_t *scorer = prompt_member(object, "scorer");
  if (!prompt) return refuse_prompt(r, line, "\"prompt\" is missing");
  if (!json_is_string(prompt)) return refuse_prompt(r, line, "\"prompt\" is no text");
  if (task && !json_is_string(task)) return refuse_prompt(r, line, "\"task\" is no text");
  if (scorer && !json_is_string(scorer)) return refuse_prompt(r, line, "\"scorer\" is no text");
  if (expected && completion)
    return refuse_prompt(r, line, "\"expected\" and \"completion\" are both there; one is enough");
  el_prompt *row = NULL;
  el_status status = add_prompt_row(r, str_of(prompt), line, &row);
  if (!status && task) status = set_task(r, row, str_of(task));
  if (!status && (expected || completion)) status = read_expected(r, row, expected ? expected : completion);
  if (!status && scorer) status = set_scorer(r, row, str_of(scorer));
  return status;
}

static el_status parse_jsonl(reader *r, const char *data, size_t len) {
  size_t line = 1;
  for (const char *p = data, *end = data + len; p < end; line++) {
    const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
    size_t n = (size_t)(stop - p);
    if (n > 0 && p[n - 1] == '\r') n--;
    if (n > 0) {
      json_error_t why;
      json_t *object = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
      if (!object)
        return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: not JSON: %s (at byte %d)", r->path, line, why.text,
                       why.position);
      el_status status = read_prompt_object(r, object, line);
      json_decref(object);
      if (status) return status;
    }
    p = newline ? newline + 1 : end;
  }
  return EL_OK;
}

/* ---- CSV */

typedef enum column { PROMPT, TASK, EXPECTED, SCORER, N_COLUMNS } column;

static el_status read_prompts_header(reader *r, el_csv *c, size_t at[N_COLUMNS]) {
  static const struct {
    const char *name;
    column is;
  } known[] = {
      {"prompt", PROMPT}, {"task", TASK}, {"expected", EXPECTED}, {"completion", EXPECTED}, {"scorer", SCORER}};
  bool any = false;
  el_status status = el_csv_read(c, &any, r->err);
  if (status) return status;
  for (int i = 0; i < N_COLUMNS; i++) at[i] = SIZE_MAX;
  for (size_t i = 0; any && i < c->n; i++)
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
      if (!el_str_eq(el_csv_field(c, i), known[k].name)) continue;
      if (at[known[k].is] != SIZE_MAX)
        return el_fail(r->err, EL_ERR_FORMAT, "%s: line 1: column %s is there twice%s", r->path, known[k].name,
                       known[k].is == EXPECTED ? " (expected and completion are the same)" : "");
      at[known[k].is] = i;
    }
  return at[PROMPT] == SIZE_MAX ? refuse_prompt(r, 1, "column prompt is missing (or, for JSONL, a { at the beginning)")
                                : EL_OK;
}

/* An empty field is one that is not there. */
static el_str csv_column(const el_csv *c, size_t i) {
  return i == SIZE_MAX ? (el_str){0} : el_csv_field(c, i);
}

static el_status read_record(reader *r, const el_csv *c, size_t n_columns, const size_t at[N_COLUMNS]) {
  if (c->n == 1 && n_columns > 1 && el_csv_field(c, 0).len == 0) return EL_OK; /* an empty line */
  if (c->n != n_columns)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: line %zu: %zu fields, the first line has %zu", r->path, c->record_line,
                   c->n, n_columns);
  el_str task = csv_column(c, at[TASK]), expected = csv_column(c, at[EXPECTED]), scorer = csv_column(c, at[SCORER]);
  el_prompt *row = NULL;
  el_status status = add_prompt_row(r, csv_column(c, at[PROMPT]), c->record_line, &row);
  if (!status && task.len > 0) status = set_task(r, row, task);
  if (!status && expected.len > 0) status = add_expected(r, row, expected);
  if (!status && scorer.len > 0) status = set_scorer(r, row, scorer);
  return status;
}

static el_status parse_csv(reader *r, const char *data, size_t len) {
  el_csv c = el_csv_open(r->path, data, len);
  size_t at[N_COLUMNS];
  bool any = true;
  el_status status = read_prompts_header(r, &c, at);
  size_t n_columns = c.n;
  while (!status && !(status = el_csv_read(&c, &any, r->err)) && any) status = read_record(r, &c, n_columns, at);
  el_csv_free(&c);
  return status;
}

/* ---- */

/* Checks that the fields of each line fit together, in both formats. */
static el_status check_prompts(const reader *r) {
  if (r->p->n == 0) return el_fail(r->err, EL_ERR_FORMAT, "%s: there are no prompts in it", r->path);
  for (size_t i = 0; i < r->p->n; i++) {
    const el_prompt *row = &r->p->items[i];
    if (row->own_scorer && row->n_expected == 0)
      return refuse_prompt(r, row->line, "a scorer without an expected answer (the base's is compared by f1)");
  }
  return EL_OK;
}

/* FNV-1a: it detects accidental changes of a file, not deliberate ones. */
static uint64_t hash_of(const char *data, size_t len) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
  return h;
}

el_status el_prompts_parse(const char *path, const char *data, size_t len, el_prompts *out, el_error *err) {
  static const char bom[] = "\xef\xbb\xbf"; /* spreadsheets put it first */
  el_prompts p = {.hash = hash_of(data, len)};
  reader r = {.path = path, .p = &p, .err = err};
  if (len >= 3 && !memcmp(data, bom, 3)) {
    data += 3;
    len -= 3;
  }
  el_status status = len > 0 && data[0] == '{' ? parse_jsonl(&r, data, len)
                     : len > 0                 ? parse_csv(&r, data, len)
                                               : EL_OK;
  if (!status) status = check_prompts(&r);
  if (status)
    el_prompts_free(&p);
  else
    *out = p;
  return status;
}

el_status el_prompts_read(const char *path, el_prompts *out, el_error *err) {
  el_file f;
  el_status status = el_file_read(path, EL_PROMPTS_MAX_BYTES, &f, err);
  if (status) return status;
  status = el_prompts_parse(path, (const char *)f.data, f.size, out, err);
  el_file_close(&f);
  return status;
}

void el_prompts_free(el_prompts *p) {
  for (size_t i = 0; i < p->n; i++) {
    el_prompt *row = &p->items[i];
    for (size_t k = 0; k < row->n_expected; k++) free(row->expected[k]);
    free(row->expected);
    free(row->text);
    free(row->task);
  }
  free(p->items);
  *p = (el_prompts){0};
}
