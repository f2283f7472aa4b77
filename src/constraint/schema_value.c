/* Values in a schema's enum and const: whether they satisfy the rest of the schema, and their text. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "constraint/schema_private.h"

unsigned el_schema_type_of(const json_t *value) {
  switch (json_typeof(value)) {
    case JSON_OBJECT: return EL_JSON_MAP;
    case JSON_ARRAY: return EL_JSON_LIST;
    case JSON_STRING: return EL_JSON_TEXT;
    case JSON_INTEGER: return EL_JSON_INTEGER;
    case JSON_REAL: return fmod(json_real_value(value), 1) == 0 ? EL_JSON_INTEGER : EL_JSON_FRACTION;
    case JSON_TRUE:
    case JSON_FALSE: return EL_JSON_BOOLEAN;
    case JSON_NULL: return EL_JSON_NULL;
  }
  return 0;
}

/* Equality of JSON Schema: 1 and 1.0 are equal. */
bool el_schema_equal(const json_t *a, const json_t *b) {
  if (json_is_number(a) && json_is_number(b)) {
    if (json_is_integer(a) && json_is_integer(b)) return json_integer_value(a) == json_integer_value(b);
    return json_number_value(a) == json_number_value(b);
  }
  if (json_typeof(a) != json_typeof(b)) return false;
  if (json_is_array(a)) {
    size_t n = json_array_size(a);
    if (n != json_array_size(b)) return false;
    for (size_t i = 0; i < n; i++)
      if (!el_schema_equal(json_array_get(a, i), json_array_get(b, i))) return false;
    return true;
  }
  if (json_is_object(a)) {
    const char *name;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_foreach((json_t *)a, name, value) {
      const json_t *other = json_object_get(b, name);
      if (!other || !el_schema_equal(value, other)) return false;
    }
    return true;
  }
  return json_equal(a, b);
}

/* ---------------------------------------------------------------------- patterns */

bool el_schema_search(el_schema *s, uint32_t node, const char *pattern, const char *text, size_t len) {
  int code;
  PCRE2_SIZE at;
  pcre2_code *re =
      pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                    PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
  if (!re) {
    PCRE2_UCHAR why[120] = "";
    pcre2_get_error_message(code, why, sizeof why);
    el_schema_fail(s, node, EL_ERR_INVALID, "a pattern is not a regular expression: %s", (const char *)why);
  }
  pcre2_match_data *found = pcre2_match_data_create(1, NULL);
  pcre2_match_context *limits = pcre2_match_context_create(NULL);
  int result = PCRE2_ERROR_NOMEMORY;
  if (found && limits) {
    pcre2_set_match_limit(limits, 100000);
    result = pcre2_match(re, (PCRE2_SPTR)text, len, 0, 0, found, limits);
  }
  pcre2_match_context_free(limits);
  pcre2_match_data_free(found);
  pcre2_code_free(re);
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "a pattern is too much work for the names and values of the schema");
  return result >= 0;
}

/* ---------------------------------------------------------------------- assertions */

static size_t count_characters(const char *text, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
  return n;
}

static bool is_count_within(el_schema *s, uint32_t node, const char *least, const char *most, size_t n) {
  uint32_t count;
  if (el_schema_count(s, node, least, &count) && n < count) return false;
  return !el_schema_count(s, node, most, &count) || n <= count;
}

static bool string_holds(el_schema *s, uint32_t node, const json_t *value) {
  const json_t *schema = s->nodes[node].schema, *pattern = json_object_get(schema, "pattern");
  const json_t *except = json_object_get(schema, EL_SCHEMA_EXCEPT), *item;
  const char *text = json_string_value(value);
  size_t len = json_string_length(value), i;
  json_array_foreach(except, i, item) {
    if (json_equal(item, value)) return false;
  }
  if (!is_count_within(s, node, "minLength", "maxLength", count_characters(text, len))) return false;
  return !json_is_string(pattern) || el_schema_search(s, node, json_string_value(pattern), text, len);
}

static bool number_holds(el_schema *s, uint32_t node, const json_t *value) {
  const json_t *schema = s->nodes[node].schema;
  double x = json_number_value(value);
  const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum");
  const json_t *above = json_object_get(schema, "exclusiveMinimum"),
               *below = json_object_get(schema, "exclusiveMaximum");
  const json_t *of = json_object_get(schema, "multipleOf");
  if (json_is_number(min) && (json_is_true(above) ? x <= json_number_value(min) : x < json_number_value(min)))
    return false;
  if (json_is_number(max) && (json_is_true(below) ? x >= json_number_value(max) : x > json_number_value(max)))
    return false;
  if (json_is_number(above) && x <= json_number_value(above)) return false;
  if (json_is_number(below) && x >= json_number_value(below)) return false;
  if (json_is_integer(of) && json_is_integer(value) && json_integer_value(of) > 0)
    return json_integer_value(value) % json_integer_value(of) == 0;
  if (!json_is_number(of)) return true;
  /* Within the precision of doubles: 0.0075 is 75 times 0.0001. */
  double times = x / json_number_value(of);
  return fabs(times - round(times)) < 1e-9 * fmax(1, fabs(times));
}

