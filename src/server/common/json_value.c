#include "server/common/json_value.h"

#include <stdlib.h>

static el_convert convert_json(const json_t *j, el_value *out, int depth);

static el_convert convert_json_array(const json_t *j, el_value *out, int depth) {
  size_t n = json_array_size(j);
  el_value *items = calloc(n ? n : 1, sizeof *items);
  if (!items) return EL_CONVERT_NO_MEMORY;
  *out = (el_value){.type = EL_VALUE_ARRAY, .array = {items, n}};
  el_convert done = EL_CONVERTED;
  for (size_t i = 0; i < n && done == EL_CONVERTED; i++)
    done = convert_json(json_array_get(j, i), &items[i], depth + 1);
  return done;
}

static el_convert convert_json_object(const json_t *j, el_value *out, int depth) {
  size_t n = json_object_size(j), i = 0;
  el_member *members = calloc(n ? n : 1, sizeof *members);
  if (!members) return EL_CONVERT_NO_MEMORY;
  *out = (el_value){.type = EL_VALUE_OBJECT, .object = {members, n}};
  el_convert done = EL_CONVERTED;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)j, key, value) {
    members[i].name = key;
    done = convert_json(value, &members[i++].value, depth + 1);
    if (done != EL_CONVERTED) break;
  }
  return done;
}

static el_convert convert_json(const json_t *j, el_value *out, int depth) {
  *out = (el_value){.type = EL_VALUE_NULL};
  if (depth > EL_MAX_VALUE_DEPTH) return EL_CONVERT_DEEP;
  switch (json_typeof(j)) {
    case JSON_ARRAY: return convert_json_array(j, out, depth);
    case JSON_OBJECT: return convert_json_object(j, out, depth);
    case JSON_STRING:
      *out = (el_value){.type = EL_VALUE_STRING, .string = {json_string_value(j), json_string_length(j)}};
      break;
    case JSON_INTEGER: *out = (el_value){.type = EL_VALUE_INTEGER, .integer = json_integer_value(j)}; break;
    case JSON_REAL: *out = (el_value){.type = EL_VALUE_REAL, .real = json_real_value(j)}; break;
    case JSON_TRUE:
    case JSON_FALSE: *out = (el_value){.type = EL_VALUE_BOOL, .boolean = json_is_true(j)}; break;
    case JSON_NULL: break;
  }
  return EL_CONVERTED;
}

el_convert el_json_value(const json_t *j, el_value *out) {
  return convert_json(j, out, 1);
}

void el_json_value_free(el_value *v) {
  if (v->type == EL_VALUE_ARRAY) {
    for (size_t i = 0; i < v->array.n; i++) el_json_value_free((el_value *)&v->array.items[i]);
    free((void *)v->array.items);
  } else if (v->type == EL_VALUE_OBJECT) {
    for (size_t i = 0; i < v->object.n; i++) el_json_value_free((el_value *)&v->object.members[i].value);
    free((void *)v->object.members);
  }
  *v = (el_value){.type = EL_VALUE_NULL};
}
