/* Makes tokens of what the model is to continue: the messages of a chat, or the prompts of a completion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/value.h"
#include "server/common/json_value.h"
#include "server/requests/fields.h"
#include "server/requests/infill.h"

/* ---------------------------------------------------------------- chat */

/* Fields that a client sends back when it repeats an answer as a message. Templates do not render them. */
static const char *const MESSAGE_IGNORED[] = {"refusal", "annotations", "id", "cache_control"};
/* Fields that would change the conversation: only null or an empty array is accepted. */
static const char *const MESSAGE_UNSUPPORTED[] = {"function_call", "audio"};
static const char *const ROLES[] = {"system", "developer", "user", "assistant", "tool"};

/* Copies what the library returned to our own heap, so that all prompts are freed in the same way. */
static void *adopt_buffer(void *from_library, size_t bytes) {
  void *own = malloc(bytes + 1);
  if (own && bytes) memcpy(own, from_library, bytes);
  el_free(from_library);
  return own;
}

/* What the tokenizer said of a prompt. */
static bool fail_tokenize(el_api_parse *p, const el_error *err, const char *param) {
  el_api_fail_engine(p->error, err, "", true);
  if (err->code == EL_ERR_TOO_LONG)
    el_api_fail(p->error, 400, p->error->code, param, "'%s': %s, the context.", param, err->message);
  if (p->error->status == 400) snprintf(p->error->param, sizeof p->error->param, "%s", param);
  return false;
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool is_known_word(const char *s, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(s, list[i])) return true;
  return false;
}

static bool has_nul(const json_t *s) {
  return strlen(json_string_value(s)) != json_string_length(s);
}

static bool check_text_value(el_api_parse *p, const json_t *s, const char *param) {
  if (!json_is_string(s)) return el_api_type_error(p, param, "a string", s);
  return !has_nul(s) || el_api_fail(p->error, 400, "invalid_value", param,
                                    "Invalid value for '%s': it contains a NUL character.", param);
}

/* The types of text parts: those of chats, and those of OpenAI's newer API, as clients mix them. */
static const char *const TEXT_PARTS[] = {"text", "input_text", "output_text"};
/* Further members of a part that are ignored: marks for a cache, which is not needed here, and members of answers. */
static const char *const PART_IGNORED[] = {"type", "text", "cache_control", "annotations", "logprobs", "refusal"};

/* Checks a content part and reduces it in place to what templates read: a type and a text. */
static bool read_content_part(el_api_parse *p, json_t *part, const char *param) {
  if (!json_is_object(part)) return el_api_type_error(p, param, "an object", part);
  const json_t *type = json_object_get(part, "type");
  const char *name = json_is_string(type) ? json_string_value(type) : "";
  bool refusal = !strcmp(name, "refusal");
  if (!refusal && !is_known_word(name, TEXT_PARTS, COUNT(TEXT_PARTS)))
    return el_api_fail(p->error, 400, "unsupported_value", param,
                       "'%s' must be a part of type 'text'; other types are not supported.", param);
  json_t *s = json_object_get(part, refusal ? "refusal" : "text");
  if (!s)
    return el_api_fail(p->error, 400, "invalid_value", param, "'%s' must have the fields 'type' and 'text'.", param);
  if (!check_text_value(p, s, param)) return false;
  if (strcmp(name, "text") &&
      (json_object_set(part, "text", s) || json_object_set_new(part, "type", json_string("text"))))
    return el_api_no_memory(p);
  const char *key;
  json_t *v;
  void *next;
  json_object_foreach_safe(part, next, key, v) {
    char known_as[96];
    snprintf(known_as, sizeof known_as, "messages[].content[].%.60s", key);
    if (!json_is_null(v) && !is_known_word(key, PART_IGNORED, COUNT(PART_IGNORED)) && !el_api_unknown(p, known_as, ""))
      return false;
    if (strcmp(key, "type") && strcmp(key, "text")) json_object_del(part, key);
  }
  return true;
}

/* A string, or an array of text parts. */
static bool read_message_content(el_api_parse *p, json_t *v, size_t at) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu].content", at);
  if (json_is_string(v)) return check_text_value(p, v, param);
  if (!json_is_array(v)) return el_api_type_error(p, param, "a string or an array of text parts", v);
  for (size_t i = 0; i < json_array_size(v); i++) {
    snprintf(param, sizeof param, "messages[%zu].content[%zu]", at, i);
    if (!read_content_part(p, json_array_get(v, i), param)) return false;
  }
  return true;
}

