/* GET /props: llama-server's description of the server. */
#include "base/json_out.h"
#include "server/dialects/llama.h"
#include "server/endpoints/endpoints.h"

static bool write_special_token(const el_tokenizer *t, const char *name, int32_t id, el_buf *out) {
  char *text = NULL;
  size_t len = 0;
  if (id >= 0 && el_detokenize_after(t, id, &id, 1, true, &text, &len, NULL)) return false;
  bool ok = el_buf_printf(out, ",\"%s\":", name) && el_json_string(out, text ? text : "", len);
  el_free(text);
  return ok;
}

/* The settings of a request without fields. */
static bool write_default_settings(const el_server *s, el_buf *out) {
  el_api_request r = {.n = 1, .request = el_request_default()};
  const el_held_adapter *base = NULL;
  el_error err;
  el_llama_completion.defaults(&r);
  r.asked_tokens = r.request.max_tokens;
  if (!el_adapter_hold(s->options.engine, s->model.name, &base, &err) && base->preset) {
    const el_preset *preset = base->preset;
    el_sampling_apply_preset(&r.request.sampling, preset, preset->set);
    if (preset->set & EL_PRESET_MAX_TOKENS) r.asked_tokens = preset->max_tokens;
  }
  bool ok =
      el_buf_printf(out, "{\"id\":0,\"id_task\":-1,\"n_ctx\":%d,\"speculative\":%s,\"is_processing\":false,\"params\":",
                    s->model.ctx_size, s->model.speculate ? "true" : "false") &&
      el_llama_write_settings(el_engine_tokenizer(s->options.engine), &r, out) && el_buf_append(out, "}", 1);
  el_adapter_release(s->options.engine, base);
  return ok;
}

/* The file's name without its folder, as only the operator may know where files are. */
static bool write_model_path(const el_server *s, el_buf *out) {
  el_buf name = {0};
  bool ok = el_buf_printf(&name, "%s.gguf", s->model.name) && el_buf_printf(out, ",\"model_path\":") &&
            el_json_string(out, name.data, name.len);
  el_buf_free(&name);
  return ok;
}

bool el_llama_props(const el_query *q, el_answer *out, el_api_error *e) {
  const el_server *s = q->server;
  const el_tokenizer *t = el_engine_tokenizer(s->options.engine);
  el_buf *b = &out->body;
  bool ok = el_buf_printf(b, "{\"default_generation_settings\":") && write_default_settings(s, b) &&
            el_buf_printf(b, ",\"total_slots\":%d,\"model_alias\":", s->model.n_slots) &&
            el_json_cstring(b, s->model.name) && write_model_path(s, b) &&
            el_buf_printf(b,
                          ",\"modalities\":{\"vision\":false,\"audio\":false},\"endpoint_slots\":%s,"
                          "\"endpoint_props\":false,\"endpoint_metrics\":%s,\"is_sleeping\":false",
                          s->options.no_slots ? "false" : "true", s->options.no_metrics ? "false" : "true") &&
            write_special_token(t, "bos_token", el_tokenizer_bos(t), b) &&
            write_special_token(t, "eos_token", el_tokenizer_eos(t), b) &&
            el_buf_printf(b, ",\"build_info\":\"edgelora-%s\"}", el_version());
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
