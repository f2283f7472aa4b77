/* POST /v1/load_lora_adapter, /v1/unload_lora_adapter and /v1/rescan_lora_adapters, with vLLM's names, answers and
 * errors where it has them. POST /lora-adapters is llama-server's.
 *
 * They run in a thread of their own, as an adapter's files are read and checked before the answer. This may take a
 * while, and neither the bodies nor the tokens of other requests should wait for it. One thread, so that two loads do
 * not race for a name. */
#include <string.h>

#include "base/json_out.h"
#include "server/endpoints/endpoints.h"
#include "server/requests/fields.h"

/* A required string. False: *e. */
static bool read_string_member(const json_t *body, const char *field, const char **out, el_api_error *e) {
  const json_t *v = json_object_get(body, field);
  if (!v || json_is_null(v))
    return el_api_fail(e, 400, "missing_required_parameter", field, "Missing required parameter: '%s'.", field);
  if (!json_is_string(v))
    return el_api_fail(e, 400, "invalid_type", field, "Invalid type for '%s': expected a string, but got %s.", field,
                       el_json_type_name(v));
  size_t len = json_string_length(v);
  if (!len) return el_api_fail(e, 400, "invalid_value", field, "Invalid value for '%s': it is empty.", field);
  if (strlen(json_string_value(v)) != len)
    return el_api_fail(e, 400, "invalid_value", field, "Invalid value for '%s': it contains a NUL character.", field);
  *out = json_string_value(v);
  return true;
}

/* Refuses fields that are not in `known`, as in other bodies. */
static bool check_body_names(const json_t *body, const char *const *known, el_api_error *e) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)body, key, value) {
    int i = 0;
    while (known[i] && strcmp(known[i], key)) i++;
    if (!known[i]) return el_api_fail(e, 400, "unknown_parameter", key, "Unknown parameter: '%.100s'.", key);
  }
  return true;
}

/* Makes an answer of the engine's error about an adapter's name or files. */
static bool fail_adapter(el_api_error *e, const el_error *err) {
  switch (err->code) {
    case EL_ERR_IO: return el_api_fail(e, 404, "adapter_not_found", "lora_path", "%s", err->message);
    case EL_ERR_FORMAT: return el_api_fail(e, 400, "invalid_adapter", "lora_path", "%s", err->message);
    case EL_ERR_UNSUPPORTED: return el_api_fail(e, 400, "unsupported_adapter", "lora_path", "%s", err->message);
    case EL_ERR_EXISTS: return el_api_fail(e, 400, "adapter_exists", "lora_name", "%s", err->message);
    case EL_ERR_INVALID: return el_api_fail(e, 400, "invalid_value", "lora_name", "%s", err->message);
    case EL_ERR_NOT_FOUND: return el_api_fail(e, 404, "adapter_not_found", "lora_name", "%s", err->message);
    case EL_ERR_CONFLICT: return el_api_fail(e, 409, "generation_conflict", "expected_generation", "%s", err->message);
    case EL_ERR_TOO_LARGE: return el_api_fail(e, 400, "adapter_too_large", "lora_path", "%s", err->message);
    case EL_ERR_NO_MEMORY: return el_api_fail(e, 507, "no_memory", NULL, "%s", err->message);
    default: return el_api_fail_engine(e, err, "", false);
  }
}

