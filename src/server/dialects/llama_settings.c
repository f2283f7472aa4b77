/* llama-server's list of a request's sampling settings. Samplers that are not supported are listed as off. */
#include <inttypes.h>

#include "base/json_out.h"
#include "server/dialects/llama.h"

static bool write_bias_setting(const el_tokenizer *t, const el_request *q, el_buf *out) {
  bool ok = el_buf_printf(out, ",\"logit_bias\":["), any = false;
  for (size_t i = 0; ok && i < q->sampling.n_logit_bias; i++, any = true)
    ok = el_buf_printf(out, "%s{\"token\":%d,\"bias\":", any ? "," : "", (int)q->sampling.logit_bias[i].token) &&
         el_json_float(out, q->sampling.logit_bias[i].bias) && el_buf_append(out, "}", 1);
  /* These tokens are never drawn: null stands for minus infinity. */
  for (int32_t id = 0; ok && q->ignore_eos && id < el_tokenizer_n_vocab(t); id++) {
    if (!el_tokenizer_is_eog(t, id)) continue;
    ok = el_buf_printf(out, "%s{\"token\":%d,\"bias\":null}", any ? "," : "", (int)id);
    any = true;
  }
  return ok && el_buf_append(out, "]", 1);
}

static bool write_number_setting(el_buf *out, const char *name, double v) {
  return el_buf_printf(out, ",\"%s\":", name) && el_json_float(out, v);
}

static bool write_stop_setting(const el_request *q, el_buf *out) {
  bool ok = el_buf_printf(out, ",\"stop\":[");
  for (size_t i = 0; ok && i < q->n_stop; i++)
    ok = (!i || el_buf_append(out, ",", 1)) && el_json_cstring(out, q->stop[i]);
  return ok && el_buf_append(out, "]", 1);
}

static bool write_lora_setting(const el_api_request *r, el_buf *out) {
  bool ok = el_buf_printf(out, ",\"lora\":[");
  for (size_t i = 0; ok && i < r->n_lora; i++)
    ok = el_buf_printf(out, "%s{\"id\":%" PRIu64 ",\"scale\":", i ? "," : "", r->lora[i].id) &&
         el_json_float(out, r->lora[i].scale) && el_buf_append(out, "}", 1);
  return ok && el_buf_append(out, "]", 1);
}

bool el_llama_write_settings(const el_tokenizer *t, const el_api_request *r, el_buf *out) {
  const el_request *q = &r->request;
  const el_sampling *s = &q->sampling;
  return el_buf_printf(out, "{\"seed\":%" PRId64, (int64_t)s->seed) &&
         write_number_setting(out, "temperature", s->temperature) &&
         el_buf_printf(out, ",\"dynatemp_range\":0,\"dynatemp_exponent\":1,\"top_k\":%d", s->top_k) &&
         write_number_setting(out, "top_p", s->top_p) && write_number_setting(out, "min_p", s->min_p) &&
         el_buf_printf(out,
                       ",\"top_n_sigma\":-1,\"xtc_probability\":0,\"xtc_threshold\":0.1,\"typical_p\":1"
                       ",\"repeat_last_n\":%d",
                       s->repeat_last_n) &&
         write_number_setting(out, "repeat_penalty", s->repeat_penalty) &&
         write_number_setting(out, "presence_penalty", s->presence_penalty) &&
         write_number_setting(out, "frequency_penalty", s->frequency_penalty) &&
         el_buf_printf(out,
                       ",\"dry_multiplier\":0,\"dry_base\":1.75,\"dry_allowed_length\":2,\"dry_penalty_last_n\":-1"
                       ",\"dry_sequence_breakers\":[],\"mirostat\":0,\"mirostat_tau\":5,\"mirostat_eta\":0.1"
                       ",\"adaptive_target\":-1,\"adaptive_decay\":0.9") &&
         write_stop_setting(q, out) &&
         el_buf_printf(out,
                       ",\"max_tokens\":%d,\"n_predict\":%d,\"n_keep\":0,\"n_discard\":0,\"ignore_eos\":%s"
                       ",\"stream\":%s",
                       r->asked_tokens, r->asked_tokens, q->ignore_eos ? "true" : "false",
                       r->stream ? "true" : "false") &&
         write_bias_setting(t, q, out) &&
         el_buf_printf(out,
                       ",\"n_probs\":%d,\"min_keep\":0%s,\"samplers\":[\"penalties\",\"top_k\",\"top_p\",\"min_p\""
                       ",\"temperature\"]",
                       q->logprobs ? q->top_logprobs : 0, r->constraint ? "" : ",\"grammar\":\"\"") &&
         write_lora_setting(r, out) && el_buf_append(out, "}", 1);
}
