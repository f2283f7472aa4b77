/* GET /health, /ready, /lora-adapters, /slots and /queue. */
#include <inttypes.h>
#include <string.h>

#include "base/json_out.h"
#include "server/endpoints/endpoints.h"

static const char *server_status(el_server *s) {
  if (atomic_load(&s->draining)) return "draining";
  return atomic_load(&s->leaving) ? "leaving" : "ok";
}

bool el_info_health(el_server *s, bool whole, el_buf *out) {
  el_stats st;
  if (!el_buf_printf(out, "{\"status\":\"%s\"", server_status(s))) return false;
  if (!whole) return el_buf_append(out, "}", 1);
  el_engine_stats(s->options.engine, &st);
  return el_buf_printf(out, ",\"model\":") && el_json_cstring(out, s->model.name) &&
         el_buf_printf(out,
                       ",\"slots\":%d,\"slots_busy\":%d,\"queued\":%d,\"requests\":{\"submitted\":%" PRIu64
                       ",\"done\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"failed\":%" PRIu64
                       "},\"generated_tokens\":%" PRIu64 ",\"version\":\"%s\"}",
                       s->model.n_slots, st.slots_busy, st.queued, st.requests_submitted, st.requests_done,
                       st.requests_cancelled, st.requests_failed, st.generated_tokens, el_version());
}

static bool write_token_member(const el_tokenizer *t, const char *name, int32_t token, el_buf *out) {
  char *s = NULL;
  size_t len = 0;
  el_error err;
  if (token >= 0 && el_detokenize(t, &token, 1, true, &s, &len, &err)) return false;
  bool ok = el_buf_printf(out, ",\"%s\":", name) && (s ? el_json_string(out, s, len) : el_buf_append(out, "null", 4));
  el_free(s);
  return ok;
}

/* vLLM's endpoint, with the names of transformers' tokenizer_config.json. */
bool el_info_tokenizer(el_server *s, el_buf *out) {
  const el_tokenizer *t = el_engine_tokenizer(s->options.engine);
  return el_buf_printf(out, "{\"tokenizer_class\":\"edgelora\",\"vocab_size\":%d,\"model_max_length\":%d",
                       (int)el_tokenizer_n_vocab(t), s->model.ctx_size) &&
         write_token_member(t, "bos_token", el_tokenizer_bos(t), out) &&
         write_token_member(t, "eos_token", el_tokenizer_eos(t), out) && el_buf_append(out, "}", 1);
}

/* llama-server's list: each adapter with its scale for requests that name no adapter. */
bool el_info_lora(el_server *s, el_buf *out, el_api_error *e) {
  el_lora_scale all[EL_MAX_COMBINED];
  size_t n_all = el_scales_get(&s->scales, all), n;
  el_adapter_info *list;
  el_error err;
  if (el_adapter_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "", false);
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < n; i++) {
    float scale = 0;
    for (size_t k = 0; k < n_all; k++)
      if (all[k].id == list[i].id) scale = all[k].scale;
    ok = el_buf_printf(out, "%s{\"id\":%" PRIu64 ",\"name\":", i ? "," : "", list[i].id) &&
         el_json_cstring(out, list[i].name) && el_buf_printf(out, ",\"path\":") && el_json_cstring(out, list[i].path) &&
         el_buf_printf(out, ",\"scale\":") && el_json_float(out, scale) &&
         el_adapters_write_invocation(out, &list[i], el_engine_tokenizer(s->options.engine)) &&
         el_buf_append(out, "}", 1);
  }
  el_free(list);
  return (ok && el_buf_append(out, "]", 1)) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* ------------------------------------------------------------------ requests */

static const char *const PHASES[] = {"queued", "choosing", "loading", "prompt", "generation"};

/* llama-server's names where it has them. */
static bool write_slot_info(el_server *s, int slot, const el_request_info *r, el_buf *out) {
  bool ok =
      el_buf_printf(out, "%s{\"id\":%d,\"id_task\":", slot ? "," : "", slot) &&
      (r ? el_buf_printf(out, "%" PRIu64, r->id) : el_buf_printf(out, "-1")) &&
      el_buf_printf(out, ",\"n_ctx\":%d,\"speculative\":%s,\"is_processing\":%s,\"state\":\"%s\"", s->model.ctx_size,
                    s->model.speculate ? "true" : "false", r ? "true" : "false", r ? PHASES[r->phase] : "idle");
  if (!r) return ok && el_buf_printf(out, "}");
  int prompt = r->computed_tokens < r->prompt_tokens ? r->computed_tokens : r->prompt_tokens;
  int left = r->max_tokens - r->generated_tokens;
  return ok && el_buf_printf(out, ",\"adapter\":") && el_json_cstring(out, *r->adapter ? r->adapter : NULL) &&
         el_buf_printf(out,
                       ",\"n_prompt_tokens\":%d,\"n_prompt_tokens_processed\":%d,\"age_ms\":%.1f,"
                       "\"next_token\":[{\"has_next_token\":%s,\"n_decoded\":%d,\"n_remain\":%d}]}",
                       r->prompt_tokens, prompt, r->age_ms, left > 0 ? "true" : "false", r->generated_tokens, left);
}

bool el_info_slots(el_server *s, bool fail_when_full, el_buf *out, el_api_error *e) {
  el_request_info *list;
  size_t n;
  el_error err;
  if (el_request_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "", false);
  int busy = 0;
  bool ok = el_buf_append(out, "[", 1);
  for (int slot = 0; ok && slot < s->model.n_slots; slot++) {
    size_t i = 0;
    while (i < n && list[i].slot != slot) i++;
    busy += i < n;
    ok = write_slot_info(s, slot, i < n ? &list[i] : NULL, out);
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
  if (el_request_list(s->options.engine, &list, &n, &err)) return el_api_fail_engine(e, &err, "", false);
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < n; i++) {
    const el_request_info *r = &list[i];
    if (r->slot >= 0) continue;
    /* A request may have left its slot between the two calls. */
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
