/* Rewrites Ollama's bodies to OpenAI's fields: options become fields, `format` becomes `response_format`, and `think`
 * becomes the template's variable. The functions that read OpenAI's fields then check them and name them in errors. */
#include <stdio.h>
#include <string.h>

#include "server/dialects/embeddings.h"
#include "server/dialects/ollama.h"

/* An option, and the field that it is. */
typedef struct option {
  const char *name, *field;
} option;

static const option OPTIONS[] = {
    {"temperature", "temperature"},
    {"top_k", "top_k"},
    {"top_p", "top_p"},
    {"min_p", "min_p"},
    {"repeat_penalty", "repetition_penalty"},
    {"repeat_last_n", "repeat_last_n"},
    {"frequency_penalty", "frequency_penalty"},
    {"presence_penalty", "presence_penalty"},
    {"seed", "seed"},
    {"stop", "stop"},
    {"num_predict", "max_tokens"},
};

/* Options about how a model is held and computed, which the operator decides here. They do not change answers. */
static const char *const MACHINE[] = {"numa",       "num_batch",      "num_gpu",   "main_gpu",   "low_vram",
                                      "f16_kv",     "use_mmap",       "use_mlock", "vocab_only", "num_thread",
                                      "logits_all", "embedding_only", "num_keep",  "num_ctx"};
/* Samplers that are not supported; only the value without an effect is accepted. */
static const struct {
  const char *name;
  double off;
} GONE[] = {{"mirostat", 0}, {"tfs_z", 1}, {"typical_p", 1}};
/* Options without an effect: those of mirostat, which is off, and whether line ends are penalised. */
static const char *const MUTE[] = {"mirostat_tau", "mirostat_eta", "penalize_newline"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool is_one_of_names(const char *s, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(s, list[i])) return true;
  return false;
}

static bool set_field(el_api_parse *p, json_t *body, const char *field, json_t *v) {
  return !json_object_set_new(body, field, v) || el_api_no_memory(p);
}

static bool fail_option(el_api_parse *p, const char *name, const char *what) {
  char param[96];
  snprintf(param, sizeof param, "options.%.60s", name);
  return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': %s.", param, what);
}

/* Negative numbers mean no limit, the end of the context, or a random seed. So does a missing field. */
static bool says_nothing(const char *name, const json_t *v) {
  const bool negative = json_is_integer(v) && json_integer_value(v) < 0;
  return json_is_null(v) || (negative && (!strcmp(name, "num_predict") || !strcmp(name, "seed")));
}

static bool read_ollama_option(el_api_parse *p, json_t *body, const char *name, json_t *v) {
  char known_as[96];
  if (says_nothing(name, v) || is_one_of_names(name, MUTE, COUNT(MUTE))) return true;
  for (size_t i = 0; i < COUNT(OPTIONS); i++)
    if (!strcmp(OPTIONS[i].name, name)) return !json_object_set(body, OPTIONS[i].field, v) || el_api_no_memory(p);
  if (!strcmp(name, "num_ctx") && (!json_is_integer(v) || json_integer_value(v) < 1))
    return fail_option(p, name, "it must be a positive integer");
  if (!strcmp(name, "num_ctx") && json_integer_value(v) > p->setup->model->ctx_size)
    return el_api_unknown(p, "options.num_ctx", " It is more than the context that the server has.");
  if (is_one_of_names(name, MACHINE, COUNT(MACHINE))) return true;
  for (size_t i = 0; i < COUNT(GONE); i++)
    if (!strcmp(GONE[i].name, name))
      return (json_is_number(v) && json_number_value(v) == GONE[i].off) ||
             fail_option(p, name, "this way to sample is not supported");
  snprintf(known_as, sizeof known_as, "options.%.60s", name);
  return el_api_unknown(p, known_as, "");
}

static bool read_ollama_options(el_api_parse *p, json_t *body) {
  json_t *options = json_object_get(body, "options"), *v;
  const char *name;
  bool ok = true;
  if (!options) return true;
  if (!json_is_object(options) && !json_is_null(options)) return el_api_type_error(p, "options", "an object", options);
  json_incref(options);
  json_object_del(body, "options");
  json_object_foreach(options, name, v) if (ok) ok = read_ollama_option(p, body, name, v);
  json_decref(options);
  return ok;
}

