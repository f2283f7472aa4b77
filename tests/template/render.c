/* Renders chat templates for the tests that compare with Jinja. Reads a JSON object a line:
 *   {"template": TEXT, "context": {NAME: VALUE, ...}, "trusted": [NAME, ...], "now": SECONDS}
 * and writes one a line: {"text": TEXT, "parts": [[BEGIN, END, SOURCE], ...]} or {"error": MESSAGE, "code": NAME}.
 * Variables that are not trusted have source 1. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/common/json_value.h"
#include "template/template.h"

typedef struct input {
  const json_t *names, *trusted;
  el_value context;
} input;

static bool is_trusted(const json_t *trusted, const char *name) {
  size_t i;
  json_t *one;
  json_array_foreach((json_t *)trusted, i, one) if (!strcmp(json_string_value(one), name)) return true;
  return false;
}

static void set(el_rendering *r, void *user) {
  const input *in = user;
  for (size_t i = 0; i < in->context.object.n; i++) {
    const el_member *m = &in->context.object.members[i];
    el_template_set(r, m->name, el_template_value(r, &m->value, is_trusted(in->trusted, m->name) ? 0 : 1));
  }
}

static json_t *answer(const json_t *line) {
  const json_t *text = json_object_get(line, "template");
  input in = {.trusted = json_object_get(line, "trusted")};
  if (el_json_value(json_object_get(line, "context"), &in.context) != EL_CONVERTED) abort();
  el_template *t = NULL;
  el_rendered out = {0};
  el_error e = {0};
  el_status status = el_template_new((el_str){json_string_value(text), json_string_length(text)}, &t, &e);
  if (!status)
    status = el_template_render(t, set, &in, json_integer_value(json_object_get(line, "now")), NULL, &out, &e);
  json_t *result;
  if (status) {
    result = json_pack("{s:s, s:s}", "error", e.message, "code", el_status_name(status));
    if (!result) result = json_pack("{s:s, s:s}", "error", "?", "code", el_status_name(status));
  } else {
    json_t *parts = json_array();
    for (size_t i = 0; i < out.n_spans; i++)
      json_array_append_new(parts, json_pack("[I, I, I]", (json_int_t)out.spans[i].begin, (json_int_t)out.spans[i].end,
                                             (json_int_t)out.spans[i].source));
    result =
        json_pack("{s:o, s:o}", "text", json_stringn(out.text.data ? out.text.data : "", out.text.len), "parts", parts);
  }
  el_rendered_free(&out);
  el_template_free(t);
  el_json_value_free(&in.context);
  return result;
}

int main(void) {
  char *line = NULL;
  size_t cap = 0;
  while (getline(&line, &cap, stdin) > 0) {
    json_error_t why;
    json_t *j = json_loads(line, JSON_ALLOW_NUL, &why);
    if (!j) {
      fprintf(stderr, "%s\n", why.text);
      return 2;
    }
    json_t *result = answer(j);
    if (!result || json_dumpf(result, stdout, JSON_COMPACT)) return 3;
    putchar('\n');
    fflush(stdout);
    json_decref(result);
    json_decref(j);
  }
  free(line);
  return 0;
}