/* Arguments arrive as a text of JSON, as models write them, and templates want the parsed object. A text that is not a
 * JSON object stays as it is, for templates that take a text. */
static bool read_function_arguments(el_api_parse *p, json_t *function) {
  const json_t *text = json_object_get(function, "arguments");
  if (!json_is_string(text) || el_calling_wants_text(&p->out->calling)) return true;
  json_error_t why;
  bool no_memory;
  json_t *read =
      el_json_load(json_string_value(text), json_string_length(text), JSON_REJECT_DUPLICATES, &why, &no_memory);
  if (!read && no_memory) return el_api_no_memory(p);
  if (json_is_object(read)) return !json_object_set_new(function, "arguments", read) || el_api_no_memory(p);
  json_decref(read);
  return true;
}

static bool read_tool_calls(el_api_parse *p, json_t *calls, size_t at) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu].tool_calls", at);
  if (!json_is_array(calls)) return el_api_type_error(p, param, "an array", calls);
  for (size_t i = 0; i < json_array_size(calls); i++) {
    json_t *function = json_object_get(json_array_get(calls, i), "function");
    snprintf(param, sizeof param, "messages[%zu].tool_calls[%zu].function", at, i);
    if (!json_is_object(function))
      return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': it must be an object.", param);
    if (!json_is_string(json_object_get(function, "name")))
      return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': it has no name.", param);
    if (!read_function_arguments(p, function)) return false;
  }
  return true;
}

/* All fields go to the template, except those that are known to be useless there. */
static bool read_message_fields(el_api_parse *p, json_t *m, size_t at) {
  const char *key;
  json_t *v;
  void *next;
  char param[128];
  json_object_foreach_safe(m, next, key, v) {
    snprintf(param, sizeof param, "messages[%zu].%.60s", at, key);
    bool empty = json_is_null(v) || (json_is_array(v) && !json_array_size(v));
    if (is_known_word(key, MESSAGE_UNSUPPORTED, COUNT(MESSAGE_UNSUPPORTED)) && !empty)
      return el_api_fail(p->error, 400, "unsupported_parameter", param, "'%s' is not supported by this server.", param);
    bool dropped = json_is_null(v) || is_known_word(key, MESSAGE_IGNORED, COUNT(MESSAGE_IGNORED)) ||
                   is_known_word(key, MESSAGE_UNSUPPORTED, COUNT(MESSAGE_UNSUPPORTED)) ||
                   (empty && !strcmp(key, "tool_calls"));
    if (!strcmp(key, "content")) continue;
    if (dropped) {
      json_object_del(m, key);
    } else if (!strcmp(key, "tool_calls") && !read_tool_calls(p, v, at)) {
      return false;
    }
  }
  return true;
}

static bool read_message_role(el_api_parse *p, json_t *m, size_t at) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu].role", at);
  const json_t *r = json_object_get(m, "role");
  if (!r)
    return el_api_fail(p->error, 400, "missing_required_parameter", param, "Missing required parameter: '%s'.", param);
  if (!json_is_string(r)) return el_api_type_error(p, param, "a string", r);
  if (!is_known_word(json_string_value(r), ROLES, COUNT(ROLES)) || has_nul(r))
    return el_api_fail(p->error, 400, "invalid_value", param,
                       "Invalid value for '%s': supported are 'system', 'developer', 'user', 'assistant' and 'tool'.",
                       param);
  if (strcmp(json_string_value(r), "developer")) return true;
  /* "developer" is OpenAI's newer name of the system role; most templates know only the older one. */
  return !json_object_set_new(m, "role", json_string("system")) || el_api_no_memory(p);
}

/* Checks a message and changes it in place to what templates read. */
static bool read_chat_message(el_api_parse *p, json_t *m, size_t at) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu]", at);
  if (!json_is_object(m)) return el_api_type_error(p, param, "an object", m);
  if (!read_message_fields(p, m, at) || !read_message_role(p, m, at)) return false;
  json_t *content = json_object_get(m, "content");
  if ((!content || json_is_null(content)) && !strcmp(json_string_value(json_object_get(m, "role")), "assistant"))
    return json_object_get(m, "tool_calls") || !json_object_set_new(m, "content", json_string("")) ||
           el_api_no_memory(p);
  snprintf(param, sizeof param, "messages[%zu].content", at);
  if (!content)
    return el_api_fail(p->error, 400, "missing_required_parameter", param, "Missing required parameter: '%s'.", param);
  return read_message_content(p, content, at);
}

