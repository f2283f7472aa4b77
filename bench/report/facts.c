/* What a report shows of a run's file as it is: machine, versions, options, errors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "bench/report/in.h"
#include "bench/report/text.h"

/* A scalar or a short list of them ("[8, 128]" is "8–128"); false: something else. */
static bool value_text(const json_t *value, el_text *out) {
  char number[32];
  if (json_is_string(value)) {
    el_text_put(out, json_string_value(value));
  } else if (json_is_boolean(value)) {
    el_text_put(out, json_is_true(value) ? "yes" : "no");
  } else if (json_is_integer(value)) {
    el_text_printf(out, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    el_report_number_text(json_real_value(value), number, sizeof number);
    el_text_put(out, number);
  } else if (json_is_array(value) && json_array_size(value) == 2 && json_is_number(json_array_get(value, 0)) &&
             json_is_number(json_array_get(value, 1))) {
    value_text(json_array_get(value, 0), out);
    el_text_put(out, "–");
    value_text(json_array_get(value, 1), out);
  } else {
    return false;
  }
  return true;
}

enum { FACTS_MAX = 200 };

static el_status add_fact(const el_report_in *r, const char *name, const char *value) {
  el_report_run *run = r->run;
  if (run->n_facts == FACTS_MAX) return el_fail(r->err, EL_ERR_FORMAT, "%s: more than %d facts", r->path, FACTS_MAX);
  if (!run->facts) run->facts = calloc(FACTS_MAX, sizeof *run->facts);
  if (!run->facts) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  el_report_fact *f = &run->facts[run->n_facts];
  *f = (el_report_fact){strdup(name), strdup(value)};
  if (f->name && f->value) {
    run->n_facts++;
    return EL_OK;
  }
  free(f->name);
  free(f->value);
  return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
}

/* What a member of the file says, if it is a simple thing. */
static el_status add_value(const el_report_in *r, const char *prefix, const char *key, const json_t *value) {
  el_text name = {0}, text = {0};
  el_status status = EL_OK;
  el_text_printf(&name, "%s%s%s", prefix, *prefix ? " " : "", key);
  el_text_put(&text, "");
  if (!json_is_null(value) && value_text(value, &text)) {
    for (char *p = name.buf.data; p && *p; p++)
      if (*p == '_') *p = ' ';
    status = name.failed || text.failed ? el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory")
                                        : add_fact(r, name.buf.data, text.buf.data);
  }
  el_text_free(&name);
  el_text_free(&text);
  return status;
}

static el_status add_members(const el_report_in *r, json_t *root, const char *object, const char *prefix) {
  const char *key;
  json_t *value, *members = el_report_in_get(root, object);
  if (members && !json_is_object(members)) return el_report_in_wrong(r, object, "is no object");
  json_object_foreach(members, key, value) {
    el_status status = add_value(r, prefix, key, value);
    if (status) return status;
  }
  return EL_OK;
}

static el_status add_errors(const el_report_in *r, json_t *root) {
  const char *kind;
  json_t *value, *errors = el_report_in_get(root, "errors");
  if (errors && !json_is_object(errors)) return el_report_in_wrong(r, "errors", "is no object");
  json_object_foreach(errors, kind, value) {
    el_text name = {0}, text = {0};
    const char *first = json_string_value(json_object_get(value, "first"));
    el_text_printf(&name, "errors: %s", kind);
    el_text_printf(&text, "%lld%s", (long long)json_integer_value(json_object_get(value, "n")),
                   first ? "; the first: " : "");
    el_text_put(&text, first ? first : "");
    el_status status = name.failed || text.failed ? el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory")
                                                  : add_fact(r, name.buf.data, text.buf.data);
    el_text_free(&name);
    el_text_free(&text);
    if (status) return status;
  }
  return EL_OK;
}

static el_status add_began(const el_report_in *r, json_t *root) {
  double began = NAN;
  struct tm when;
  char text[64];
  el_status status = el_report_in_number(r, root, "began", &began);
  if (status || isnan(began)) return status;
  /* Beyond the year 9999 it is no date of a run. */
  time_t t = (time_t)began;
  if (began > 253402300799.0 || !gmtime_r(&t, &when)) return el_report_in_wrong(r, "began", "is no time");
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &when);
  return add_fact(r, "began", text);
}

typedef struct asked {
  size_t adapter, n;
} asked;

/* By how often, then by their order in the file. */
static int by_count(const void *a, const void *b) {
  const asked *x = a, *y = b;
  if (x->n != y->n) return x->n < y->n ? 1 : -1;
  return (x->adapter > y->adapter) - (x->adapter < y->adapter);
}

/* Whether the load was as told can be seen by who was asked for most. */
static el_status add_popular(const el_report_in *r, json_t *root) {
  static const char *const names[] = {"adapter"};
  json_t *adapters = el_report_in_get(root, "adapters"), *requests = el_report_in_get(root, "requests");
  size_t place, n = json_array_size(adapters);
  if (!n || !json_is_array(adapters)) return EL_OK;
  el_status status =
      el_report_in_columns(r, el_report_in_get(root, "request_columns"), "request_columns", names, 1, &place);
  if (status) return status;
  asked *counts = calloc(n, sizeof *counts);
  if (!counts) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) counts[i].adapter = i;
  for (size_t i = 0; i < json_array_size(requests); i++) {
    json_t *value = json_array_get(json_array_get(requests, i), place);
    json_int_t adapter = json_is_integer(value) ? json_integer_value(value) : -1;
    if (adapter >= 0 && (size_t)adapter < n) counts[adapter].n++;
  }
  qsort(counts, n, sizeof *counts, by_count);
  el_text text = {0};
  el_text_put(&text, "");
  for (size_t i = 0; i < 3 && i < n && counts[i].n; i++) {
    const char *name = json_string_value(json_array_get(adapters, counts[i].adapter));
    el_text_put(&text, i ? ", " : "");
    el_text_clean(&text, name ? name : "?");
    el_text_printf(&text, " (%zu)", counts[i].n);
  }
  free(counts);
  if (text.failed)
    status = el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  else if (text.buf.len)
    status = add_fact(r, "asked for most", text.buf.data);
  el_text_free(&text);
  return status;
}

el_status el_report_facts_read(const el_report_in *r, json_t *root) {
  el_status status = add_began(r, root);
  if (!status) status = add_members(r, root, "machine", "machine");
  if (!status) status = add_members(r, root, "server", "server");
  if (!status && el_report_in_get(root, "version"))
    status = add_value(r, "", "load generator", el_report_in_get(root, "version"));
  if (!status) status = add_members(r, root, "workload", "");
  if (!status && el_report_in_get(root, "energy"))
    status = add_value(r, "energy", "source", json_object_get(el_report_in_get(root, "energy"), "source"));
  if (!status) status = add_popular(r, root);
  if (!status) status = add_errors(r, root);
  return status;
}
