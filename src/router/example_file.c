#include "router/example_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json_guard.h"
#include "base/text.h"

enum { MAX_FILE_BYTES = 1 << 20 };

static el_status fail_example_memory(const char *path, el_error *err) {
  return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
}

el_status el_example_file_find(const char *adapter, el_signature *signature, char **path, el_error *err) {
  static const char *const names[] = {"examples.jsonl", "description.txt"};
  el_str stem = {adapter, strlen(adapter)};
  bool file = el_str_chop(&stem, ".gguf");
  *signature = (el_signature){0};
  *path = NULL;
  for (size_t i = 0; i < sizeof names / sizeof *names && !*path; i++) {
    char *s;
    struct stat st;
    if (asprintf(&s, "%.*s%c%s", (int)stem.len, stem.data, file ? '.' : '/', names[i]) < 0)
      return fail_example_memory(adapter, err);
    if (!stat(s, &st) && S_ISREG(st.st_mode) && st.st_size > 0 && !el_signature_read(s, signature, NULL))
      *path = s;
    else
      free(s);
  }
  return EL_OK;
}

static bool is_blank(el_str s) {
  for (size_t i = 0; i < s.len; i++)
    if (!strchr(" \t\r\n", s.data[i])) return false;
  return true;
}

/* Takes one line; lines beyond the limit are ignored. */
static el_status read_example_line(el_str line, const char *path, size_t number, el_examples_read *out, el_error *err) {
  json_error_t e;
  bool short_of_memory;
  json_t *object = el_json_load(line.data, line.len, JSON_REJECT_DUPLICATES, &e, &short_of_memory);
  if (!object && short_of_memory) return fail_example_memory(path, err);
  if (!object) return el_fail(err, EL_ERR_FORMAT, "%s: line %zu: is not JSON: %s", path, number, e.text);
  const char *prompt = json_string_value(json_object_get(object, "prompt"));
  el_status status = EL_OK;
  if (!prompt || !*prompt)
    status = el_fail(err, EL_ERR_FORMAT, "%s: line %zu: has no \"prompt\" that is a text", path, number);
  else if ((out->prompts[out->n] = strdup(prompt)))
    out->n++;
  else
    status = fail_example_memory(path, err);
  json_decref(object);
  return status;
}

static el_status read_example_lines(el_str text, const char *path, el_examples_read *out, el_error *err) {
  el_status status = EL_OK;
  for (size_t number = 1; text.len && out->n < EL_MAX_EXAMPLES && !status; number++) {
    const char *end = memchr(text.data, '\n', text.len);
    el_str line = {text.data, end ? (size_t)(end - text.data) : text.len};
    if (!is_blank(line)) status = read_example_line(line, path, number, out, err);
    size_t used = line.len + (end != NULL);
    text = (el_str){text.data + used, text.len - used};
  }
  if (!status && !out->n) status = el_fail(err, EL_ERR_FORMAT, "%s: has no examples", path);
  return status;
}

static el_status read_description(el_str text, const char *path, el_examples_read *out, el_error *err) {
  if (is_blank(text) || memchr(text.data, 0, text.len)) return el_fail(err, EL_ERR_FORMAT, "%s: is no text", path);
  for (size_t at = 0, n; at < text.len; at += n)
    if (!(n = (size_t)el_utf8_length(text.data + at, text.len - at)))
      return el_fail(err, EL_ERR_FORMAT, "%s: byte %zu is not UTF-8", path, at);
  if (!(out->prompts[0] = el_str_dup(text))) return fail_example_memory(path, err);
  out->n = 1;
  return EL_OK;
}

el_status el_example_file_read(const char *path, el_examples_read *out, el_error *err) {
  el_file f;
  *out = (el_examples_read){0};
  el_status status = el_file_read(path, MAX_FILE_BYTES, &f, err);
  if (status) return status;
  el_str text = {(const char *)f.data, f.size}, name = {path, strlen(path)};
  bool lines = el_str_chop(&name, ".jsonl");
  status = (lines ? read_example_lines : read_description)(text, path, out, err);
  el_file_close(&f);
  if (status) el_examples_read_free(out);
  return status;
}

void el_examples_read_free(el_examples_read *r) {
  for (int i = 0; i < r->n; i++) free(r->prompts[i]);
  *r = (el_examples_read){0};
}
