#include "bench/load/offers.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

const char *el_load_offers_path(el_load_api api) {
  return api == EL_LOAD_OPENAI ? "/v1/models" : "/lora-adapters";
}

static el_status no_memory_for_offers(el_error *err) {
  return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for the list of adapters");
}

/* The name of a model; NULL: it has none that can be sent back. */
static const char *model_id(const json_t *model) {
  const json_t *id = json_object_get(model, "id");
  if (!json_is_string(id) || strlen(json_string_value(id)) != json_string_length(id)) return NULL;
  return json_string_value(id);
}

static el_status read_models(const json_t *list, const char *prefix, el_load_names *out, char **base, el_error *err) {
  size_t i;
  json_t *model;
  bool parents = false;
  if (!json_is_array(list)) return el_fail(err, EL_ERR_FORMAT, "/v1/models: 'data' is not an array");
  json_array_foreach(list, i, model) parents |= json_is_string(json_object_get(model, "parent"));
  json_array_foreach(list, i, model) {
    const char *id = model_id(model);
    if (!id) return el_fail(err, EL_ERR_FORMAT, "/v1/models: data[%zu].id is not a string", i);
    bool adapter = parents ? json_is_string(json_object_get(model, "parent")) : i > 0;
    if (!adapter && !*base && !(*base = strdup(id))) return no_memory_for_offers(err);
    if (!adapter || (prefix && strncmp(id, prefix, strlen(prefix)) != 0)) continue;
    if (!el_load_names_add(out, id, strlen(id))) return no_memory_for_offers(err);
  }
  return EL_OK;
}

static el_status read_lora(const json_t *list, el_load_names *out, el_error *err) {
  size_t i;
  json_t *adapter;
  if (!json_is_array(list)) return el_fail(err, EL_ERR_FORMAT, "/lora-adapters: the answer is not an array");
  json_array_foreach(list, i, adapter) {
    const json_t *id = json_object_get(adapter, "id");
    char name[24];
    if (!json_is_integer(id)) return el_fail(err, EL_ERR_FORMAT, "/lora-adapters: [%zu].id is not an integer", i);
    int len = snprintf(name, sizeof name, "%lld", (long long)json_integer_value(id));
    if (!el_load_names_add(out, name, (size_t)len)) return no_memory_for_offers(err);
  }
  return EL_OK;
}

el_status el_load_offers_read(el_load_api api, const char *json, size_t len, const char *prefix, el_load_names *out,
                              char **base, el_error *err) {
  json_error_t why;
  *base = NULL;
  json_t *root = json_loadb(json, len, 0, &why);
  el_status status;
  if (!root)
    status = el_fail(err, EL_ERR_FORMAT, "%s: no JSON: %s", el_load_offers_path(api), why.text);
  else if (api == EL_LOAD_OPENAI)
    status = read_models(json_object_get(root, "data"), prefix, out, base, err);
  else
    status = read_lora(root, out, err);
  json_decref(root);
  return status;
}

/* The value of the line "NAME VALUE". */
static bool read_counter(const char *text, size_t len, const char *name, double *out) {
  size_t n = strlen(name);
  for (const char *line = text, *end = text + len; line < end;) {
    const char *newline = memchr(line, '\n', (size_t)(end - line));
    size_t line_len = (size_t)((newline ? newline : end) - line);
    char number[40];
    if (line_len > n + 1 && line_len - n - 1 < sizeof number && memcmp(line, name, n) == 0 && line[n] == ' ') {
      memcpy(number, line + n + 1, line_len - n - 1);
      number[line_len - n - 1] = 0;
      char *stop;
      *out = strtod(number, &stop);
      return stop != number && isfinite(*out);
    }
    line += line_len + 1;
  }
  return false;
}

el_load_counters el_load_counters_read(const char *text, size_t len) {
  el_load_counters c = {.told = false};
  c.told = read_counter(text, len, "edgelora_adapter_hits_total", &c.hits) &&
           read_counter(text, len, "edgelora_adapter_misses_total", &c.misses);
  read_counter(text, len, "edgelora_adapter_evictions_total", &c.evictions);
  return c;
}
