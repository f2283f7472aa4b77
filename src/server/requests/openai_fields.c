/* Every field that a body may have is a row of the table at the end of this file. Other names are reported, as a
 * misspelt "temprature" that is silently ignored would cost its author hours. A null counts as a field that is not
 * given. */
#include "server/requests/fields.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An empty list means no tools. calling.c reads them. */
static bool read_tools_field(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array", v);
  if (json_array_size(v)) p->tools = v;
  return true;
}

static bool read_tool_choice(el_api_parse *p, const el_field *f, const json_t *v) {
  p->tool_choice = v;
  return true;
}

static bool read_parallel(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  p->one_call = json_is_false(v);
  return true;
}

/* llama-server's: with "none", reasoning stays in the content. Its other values mean what we do anyway. */
static bool read_reasoning_format(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->keep_reasoning = !strcmp(json_string_value(v), "none");
  return true;
}

static bool read_documents(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array", v);
  p->documents = v;
  return true;
}

static bool read_template_kwargs(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_object(v)) return el_api_type_error(p, f->name, "an object", v);
  p->template_variables = v;
  return true;
}

static bool read_opening(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  p->has_opening = true;
  p->opening = json_is_true(v);
  return true;
}

static bool read_goes_on(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  p->goes_on = json_is_true(v);
  return true;
}

static bool read_must_be_none(el_api_parse *p, const el_field *f, const json_t *v) {
  return (json_is_string(v) && !strcmp(json_string_value(v), "none")) || el_api_unsupported(p, f);
}

/* ---------------------------------------------------------------- fields with rules of their own */

bool el_read_model(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  /* Names are compared as C strings; without this check "sql\0x" would equal "sql". */
  if (strlen(json_string_value(v)) != json_string_length(v))
    return el_api_value_error(p, f, "it contains a NUL character");
  free(p->out->model);
  p->out->model = NULL;
  if (!json_string_length(v)) return true; /* some clients must send a name; an empty one counts as missing */
  p->out->model = strdup(json_string_value(v));
  return p->out->model || el_api_no_memory(p);
}

/* If both names of this limit are given, OpenAI's newer one counts. Other servers use -1 for no limit. */
bool el_read_max_tokens(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t n = 0;
  bool newer = !strcmp(f->name, "max_completion_tokens");
  if (!el_read_integer(p, f, v, &n)) return false;
  if (!p->has_max_completion || newer) p->out->request.max_tokens = (int)n;
  p->has_max_completion |= newer;
  return true;
}

static bool read_best_of(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t i = 0;
  if (!el_read_integer(p, f, v, &i)) return false;
  p->has_best_of = true;
  p->best_of = (int)i;
  return true;
}

/* Every 64-bit value is a seed, also a negative one, except -1, which means a random seed as on other servers. */
static bool read_seed_field(el_api_parse *p, const el_field *f, const json_t *v) {
  if (el_json_is_huge(v)) return el_api_value_error(p, f, "a seed has 64 bits at most");
  if (!json_is_integer(v)) return el_api_type_error(p, f->name, "an integer", v);
  p->out->request.sampling.seed = (uint64_t)json_integer_value(v);
  p->has_seed = json_integer_value(v) != -1;
  return true;
}

bool el_read_top_k(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!el_read_int(p, f, v)) return false;
  int *k = &p->out->request.sampling.top_k;
  if (*k < 0) *k = 0; /* -1 is how others write "off" */
  return true;
}

/* OpenAI allows 0, which leaves only the most likely token; the engine needs a value above 0. */
bool el_read_top_p(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!el_read_float(p, f, v)) return false;
  float *top_p = &p->out->request.sampling.top_p;
  if (*top_p < FLT_MIN) *top_p = FLT_MIN;
  return true;
}

