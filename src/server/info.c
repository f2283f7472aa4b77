/* GET /health, /v1/models, /slots and /queue. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_out.h"
#include "server/private.h"

enum { MAX_PAGE = 100000 }; /* models in an answer */

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

/* limit, after: as the client gave them; NULL: not given. */
static bool read_page(const char *limit, size_t *most, el_api_error *e) {
  *most = SIZE_MAX;
  if (!limit) return true;
  char *end;
  unsigned long n = strtoul(limit, &end, 10);
  if (*limit < '0' || *limit > '9' || *end || n < 1 || n > MAX_PAGE)
    return el_api_fail(e, 400, "invalid_value", "limit", "Invalid value for 'limit': '%.40s' is not between 1 and %d.",
                       limit, MAX_PAGE);
  *most = n;
  return true;
}

/* Where the page begins in [base, list[0], ..., list[n - 1]]; false: there is no model called `after`. */
static bool find_after(const el_server *s, const el_adapter_info *list, size_t n, const char *after, size_t *begin) {
  *begin = !strcmp(after, s->model.name);
  for (size_t i = 0; !*begin && i < n; i++)
    if (!strcmp(after, list[i].name)) *begin = i + 2;
  return *begin > 0;
}

bool el_info_models(el_server *s, const char *limit, const char *after, el_buf *out, el_api_error *e) {
  el_adapter_info *list;
  size_t n, most, begin = 0;
  el_error err;
  if (!read_page(limit, &most, e)) return false;
  if (el_adapter_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "");
  if (after && *after && !find_after(s, list, n, after, &begin)) {
    el_free(list);
    return el_api_fail(e, 400, "invalid_value", "after",
                       "Invalid value for 'after': there is no model '%.255s' (any more).", after);
  }
  size_t end = most < n + 1 - begin ? begin + most : n + 1;
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[");
  for (size_t i = begin; ok && i < end; i++) {
    ok = i == begin || el_buf_append(out, ",", 1);
    if (ok && !i) ok = write_model(out, s->model.name, s->started, NULL);
    if (ok && i) ok = write_model(out, list[i - 1].name, list[i - 1].created, s->model.name);
  }
  const char *first = begin == end ? NULL : begin ? list[begin - 1].name : s->model.name;
  const char *last = begin == end ? NULL : end > 1 ? list[end - 2].name : s->model.name;
  ok = ok && el_buf_printf(out, "],\"first_id\":") && el_json_cstring(out, first) &&
       el_buf_printf(out, ",\"last_id\":") && el_json_cstring(out, last) &&
       el_buf_printf(out, ",\"has_more\":%s}", end < n + 1 ? "true" : "false");
  el_free(list);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_info_model(el_server *s, const char *id, el_buf *out, el_api_error *e) {
  if (!strcmp(id, s->model.name)) return write_model(out, id, s->started, NULL);
  el_adapter_info *info;
  el_error err;
  if (el_adapter_get(s->options.engine, id, &info, &err)) return el_api_fail_engine(e, &err, id);
  bool ok = write_model(out, id, info->created, s->model.name);
  el_free(info);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* llama-server's list: each adapter with the scale that it has for requests that name none. */
bool el_info_lora(el_server *s, el_buf *out, el_api_error *e) {
  el_lora_choice all[EL_MAX_COMBINED];
  size_t n_all = el_scales_get(&s->scales, all), n;
  el_adapter_info *list;
  el_error err;
  if (el_adapter_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "");
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < n; i++) {
    float scale = 0;
    for (size_t k = 0; k < n_all; k++)
      if (all[k].id == list[i].id) scale = all[k].scale;
    ok = el_buf_printf(out, "%s{\"id\":%" PRIu64 ",\"name\":", i ? "," : "", list[i].id) &&
         el_json_cstring(out, list[i].name) && el_buf_printf(out, ",\"path\":") && el_json_cstring(out, list[i].path) &&
         el_buf_printf(out, ",\"scale\":") && el_json_float(out, scale) && el_buf_append(out, "}", 1);
  }
  el_free(list);
  return (ok && el_buf_append(out, "]", 1)) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* ------------------------------------------------------------------ requests */

static const char *const PHASES[] = {"queued", "loading", "prompt", "generation"};

/* llama-server's names where it has them. */
static bool write_slot(el_server *s, int slot, const el_request_info *r, el_buf *out) {
  bool ok = el_buf_printf(out, "%s{\"id\":%d,\"id_task\":", slot ? "," : "", slot) &&
            (r ? el_buf_printf(out, "%" PRIu64, r->id) : el_buf_printf(out, "-1")) &&
            el_buf_printf(out, ",\"n_ctx\":%d,\"is_processing\":%s,\"state\":\"%s\"", s->model.ctx_size,
                          r ? "true" : "false", r ? PHASES[r->phase] : "idle");
  if (!r) return ok && el_buf_printf(out, "}");
  int prompt = r->computed_tokens < r->prompt_tokens ? r->computed_tokens : r->prompt_tokens;
  int left = r->max_tokens - r->generated_tokens;
  return ok && el_buf_printf(out, ",\"adapter\":") && el_json_cstring(out, *r->adapter ? r->adapter : NULL) &&
         el_buf_printf(out,
                       ",\"n_prompt_tokens\":%d,\"n_prompt_tokens_processed\":%d,\"age_ms\":%.1f,"
                       "\"next_token\":{\"has_next_token\":%s,\"n_decoded\":%d,\"n_remain\":%d}}",
                       r->prompt_tokens, prompt, r->age_ms, left > 0 ? "true" : "false", r->generated_tokens, left);
}

bool el_info_slots(el_server *s, bool fail_when_full, el_buf *out, el_api_error *e) {
  el_request_info *list;
  size_t n;
  el_error err;
  if (el_request_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "");
  int busy = 0;
  bool ok = el_buf_append(out, "[", 1);
  for (int slot = 0; ok && slot < s->model.n_slots; slot++) {
    size_t i = 0;
    while (i < n && list[i].slot != slot) i++;
    busy += i < n;
    ok = write_slot(s, slot, i < n ? &list[i] : NULL, out);
  }
  el_free(list);
  if (!ok || !el_buf_append(out, "]", 1)) return el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  return !fail_when_full || busy < s->model.n_slots ||
         el_api_fail(e, 503, "no_slot_available", NULL, "All %d slots are busy.", busy);
}

bool el_info_queue(el_server *s, el_buf *out, el_api_error *e) {
  el_request_info *list;
  size_t n, written = 0;
  el_error err;
  if (el_request_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "");
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < n; i++) {
    const el_request_info *r = &list[i];
    if (r->slot >= 0) continue;
    /* Between two looks at it a request may have left its slot. */
    el_phase phase = r->phase == EL_PHASE_LOADING ? r->phase : EL_PHASE_QUEUED;
    ok = el_buf_printf(out, "%s{\"id_task\":%" PRIu64 ",\"state\":\"%s\",\"adapter\":", written++ ? "," : "", r->id,
                       PHASES[phase]) &&
         el_json_cstring(out, *r->adapter ? r->adapter : NULL) &&
         el_buf_printf(out,
                       ",\"n_prompt_tokens\":%d,\"n_decoded\":%d,\"max_tokens\":%d,\"overtaken\":%d,\"age_ms\":%.1f}",
                       r->prompt_tokens, r->generated_tokens, r->max_tokens, r->overtaken, r->age_ms);
  }
  el_free(list);
  return (ok && el_buf_append(out, "]", 1)) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
