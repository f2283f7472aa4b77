/* The fields of POST /completion and /infill. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/dialects/llama.h"

/* llama-server's defaults. */
static void set_llama_defaults(el_api_request *r) {
  el_sampling *s = &r->request.sampling;
  s->temperature = 0.8f;
  s->top_k = 40;
  s->top_p = 0.95f;
  s->min_p = 0.05f;
  r->list_tokens = true;
}

/* ---------------------------------------------------------------- fields */

static bool read_n_predict(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t n;
  if (!el_read_integer(p, f, v, &n)) return false;
  p->out->request.max_tokens = n < 0 ? -1 : (int)n;
  return true;
}

static bool read_n_probs(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t n;
  if (!el_read_integer(p, f, v, &n)) return false;
  p->out->request.logprobs = n > 0;
  p->out->request.top_logprobs = (int)n;
  return true;
}

static bool read_bias_of(el_api_parse *p, const el_field *f, const json_t *v, float *bias) {
  if (json_is_false(v)) return *bias = -100, true; /* never: no logit can outweigh this */
  if (!json_is_number(v) || !(fabs(json_number_value(v)) <= 100))
    return el_api_value_error(p, f, "a bias is a number between -100 and 100, or false");
  *bias = (float)json_number_value(v);
  return true;
}

static bool add_llama_bias(el_api_parse *p, int32_t token, float bias) {
  el_api_request *r = p->out;
  el_logit_bias *grown = realloc(r->bias, (r->n_bias + 1) * sizeof *grown);
  if (!grown) return el_api_no_memory(p);
  r->bias = grown;
  for (size_t i = 0; i < r->n_bias; i++)
    if (grown[i].token == token) return grown[i].bias = bias, true;
  grown[r->n_bias++] = (el_logit_bias){token, bias};
  return true;
}

static bool add_llama_text_bias(el_api_parse *p, const el_field *f, const char *text, size_t len, float bias) {
  int32_t *ids;
  size_t n;
  el_error err;
  if (el_tokenize_at_most(p->tokenizer, text, len, 0, EL_MAX_LOGIT_BIAS - p->out->n_bias, &ids, &n, &err))
    return el_api_value_error(p, f, "a text is no tokens, or too many");
  bool ok = true;
  for (size_t i = 0; ok && i < n; i++) ok = add_llama_bias(p, ids[i], bias);
  el_free(ids);
  return ok;
}

static bool add_llama_bias_pair(el_api_parse *p, const el_field *f, const json_t *token, const json_t *value) {
  float bias = 0;
  if (p->out->n_bias >= EL_MAX_LOGIT_BIAS)
    return el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for '%s': it has more than %d tokens.",
                       f->name, EL_MAX_LOGIT_BIAS);
  if (!read_bias_of(p, f, value, &bias)) return false;
  if (json_is_string(token))
    return add_llama_text_bias(p, f, json_string_value(token), json_string_length(token), bias);
  if (!json_is_integer(token) || !el_api_is_token(p, json_integer_value(token)))
    return el_api_value_error(p, f, "a token is an id of the vocabulary, or a text");
  return add_llama_bias(p, (int32_t)json_integer_value(token), bias);
}

/* A key of an object: an id, or a text. */
static bool add_llama_bias_member(el_api_parse *p, const el_field *f, const char *key, const json_t *value) {
  char *end;
  long id = strtol(key, &end, 10);
  if (*key < '0' || *key > '9' || *end || !el_api_is_token(p, id)) {
    json_t *text = json_string(key);
    bool ok = text ? add_llama_bias_pair(p, f, text, value) : el_api_no_memory(p);
    json_decref(text);
    return ok;
  }
  json_t *token = json_integer(id);
  bool ok = token ? add_llama_bias_pair(p, f, token, value) : el_api_no_memory(p);
  json_decref(token);
  return ok;
}

