#include "bench/load/trace.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define SCHEMA "edgelora-trace/1"
/* Thirty years. */
#define MAX_SECONDS 1e9

bool el_load_trace_add(el_load_trace *t, const el_load_item *item) {
  if (t->n == t->cap) {
    size_t cap = t->cap ? t->cap * 2 : 1024;
    el_load_item *grown = realloc(t->items, cap * sizeof *grown);
    if (!grown) return false;
    t->items = grown;
    t->cap = cap;
  }
  t->items[t->n++] = *item;
  return true;
}

void el_load_trace_free(el_load_trace *t) {
  free(t->items);
  el_load_names_free(&t->names);
  *t = (el_load_trace){0};
}

el_status el_load_trace_draw(el_load_trace *t, const el_load_spec *spec, double duration, size_t most, el_error *err) {
  el_load_workload w;
  el_status status = el_load_workload_init(&w, spec, err);
  while (!status) {
    el_load_item item = el_load_workload_next(&w);
    if (item.at >= duration || (most && t->n == most)) break;
    if (t->n == EL_TRACE_MAX_ITEMS)
      status = el_fail(err, EL_ERR_INVALID, "--rate and --duration: more than %d arrivals", EL_TRACE_MAX_ITEMS);
    else if (!el_load_trace_add(t, &item))
      status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %zu arrivals", t->n);
  }
  el_load_workload_free(&w);
  if (!status && !t->n)
    status = el_fail(err, EL_ERR_INVALID, "--rate and --duration: nothing arrives in %g s", duration);
  return status;
}

el_status el_load_trace_assign(el_load_trace *t, const el_load_spec *spec, el_error *err) {
  el_load_workload w;
  el_status status = el_load_workload_init(&w, spec, err);
  for (size_t i = 0; i < t->n && !status; i++) t->items[i].adapter = el_load_workload_next(&w).adapter;
  el_load_workload_free(&w);
  return status;
}

/* ---- writing */

static json_t *name_of(const el_load_trace *t, int adapter) {
  if (adapter == EL_LOAD_AUTO) return json_string("auto");
  return adapter < 0 ? json_null() : json_string(t->names.items[adapter]);
}

el_status el_load_trace_write(const el_load_trace *t, FILE *out, el_error *err) {
  fprintf(out, "{\"schema\": \"%s\"}\n", SCHEMA);
  for (size_t i = 0; i < t->n; i++) {
    const el_load_item *item = &t->items[i];
    json_t *line = json_pack("{s:f, s:o, s:i, s:i}", "at", item->at, "adapter", name_of(t, item->adapter), "input",
                             item->n_in, "output", item->n_out);
    /* 17 digits are what a double has: a trace that is replayed is the same load. */
    bool ok = line && json_dumpf(line, out, JSON_REAL_PRECISION(17)) == 0 && fputc('\n', out) != EOF;
    json_decref(line);
    if (!ok) return el_fail(err, EL_ERR_IO, "request %zu could not be written", i);
  }
  return EL_OK;
}

el_status el_load_trace_save(const el_load_trace *t, const char *path, el_error *err) {
  FILE *f = fopen(path, "we");
  if (!f) return el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  el_status status = el_load_trace_write(t, f, err);
  bool whole = !ferror(f);
  whole &= fclose(f) == 0;
  if (status) return el_fail_prefix(err, "%s", path);
  return whole ? EL_OK : el_fail(err, EL_ERR_IO, "%s: not all of it could be written", path);
}

/* ---- reading */

int el_load_trace_line(FILE *in, const char *path, size_t *number, char line[static EL_TRACE_MAX_LINE], el_error *err) {
  (*number)++;
  errno = 0;
  size_t len = 0;
  int c;
  while ((c = getc(in)) != EOF && c != '\n') {
    if (!c || len + 1 >= EL_TRACE_MAX_LINE) {
      el_fail(err, EL_ERR_FORMAT, "%s: line %zu %s", path, *number, c ? "is longer than 64 KiB" : "has a NUL in it");
      return -1;
    }
    line[len++] = (char)c;
  }
  if (ferror(in)) {
    el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
    return -1;
  }
  if (len && line[len - 1] == '\r') len--;
  line[len] = 0;
  return c != EOF || len > 0;
}

