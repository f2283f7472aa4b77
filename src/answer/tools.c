#include "answer/tools.h"

#include <stdlib.h>
#include <string.h>

#include "answer/json_scan.h"
#include "base/error.h"
#include "base/value.h"

/* --- JSON out of values */

static bool put_json_value(el_buf *out, const el_value *v);

static bool put_json_items(el_buf *out, const el_value *v) {
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; i < v->array.n && ok; i++)
    ok = (!i || el_buf_append(out, ", ", 2)) && put_json_value(out, &v->array.items[i]);
  return ok && el_buf_append(out, "]", 1);
}

static bool put_members(el_buf *out, const el_value *v) {
  bool ok = el_buf_append(out, "{", 1);
  for (size_t i = 0; i < v->object.n && ok; i++) {
    const el_member *m = &v->object.members[i];
    ok = (!i || el_buf_append(out, ", ", 2)) && el_json_quote(out, el_str_of(m->name)) && el_buf_append(out, ": ", 2) &&
         put_json_value(out, &m->value);
  }
  return ok && el_buf_append(out, "}", 1);
}

/* Values come from JSON, so they are no deeper than its reader allows. */
static bool put_json_value(el_buf *out, const el_value *v) {
  switch (v->type) {
    case EL_VALUE_BOOL: return el_buf_printf(out, v->boolean ? "true" : "false");
    case EL_VALUE_INTEGER: return el_buf_printf(out, "%lld", (long long)v->integer);
    case EL_VALUE_REAL: return el_buf_printf(out, "%.17g", v->real);
    case EL_VALUE_STRING: return el_json_quote(out, (el_str){v->string.data, v->string.len});
    case EL_VALUE_ARRAY: return put_json_items(out, v);
    case EL_VALUE_OBJECT: return put_members(out, v);
    default: return el_buf_append(out, "null", 4);
  }
}

/* --- reading */

static bool is_json_string(const el_value *v, const char *what) {
  return v && v->type == EL_VALUE_STRING && (!what || el_str_eq((el_str){v->string.data, v->string.len}, what));
}

static bool is_null_value(const el_value *v) {
  return !v || v->type == EL_VALUE_NULL;
}

static bool is_name(el_str s) {
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.data[i], l = c | 32;
    if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr("_-.", c))) return false;
  }
  return s.len && s.len <= EL_MAX_TOOL_NAME;
}

/* A type that is "string", or a list with it; or values that are all strings. */
static bool is_text_schema(const el_value *schema) {
  const el_value *type = el_value_member(schema, "type"), *list = type ? type : el_value_member(schema, "enum");
  if (is_json_string(type, "string") || (!type && is_json_string(el_value_member(schema, "const"), NULL))) return true;
  if (!list || list->type != EL_VALUE_ARRAY || !list->array.n) return false;
  for (size_t i = 0; i < list->array.n; i++)
    if (!is_json_string(&list->array.items[i], type ? "string" : NULL)) return false;
  return true;
}

/* --- parameters */

static el_parameter_kind kind_of(const el_value *schema) {
  const el_value *type = el_value_member(schema, "type");
  if (is_text_schema(schema)) return EL_PARAMETER_TEXT;
  if (is_json_string(type, "integer") || is_json_string(type, "number")) return EL_PARAMETER_NUMBER;
  return is_json_string(type, "boolean") ? EL_PARAMETER_BOOL : EL_PARAMETER_OTHER;
}

/* Reads the strings of `enum` or `const` without a NUL in them: no form can write a NUL. */
static bool read_string_values(el_parameter *p, const el_value *schema) {
  const el_value *only = el_value_member(schema, "const"), *list = el_value_member(schema, "enum");
  const el_value *items = only ? only : list && list->type == EL_VALUE_ARRAY ? list->array.items : NULL;
  size_t n = only ? 1 : items ? list->array.n : 0;
  p->values = calloc(n + 1, sizeof *p->values);
  for (size_t i = 0; i < n && p->values; i++) {
    if (!is_json_string(&items[i], NULL) || memchr(items[i].string.data, 0, items[i].string.len)) continue;
    p->values[p->n_values] = el_str_dup((el_str){items[i].string.data, items[i].string.len});
    if (!p->values[p->n_values++]) return false;
  }
  return p->values != NULL;
}

static bool is_required(const el_value *schema, const char *name) {
  const el_value *required = el_value_member(schema, "required");
  for (size_t i = 0; required && required->type == EL_VALUE_ARRAY && i < required->array.n; i++)
    if (is_json_string(&required->array.items[i], name)) return true;
  return false;
}

static bool read_parameter(el_parameter *p, const el_value *schema, const el_member *m) {
  el_buf text = {0};
  *p = (el_parameter){.name = strdup(m->name), .kind = kind_of(&m->value), .required = is_required(schema, m->name)};
  bool ok = put_json_value(&text, &m->value);
  p->schema = (el_str){text.data, text.len};
  return ok && p->name && (p->kind != EL_PARAMETER_TEXT || read_string_values(p, &m->value));
}

static bool read_definitions(el_tool *tool, const el_value *schema) {
  static const char *const NAMES[] = {"$defs", "definitions"};
  el_buf text = {0};
  bool ok = true;
  for (size_t i = 0; i < 2 && ok; i++) {
    const el_value *v = el_value_member(schema, NAMES[i]);
    if (v) ok = el_buf_printf(&text, "\"%s\": ", NAMES[i]) && put_json_value(&text, v) && el_buf_append(&text, ", ", 2);
  }
  tool->definitions = (el_str){text.data, text.len};
  return ok;
}