/* Adds the preset's system message if the conversation has none. */
static bool add_system(el_api_parse *p) {
  json_t *messages = (json_t *)p->messages, *m;
  size_t i;
  if (!p->system) return true;
  json_array_foreach(messages, i, m) {
    if (!strcmp(json_string_value(json_object_get(m, "role")), "system")) return true;
  }
  json_t *system = json_pack("{s:s, s:s}", "role", "system", "content", p->system);
  return !json_array_insert_new(messages, 0, system) || el_api_no_memory(p);
}

/* The template's input as values of the library. */
typedef struct chat_values {
  el_value messages, tools, documents, variables;
} chat_values;

static bool convert_member(el_api_parse *p, const json_t *j, const char *param, el_value *out) {
  switch (j ? el_json_value(j, out) : EL_CONVERTED) {
    case EL_CONVERTED: return true;
    case EL_CONVERT_NO_MEMORY: return el_api_no_memory(p);
    case EL_CONVERT_DEEP: break;
  }
  return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': it is nested deeper than %d.",
                     param, EL_MAX_VALUE_DEPTH);
}

/* The rule of llama-server and Anthropic: if a conversation ends with a message of the assistant, the answer continues
 * it, unless the request says otherwise. */
static bool ends_in_the_middle(const el_api_parse *p) {
  const json_t *last = json_array_get(p->messages, json_array_size(p->messages) - 1);
  const json_t *role = json_object_get(last, "role"), *content = json_object_get(last, "content");
  bool some = json_is_string(content) ? json_string_length(content) > 0 : json_array_size(content) > 0;
  return !p->goes_on && !p->has_opening && some && !json_object_get(last, "tool_calls") &&
         !strcmp(json_string_value(role), "assistant");
}

/* Drops the beginning of a prompt that is longer than asked for. */
static void truncate_prompt(const el_api_parse *p, el_api_prompt *prompt) {
  if (p->truncate <= 0 || prompt->n <= (size_t)p->truncate) return;
  size_t cut = prompt->n - (size_t)p->truncate;
  prompt->n -= cut;
  memmove(prompt->tokens, prompt->tokens + cut, prompt->n * sizeof *prompt->tokens);
  prompt->focus_begin = prompt->focus_begin > cut ? prompt->focus_begin - cut : 0;
  prompt->focus_end = prompt->focus_end > cut ? prompt->focus_end - cut : 0;
}

/* The request's variables, and those of the operator that the request does not set. The caller frees *out. NULL: out of
 * memory, or there are none. */
static size_t merge_variables(const el_api_parse *p, const el_value *request, el_member **out) {
  const el_value *more = p->setup->template_variables;
  const size_t n_own = p->template_variables ? request->object.n : 0;
  const size_t n_more = more && more->type == EL_VALUE_OBJECT ? more->object.n : 0;
  size_t n = n_own;
  *out = malloc((n_own + n_more + 1) * sizeof **out);
  if (!*out) return 0;
  if (n_own) memcpy(*out, request->object.members, n_own * sizeof **out);
  for (size_t i = 0; i < n_more; i++)
    if (!n_own || !el_value_member(request, more->object.members[i].name)) (*out)[n++] = more->object.members[i];
  return n;
}

static bool tokenize_chat(el_api_parse *p, const chat_values *v, const el_member *variables, size_t n_variables) {
  el_api_prompt *prompt = p->out->prompts;
  el_error err;
  int32_t *tokens;
  bool middle = ends_in_the_middle(p), goes_on = p->goes_on || middle;
  el_chat chat = {.messages = &v->messages,
                  .tools = p->tools ? &v->tools : NULL,
                  .documents = p->documents ? &v->documents : NULL,
                  .variables = variables,
                  .n_variables = n_variables,
                  .add_generation_prompt = p->has_opening ? p->opening : !goes_on,
                  .continue_final_message = goes_on,
                  .template_instead = p->chat_template};
  el_status status = el_chat_tokens(p->tokenizer, &chat, p->max_tokens, &tokens, &prompt->n, &prompt->focus_begin,
                                    &prompt->focus_end, &err);
  if (status == EL_ERR_INVALID &&
      middle) { /* the text does not end with the message, for example if that is only white space */
    chat.add_generation_prompt = true;
    chat.continue_final_message = false;
    status = el_chat_tokens(p->tokenizer, &chat, p->max_tokens, &tokens, &prompt->n, &prompt->focus_begin,
                            &prompt->focus_end, &err);
  }
  if (status) return fail_tokenize(p, &err, "messages");
  if (!prompt->n) {
    el_free(tokens);
    return el_api_fail(p->error, 400, "invalid_value", "messages",
                       "Invalid value for 'messages': the model's chat template makes no text of them.");
  }
  if (!(prompt->tokens = adopt_buffer(tokens, prompt->n * sizeof *tokens))) return el_api_no_memory(p);
  truncate_prompt(p, prompt);
  return true;
}