/* [[id or text, bias], ...], or {"id or text": bias, ...}. */
static bool read_llama_bias(el_api_parse *p, const el_field *f, const json_t *v) {
  const char *key;
  json_t *value;
  size_t i;
  if (json_is_object(v)) {
    json_object_foreach((json_t *)v, key, value) {
      if (!add_llama_bias_member(p, f, key, value)) return false;
    }
    return true;
  }
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of pairs or an object", v);
  json_array_foreach(v, i, value) {
    if (!json_is_array(value) || json_array_size(value) != 2)
      return el_api_value_error(p, f, "each item is a pair of a token and a bias");
    if (!add_llama_bias_pair(p, f, json_array_get(value, 0), json_array_get(value, 1))) return false;
  }
  return true;
}

enum { MAX_ANSWER_FIELDS = 64 };

static bool read_response_fields(el_api_parse *p, const el_field *f, const json_t *v) {
  el_api_request *r = p->out;
  size_t i, n = json_array_size(v);
  json_t *one;
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of names", v);
  if (n > MAX_ANSWER_FIELDS) return el_api_value_error(p, f, "more than 64 names");
  if (!(r->answer_fields = calloc(n + 1, sizeof *r->answer_fields))) return el_api_no_memory(p);
  json_array_foreach(v, i, one) {
    if (!json_is_string(one)) return el_api_type_error(p, f->name, "an array of names", one);
    if (!(r->answer_fields[i] = strdup(json_string_value(one)))) return el_api_no_memory(p);
    r->n_answer_fields++;
  }
  return true;
}

/* A sampler that is not supported: only the value that turns it off (min) is accepted. */
static bool read_must_be_off(el_api_parse *p, const el_field *f, const json_t *v) {
  bool off = json_is_boolean(v) ? !json_is_true(v) : json_is_number(v) && json_number_value(v) == f->min;
  return off || el_api_unsupported(p, f);
}

static bool read_input_prefix(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->infill_prefix = v;
  return true;
}

static bool read_input_suffix(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->infill_suffix = v;
  return true;
}

static bool read_input_extra(el_api_parse *p, const el_field *f, const json_t *v) {
  p->infill_files = v;
  return true;
}

#define OFF(name, value) \
  { name, 0, read_must_be_off, 0, value, 0, 0 }

static const el_field FIELDS[] = {
    EL_FIELD("prompt", 0, el_read_prompt),
    {"n_predict", 0, read_n_predict, 0, INT_MIN, INT_MAX, EL_PRESET_MAX_TOKENS},
    {"max_tokens", 0, read_n_predict, 0, INT_MIN, INT_MAX, EL_PRESET_MAX_TOKENS},
    {"n_cmpl", 0, el_read_int, EL_FIELD_AT(n), 1, INT_MAX, 0},
    {"n_probs", 0, read_n_probs, 0, 0, 20, 0},
    {"temperature", 0, el_read_float, EL_FIELD_SAMPLING(temperature), 0, 100, EL_PRESET_TEMPERATURE},
    {"repeat_penalty", 0, el_read_float, EL_FIELD_SAMPLING(repeat_penalty), 0.01, 100, EL_PRESET_REPETITION_PENALTY},
    {"return_tokens", 0, el_read_bool, EL_FIELD_AT(return_tokens), 0, 0, 0},
    {"speculative.n_max", 0, el_read_int, EL_FIELD_AT(request.speculate), 0, INT_MAX, 0},
    EL_FIELD("logit_bias", 0, read_llama_bias),
    EL_FIELD("response_fields", 0, read_response_fields),
    EL_FIELD("input_prefix", 0, read_input_prefix),
    EL_FIELD("input_suffix", 0, read_input_suffix),
    EL_FIELD("input_extra", 0, read_input_extra),

    /* Fields about where a request runs and what else is reported; the text is the same. */
    EL_FIELD("cache_prompt", 0, el_read_ignored),
    EL_FIELD("id_slot", 0, el_read_ignored),
    EL_FIELD("n_cache_reuse", 0, el_read_ignored),
    EL_FIELD("n_keep", 0, el_read_ignored), /* the context is never shifted */
    EL_FIELD("n_discard", 0, el_read_ignored),
    EL_FIELD("return_progress", 0, el_read_ignored),
    EL_FIELD("timings_per_token", 0, el_read_ignored),
    EL_FIELD("backend_sampling", 0, el_read_ignored),

    OFF("dynatemp_range", 0),
    OFF("typical_p", 1),
    OFF("tfs_z", 1),
    OFF("top_n_sigma", -1),
    OFF("xtc_probability", 0),
    OFF("dry_multiplier", 0),
    OFF("mirostat", 0),
    OFF("adaptive_target", -1),
    OFF("min_keep", 0),
    OFF("n_indent", 0),
    OFF("t_max_predict_ms", 0),
    OFF("post_sampling_probs", 0),
    /* They belong to one that is off. */
    EL_FIELD("dynatemp_exponent", 0, el_read_ignored),
    EL_FIELD("xtc_threshold", 0, el_read_ignored),
    EL_FIELD("dry_base", 0, el_read_ignored),
    EL_FIELD("dry_allowed_length", 0, el_read_ignored),
    EL_FIELD("dry_penalty_last_n", 0, el_read_ignored),
    EL_FIELD("dry_sequence_breakers", 0, el_read_ignored),
    EL_FIELD("mirostat_tau", 0, el_read_ignored),
    EL_FIELD("mirostat_eta", 0, el_read_ignored),
    EL_FIELD("adaptive_decay", 0, el_read_ignored),
};

