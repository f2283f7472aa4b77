/* GET /v1/models: the base, "auto" if there is a router, and the adapters, as far as the caller may name them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/common/query.h"
#include "server/endpoints/endpoints.h"
#include "server/http/model_names.h"

enum { MAX_PAGE = 100000 }; /* models in an answer */

/* One that is listed. */
typedef struct model {
  const char *id;
  int64_t created;
  const char *parent;             /* the base that an adapter changes; NULL for the others */
  const el_adapter_info *adapter; /* NULL: it is none */
  bool limited;                   /* whoever asks is: no paths */
  const el_server_options *base;  /* with the base's aliases; NULL: it is not the base */
} model;

static bool lists_auto(el_server *s, const el_key *key) {
  return s->options.has_router && el_models_is_auto(s, key, EL_AUTO);
}

static bool write_aliases(el_buf *out, const char *const *aliases, size_t n) {
  if (!n) return true;
  bool ok = el_buf_printf(out, ",\"aliases\":[");
  for (size_t i = 0; ok && i < n; i++) ok = (!i || el_buf_append(out, ",", 1)) && el_json_cstring(out, aliases[i]);
  return ok && el_buf_append(out, "]", 1);
}

/* Only adapters with a preset have these. */
static bool write_model_preset(el_buf *out, const el_adapter_info *a) {
  return (!a->description || (el_buf_printf(out, ",\"description\":") && el_json_cstring(out, a->description))) &&
         write_aliases(out, a->aliases, a->n_aliases);
}

/* vLLM's fields: the origin, and the longest sequence. */
static bool write_model_root(const el_server *s, const model *m, el_buf *out) {
  const char *path = m->adapter && !m->limited && *m->adapter->path ? m->adapter->path : m->id;
  return el_buf_printf(out, ",\"root\":") && el_json_cstring(out, path) &&
         el_buf_printf(out, ",\"max_model_len\":%d", s->model.ctx_size);
}

/* llama-server's field about the model itself. */
static bool write_model_meta(const el_model_info *m, el_buf *out) {
  return el_buf_printf(out,
                       ",\"meta\":{\"n_vocab\":%d,\"n_ctx\":%d,\"n_ctx_train\":%d,\"n_embd\":%d,\"n_params\":%" PRIu64
                       ",\"size\":%" PRIu64 "}",
                       m->n_vocab, m->ctx_size, m->ctx_train, m->n_embd, m->n_params, m->weight_bytes);
}

static bool write_openai_model(const el_server *s, const model *m, el_buf *out) {
  return el_buf_printf(out, "{\"id\":") && el_json_cstring(out, m->id) &&
         el_buf_printf(
             out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"edgelora\",\"parent\":", m->created) &&
         el_json_cstring(out, m->parent) && write_model_root(s, m, out) &&
         (!m->adapter || write_model_preset(out, m->adapter)) &&
         (!m->base || (write_aliases(out, m->base->aliases, m->base->n_aliases) && write_model_meta(&s->model, out))) &&
         el_buf_printf(out, "}");
}

static model base_model(const el_server *s, bool limited) {
  return (model){.id = s->model.name, .created = s->started, .limited = limited, .base = &s->options};
}

/* Collects the models that the key allows, in their order, into list[n + 2]. Returns their number. */
static size_t collect_models(el_server *s, const el_key *key, const el_adapter_info *adapters, size_t n, model *list) {
  size_t found = 0;
  bool limited = el_key_is_limited(key);
  if (el_key_allows(key, s->model.name)) list[found++] = base_model(s, limited);
  if (lists_auto(s, key)) list[found++] = (model){.id = EL_AUTO, .created = s->started, .limited = limited};
  for (size_t i = 0; i < n; i++)
    if (el_key_allows(key, adapters[i].name))
      list[found++] = (model){adapters[i].name, adapters[i].created, s->model.name, &adapters[i], limited, NULL};
  return found;
}

static bool write_models_page(const el_server *s, const model *list, size_t n, size_t begin, size_t most, el_buf *out,
                              el_api_error *e) {
  size_t end = most < n - begin ? begin + most : n;
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[");
  for (size_t i = begin; ok && i < end; i++)
    ok = (i == begin || el_buf_append(out, ",", 1)) && write_openai_model(s, &list[i], out);
  ok = ok && el_buf_printf(out, "],\"first_id\":") && el_json_cstring(out, begin < end ? list[begin].id : NULL) &&
       el_buf_printf(out, ",\"last_id\":") && el_json_cstring(out, begin < end ? list[end - 1].id : NULL) &&
       el_buf_printf(out, ",\"has_more\":%s}", end < n ? "true" : "false");
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_models_list(el_server *s, const el_key *key, const char *limit, const char *after, el_buf *out,
                    el_api_error *e) {
  el_adapter_info *adapters;
  size_t n, most = SIZE_MAX;
  el_error err;
  if (!el_query_number("limit", limit, 1, MAX_PAGE, &most, e)) return false;
  if (el_adapter_list(s->options.engine, &adapters, &n, &err))
    return el_api_fail_engine(e, &err, "", el_key_is_limited(key));
  model *list = calloc(n + 2, sizeof *list);
  bool ok = list || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  if (ok) {
    n = collect_models(s, key, adapters, n, list);
    size_t begin = 0;
    if (after && *after) {
      while (begin < n && strcmp(list[begin].id, after)) begin++;
      ok = begin < n || el_api_fail(e, 400, "invalid_value", "after",
                                    "Invalid value for 'after': there is no model '%.255s' (any more).", after);
      begin++;
    }
    ok = ok && write_models_page(s, list, n, begin, most, out, e);
  }
  free(list);
  el_free(adapters);
  return ok;
}

bool el_models_one(el_server *s, const el_key *key, const char *id, el_buf *out, el_api_error *e) {
  el_error err = {.code = EL_ERR_NOT_FOUND};
  bool limited = el_key_is_limited(key);
  if (lists_auto(s, key) && !strcmp(id, EL_AUTO))
    return write_openai_model(s, &(model){.id = EL_AUTO, .created = s->started, .limited = limited}, out) ||
           el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  if (el_models_is_base(s, id)) {
    if (!el_key_allows(key, s->model.name)) return el_api_fail_engine(e, &err, id, limited);
    const model base = base_model(s, limited);
    return write_openai_model(s, &base, out) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  }
  el_adapter_info *info;
  if (el_adapter_get(s->options.engine, id, &info, &err)) return el_api_fail_engine(e, &err, id, limited);
  /* A key allows adapters by their own names, not by aliases. */
  bool allowed = el_key_allows(key, info->name), ok = false;
  if (allowed) ok = write_openai_model(s, &(model){info->name, info->created, s->model.name, info, limited, NULL}, out);
  el_free(info);
  if (!allowed) return el_api_fail_engine(e, &(el_error){.code = EL_ERR_NOT_FOUND}, id, limited);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