el_status el_load_trace_name(el_load_trace *t, const char *name, int *adapter, el_error *err) {
  if (!*name || strcmp(name, "auto") == 0) {
    *adapter = *name ? EL_LOAD_AUTO : EL_LOAD_BASE;
    return EL_OK;
  }
  size_t at = el_load_names_find(&t->names, name);
  if (at == t->names.n) {
    json_t *utf8 = json_string(name);
    json_decref(utf8);
    if (!utf8) return el_fail(err, EL_ERR_FORMAT, "the adapter's name is not UTF-8");
    if (at == EL_TRACE_MAX_NAMES) return el_fail(err, EL_ERR_FORMAT, "more than %d adapters", EL_TRACE_MAX_NAMES);
    if (!el_load_names_add(&t->names, name, strlen(name))) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  }
  *adapter = (int)at;
  return EL_OK;
}

/* A whole number of tokens of a field. */
static bool read_tokens(const json_t *v, int *out) {
  if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > EL_TRACE_MAX_TOKENS) return false;
  *out = (int)json_integer_value(v);
  return true;
}

static el_status read_item(el_load_trace *t, const json_t *line, el_error *err) {
  el_load_item item;
  const json_t *at = json_object_get(line, "at"), *adapter = json_object_get(line, "adapter");
  item.at = json_is_number(at) ? json_number_value(at) : NAN;
  if (!(item.at >= 0 && item.at <= MAX_SECONDS))
    return el_fail(err, EL_ERR_FORMAT, "'at' is not a number of seconds from 0 to %g", MAX_SECONDS);
  if (t->n && item.at < t->items[t->n - 1].at)
    return el_fail(err, EL_ERR_FORMAT, "'at' is before that of the line above");
  if (!json_is_string(adapter) && !json_is_null(adapter))
    return el_fail(err, EL_ERR_FORMAT, "'adapter' is neither a string nor null");
  if (json_is_string(adapter) &&
      (!json_string_length(adapter) || strlen(json_string_value(adapter)) != json_string_length(adapter)))
    return el_fail(err, EL_ERR_FORMAT, "'adapter' is empty or has a NUL in it");
  if (!read_tokens(json_object_get(line, "input"), &item.n_in) ||
      !read_tokens(json_object_get(line, "output"), &item.n_out))
    return el_fail(err, EL_ERR_FORMAT, "'input' and 'output' are not both whole numbers from 1 to %d",
                   EL_TRACE_MAX_TOKENS);
  if (t->n == EL_TRACE_MAX_ITEMS) return el_fail(err, EL_ERR_FORMAT, "more than %d requests", EL_TRACE_MAX_ITEMS);
  el_status status =
      el_load_trace_name(t, json_is_string(adapter) ? json_string_value(adapter) : "", &item.adapter, err);
  if (!status && !el_load_trace_add(t, &item)) status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  return status;
}

static el_status read_line(el_load_trace *t, const char *text, size_t number, el_error *err) {
  json_error_t why;
  json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &why);
  el_status status = EL_OK;
  if (!json_is_object(line)) {
    status = el_fail(err, EL_ERR_FORMAT, "no JSON object%s%s", line ? "" : ": ", line ? "" : why.text);
  } else if (number == 1) {
    const char *schema = json_string_value(json_object_get(line, "schema"));
    if (!schema || strcmp(schema, SCHEMA) != 0) status = el_fail(err, EL_ERR_FORMAT, "'schema' is not \"%s\"", SCHEMA);
  } else {
    status = read_item(t, line, err);
  }
  json_decref(line);
  return status;
}

el_status el_load_trace_read(FILE *in, const char *path, el_load_trace *out, el_error *err) {
  *out = (el_load_trace){.has_adapters = true};
  char *line = malloc(EL_TRACE_MAX_LINE);
  if (!line) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  size_t number = 0;
  int more = el_load_trace_line(in, path, &number, line, err);
  el_status status = more < 0 ? err->code : EL_OK;
  if (more > 0 && line[0] != '{') {
    status = el_load_trace_read_csv(in, path, line, out, err);
  } else {
    while (!status && more > 0) {
      if (*line && (status = read_line(out, line, number, err))) el_fail_prefix(err, "%s: line %zu", path, number);
      if (!status) more = el_load_trace_line(in, path, &number, line, err);
      if (!status && more < 0) status = err->code;
    }
  }
  if (!status && !out->n) status = el_fail(err, EL_ERR_FORMAT, "%s: there is no request in it", path);
  free(line);
  if (status) el_load_trace_free(out);
  return status;
}

el_status el_load_trace_load(const char *path, el_load_trace *out, el_error *err) {
  FILE *f = fopen(path, "re");
  *out = (el_load_trace){0};
  if (!f) return el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  el_status status = el_load_trace_read(f, path, out, err);
  fclose(f);
  return status;
}