static bool read_parameters(el_tool *tool, const el_value *schema) {
  const el_value *properties = el_value_member(schema, "properties");
  if (!properties || properties->type != EL_VALUE_OBJECT) return true;
  tool->list = calloc(properties->object.n + 1, sizeof *tool->list);
  for (size_t i = 0; i < properties->object.n && tool->list; i++)
    if (!read_parameter(&tool->list[tool->n_list++], schema, &properties->object.members[i])) return false;
  return tool->list && read_definitions(tool, schema);
}

/* Whether only `properties`, and what is allowed besides them, says what the arguments may be. */
static bool is_listed(const el_value *schema) {
  static const char *const SAYS[] = {
      "patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf", "not", "if", "enum", "const"};
  for (size_t i = 0; i < sizeof SAYS / sizeof *SAYS; i++)
    if (el_value_member(schema, SAYS[i])) return false;
  return el_value_member(schema, "properties");
}

static el_status read_tool(el_tools *t, const el_value *item, el_error *err) {
  size_t at = t->n;
  const el_value *function = el_value_member(item, "function"), *name = el_value_member(function, "name");
  const el_value *parameters = el_value_member(function, "parameters"),
                 *description = el_value_member(function, "description");
  const el_value *strict = el_value_member(function, "strict");
  if (!is_json_string(el_value_member(item, "type"), "function"))
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].type is not \"function\"", at);
  if (!function || function->type != EL_VALUE_OBJECT)
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].function is no object", at);
  if (!is_json_string(name, NULL) || !is_name((el_str){name->string.data, name->string.len}))
    return el_fail(err, EL_ERR_INVALID,
                   "tools[%zu].function.name has to be 1 to %d letters, digits, underscores, dots and dashes", at,
                   EL_MAX_TOOL_NAME);
  if (el_tools_find(t, (el_str){name->string.data, name->string.len}) != SIZE_MAX)
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].function.name: there is another tool of this name", at);
  if (!is_null_value(description) && !is_json_string(description, NULL))
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].function.description is no string", at);
  if (!is_null_value(parameters) && parameters->type != EL_VALUE_OBJECT)
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].function.parameters is no JSON schema: it has to be an object", at);
  if (!is_null_value(strict) && strict->type != EL_VALUE_BOOL)
    return el_fail(err, EL_ERR_INVALID, "tools[%zu].function.strict is neither true nor false", at);
  el_tool *tool = &t->tools[t->n++];
  el_buf schema = {0};
  bool any = !is_null_value(parameters) && parameters->object.n;
  static const char NONE[] = "{\"type\": \"object\", \"properties\": {}}";
  bool ok = any ? put_json_value(&schema, parameters) : el_buf_append(&schema, NONE, sizeof NONE - 1);
  const el_value *others = any ? el_value_member(parameters, "additionalProperties") : NULL;
  tool->listed = !any || is_listed(parameters);
  tool->open = !tool->listed || others;
  tool->others = others && (others->type != EL_VALUE_BOOL || others->boolean);
  tool->parameters = (el_str){schema.data, schema.len};
  tool->strict = strict && strict->type == EL_VALUE_BOOL && strict->boolean;
  tool->name = strndup(name->string.data, name->string.len);
  if (is_json_string(description, NULL)) {
    tool->description = (el_str){description->string.data, description->string.len};
    tool->description.data = el_str_dup(tool->description);
    ok = ok && tool->description.data;
  }
  ok = ok && tool->name && (is_null_value(parameters) || read_parameters(tool, parameters));
  return ok ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory for %zu tools", at + 1);
}

el_status el_tools_open(const el_value *tools, el_tools **out, el_error *err) {
  if (tools->type != EL_VALUE_ARRAY || !tools->array.n)
    return el_fail(err, EL_ERR_INVALID, "tools has to be a list of at least one tool");
  if (tools->array.n > EL_MAX_TOOLS)
    return el_fail(err, EL_ERR_INVALID, "tools has %zu tools; the limit is %d", tools->array.n, EL_MAX_TOOLS);
  el_tools *t = calloc(1, sizeof *t);
  if (t) t->tools = calloc(tools->array.n, sizeof *t->tools);
  el_status status = t && t->tools ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory for %zu tools", tools->array.n);
  for (size_t i = 0; i < tools->array.n && !status; i++) status = read_tool(t, &tools->array.items[i], err);
  if (status)
    el_tools_close(t);
  else
    *out = t;
  return status;
}

static void free_parameter(el_parameter *p) {
  for (size_t i = 0; i < p->n_values; i++) free((char *)p->values[i]);
  free(p->values);
  free((char *)p->name);
  free((char *)p->schema.data);
}

void el_tools_close(el_tools *t) {
  for (size_t i = 0; t && i < t->n; i++) {
    el_tool *tool = &t->tools[i];
    for (size_t k = 0; k < tool->n_list; k++) free_parameter(&tool->list[k]);
    free(tool->list);
    free((char *)tool->definitions.data);
    free((char *)tool->name);
    free((char *)tool->description.data);
    free((char *)tool->parameters.data);
  }
  if (t) free(t->tools);
  free(t);
}

/* --- asking */

size_t el_tools_find(const el_tools *t, el_str name) {
  for (size_t i = 0; i < t->n; i++)
    if (el_str_eq(name, t->tools[i].name)) return i;
  return SIZE_MAX;
}

bool el_tools_have(const el_tools *t, const char *name) {
  return el_tools_find(t, el_str_of(name)) != SIZE_MAX;
}

bool el_tool_takes_text(const el_tool *t, el_str parameter) {
  for (size_t i = 0; i < t->n_list; i++)
    if (el_str_eq(parameter, t->list[i].name)) return t->list[i].kind == EL_PARAMETER_TEXT;
  return false;
}
