/* The values that satisfy the own keywords of several subschemas, type by type. */
#include <string.h>

#include "constraint/schema_private.h"

static unsigned type_bit(const char *name) {
  static const struct {
    const char *name;
    unsigned bits;
  } types[] = {{"null", EL_JSON_NULL},     {"boolean", EL_JSON_BOOLEAN}, {"integer", EL_JSON_INTEGER},
               {"number", EL_JSON_NUMBER}, {"string", EL_JSON_TEXT},     {"array", EL_JSON_LIST},
               {"object", EL_JSON_MAP}};
  for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
    if (!strcmp(name, types[i].name)) return types[i].bits;
  return 0;
}

unsigned el_schema_types(el_schema *s, uint32_t node) {
  const json_t *schema = s->nodes[node].schema, *type = json_object_get(schema, "type"), *item;
  if (json_object_get(schema, EL_SCHEMA_FRACTION)) return EL_JSON_FRACTION;
  if (!type) return EL_JSON_ANY;
  unsigned types = 0;
  size_t i;
  if (json_is_string(type)) types = type_bit(json_string_value(type));
  json_array_foreach(type, i, item) {
    unsigned bit = type_bit(json_string_value(item));
    types = bit ? types | bit : 0;
    if (!bit) break;
  }
  if (!types) el_schema_fail(s, node, EL_ERR_INVALID, "\"type\" is not one of JSON's types, or a list of them");
  if (json_is_true(json_object_get(schema, "nullable"))) types |= EL_JSON_NULL;
  return types;
}

/* The values in an enum or a const; NULL: the nodes have neither. */
static const json_t *named_values(el_schema *s, const el_set *nodes) {
  for (uint32_t i = 0; i < nodes->n; i++) {
    const json_t *schema = s->nodes[nodes->at[i]].schema;
    json_t *value = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    if (list && !json_is_array(list)) el_schema_fail(s, nodes->at[i], EL_ERR_INVALID, "\"enum\" must be a list");
    if (value) return el_schema_keep(s, json_pack("[O]", value));
    if (list) return list;
  }
  return NULL;
}

static el_expr choose_values(el_schema *s, const el_set *nodes, const json_t *values) {
  size_t n = 0, n_plain = 0, i;
  const json_t *value;
  el_expr *texts = el_schema_alloc(s, sizeof *texts * (json_array_size(values) + 1));
  el_literal *plain = el_schema_alloc(s, sizeof *plain * (json_array_size(values) + 1));
  s->listed = values;
  json_array_foreach(values, i, value) {
    bool holds = true;
    for (uint32_t k = 0; k < nodes->n && holds; k++) holds = el_schema_asserted(s, nodes->at[k], value, 0);
    if (holds && (json_is_array(value) || json_is_object(value)))
      texts[n++] = el_schema_literal(s, value, 0);
    else if (holds)
      plain[n_plain++] = el_schema_scalar(s, value);
    el_schema_check(s);
  }
  s->listed = NULL;
  if (n_plain) texts[n++] = el_grammar_one_of(s->g, plain, n_plain);
  return el_grammar_alternatives(s->g, texts, n);
}

el_expr el_schema_shape(el_schema *s, const el_set *nodes) {
  const json_t *values = named_values(s, nodes);
  if (values) return choose_values(s, nodes, values);
  unsigned types = EL_JSON_ANY;
  for (uint32_t i = 0; i < nodes->n; i++) types &= el_schema_types(s, nodes->at[i]);
  el_expr all[8];
  size_t n = 0;
  if (types & EL_JSON_MAP) all[n++] = el_schema_object(s, nodes);
  if (types & EL_JSON_LIST) all[n++] = el_schema_array(s, nodes);
  if (types & EL_JSON_TEXT) all[n++] = el_schema_string(s, nodes);
  if (types & EL_JSON_NUMBER) all[n++] = el_schema_number(s, nodes, types);
  if (types & EL_JSON_BOOLEAN) {
    all[n++] = el_grammar_text(s->g, "true");
    all[n++] = el_grammar_text(s->g, "false");
  }
  if (types & EL_JSON_NULL) all[n++] = el_grammar_text(s->g, "null");
  return el_grammar_alternatives(s->g, all, n);
}