static bool read_ollama_format(el_api_parse *p, json_t *body) {
  json_t *format = json_object_get(body, "format"), *to;
  if (!format) return true;
  const bool text = json_is_string(format), json = text && !strcmp(json_string_value(format), "json");
  if (text && !json && json_string_length(format))
    return el_api_fail(p->error, 400, "invalid_value", "format",
                       "Invalid value for 'format': it is 'json' or a JSON schema.");
  if (!text && !json_is_object(format) && !json_is_null(format))
    return el_api_type_error(p, "format", "'json' or a JSON schema", format);
  to = json ? json_pack("{s:s}", "type", "json_object")
       : json_is_object(format)
           ? json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema", "json_schema", "name", "format", "schema", format)
           : json_null();
  json_object_del(body, "format");
  return set_field(p, body, "response_format", to);
}

/* true, false, or how much to think. Templates have one variable for the first two and another for the rest. */
static bool read_think(el_api_parse *p, json_t *body) {
  json_t *think = json_object_get(body, "think");
  if (!think || json_is_null(think)) return true;
  if (!json_is_boolean(think) && !json_is_string(think))
    return el_api_type_error(p, "think", "a boolean or a level", think);
  json_t *variables = json_is_boolean(think) ? json_pack("{s:O}", "enable_thinking", think)
                                             : json_pack("{s:b, s:O}", "enable_thinking", 1, "reasoning_effort", think);
  return set_field(p, body, "chat_template_kwargs", variables);
}

static bool is_own_model(const el_api_parse *p, const char *name) {
  const el_api_setup *s = p->setup;
  el_adapter_info *info;
  if (!strcmp(name, s->model->name)) return true;
  if (el_adapter_get(s->engine, name, &info, NULL)) return false;
  el_free(info);
  return true;
}

bool el_ollama_prepare_model(el_api_parse *p, json_t *body) {
  json_t *old = json_object_get(body, "name"), *model = json_object_get(body, "model");
  if (old && !model && json_object_set(body, "model", old)) return el_api_no_memory(p);
  json_object_del(body, "name");
  model = json_object_get(body, "model");
  const size_t tag = strlen(EL_OLLAMA_TAG), len = json_string_length(model); /* 0 of what is no string */
  if (len <= tag || strcmp(json_string_value(model) + len - tag, EL_OLLAMA_TAG) ||
      is_own_model(p, json_string_value(model)))
    return true;
  return set_field(p, body, "model", json_stringn(json_string_value(model), len - tag));
}

/* What all of them have. */
static bool prepare_ollama_body(el_api_parse *p, json_t *body) {
  json_object_del(body, "keep_alive"); /* adapters stay in memory as long as the room is not needed */
  return el_ollama_prepare_model(p, body) && read_ollama_options(p, body);
}

/* Refuses a field that would change the answer and is not supported. */
static bool refuse_ollama_field(el_api_parse *p, json_t *body, const char *name, const char *why) {
  const json_t *v = json_object_get(body, name);
  const bool empty = !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v)) ||
                     (json_is_array(v) && !json_array_size(v)) || (json_is_integer(v) && !json_integer_value(v));
  json_object_del(body, name);
  return empty || el_api_fail(p->error, 400, "unsupported_parameter", name, "'%s' is not supported: %s.", name, why);
}

static bool rename_field(el_api_parse *p, json_t *m, const char *from, const char *to) {
  json_t *v = json_object_get(m, from);
  if (v && !json_is_null(v) && json_object_set(m, to, v)) return el_api_no_memory(p);
  json_object_del(m, from);
  return true;
}

/* Messages differ from OpenAI's in three names, and may have images. */
static bool read_ollama_messages(el_api_parse *p, json_t *body) {
  json_t *messages = json_object_get(body, "messages"), *m;
  size_t i;
  if (!json_is_array(messages)) return true; /* whoever reads it says so */
  json_array_foreach(messages, i, m) {
    if (!json_is_object(m)) continue;
    if (!refuse_ollama_field(p, m, "images", "the model reads text") ||
        !rename_field(p, m, "thinking", "reasoning_content") || !rename_field(p, m, "tool_name", "name"))
      return false;
  }
  if (!json_array_size(messages)) json_object_del(body, "messages");
  return true;
}