bool el_api_messages_read(el_api_parse *p) {
  if (!json_is_array(p->messages)) return el_api_type_error(p, "messages", "an array", p->messages);
  size_t n = json_array_size(p->messages);
  if (!n) return el_api_fail(p->error, 400, "invalid_value", "messages", "Invalid value for 'messages': it is empty.");
  if (p->out->n > p->max_choices)
    return el_api_fail(p->error, 400, "invalid_value", "n",
                       "Invalid value for 'n': %d choices; at most %d are allowed.", p->out->n, p->max_choices);
  if (!(p->out->prompts = calloc(1, sizeof *p->out->prompts))) return el_api_no_memory(p);
  p->out->n_prompts = 1;
  if (!el_calling_begin(p)) return false;
  for (size_t i = 0; i < n; i++)
    if (!read_chat_message(p, json_array_get(p->messages, i), i)) return false;
  if (!add_system(p) || !el_calling_tell(p)) return false;
  chat_values v = {.messages = {.type = EL_VALUE_NULL}};
  bool ok = convert_member(p, p->messages, "messages", &v.messages) && convert_member(p, p->tools, "tools", &v.tools) &&
            convert_member(p, p->documents, "documents", &v.documents) &&
            convert_member(p, p->template_variables, "chat_template_kwargs", &v.variables);
  el_member *variables = NULL;
  const size_t n_variables = ok ? merge_variables(p, &v.variables, &variables) : 0;
  if (ok && !variables) ok = el_api_no_memory(p);
  ok = ok && tokenize_chat(p, &v, variables, n_variables) && el_calling_end(p);
  free(variables);
  el_json_value_free(&v.messages);
  el_json_value_free(&v.tools);
  el_json_value_free(&v.documents);
  el_json_value_free(&v.variables);
  return ok;
}

/* ---------------------------------------------------------------- completions */

/* The text for `echo` of a prompt of tokens: sent as a prompt, it gives these tokens again. */
static bool echo_tokens(el_api_parse *p, el_api_prompt *out) {
  el_error err;
  char *text;
  if (!p->out->echo) return true;
  if (el_detokenize(p->tokenizer, out->tokens, out->n, true, &text, &out->text_len, &err))
    return el_api_fail_engine(p->error, &err, "", true);
  return (out->text = adopt_buffer(text, out->text_len)) || el_api_no_memory(p);
}

static bool echo_text(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  size_t len = json_string_length(v);
  if (!p->out->echo) return true;
  out->text_len = len;
  return (out->text = malloc(len + 1)) ? memcpy(out->text, json_string_value(v), len) != NULL : el_api_no_memory(p);
}

/* Whether the first token is a BOS that is not in the text. */
static bool has_own_bos(const el_api_parse *p, const json_t *v, const el_api_prompt *out) {
  int32_t bos = el_tokenizer_bos(p->tokenizer);
  char *text;
  size_t len;
  el_error err;
  if (bos < 0 || p->no_bos || out->tokens[0] != bos || el_detokenize(p->tokenizer, &bos, 1, true, &text, &len, &err))
    return false;
  bool there = !p->plain && json_string_length(v) >= len && !memcmp(json_string_value(v), text, len);
  el_free(text);
  return !there;
}

/* Text of control tokens becomes control tokens, as clients that render conversations themselves expect. */
static bool read_text_prompt(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  el_error err;
  int32_t *tokens;
  int flags = (p->no_bos ? 0 : EL_TOKENIZE_BOS) | (p->plain ? 0 : EL_TOKENIZE_SPECIAL);
  if (el_tokenize_at_most(p->tokenizer, json_string_value(v), json_string_length(v), flags, p->max_tokens, &tokens,
                          &out->n, &err))
    return fail_tokenize(p, &err, "prompt");
  if (!(out->tokens = adopt_buffer(tokens, out->n * sizeof *tokens))) return el_api_no_memory(p);
  if (!out->n) return el_api_fail(p->error, 400, "invalid_value", "prompt", "Invalid value for 'prompt': it is empty.");
  out->hidden = has_own_bos(p, v, out);
  size_t n = out->n;
  truncate_prompt(p, out);
  if (n == out->n) return echo_text(p, v, out);
  out->hidden = false;
  return echo_tokens(p, out);
}

