/* GET /v1/stats: what the server does now, for people who watch it: the figures of /metrics in one JSON object. A
 * limited key learns about what it may use, and nothing about others. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "server/endpoints/endpoints.h"
#include "server/endpoints/usage.h"
#include "server/http/model_names.h"

static const char *bool_name(bool is) {
  return is ? "true" : "false";
}

/* Whether requests to "auto" get the router's decision. */
static bool answers_to_auto(el_server *s, const el_key *key) {
  return s->options.has_router && el_models_is_auto(s, key, EL_AUTO);
}

/* The model for requests that name none, if the key may name it. */
static const char *default_model_for(el_server *s, const el_key *key) {
  const char *name = s->options.default_adapter;
  if (name && (el_models_allows(s, key, name) || (answers_to_auto(s, key) && !strcmp(name, EL_AUTO)))) return name;
  return el_key_allows(key, s->model.name) ? s->model.name : NULL;
}

static bool write_model_stats(el_server *s, const el_key *key, el_buf *out) {
  const el_model_info *m = &s->model;
  bool ok = el_buf_printf(out, "\"model\":{\"name\":") &&
            el_json_cstring(out, el_key_allows(key, m->name) ? m->name : NULL) && el_buf_printf(out, ",\"default\":") &&
            el_json_cstring(out, default_model_for(s, key)) &&
            el_buf_printf(out, ",\"auto\":%s,\"ctx_size\":%d", bool_name(answers_to_auto(s, key)), m->ctx_size);
  if (!ok || el_key_is_limited(key)) return ok && el_buf_append(out, "}", 1);
  return el_buf_printf(out, ",\"architecture\":") && el_json_cstring(out, m->architecture) &&
         el_buf_printf(out,
                       ",\"parameters\":%" PRIu64 ",\"weight_bytes\":%" PRIu64 ",\"threads\":%d,\"isa\":", m->n_params,
                       m->weight_bytes, m->n_threads) &&
         el_json_cstring(out, m->isa) && el_buf_append(out, "}", 1);
}

/* The number of adapters that the key may name, without those that cannot be offered. */
static size_t count_adapters(el_server *s, const el_key *key, const el_stats *st) {
  el_adapter_info *list;
  size_t n, allowed = 0;
  if (!el_key_is_limited(key)) return st->adapters;
  if (el_adapter_list(s->options.engine, &list, &n, NULL)) return 0;
  for (size_t i = 0; i < n; i++) allowed += el_key_allows(key, list[i].name);
  el_free(list);
  return allowed;
}

static bool write_request_stats(const el_server *s, const el_stats *st, el_buf *out) {
  return el_buf_printf(out, ",\"slots\":%d,\"slots_busy\":%d,\"queued\":%d", s->model.n_slots, st->slots_busy,
                       st->queued) &&
         el_buf_printf(out,
                       ",\"requests\":{\"submitted\":%" PRIu64 ",\"done\":%" PRIu64 ",\"cancelled\":%" PRIu64
                       ",\"failed\":%" PRIu64 "}",
                       st->requests_submitted, st->requests_done, st->requests_cancelled, st->requests_failed) &&
         el_buf_printf(out,
                       ",\"tokens\":{\"prompt\":%" PRIu64 ",\"generated\":%" PRIu64 ",\"cached\":%" PRIu64
                       "},\"steps\":%" PRIu64 ",\"step_rows\":%" PRIu64 ",\"step_seconds\":%.6f",
                       st->prompt_tokens, st->generated_tokens, st->cached_tokens, st->steps, st->rows,
                       st->step_seconds);
}

static bool write_decision_stats(const el_stats *st, el_buf *out) {
  return el_buf_printf(
      out, ",\"choices\":{\"all\":%" PRIu64 ",\"base\":%" PRIu64 ",\"resident\":%" PRIu64 ",\"seconds\":%.6f}",
      st->decisions, st->decisions_base, st->decisions_resident, st->decision_seconds);
}

static bool write_adapter_stats(const el_stats *st, el_buf *out) {
  return el_buf_printf(out,
                       ",\"resident\":%" PRIu64 ",\"in_router\":%" PRIu64 ",\"hits\":%" PRIu64 ",\"misses\":%" PRIu64
                       ",\"evictions\":%" PRIu64 ",\"loads\":%" PRIu64 ",\"loads_failed\":%" PRIu64
                       ",\"load_seconds\":%.6f",
                       st->adapters_resident, st->adapters_in_router, st->adapter_hits, st->adapter_misses,
                       st->adapter_evictions, st->adapter_loads, st->adapter_loads_failed, st->load_seconds);
}

static bool write_memory_stats(const el_server *s, const el_stats *st, el_buf *out) {
  const el_pool_use use = el_info_pool(st);
  return el_buf_printf(out,
                       ",\"memory\":{\"block_bytes\":%" PRIu64 ",\"blocks\":%" PRIu64 ",\"kv\":%" PRIu64
                       ",\"adapters_used\":%" PRIu64 ",\"adapters_idle\":%" PRIu64 ",\"free\":%" PRIu64 "}",
                       s->model.block_bytes, st->pool_blocks, use.kv, use.adapters_used, use.adapters_idle, use.free);
}

/* The use of all keys, or only a limited key's own; nothing if there are no keys. */
static bool write_key_stats(el_server *s, const el_key *key, el_buf *out) {
  el_api_keys *keys = el_server_keys(s);
  bool ok =
      !keys || (el_buf_printf(out, ",\"keys\":") && el_key_usage_json(keys, el_key_is_limited(key) ? key : NULL, out));
  el_api_keys_release(keys);
  return ok;
}

bool el_info_stats(el_server *s, const el_key *key, el_buf *out) {
  bool limited = el_key_is_limited(key);
  el_stats st;
  el_engine_stats(s->options.engine, &st);
  bool ok = el_buf_printf(out, "{\"object\":\"stats\",\"version\":\"%s\",\"limited\":%s,", el_version(),
                          bool_name(limited)) &&
            write_model_stats(s, key, out) &&
            el_buf_printf(out, ",\"adapters\":{\"offered\":%zu", count_adapters(s, key, &st));
  if (ok && !limited) ok = write_adapter_stats(&st, out);
  ok = ok && el_buf_append(out, "}", 1) && write_key_stats(s, key, out);
  if (ok && !limited) /* A monotonic clock, as clients compute rates from two answers. */
    ok = el_buf_printf(out, ",\"started\":%" PRId64 ",\"clock_ms\":%.3f", s->started, (double)el_now_ns() / 1e6) &&
         write_request_stats(s, &st, out) && write_decision_stats(&st, out) && write_memory_stats(s, &st, out);
  return ok && el_buf_append(out, "}", 1);
}