/* A request without messages or a prompt only loads the model and gets a single object. */
static bool read_ollama_stream(el_api_parse *p, json_t *body, bool load) {
  return !load || set_field(p, body, "stream", json_false());
}

static bool read_ollama_logprobs(el_api_parse *p, json_t *body) {
  bool ok = read_ollama_format(p, body) && read_think(p, body) &&
            refuse_ollama_field(p, body, "logprobs", "ask for them at /v1/chat/completions") &&
            refuse_ollama_field(p, body, "top_logprobs", "ask for them at /v1/chat/completions");
  json_object_del(body, "think");
  return ok;
}

bool el_ollama_prepare_chat(el_api_parse *p, json_t *body) {
  return prepare_ollama_body(p, body) && read_ollama_logprobs(p, body) && read_ollama_messages(p, body) &&
         read_ollama_stream(p, body, !json_object_get(body, "messages"));
}

/* A prompt with a system message is a conversation, unless the prompt is raw or has a suffix. */
static bool read_ollama_prompt(el_api_parse *p, json_t *body) {
  json_t *prompt = json_object_get(body, "prompt"), *system = json_object_get(body, "system"),
         *suffix = json_object_get(body, "suffix");
  const bool raw = json_is_true(json_object_get(body, "raw")) || json_string_length(suffix) > 0;
  json_object_del(body, "raw");
  if (prompt && !json_is_null(prompt) && !json_is_string(prompt))
    return el_api_type_error(p, "prompt", "a string", prompt);
  if (system && !json_is_null(system) && !json_is_string(system))
    return el_api_type_error(p, "system", "a string", system);
  if (!json_string_length(prompt) && !json_string_length(suffix)) {
    json_object_del(body, "prompt");
    json_object_del(body, "system");
    return read_ollama_stream(p, body, true);
  }
  p->out->chat = !raw;
  if (raw && !json_string_length(prompt) && !set_field(p, body, "prompt", json_string(""))) return false;
  if (!raw) {
    json_t *messages = json_string_length(system) ? json_pack("[{s:s, s:O}, {s:s, s:O}]", "role", "system", "content",
                                                              system, "role", "user", "content", prompt)
                                                  : json_pack("[{s:s, s:O}]", "role", "user", "content", prompt);
    if (!set_field(p, body, "messages", messages)) return false;
    json_object_del(body, "prompt");
    json_object_del(body, "suffix");
  }
  json_object_del(body, "system");
  return true;
}

/* "context": token ids of earlier turns, which our answers do not contain. */
static bool read_ollama_context(el_api_parse *p, json_t *body) {
  const bool some = json_array_size(json_object_get(body, "context")) > 0;
  json_object_del(body, "context");
  return !some || el_api_unknown(p, "context", " Send the conversation to /api/chat.");
}

bool el_ollama_prepare_generate(el_api_parse *p, json_t *body) {
  static const char NO_PICTURES[] = "no pictures are made";
  return prepare_ollama_body(p, body) && read_ollama_logprobs(p, body) && read_ollama_context(p, body) &&
         refuse_ollama_field(p, body, "images", "the model reads text") &&
         refuse_ollama_field(p, body, "template", "it is the model's own, or one of the operator's") &&
         refuse_ollama_field(p, body, "width", NO_PICTURES) && refuse_ollama_field(p, body, "height", NO_PICTURES) &&
         refuse_ollama_field(p, body, "steps", NO_PICTURES) && read_ollama_prompt(p, body);
}

bool el_ollama_prepare_embed(el_api_parse *p, json_t *body) {
  json_t *input = json_object_get(body, "input");
  json_t *options = json_object_get(body, "options");
  if (options && !json_is_object(options) && !json_is_null(options))
    return el_api_type_error(p, "options", "an object", options);
  json_object_del(body, "options"); /* of generated text, and of machines */
  json_object_del(body, "keep_alive");
  /* A text that is too long is an error, as nobody would see what is left out of a vector. */
  json_object_del(body, "truncate");
  if (input && json_object_set(body, "prompt", input)) return el_api_no_memory(p);
  json_object_del(body, "input");
  return el_ollama_prepare_model(p, body) && el_embeddings_prepare(p, body);
}
