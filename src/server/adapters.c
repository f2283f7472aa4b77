/* GET /v1/adapters/NAME: what is known of one adapter. */
#include <inttypes.h>

#include "server/json_out.h"
#include "server/private.h"

static const char *const STATES[] = {
    [EL_ADAPTER_ON_DISK] = "on_disk",
    [EL_ADAPTER_LOADING] = "loading",
    [EL_ADAPTER_RESIDENT] = "resident",
    [EL_ADAPTER_FAILED] = "failed",
};

/* Seconds since the epoch, or null for 0. */
static bool write_time(el_buf *out, const char *name, int64_t at) {
  return at ? el_buf_printf(out, ",\"%s\":%" PRId64, name, at) : el_buf_printf(out, ",\"%s\":null", name);
}

/* limited: its caller's key is, so that no path is told. */
static bool write_failure(el_buf *out, const el_adapter_info *a, bool limited) {
  if (!a->failure) return el_buf_printf(out, ",\"failure\":null");
  const char *why = !limited ? a->failure : *a->failure_detail ? a->failure_detail : "the server's log says why";
  return el_buf_printf(out, ",\"failure\":{\"message\":") && el_json_cstring(out, why) &&
         write_time(out, "at", a->failed_at) && el_buf_append(out, "}", 1);
}

static bool write_adapter(el_buf *out, const el_adapter_info *a, bool limited) {
  return el_buf_printf(out, "{\"object\":\"adapter\",\"name\":") && el_json_cstring(out, a->name) &&
         el_buf_printf(out, ",\"id\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"state\":\"%s\"", a->id, a->generation,
                       STATES[a->state]) &&
         (limited || (el_buf_printf(out, ",\"path\":") && el_json_cstring(out, a->path))) &&
         el_buf_printf(out, ",\"rank\":%d,\"bytes\":%" PRIu64 ",\"in_router\":%s", a->rank, a->bytes,
                       a->in_router ? "true" : "false") &&
         write_time(out, "created", a->created) &&
         el_buf_printf(out,
                       ",\"requests\":%" PRIu64 ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64
                       ",\"hits\":%" PRIu64 ",\"loads\":%" PRIu64 ",\"loads_failed\":%" PRIu64,
                       a->requests, a->prompt_tokens, a->generated_tokens, a->hits, a->loads, a->loads_failed) &&
         write_time(out, "last_used", a->last_used) && write_failure(out, a, limited) && el_buf_append(out, "}", 1);
}

bool el_adapters_one(el_server *s, const el_key *key, const char *name, el_buf *out, el_api_error *e) {
  el_error err = {.code = EL_ERR_NOT_FOUND};
  el_adapter_info *info;
  if (!el_key_allows(key, name) || el_adapter_get(s->options.engine, name, &info, &err))
    return el_api_fail_engine(e, &err, name, el_key_is_limited(key));
  bool ok = write_adapter(out, info, el_key_is_limited(key));
  el_free(info);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