static bool read_stop_field(el_api_parse *p, const el_field *f, const json_t *v) {
  el_api_request *r = p->out;
  size_t n = json_is_array(v) ? json_array_size(v) : 1;
  if (!json_is_array(v) && !json_is_string(v))
    return el_api_type_error(p, f->name, "a string or an array of strings", v);
  if (n > EL_MAX_STOPS)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for 'stop': %zu strings; at most %d are allowed.", n, EL_MAX_STOPS);
  if (n && !(r->stop = calloc(n, sizeof *r->stop))) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++) {
    const json_t *s = json_is_array(v) ? json_array_get(v, i) : v;
    if (!json_is_string(s)) return el_api_type_error(p, f->name, "strings inside the array", s);
    size_t len = json_string_length(s);
    if (!len || strlen(json_string_value(s)) != len)
      return el_api_value_error(p, f, "a stop string must not be empty nor contain a NUL character");
    if (len > EL_MAX_STOP_BYTES)
      return el_api_fail(p->error, 400, "invalid_value", f->name,
                         "Invalid value for 'stop': a string of %zu bytes; at most %d are allowed.", len,
                         EL_MAX_STOP_BYTES);
    if (!(r->stop[i] = strdup(json_string_value(s)))) return el_api_no_memory(p);
    r->n_stop = i + 1;
  }
  return true;
}

/* For completions: the number of alternatives; 0 means only the sampled token. */
static bool read_text_logprobs(el_api_parse *p, const el_field *f, const json_t *v) {
  p->out->request.logprobs = true;
  return el_read_int(p, f, v);
}

/* vLLM's: the number of alternatives for each token of the prompt. */
static bool read_prompt_logprobs(el_api_parse *p, const el_field *f, const json_t *v) {
  p->out->prompt_logprobs = true;
  return el_read_int(p, f, v);
}

/* vLLM's: keep only the last tokens of the prompt. -1: as many as the context holds; this is all, as longer prompts are
 * refused. */
static bool read_truncate(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t n = 0;
  if (!el_read_integer(p, f, v, &n)) return false;
  if (!n) return el_api_value_error(p, f, "it would leave no tokens");
  p->truncate = (int)n;
  return true;
}

static bool read_boolean(el_api_parse *p, const el_field *f, const json_t *v, bool *is_false) {
  if (!json_is_boolean(v)) return el_api_type_error(p, f->name, "a boolean", v);
  *is_false = json_is_false(v);
  return true;
}

static bool read_add_special(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_boolean(p, f, v, &p->no_bos);
}

static bool read_parse_special(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_boolean(p, f, v, &p->plain);
}

static bool read_suffix_field(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->suffix = v;
  return true;
}

static bool read_stream_options(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_object(v)) return el_api_type_error(p, f->name, "an object", v);
  p->stream_options = v;
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)v, key, value) {
    bool usage = !strcmp(key, "include_usage"), known = usage || !strcmp(key, "include_obfuscation");
    if (json_is_null(value)) continue;
    if (!known) {
      char name[96];
      snprintf(name, sizeof name, "%s.%.60s", f->name, key);
      if (!el_api_unknown(p, name, "")) return false;
      continue;
    }
    if (!json_is_boolean(value))
      return el_api_type_error(p, usage ? "stream_options.include_usage" : "stream_options.include_obfuscation",
                               "a boolean", value);
    if (usage) p->out->include_usage = json_is_true(value);
  }
  return true;
}

/* Reads one element; errors name it `at`. */
static bool read_lora_scale(const json_t *v, const char *at, el_lora_scale *out, el_api_error *e) {
  const char *key;
  json_t *value;
  if (!json_is_object(v))
    return el_api_fail(e, 400, "invalid_type", at, "Invalid type for '%s': expected an object, but got %s.", at,
                       el_json_type_name(v));
  json_object_foreach((json_t *)v, key, value) {
    if (strcmp(key, "id") && strcmp(key, "scale"))
      return el_api_fail(e, 400, "unknown_parameter", at, "Unknown parameter: '%s.%.60s'.", at, key);
  }
  const json_t *id = json_object_get(v, "id"), *scale = json_object_get(v, "scale");
  if (!json_is_integer(id) || json_integer_value(id) < 0)
    return el_api_fail(e, 400, "invalid_value", at, "'%s.id' must be an id of GET /lora-adapters.", at);
  double d = json_is_number(scale) ? json_number_value(scale) : NAN;
  if (!(d >= -EL_MAX_SCALE && d <= EL_MAX_SCALE))
    return el_api_fail(e, 400, "invalid_value", at, "'%s.scale' must be a number between -%d and %d.", at, EL_MAX_SCALE,
                       EL_MAX_SCALE);
  *out = (el_lora_scale){(uint64_t)json_integer_value(id), (float)d};
  return true;
}

