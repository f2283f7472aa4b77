/* Negation: the values that do not satisfy a schema, as alternatives, each of which is a schema. */
#include <string.h>

#include "constraint/schema_private.h"

typedef struct negation {
  el_schema *s;
  json_t *ways;
  const char *why; /* the keyword that cannot be negated; NULL: none */
} negation;

static void add_way_out(negation *x, json_t *way) {
  if (!way || json_array_append_new(x->ways, way)) el_schema_stop(x->s, EL_ERR_NO_MEMORY, ": out of memory");
}

static const char *const type_names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

/* Adds the values of all other types. Numbers can only be added all together. */
static void add_other_types(negation *x, unsigned types) {
  json_t *list = json_array();
  static const unsigned bits[] = {EL_JSON_NULL, EL_JSON_BOOLEAN, 0,          EL_JSON_NUMBER,
                                  EL_JSON_TEXT, EL_JSON_LIST,    EL_JSON_MAP};
  for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
    if (bits[i] && !(types & bits[i])) json_array_append_new(list, json_string(type_names[i]));
  if (json_array_size(list))
    add_way_out(x, json_pack("{s:o}", "type", list));
  else
    json_decref(list);
}

static bool is_whole(const json_t *number) {
  return el_schema_type_of(number) == EL_JSON_INTEGER;
}

/* Adds the values that are not in the list: of types that the list lacks, other strings, other numbers, ... */
static void negate_values(negation *x, const json_t *values) {
  unsigned types = 0;
  const json_t *value;
  size_t i;
  json_t *strings = el_schema_keep(x->s, json_array());
  bool is[2] = {false, false};
  json_array_foreach(values, i, value) {
    unsigned type = el_schema_type_of(value);
    types |= type & EL_JSON_NUMBER ? EL_JSON_NUMBER : type;
    if (json_is_string(value)) json_array_append(strings, (json_t *)value);
    if (json_is_boolean(value)) is[json_is_true(value)] = true;
    if (type & EL_JSON_NUMBER && (json_array_size(values) > 1 || !is_whole(value))) x->why = "enum";
    if (json_is_number(value) && json_array_size(values) == 1) {
      add_way_out(x, json_pack("{s:s,s:O}", "type", "number", "exclusiveMinimum", value));
      add_way_out(x, json_pack("{s:s,s:O}", "type", "number", "exclusiveMaximum", value));
    }
    if (json_is_array(value)) {
      if (json_array_size(value))
        x->why = "enum";
      else
        add_way_out(x, json_pack("{s:s,s:i}", "type", "array", "minItems", 1));
    }
    if (json_is_object(value)) {
      if (json_object_size(value))
        x->why = "enum";
      else
        add_way_out(x, json_pack("{s:s,s:i}", "type", "object", "minProperties", 1));
    }
  }
  add_other_types(x, types);
  if (json_array_size(strings)) add_way_out(x, json_pack("{s:s,s:O}", "type", "string", EL_SCHEMA_EXCEPT, strings));
  if (is[0] != is[1]) add_way_out(x, json_pack("{s:b}", "const", is[0]));
}

/* A schema for the values that do not satisfy the given one. */
static json_t *make_none_of(negation *x, uint32_t node, const json_t *schema, int depth) {
  json_t *ways = el_schema_negate(x->s, node, schema, depth + 1, &x->why);
  if (!ways) return NULL;
  if (!json_array_size(ways)) return json_false();
  return el_schema_keep(x->s, json_pack("{s:O}", "anyOf", ways));
}

static void negate_properties(negation *x, uint32_t node, const json_t *map, int depth) {
  const char *name;
  json_t *schema;
  json_object_foreach((json_t *)map, name, schema) {
    json_t *other = make_none_of(x, node, schema, depth);
    if (x->why) return;
    add_way_out(x, json_pack("{s:s,s:[s],s:{s:O}}", "type", "object", "required", name, "properties", name, other));
  }
}

static void negate_count(negation *x, uint32_t node, const char *keyword, const char *opposite, const char *type,
                         int step) {
  uint32_t n;
  if (!el_schema_count(x->s, node, keyword, &n)) return;
  if (step < 0 && !n) return; /* nothing has fewer than none */
  add_way_out(x, json_pack("{s:s,s:I}", "type", type, opposite, (json_int_t)n + step));
}

static void negate_bound(negation *x, const json_t *schema, const char *keyword, const char *opposite) {
  json_t *bound = json_object_get(schema, keyword);
  if (json_is_number(bound))
    add_way_out(x, json_pack("{s:s,s:O}", "type", "number", opposite, bound));
  else if (bound)
    x->why = keyword;
}