static bool write_admin_answer(el_exchange *x, const char *name, const char *what, el_api_error *e) {
  x->result_type = "text/plain; charset=utf-8";
  return el_buf_printf(&x->result, "Success: LoRA adapter '%s' %s successfully.", name, what) ||
         el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* Finds the adapter with this name, if clients may replace or remove it. *generation 0: the name is free. False: *e. */
static bool find_replaceable(el_server *s, const char *name, uint64_t *generation, el_api_error *e) {
  el_adapter_info *info;
  el_error err;
  *generation = 0;
  if (el_adapter_get(s->options.engine, name, &info, &err))
    return err.code == EL_ERR_NOT_FOUND || fail_adapter(e, &err);
  bool alias = strcmp(info->name, name) != 0; /* loading and unloading use adapters' own names */
  bool ours = alias || (*info->path && el_allowed_has(&s->allowed, info->path));
  *generation = alias ? 0 : info->generation;
  el_free(info);
  return ours || el_api_fail(e, 403, "adapter_not_allowed", "lora_name",
                             "Adapter '%.255s' does not come from a folder that clients may load from: only the "
                             "operator can take it away.",
                             name);
}

/* Not there, or null: *out stays. */
static bool read_flag_member(const json_t *body, const char *field, bool *out, el_api_error *e) {
  const json_t *v = json_object_get(body, field);
  if (!v || json_is_null(v)) return true;
  if (!json_is_boolean(v))
    return el_api_fail(e, 400, "invalid_type", field, "Invalid type for '%s': expected a boolean, but got %s.", field,
                       el_json_type_name(v));
  *out = json_is_true(v);
  return true;
}

/* The same of `expected_generation`. */
static bool read_generation_member(const json_t *body, uint64_t *out, el_api_error *e) {
  static const char field[] = "expected_generation";
  const json_t *v = json_object_get(body, field);
  if (!v || json_is_null(v)) return true;
  if (!json_is_integer(v))
    return el_api_fail(e, 400, "invalid_type", field, "Invalid type for '%s': expected an integer, but got %s.", field,
                       el_json_type_name(v));
  if (json_integer_value(v) < 0)
    return el_api_fail(e, 400, "invalid_value", field, "Invalid value for '%s': %lld is below 0.", field,
                       (long long)json_integer_value(v));
  *out = (uint64_t)json_integer_value(v);
  return true;
}

/* vLLM's fields without a meaning here: there is one base, and the engine assigns ids. */
static bool check_ignored_members(const json_t *body, el_api_error *e) {
  const json_t *base = json_object_get(body, "base_model_name"), *id = json_object_get(body, "lora_int_id");
  if (base && !json_is_null(base) && !json_is_string(base))
    return el_api_fail(e, 400, "invalid_type", "base_model_name",
                       "Invalid type for 'base_model_name': expected a string, but got %s.", el_json_type_name(base));
  return !id || json_is_null(id) || json_is_integer(id) ||
         el_api_fail(e, 400, "invalid_type", "lora_int_id",
                     "Invalid type for 'lora_int_id': expected an integer, but got %s.", el_json_type_name(id));
}

static bool load_adapter(el_exchange *x, const json_t *body, el_api_error *e) {
  static const char *const known[] = {"lora_name", "lora_path",       "load_inplace", "expected_generation",
                                      "pinned",    "base_model_name", "lora_int_id",  NULL};
  const char *name, *path;
  el_adapter_put_options how = {.expected = EL_ANY_GENERATION};
  if (!check_body_names(body, known, e) || !check_ignored_members(body, e) ||
      !read_string_member(body, "lora_name", &name, e) || !read_string_member(body, "lora_path", &path, e) ||
      !read_flag_member(body, "load_inplace", &how.in_place, e) || !read_generation_member(body, &how.expected, e) ||
      !read_flag_member(body, "pinned", &how.pinned, e))
    return false;
  el_server *s = x->server;
  char *real = el_allowed_resolve(&s->allowed, path, e);
  if (!real) return false;
  uint64_t found = 0;
  el_error err;
  bool ok = !how.in_place || find_replaceable(s, name, &found, e);
  /* Only the generation that was checked is replaced. */
  if (ok && how.in_place && how.expected == EL_ANY_GENERATION) how.expected = found;
  if (ok && el_adapter_put(s->options.engine, name, real, &how, NULL, &err)) ok = fail_adapter(e, &err);
  if (ok) el_logf(&s->log, EL_LOG_INFO, "adapter %s: %s %s by %s", name, found ? "now" : "added from", real, x->id);
  free(real);
  return ok && write_admin_answer(x, name, found ? "replaced" : "added", e);
}

static bool unload_adapter(el_exchange *x, const json_t *body, el_api_error *e) {
  static const char *const known[] = {"lora_name", "expected_generation", "base_model_name", "lora_int_id", NULL};
  const char *name;
  uint64_t expected = EL_ANY_GENERATION, found;
  if (!check_body_names(body, known, e) || !check_ignored_members(body, e) ||
      !read_string_member(body, "lora_name", &name, e) || !read_generation_member(body, &expected, e))
    return false;
  el_server *s = x->server;
  el_error err;
  if (!el_allowed_any(&s->allowed, e) || !find_replaceable(s, name, &found, e)) return false;
  if (expected == EL_ANY_GENERATION && found) expected = found;
  if (el_adapter_remove_expected(s->options.engine, name, expected, &err)) return fail_adapter(e, &err);
  el_logf(&s->log, EL_LOG_INFO, "adapter %s: removed by %s", name, x->id);
  return write_admin_answer(x, name, "removed", e);
}

/* llama-server's POST /lora-adapters: adapters that are not in the list have a scale of 0 from now on. */
static bool set_adapter_scales(el_exchange *x, const json_t *body, el_api_error *e) {
  el_server *s = x->server;
  el_lora_scale all[EL_MAX_COMBINED];
  size_t n = 0;
  if (!el_api_lora_read(body, "lora", all, &n, e)) return false;
  for (size_t i = 0; i < n; i++) {
    el_adapter_info *info;
    el_error err;
    if (el_adapter_get_by_id(s->options.engine, all[i].id, &info, &err))
      return el_api_fail(e, 400, "invalid_value", "lora", "There is no adapter with id %llu; see GET /lora-adapters.",
                         (unsigned long long)all[i].id);
    el_free(info);
  }
  if (s->options.adapters_locked)
    return el_api_fail(e, 403, "adapters_locked", NULL,
                       "Clients may not scale adapters for all: the operator has locked them (--lock-adapters).");
  el_scales_set(&s->scales, all, n);
  el_logf(&s->log, EL_LOG_INFO, "scales of adapters: %zu set by %s", n, x->id);
  x->result_type = "application/json";
  return el_buf_printf(&x->result, "{\"success\":true}") || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

static bool rescan_adapters(el_exchange *x, el_api_error *e) {
  el_rescan_result r;
  el_error err;
  if (el_adapter_rescan(x->server->options.engine, &r, &err))
    return el_api_fail(e, 500, el_status_name(err.code), NULL, "%s", err.message);
  x->result_type = "application/json";
  return el_buf_printf(&x->result, "{\"added\":%zu,\"changed\":%zu,\"removed\":%zu,\"failed\":%zu}", r.n_added,
                       r.n_changed, r.n_removed, r.n_failed) ||
         el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

static bool run_admin_request(el_exchange *x, el_api_error *e) {
  /* The body of a rescan is ignored. */
  if (x->work == EL_WORK_RESCAN) return rescan_adapters(x, e);
  el_decoded decoded = el_exchange_decode(x, x->server->options.max_body_bytes, e);
  if (decoded) return decoded == EL_DECODED_TOO_LONG ? el_exchange_fail_too_large(x, e) : false;
  json_t *body = el_api_body_load(x->body.data, x->body.len, x->work == EL_WORK_SCALES, e);
  el_exchange_drop_body(x);
  if (!body) return false;
  bool ok = x->work == EL_WORK_LOAD     ? load_adapter(x, body, e)
            : x->work == EL_WORK_UNLOAD ? unload_adapter(x, body, e)
                                        : set_adapter_scales(x, body, e);
  json_decref(body);
  return ok;
}

void *el_admin_main(void *server) {
  el_server *s = server;
  el_exchange *x;
  while ((x = el_admin_pop(s))) {
    el_api_error e;
    bool ok = run_admin_request(x, &e);
    el_exchange_submitted(x, ok ? NULL : &e);
    el_exchange_release(x);
  }
  return NULL;
}