bool el_api_lora_read(const json_t *v, const char *param, el_lora_scale *out, size_t *n, el_api_error *e) {
  if (!json_is_array(v))
    return el_api_fail(e, 400, "invalid_type", param, "Invalid type for '%s': expected an array, but got %s.", param,
                       el_json_type_name(v));
  size_t count = json_array_size(v);
  if (count > EL_MAX_COMBINED)
    return el_api_fail(e, 400, "invalid_value", param,
                       "Invalid value for '%s': %zu adapters together; at most %d are allowed.", param, count,
                       EL_MAX_COMBINED);
  for (size_t i = 0; i < count; i++) {
    char at[64];
    snprintf(at, sizeof at, "%s[%zu]", param, i);
    if (!read_lora_scale(json_array_get(v, i), at, &out[i], e)) return false;
    for (size_t k = 0; k < i; k++)
      if (out[k].id == out[i].id)
        return el_api_fail(e, 400, "invalid_value", at, "Invalid value for '%s': id %llu is there twice.", at,
                           (unsigned long long)out[i].id);
  }
  *n = count;
  return true;
}

static bool read_lora_field(el_api_parse *p, const el_field *f, const json_t *v) {
  p->out->has_lora = true;
  return el_api_lora_read(v, f->name, p->out->lora, &p->out->n_lora, p->error);
}

static bool read_modalities(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array", v);
  const json_t *first = json_array_get(v, 0);
  if (json_array_size(v) == 1 && json_is_string(first) && !strcmp(json_string_value(first), "text")) return true;
  return el_api_fail(p->error, 400, "unsupported_value", f->name, "'modalities' is supported as [\"text\"] only.");
}

static bool read_edgelora_field(el_api_parse *p, const el_field *f, const json_t *v) {
  return el_api_additions_read(p, v);
}

bool el_read_prompt(el_api_parse *p, const el_field *f, const json_t *v) {
  p->prompt = v;
  return true;
}

static bool read_messages_field(el_api_parse *p, const el_field *f, const json_t *v) {
  p->messages = v;
  return true;
}

/* ---------------------------------------------------------------- the table */