static void negate_assertions(negation *x, uint32_t node, int depth) {
  const json_t *schema = x->s->nodes[node].schema, *item;
  size_t i;
  static const char *const no[] = {"$ref",
                                   "additionalItems",
                                   "additionalProperties",
                                   "contains",
                                   "dependencies",
                                   "dependentRequired",
                                   "dependentSchemas",
                                   "format",
                                   "if",
                                   "items",
                                   "multipleOf",
                                   "oneOf",
                                   "pattern",
                                   "patternProperties",
                                   "prefixItems",
                                   "propertyNames",
                                   "uniqueItems"};
  for (size_t k = 1; k < sizeof no / sizeof *no; k++)
    if (json_object_get(schema, no[k])) x->why = no[k];
  if (x->why) return;
  unsigned types = el_schema_types(x->s, node);
  if (types != EL_JSON_ANY) add_other_types(x, types);
  if ((types & EL_JSON_NUMBER) == EL_JSON_INTEGER)
    add_way_out(x, json_pack("{s:s,s:b}", "type", "number", EL_SCHEMA_FRACTION, 1));
  json_t *one = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
  if (one) negate_values(x, el_schema_keep(x->s, json_pack("[O]", one)));
  if (list) negate_values(x, list);
  negate_properties(x, node, json_object_get(schema, "properties"), depth);
  json_array_foreach(json_object_get(schema, "required"), i, item) {
    if (json_is_string(item))
      add_way_out(x, json_pack("{s:s,s:{s:b}}", "type", "object", "properties", json_string_value(item), 0));
  }
  negate_bound(x, schema, "minimum", "exclusiveMaximum");
  negate_bound(x, schema, "maximum", "exclusiveMinimum");
  negate_bound(x, schema, "exclusiveMinimum", "maximum");
  negate_bound(x, schema, "exclusiveMaximum", "minimum");
  negate_count(x, node, "minLength", "maxLength", "string", -1);
  negate_count(x, node, "maxLength", "minLength", "string", 1);
  negate_count(x, node, "minItems", "maxItems", "array", -1);
  negate_count(x, node, "maxItems", "minItems", "array", 1);
  negate_count(x, node, "minProperties", "maxProperties", "object", -1);
  negate_count(x, node, "maxProperties", "minProperties", "object", 1);
}

json_t *el_schema_negate(el_schema *s, uint32_t parent, const json_t *schema, int depth, const char **why) {
  if (depth > EL_SCHEMA_DEPTH) el_schema_fail(s, parent, EL_ERR_TOO_LONG, "schemas are nested too deep");
  if (++s->steps > EL_SCHEMA_STEPS) el_schema_stop(s, EL_ERR_TOO_LONG, ": too much work to negate");
  negation x = {.s = s, .ways = el_schema_keep(s, json_array())};
  if (json_is_true(schema)) return x.ways;
  if (json_is_false(schema)) {
    add_way_out(&x, json_object());
    return x.ways;
  }
  if (!json_is_object(schema))
    el_schema_fail(s, parent, EL_ERR_INVALID, "a subschema is neither an object nor a boolean");
  uint32_t node = el_schema_node_of(s, schema, parent, "not");
  el_schema_check_keywords(s, node);
  const json_t *item;
  size_t i;
  const json_t *ref = json_object_get(schema, "$ref");
  if (json_is_string(ref)) {
    uint32_t target = node;
    json_t *other = make_none_of(&x, node, el_schema_resolve(s, node, json_string_value(ref), &target), depth);
    if (other) add_way_out(&x, json_incref(other));
  }
  if (!el_schema_ref_alone(s, node) && !x.why) {
    json_array_foreach(json_object_get(schema, "allOf"), i, item) {
      json_t *other = make_none_of(&x, node, item, depth);
      if (other) add_way_out(&x, json_incref(other));
    }
    const json_t *any = json_object_get(schema, "anyOf");
    if (any && !x.why) {
      json_t *all = el_schema_keep(s, json_array());
      json_array_foreach(any, i, item) {
        json_t *other = make_none_of(&x, node, item, depth);
        if (other) json_array_append(all, other);
      }
      add_way_out(&x, json_pack("{s:O}", "allOf", all));
    }
    json_t *not = json_object_get(schema, "not");
    if (not ) add_way_out(&x, json_incref(not ));
    if (!x.why) negate_assertions(&x, node, depth);
  }
  if (x.why) *why = x.why;
  return x.why ? NULL : x.ways;
}