static bool array_holds(el_schema *s, uint32_t node, const json_t *value, int depth) {
  const json_t *schema = s->nodes[node].schema, *item;
  size_t n = json_array_size(value), i, k;
  if (!is_count_within(s, node, "minItems", "maxItems", n)) return false;
  const char *rest;
  const json_t *prefix = el_schema_prefix(schema, &rest), *others = json_object_get(schema, rest);
  json_array_foreach(value, i, item) {
    const json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : others;
    if (own && !el_schema_holds(s, node, own, item, depth)) return false;
  }
  if (json_is_true(json_object_get(schema, "uniqueItems"))) {
    for (i = 0; i < n; i++)
      for (k = 0; k < i; k++)
        if (el_schema_equal(json_array_get(value, i), json_array_get(value, k))) return false;
  }
  const json_t *contains = json_object_get(schema, "contains");
  if (!contains) return true;
  size_t n_fit = 0;
  json_array_foreach(value, i, item) n_fit += el_schema_holds(s, node, contains, item, depth);
  uint32_t least = 1, most;
  el_schema_count(s, node, "minContains", &least);
  return n_fit >= least && (!el_schema_count(s, node, "maxContains", &most) || n_fit <= most);
}

static bool object_holds(el_schema *s, uint32_t node, const json_t *value, int depth) {
  const json_t *schema = s->nodes[node].schema, *item;
  size_t i;
  const char *name, *pattern;
  json_t *member, *own;
  if (!is_count_within(s, node, "minProperties", "maxProperties", json_object_size(value))) return false;
  json_array_foreach(json_object_get(schema, "required"), i, item) {
    if (json_is_string(item) && !json_object_get(value, json_string_value(item))) return false;
  }
  const json_t *properties = json_object_get(schema, "properties"), *names = json_object_get(schema, "propertyNames");
  const json_t *patterns = json_object_get(schema, "patternProperties");
  const json_t *others = json_object_get(schema, "additionalProperties");
  json_object_foreach((json_t *)value, name, member) {
    const json_t *said = json_object_get(properties, name);
    if (said && !el_schema_holds(s, node, said, member, depth)) return false;
    bool any = said;
    json_object_foreach((json_t *)patterns, pattern, own) {
      if (!el_schema_search(s, node, pattern, name, strlen(name))) continue;
      any = true;
      if (!el_schema_holds(s, node, own, member, depth)) return false;
    }
    if (!any && others && !el_schema_holds(s, node, others, member, depth)) return false;
    if (names && !el_schema_holds(s, node, names, el_schema_keep(s, json_string(name)), depth)) return false;
  }
  return true;
}

bool el_schema_asserted(el_schema *s, uint32_t node, const json_t *value, int depth) {
  if (depth > EL_SCHEMA_DEPTH) el_schema_fail(s, node, EL_ERR_TOO_LONG, "a value needs schemas nested too deep");
  if (++s->steps > EL_SCHEMA_STEPS) el_schema_stop(s, EL_ERR_TOO_LONG, ": too much work for its values");
  const json_t *schema = s->nodes[node].schema, *item;
  unsigned type = el_schema_type_of(value);
  if (!(el_schema_types(s, node) & type)) return false;
  const json_t *one = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
  if (one && !el_schema_equal(one, value)) return false;
  if (list && list != s->listed) {
    bool found = false;
    size_t i;
    json_array_foreach(list, i, item) found |= el_schema_equal(item, value);
    if (!found) return false;
  }
  if (type == EL_JSON_TEXT) return string_holds(s, node, value);
  if (type & EL_JSON_NUMBER) return number_holds(s, node, value);
  if (type == EL_JSON_LIST) return array_holds(s, node, value, depth + 1);
  return type != EL_JSON_MAP || object_holds(s, node, value, depth + 1);
}

/* ---------------------------------------------------------------------- applicators */

static size_t count_holding(el_schema *s, uint32_t node, const json_t *list, const json_t *value, int depth) {
  size_t n = 0, i;
  const json_t *item;
  json_array_foreach(list, i, item) n += el_schema_holds(s, node, item, value, depth);
  return n;
}

static bool dependencies_hold(el_schema *s, uint32_t node, const char *keyword, const json_t *value, int depth) {
  const char *name;
  json_t *needs, *item;
  size_t i;
  json_object_foreach(json_object_get(s->nodes[node].schema, keyword), name, needs) {
    if (!json_object_get(value, name)) continue;
    if (!json_is_array(needs) && !el_schema_holds(s, node, needs, value, depth)) return false;
    json_array_foreach(needs, i, item) {
      if (json_is_string(item) && !json_object_get(value, json_string_value(item))) return false;
    }
  }
  return true;
}