/* A text, then the gap to fill, then the suffix. */
static bool read_gap_prompt(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  if (!el_infill_tokens(p, json_string_value(v), json_string_length(v), json_string_value(p->suffix),
                        json_string_length(p->suffix), "suffix", &out->tokens, &out->n))
    return false;
  if (out->n > p->max_tokens)
    return el_api_fail(p->error, 400, "context_length_exceeded", "prompt",
                       "'prompt': %zu tokens with 'suffix'; the limit is %zu, the context.", out->n, p->max_tokens);
  return echo_text(p, v, out);
}

static bool read_token_prompt(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  size_t n = json_array_size(v);
  int32_t n_vocab = el_tokenizer_n_vocab(p->tokenizer);
  if (!n)
    return el_api_fail(p->error, 400, "invalid_value", "prompt", "Invalid value for 'prompt': a prompt has no tokens.");
  if (n > p->max_tokens)
    return el_api_fail(p->error, 400, "context_length_exceeded", "prompt",
                       "'prompt': an array of %zu tokens; the limit is %zu, the context.", n, p->max_tokens);
  if (!(out->tokens = malloc(n * sizeof *out->tokens))) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++) {
    const json_t *id = json_array_get(v, i);
    if (!json_is_integer(id)) return el_api_type_error(p, "prompt", "token ids (integers) in the whole array", id);
    if (json_integer_value(id) < 0 || json_integer_value(id) >= n_vocab)
      return el_api_fail(p->error, 400, "invalid_value", "prompt",
                         "Invalid value for 'prompt': %lld is not a token id between 0 and %d.",
                         (long long)json_integer_value(id), (int)n_vocab - 1);
    out->tokens[i] = (int32_t)json_integer_value(id);
  }
  out->n = n;
  truncate_prompt(p, out);
  return echo_tokens(p, out);
}

static bool read_one_prompt(el_api_parse *p, const json_t *v, bool as_the_first, el_api_prompt *out) {
  bool gap = p->suffix && json_string_length(p->suffix);
  if (as_the_first && json_is_string(v)) return gap ? read_gap_prompt(p, v, out) : read_text_prompt(p, v, out);
  if (as_the_first && json_is_array(v) && gap) return el_api_type_error(p, "prompt", "a text, as 'suffix' is one", v);
  if (as_the_first && json_is_array(v)) return read_token_prompt(p, v, out);
  return el_api_type_error(p, "prompt", "an array of strings or an array of arrays of token ids", v);
}

/* A string, an array of strings, an array of token ids, or an array of such arrays. */
bool el_api_prompts_read(el_api_parse *p) {
  const json_t *v = p->prompt, *first = json_is_array(v) ? json_array_get(v, 0) : NULL;
  if (!json_is_array(v) && !json_is_string(v))
    return el_api_type_error(p, "prompt",
                             "a string, an array of strings, an array of token ids, or an array of such arrays", v);
  if (json_is_array(v) && !first)
    return el_api_fail(p->error, 400, "invalid_value", "prompt", "Invalid value for 'prompt': it is an empty array.");
  bool single = json_is_string(v) || json_is_integer(first);
  size_t n = single ? 1 : json_array_size(v);
  if (n > (size_t)p->max_choices || (size_t)p->out->n > (size_t)p->max_choices / n)
    return el_api_fail(p->error, 400, "invalid_value", n > 1 ? "prompt" : "n",
                       "%zu prompts with n = %d are more choices than the %d that one request may have.", n, p->out->n,
                       p->max_choices);
  if (!(p->out->prompts = calloc(n, sizeof *p->out->prompts))) return el_api_no_memory(p);
  p->out->n_prompts = n;
  for (size_t i = 0; i < n; i++) {
    const json_t *one = single ? v : json_array_get(v, i);
    if (!read_one_prompt(p, one, single || json_typeof(one) == json_typeof(first), &p->out->prompts[i])) return false;
  }
  return true;
}
