/* What is to be continued: a chat's messages or a completion's prompts, to tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "server/openai_fields.h"

/* ---------------------------------------------------------------- chat */

/* Fields of a message that a client sends back when it repeats an answer; they carry nothing that a template renders.
 */
static const char *const MESSAGE_IGNORED[] = {"name", "refusal", "annotations", "tool_call_id"};
/* Fields that would change the conversation: only null or an empty array passes. */
static const char *const MESSAGE_UNSUPPORTED[] = {"tool_calls", "function_call", "audio"};
static const char *const ROLES[] = {"system", "developer", "user", "assistant", "tool"};

/* A copy on our own heap of what the library returned, so that a prompt is freed one way wherever it came from. */
static void *adopt(void *from_library, size_t bytes) {
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

static bool one_of(const char *s, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(s, list[i])) return true;
  return false;
}

static bool check_message_keys(el_api_parse *p, const json_t *m, size_t at) {
  const char *key;
  json_t *v;
  char param[128];
  json_object_foreach((json_t *)m, key, v) {
    if (!strcmp(key, "role") || !strcmp(key, "content") || one_of(key, MESSAGE_IGNORED, COUNT(MESSAGE_IGNORED)))
      continue;
    snprintf(param, sizeof param, "messages[%zu].%.60s", at, key);
    if (!one_of(key, MESSAGE_UNSUPPORTED, COUNT(MESSAGE_UNSUPPORTED)))
      return el_api_fail(p->error, 400, "unknown_parameter", param, "Unknown parameter: '%s'.", param);
    if (!json_is_null(v) && !(json_is_array(v) && !json_array_size(v)))
      return el_api_fail(p->error, 400, "unsupported_parameter", param, "'%s' is not supported by this server.", param);
  }
  return true;
}

/* Contents become C strings. */
static bool append_text(el_api_parse *p, const json_t *s, const char *param, el_buf *text) {
  if (!json_is_string(s)) return el_api_type_error(p, param, "a string", s);
  if (strlen(json_string_value(s)) != json_string_length(s))
    return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': it contains a NUL character.",
                       param);
  return el_buf_append(text, json_string_value(s), json_string_length(s)) || el_api_no_memory(p);
}

/* A string, or text parts, which are joined by newlines as vLLM and llama.cpp do. */
static bool read_content(el_api_parse *p, const json_t *v, size_t at, el_buf *text) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu].content", at);
  if (json_is_string(v)) return append_text(p, v, param, text);
  if (!json_is_array(v)) return el_api_type_error(p, param, "a string or an array of text parts", v);
  for (size_t i = 0; i < json_array_size(v); i++) {
    const json_t *part = json_array_get(v, i);
    snprintf(param, sizeof param, "messages[%zu].content[%zu]", at, i);
    if (!json_is_object(part)) return el_api_type_error(p, param, "an object", part);
    const json_t *type = json_object_get(part, "type"), *s = json_object_get(part, "text");
    if (!json_is_string(type) || strcmp(json_string_value(type), "text"))
      return el_api_fail(p->error, 400, "unsupported_value", param,
                         "'%s' must be a part of type 'text'; other types are not supported.", param);
    if (!s || json_object_size(part) != 2)
      return el_api_fail(p->error, 400, "invalid_value", param,
                         "'%s' must have the fields 'type' and 'text', and no others.", param);
    if (i && !el_buf_append(text, "\n", 1)) return el_api_no_memory(p);
    if (!append_text(p, s, param, text)) return false;
  }
  return true;
}

static bool read_message(el_api_parse *p, const json_t *m, size_t at, const char **role, el_buf *text) {
  char param[128];
  snprintf(param, sizeof param, "messages[%zu]", at);
  if (!json_is_object(m)) return el_api_type_error(p, param, "an object", m);
  if (!check_message_keys(p, m, at)) return false;

  snprintf(param, sizeof param, "messages[%zu].role", at);
  const json_t *r = json_object_get(m, "role");
  if (!r)
    return el_api_fail(p->error, 400, "missing_required_parameter", param, "Missing required parameter: '%s'.", param);
  if (!json_is_string(r)) return el_api_type_error(p, param, "a string", r);
  if (!one_of(json_string_value(r), ROLES, COUNT(ROLES)) || strlen(json_string_value(r)) != json_string_length(r))
    return el_api_fail(p->error, 400, "invalid_value", param,
                       "Invalid value for '%s': supported are 'system', 'developer', 'user', 'assistant' and 'tool'.",
                       param);
  *role = json_string_value(r);
  if (!strcmp(*role, "developer")) *role = "system"; /* OpenAI's newer word for it; templates know the older */

  const json_t *content = json_object_get(m, "content");
  if ((!content || json_is_null(content)) && !strcmp(*role, "assistant"))
    return el_buf_append(text, "", 0) || el_api_no_memory(p);
  snprintf(param, sizeof param, "messages[%zu].content", at);
  if (!content)
    return el_api_fail(p->error, 400, "missing_required_parameter", param, "Missing required parameter: '%s'.", param);
  return read_content(p, content, at, text) && (el_buf_append(text, "", 0) || el_api_no_memory(p));
}

