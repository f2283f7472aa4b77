/* GET /health and /v1/models. */
#include <inttypes.h>
#include <string.h>

#include "server/json_out.h"
#include "server/private.h"

bool el_info_health(el_server *s, el_buf *out) {
  el_stats st;
  el_engine_stats(s->options.engine, &st);
  return el_buf_printf(out, "{\"status\":\"%s\",\"model\":", atomic_load(&s->draining) ? "draining" : "ok") &&
         el_json_cstring(out, s->model.name) &&
         el_buf_printf(out,
                       ",\"slots\":%d,\"slots_busy\":%d,\"queued\":%d,\"requests\":{\"submitted\":%" PRIu64
                       ",\"done\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"failed\":%" PRIu64
                       "},\"generated_tokens\":%" PRIu64 ",\"version\":\"%s\"}",
                       s->model.n_slots, st.slots_busy, st.queued, st.requests_submitted, st.requests_done,
                       st.requests_cancelled, st.requests_failed, st.generated_tokens, el_version());
}

/* parent: the base that an adapter changes; NULL for the base itself. */
static bool write_model(el_buf *out, const char *id, int64_t created, const char *parent) {
  return el_buf_printf(out, "{\"id\":") && el_json_cstring(out, id) &&
         el_buf_printf(
             out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":\"edgelora\",\"parent\":", created) &&
         el_json_cstring(out, parent) && el_buf_printf(out, "}");
}

bool el_info_models(el_server *s, el_buf *out) {
  el_adapter_info *list;
  size_t n;
  el_error err;
  if (el_adapter_list(s->options.engine, &list, &n, &err)) return false;
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[") && write_model(out, s->model.name, s->started, NULL);
  for (size_t i = 0; ok && i < n; i++)
    ok = el_buf_append(out, ",", 1) && write_model(out, list[i].name, list[i].created, s->model.name);
  el_free(list);
  return ok && el_buf_printf(out, "]}");
}

bool el_info_model(el_server *s, const char *id, el_buf *out, el_api_error *e) {
  if (!strcmp(id, s->model.name)) return write_model(out, id, s->started, NULL);
  el_adapter_info *list;
  size_t n;
  el_error err;
  if (el_adapter_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, id);
  size_t i = 0;
  while (i < n && strcmp(id, list[i].name)) i++;
  bool found = i < n, ok = found && write_model(out, id, list[i].created, s->model.name);
  el_free(list);
  if (found) return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  err.code = EL_ERR_NOT_FOUND;
  return el_api_fail_engine(e, &err, id);
}