const el_field el_openai_fields[] = {
    EL_FIELD("model", EL_AT_ALL, el_read_model),
    EL_FIELD("lora", EL_AT_BOTH, read_lora_field), /* llama-server's */
    EL_FIELD("edgelora", EL_AT_ALL, read_edgelora_field),
    {"top_n", EL_AT_ROUTE, el_read_int, EL_FIELD_AT(n_scores), 1, EL_MAX_SCORES, 0},
    EL_FIELD("prompt", EL_AT_TEXT | EL_AT_ROUTE, el_read_prompt),
    EL_FIELD("messages", EL_AT_CHAT | EL_AT_ROUTE, read_messages_field),
    {"tools", EL_AT_CHAT, read_tools_field, 0, 0, 0, EL_PRESET_SCHEMA},
    EL_FIELD("tool_choice", EL_AT_CHAT, read_tool_choice),
    EL_FIELD("documents", EL_AT_CHAT, read_documents),
    EL_FIELD("chat_template_kwargs", EL_AT_CHAT, read_template_kwargs),
    EL_FIELD("add_generation_prompt", EL_AT_CHAT, read_opening),
    EL_FIELD("continue_final_message", EL_AT_CHAT, read_goes_on),

    {"stream", EL_AT_BOTH, el_read_bool, EL_FIELD_AT(stream), 0, 0, 0},
    EL_FIELD("stream_options", EL_AT_BOTH, read_stream_options),
    {"echo", EL_AT_TEXT, el_read_bool, EL_FIELD_AT(echo), 0, 0, 0},
    {"n", EL_AT_BOTH, el_read_int, EL_FIELD_AT(n), 1, INT_MAX,
     0}, /* prompts × n is checked against the server's limit */
    {"best_of", EL_AT_TEXT, read_best_of, 0, 1, INT_MAX, 0},
    {"max_tokens", EL_AT_BOTH, el_read_max_tokens, 0, -1, INT_MAX, EL_PRESET_MAX_TOKENS},
    {"max_completion_tokens", EL_AT_CHAT, el_read_max_tokens, 0, -1, INT_MAX, EL_PRESET_MAX_TOKENS},
    {"stop", EL_AT_BOTH, read_stop_field, 0, 0, 0, EL_PRESET_STOP},
    {"ignore_eos", EL_AT_BOTH, el_read_bool, EL_FIELD_AT(request.ignore_eos), 0, 0, 0},
    {"logprobs", EL_AT_TEXT, read_text_logprobs, EL_FIELD_AT(request.top_logprobs), 0, EL_MAX_TOP_LOGPROBS, 0},
    {"logprobs", EL_AT_CHAT, el_read_bool, EL_FIELD_AT(request.logprobs), 0, 0, 0},
    {"top_logprobs", EL_AT_CHAT, el_read_int, EL_FIELD_AT(request.top_logprobs), 0, EL_MAX_TOP_LOGPROBS, 0},

    {"seed", EL_AT_BOTH, read_seed_field, 0, 0, 0, EL_PRESET_SEED},
    {"temperature", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(temperature), 0, 1e6, EL_PRESET_TEMPERATURE},
    {"top_p", EL_AT_BOTH, el_read_top_p, EL_FIELD_SAMPLING(top_p), 0, 1, EL_PRESET_TOP_P},
    {"top_k", EL_AT_BOTH, el_read_top_k, EL_FIELD_SAMPLING(top_k), -1, INT_MAX, EL_PRESET_TOP_K},
    {"min_p", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(min_p), 0, 1, EL_PRESET_MIN_P},
    {"repetition_penalty", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(repeat_penalty), 0.01, 100,
     EL_PRESET_REPETITION_PENALTY},
    {"repeat_penalty", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(repeat_penalty), 0.01, 100,
     EL_PRESET_REPETITION_PENALTY}, /* llama-server's name of it */
    {"repeat_last_n", EL_AT_BOTH, el_read_int, EL_FIELD_SAMPLING(repeat_last_n), -1, INT_MAX, EL_PRESET_REPEAT_LAST_N},
    {"frequency_penalty", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(frequency_penalty), -2, 2,
     EL_PRESET_FREQUENCY_PENALTY},
    {"presence_penalty", EL_AT_BOTH, el_read_float, EL_FIELD_SAMPLING(presence_penalty), -2, 2,
     EL_PRESET_PRESENCE_PENALTY},
    {"logit_bias", EL_AT_BOTH, el_read_logit_bias, 0, -100, 100, 0},

    /* vLLM's. */
    EL_FIELD("stop_token_ids", EL_AT_BOTH, el_read_stop_tokens),
    EL_FIELD("allowed_token_ids", EL_AT_BOTH, el_read_allowed_tokens),
    {"min_tokens", EL_AT_BOTH, el_read_int, EL_FIELD_AT(request.min_tokens), 0, INT_MAX, 0},
    {"include_stop_str_in_output", EL_AT_BOTH, el_read_bool, EL_FIELD_AT(request.include_stop), 0, 0, 0},
    {"skip_special_tokens", EL_AT_BOTH, el_read_not, EL_FIELD_AT(request.show_special), 0, 0, 0},
    {"prompt_logprobs", EL_AT_BOTH, read_prompt_logprobs, EL_FIELD_AT(n_prompt_logprobs), 0, EL_MAX_TOP_LOGPROBS, 0},
    {"truncate_prompt_tokens", EL_AT_BOTH, read_truncate, 0, -1, INT_MAX, 0},
    EL_FIELD("add_special_tokens", EL_AT_TEXT, read_add_special),
    EL_FIELD("parse_special", EL_AT_TEXT, read_parse_special),              /* llama-server's name in /tokenize */
    EL_FIELD("spaces_between_special_tokens", EL_AT_BOTH, el_read_ignored), /* there never are any */
    EL_FIELD("priority", EL_AT_BOTH, el_read_ignored),                      /* of requests in a queue: none is */
    EL_FIELD("request_id", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("length_penalty", EL_AT_BOTH, el_read_ignored), /* of beam search alone, like */
    EL_FIELD("early_stopping", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("use_beam_search", EL_AT_BOTH, el_read_unsupported),
    EL_FIELD("bad_words", EL_AT_BOTH, el_read_bad_words),
    EL_FIELD("logits_processors", EL_AT_BOTH, el_read_unsupported),
    EL_FIELD("return_tokens_as_token_ids", EL_AT_BOTH, el_read_unsupported),
    EL_FIELD("return_token_ids", EL_AT_BOTH, el_read_unsupported),

    /* Structured output: fields of OpenAI, vLLM and llama-server. */
    {"response_format", EL_AT_BOTH, el_read_response_format, 0, 0, 0, EL_PRESET_SCHEMA},
    EL_FIELD("structured_outputs", EL_AT_BOTH, el_read_structured_outputs),
    EL_FIELD("guided_json", EL_AT_BOTH, el_read_schema),
    EL_FIELD("guided_regex", EL_AT_BOTH, el_read_regex),
    EL_FIELD("guided_choice", EL_AT_BOTH, el_read_choices),
    EL_FIELD("guided_grammar", EL_AT_BOTH, el_read_grammar),
    EL_FIELD("guided_json_object", EL_AT_BOTH, el_read_json_object),
    EL_FIELD("json_schema", EL_AT_BOTH, el_read_schema),
    EL_FIELD("grammar", EL_AT_BOTH, el_read_grammar),
    EL_FIELD("guided_decoding_backend", EL_AT_BOTH, el_read_ignored), /* there is one */

    /* Fields about the caller, storage and cost, which do not change the text. */
    EL_FIELD("user", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("metadata", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("store", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("service_tier", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("safety_identifier", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("prompt_cache_key", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("prompt_cache_retention", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("prompt_cache_options", EL_AT_BOTH, el_read_ignored),
    EL_FIELD("cache_prompt", EL_AT_BOTH, el_read_ignored), /* llama.cpp's; caching never changes the text */
    {"verbose", EL_AT_BOTH, el_read_bool, EL_FIELD_AT(verbose), 0, 0, 0}, /* llama-server's */
    EL_FIELD("timings_per_token", EL_AT_BOTH, el_read_ignored),           /* the answer's end has timings */
    EL_FIELD("id_slot", EL_AT_BOTH, el_read_ignored),                     /* slots are not the client's to choose */
    EL_FIELD("prediction", EL_AT_CHAT, el_read_ignored),                  /* a guess of the answer, to make it faster */
    EL_FIELD("parallel_tool_calls", EL_AT_CHAT, read_parallel),
    EL_FIELD("reasoning_format", EL_AT_CHAT, read_reasoning_format),

    EL_FIELD("suffix", EL_AT_TEXT, read_suffix_field),
    EL_FIELD("functions", EL_AT_CHAT, el_read_unsupported),
    EL_FIELD("function_call", EL_AT_CHAT, read_must_be_none),
    EL_FIELD("modalities", EL_AT_CHAT, read_modalities),
    EL_FIELD("audio", EL_AT_CHAT, el_read_unsupported),
    EL_FIELD("web_search_options", EL_AT_CHAT, el_read_unsupported),
    EL_FIELD("reasoning_effort", EL_AT_CHAT, read_must_be_none),
    EL_FIELD("verbosity", EL_AT_CHAT, el_read_unsupported),
    EL_FIELD("moderation", EL_AT_CHAT, el_read_unsupported),
};

const size_t el_n_openai_fields = sizeof el_openai_fields / sizeof *el_openai_fields;