bool el_api_messages_read(el_api_parse *p) {
  if (!json_is_array(p->messages)) return el_api_type_error(p, "messages", "an array", p->messages);
  size_t n = json_array_size(p->messages);
  if (!n) return el_api_fail(p->error, 400, "invalid_value", "messages", "Invalid value for 'messages': it is empty.");
  if (p->out->n > p->max_choices)
    return el_api_fail(p->error, 400, "invalid_value", "n",
                       "Invalid value for 'n': %d choices; at most %d are allowed.", p->out->n, p->max_choices);
  el_message *messages = calloc(n + 1, sizeof *messages), *first = messages + 1; /* [0]: a preset's */
  el_buf *texts = calloc(n, sizeof *texts);
  el_api_prompt *prompt = p->out->prompts = calloc(1, sizeof *prompt);
  size_t n_rendered = n;
  bool has_system = false, ok = messages && texts && prompt ? true : el_api_no_memory(p);
  for (size_t i = 0; ok && i < n; i++) {
    ok = read_message(p, json_array_get(p->messages, i), i, &first[i].role, &texts[i]);
    first[i].content = texts[i].data;
    has_system = has_system || (ok && !strcmp(first[i].role, "system"));
  }
  if (ok && p->system && !has_system) {
    *--first = (el_message){"system", p->system};
    n_rendered++;
  }
  if (ok) {
    el_error err;
    p->out->n_prompts = 1;
    int32_t *tokens;
    if (el_chat_tokenize_with(p->tokenizer, p->chat_template, first, n_rendered, true, p->max_tokens, &tokens,
                              &prompt->n, &prompt->focus_begin, &prompt->focus_end, &err)) {
      ok = fail_tokenize(p, &err, "messages");
    } else {
      ok = (prompt->tokens = adopt(tokens, prompt->n * sizeof *tokens)) || el_api_no_memory(p);
    }
  }
  for (size_t i = 0; texts && i < n; i++) el_buf_free(&texts[i]);
  free(texts);
  free(messages);
  return ok;
}

/* ---------------------------------------------------------------- completions */

static bool read_text_prompt(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  el_error err;
  size_t len = json_string_length(v);
  int32_t *tokens;
  if (el_tokenize_at_most(p->tokenizer, json_string_value(v), len, EL_TOKENIZE_BOS, p->max_tokens, &tokens, &out->n,
                          &err))
    return fail_tokenize(p, &err, "prompt");
  if (!(out->tokens = adopt(tokens, out->n * sizeof *tokens))) return el_api_no_memory(p);
  if (!out->n) return el_api_fail(p->error, 400, "invalid_value", "prompt", "Invalid value for 'prompt': it is empty.");
  if (!p->out->echo) return true;
  out->text_len = len;
  return (out->text = malloc(len + 1)) ? memcpy(out->text, json_string_value(v), len) != NULL : el_api_no_memory(p);
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
  if (!p->out->echo) return true;
  el_error err;
  char *text;
  if (el_detokenize(p->tokenizer, out->tokens, n, false, &text, &out->text_len, &err))
    return el_api_fail_engine(p->error, &err, "", true);
  return (out->text = adopt(text, out->text_len)) || el_api_no_memory(p);
}

static bool read_prompt(el_api_parse *p, const json_t *v, bool as_the_first, el_api_prompt *out) {
  if (as_the_first && json_is_string(v)) return read_text_prompt(p, v, out);
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
    if (!read_prompt(p, one, single || json_typeof(one) == json_typeof(first), &p->out->prompts[i])) return false;
  }
  return true;
}