/* ---------------------------------------------------------------- the dialects */

/* Applies the preset where the body gives no value. The answer lists the settings, so they must be known here. */
static void settle_llama_request(el_api_parse *p) {
  const el_preset *preset = p->preset;
  el_api_request *r = p->out;
  el_sampling *s = &r->request.sampling;
  unsigned from = preset ? r->request.preset_fields & preset->set : 0;
  if (preset) el_sampling_apply_preset(s, preset, from);
  if (from & EL_PRESET_MAX_TOKENS) r->request.max_tokens = preset->max_tokens;
  if (from & EL_PRESET_SEED) p->has_seed = true;
  /* Draws a seed of llama-server's size, as the answer lists it and clients read numbers of 53 bits. */
  uint32_t drawn;
  if (!p->has_seed && getrandom(&drawn, sizeof drawn, 0) == sizeof drawn) {
    s->seed = drawn;
    p->has_seed = true;
  }
  r->request.preset_fields &= ~(from & ~(unsigned)EL_PRESET_STOP);
  r->asked_tokens = r->request.max_tokens;
}

static bool check_llama_completion(el_api_parse *p) {
  return p->prompt ||
         el_api_fail(p->error, 400, "missing_required_parameter", "prompt", "Missing required parameter: 'prompt'.");
}

static bool read_completion_prompts(el_api_parse *p) {
  settle_llama_request(p);
  return el_llama_prompts_read(p);
}

static bool check_infill(el_api_parse *p) {
  const char *missing = !p->infill_prefix ? "input_prefix" : !p->infill_suffix ? "input_suffix" : NULL;
  return !missing || el_api_fail(p->error, 400, "missing_required_parameter", missing,
                                 "Missing required parameter: '%s'.", missing);
}

static bool read_infill(el_api_parse *p) {
  settle_llama_request(p);
  return el_llama_infill_read(p);
}

const el_api el_llama_completion = {.name = "llama completion",
                                    .id_prefix = "cmpl-",
                                    .fields = FIELDS,
                                    .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                    .shared = EL_AT_TEXT,
                                    .defaults = set_llama_defaults,
                                    .check = check_llama_completion,
                                    .read_prompts = read_completion_prompts,
                                    .writer = &el_llama_writer,
                                    .write_error = el_llama_write_error};

const el_api el_llama_infill = {.name = "llama infill",
                                .id_prefix = "cmpl-",
                                .fields = FIELDS,
                                .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                .shared = EL_AT_TEXT,
                                .defaults = set_llama_defaults,
                                .check = check_infill,
                                .read_prompts = read_infill,
                                .writer = &el_llama_writer,
                                .write_error = el_llama_write_error};