bool el_schema_holds(el_schema *s, uint32_t parent, const json_t *schema, const json_t *value, int depth) {
  if (json_is_boolean(schema)) return json_is_true(schema);
  if (!json_is_object(schema))
    el_schema_fail(s, parent, EL_ERR_INVALID, "a subschema is neither an object nor a boolean");
  if (depth > EL_SCHEMA_DEPTH) el_schema_fail(s, parent, EL_ERR_TOO_LONG, "a value needs schemas nested too deep");
  uint32_t node = el_schema_node_of(s, schema, parent, "...");
  el_schema_check_keywords(s, node);
  depth++;
  const json_t *ref = json_object_get(schema, "$ref");
  if (json_is_string(ref)) {
    uint32_t target = node;
    const json_t *to = el_schema_resolve(s, node, json_string_value(ref), &target);
    if (!el_schema_holds(s, node, to, value, depth)) return false;
    if (el_schema_ref_alone(s, node)) return true;
  }
  if (!el_schema_asserted(s, node, value, depth)) return false;
  const json_t *list = json_object_get(schema, "allOf");
  if (list && count_holding(s, node, list, value, depth) != json_array_size(list)) return false;
  list = json_object_get(schema, "anyOf");
  if (list && !count_holding(s, node, list, value, depth)) return false;
  list = json_object_get(schema, "oneOf");
  if (list && count_holding(s, node, list, value, depth) != 1) return false;
  const json_t *not = json_object_get(schema, "not"), *condition = json_object_get(schema, "if");
  if (not &&el_schema_holds(s, node, not, value, depth)) return false;
  if (condition) {
    const json_t *then = json_object_get(schema, el_schema_holds(s, node, condition, value, depth) ? "then" : "else");
    if (then && !el_schema_holds(s, node, then, value, depth)) return false;
  }
  return dependencies_hold(s, node, "dependentRequired", value, depth) &&
         dependencies_hold(s, node, "dependentSchemas", value, depth) &&
         dependencies_hold(s, node, "dependencies", value, depth);
}

/* ---------------------------------------------------------------------- texts */

el_literal el_schema_quoted(el_schema *s, const char *text, size_t len) {
  char *out = el_schema_alloc(s, 6 * len + 3), *at = out;
  *at++ = '"';
  for (size_t i = 0; i < len; i++) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *found = text[i] ? strchr(from, text[i]) : NULL;
    if (found) {
      *at++ = '\\';
      *at++ = to[found - from];
    } else if ((unsigned char)text[i] < 0x20) {
      at += snprintf(at, 7, "\\u%04x", (unsigned)text[i]);
    } else {
      *at++ = text[i];
    }
  }
  *at++ = '"';
  return (el_literal){out, (size_t)(at - out)};
}

el_literal el_schema_scalar(el_schema *s, const json_t *value) {
  if (json_is_string(value)) return el_schema_quoted(s, json_string_value(value), json_string_length(value));
  const char *text = json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null";
  if (json_is_number(value)) {
    char digits[64];
    el_schema_decimal(value, digits, sizeof digits);
    text = el_schema_print(s, "%s", digits);
  }
  return (el_literal){text, strlen(text)};
}

static el_expr literal_of(el_schema *s, el_literal l) {
  return el_grammar_literal(s->g, l.bytes, l.len);
}

el_expr el_schema_literal(el_schema *s, const json_t *value, int depth) {
  el_grammar *g = s->g;
  if (depth > EL_SCHEMA_DEPTH) el_schema_stop(s, EL_ERR_TOO_LONG, ": a value is nested too deep");
  if (!json_is_array(value) && !json_is_object(value)) return literal_of(s, el_schema_scalar(s, value));
  bool object = json_is_object(value);
  size_t n = object ? json_object_size(value) : json_array_size(value), at = 0;
  el_expr *parts = el_schema_alloc(s, sizeof *parts * (2 * n + 4));
  parts[at++] = el_grammar_text(g, object ? "{" : "[");
  parts[at++] = s->space;
  const char *name;
  json_t *item;
  size_t i;
  json_array_foreach(value, i, item) {
    if (i) parts[at++] = s->comma;
    parts[at++] = el_schema_literal(s, item, depth + 1);
  }
  json_object_foreach((json_t *)value, name, item) {
    if (at > 2) parts[at++] = s->comma;
    parts[at++] = el_grammar_sequence(g,
                                      (el_expr[]){literal_of(s, el_schema_quoted(s, name, strlen(name))), s->colon,
                                                  el_schema_literal(s, item, depth + 1)},
                                      3);
  }
  parts[at++] = s->space;
  parts[at++] = el_grammar_text(g, object ? "}" : "]");
  return el_grammar_sequence(g, parts, at);
}
