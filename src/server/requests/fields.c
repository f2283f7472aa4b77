#include "server/requests/fields.h"

#include <stdio.h>
#include <string.h>

const char *el_json_type_name(const json_t *v) {
  switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a decimal number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: break;
  }
  return "null";
}

bool el_api_type_error(el_api_parse *p, const char *param, const char *expected, const json_t *got) {
  return el_api_fail(p->error, 400, "invalid_type", param, "Invalid type for '%s': expected %s, but got %s.", param,
                     expected, el_json_type_name(got));
}

bool el_api_no_memory(el_api_parse *p) {
  return el_api_fail(p->error, 500, "no_memory", NULL, "Out of memory while reading the request.");
}

bool el_api_value_error(el_api_parse *p, const el_field *f, const char *what) {
  return el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for '%s': %s.", f->name, what);
}

/* ---------------------------------------------------------------- generic readers */

bool el_read_integer(el_api_parse *p, const el_field *f, const json_t *v, json_int_t *out) {
  if (el_json_is_huge(v))
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for '%s': it is not between %.0f and %.0f.", f->name, f->min, f->max);
  if (!json_is_integer(v)) return el_api_type_error(p, f->name, "an integer", v);
  json_int_t i = json_integer_value(v);
  if ((double)i < f->min || (double)i > f->max)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for '%s': %lld is not between %.0f and %.0f.", f->name, (long long)i, f->min,
                       f->max);
  *out = i;
  return true;
}

bool el_read_int(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t i = 0;
  if (!el_read_integer(p, f, v, &i)) return false;
  *(int *)((char *)p->out + f->offset) = (int)i;
  return true;
}

bool el_read_float(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_number(v)) return el_api_type_error(p, f->name, "a number", v);
  double d = json_number_value(v);
  if (!(d >= f->min && d <= f->max))
    return el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for '%s': %g is not between %g and %g.",
                       f->name, d, f->min, f->max);
  *(float *)((char *)p->out + f->offset) = (float)d;
  return true;
}

bool el_read_bool(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  *(bool *)((char *)p->out + f->offset) = json_is_true(v);
  return true;
}

bool el_read_not(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  *(bool *)((char *)p->out + f->offset) = json_is_false(v);
  return true;
}

/* Accepted and without effect: the field cannot change the answer. */
bool el_read_ignored(el_api_parse *p, const el_field *f, const json_t *v) {
  return true;
}

/* The dialect's own function reads it from the body. */
bool el_read_kept(el_api_parse *p, const el_field *f, const json_t *v) {
  return true;
}

/* A feature that would change the answer and is not supported: only its "off" value is accepted. */
bool el_api_unsupported(el_api_parse *p, const el_field *f) {
  return el_api_fail(p->error, 400, "unsupported_parameter", f->name, "'%s' is not supported by this server.", f->name);
}

bool el_read_unsupported(el_api_parse *p, const el_field *f, const json_t *v) {
  bool empty =
      (json_is_array(v) && !json_array_size(v)) || json_is_false(v) || (json_is_string(v) && !json_string_length(v));
  return empty || el_api_unsupported(p, f);
}

/* ---------------------------------------------------------------- a body's fields */

/* The row of this name; NULL: there is none. */
static const el_field *find_field_row(const el_field *fields, size_t n, const char *name, unsigned where) {
  for (size_t i = 0; i < n; i++)
    if ((!where || (fields[i].where & where)) && !strcmp(fields[i].name, name)) return &fields[i];
  return NULL;
}

static const el_field *find_openai(const char *name, unsigned where) {
  return where ? find_field_row(el_openai_fields, el_n_openai_fields, name, where) : NULL;
}

/* A hint for a field that belongs to another endpoint. */
static const char *field_elsewhere(const char *name) {
  return find_openai(name, EL_AT_TEXT)    ? " It belongs to /v1/completions."
         : find_openai(name, EL_AT_CHAT)  ? " It belongs to /v1/chat/completions."
         : find_openai(name, EL_AT_ROUTE) ? " It belongs to /v1/route."
                                          : "";
}

bool el_api_unknown(el_api_parse *p, const char *name, const char *hint) {
  if (!p->setup->tell_unknown)
    return el_api_fail(p->error, 400, "unknown_parameter", name, "Unknown parameter: '%.100s'.%s", name, hint);
  p->setup->tell_unknown(p->setup->user, name, hint);
  return true;
}

bool el_api_fields_read(el_api_parse *p, const json_t *body) {
  const el_api *api = p->setup->api;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)body, key, value) {
    const el_field *f = find_field_row(api->fields, api->n_fields, key, 0);
    if (!f) f = find_openai(key, api->shared);
    if (!f && find_openai(key, api->tolerated)) continue;
    if (json_is_null(value)) continue;
    if (!f) {
      if (!el_api_unknown(p, key, field_elsewhere(key))) return false;
      continue;
    }
    if (!f->read(p, f, value)) return false;
    p->given |= f->preset;
  }
  return true;
}

bool el_api_is_token(el_api_parse *p, json_int_t id) {
  const char *model = json_string_value(json_object_get(p->body, "model"));
  if (id >= el_tokenizer_n_vocab(p->tokenizer) && model && p->setup->peek) {
    const el_tokenizer *own = p->setup->peek(p->setup->user, model);
    if (own) p->tokenizer = own;
  }
  return id >= 0 && id < el_tokenizer_n_vocab(p->tokenizer);
}
