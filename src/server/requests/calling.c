#include "server/requests/calling.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "server/common/json_value.h"
#include "server/requests/fields.h"

/* How many tokens at the end of a prompt are kept, to see whether it has opened the reasoning. */
enum { END_TOKENS = 32 };

void el_formats_init(el_formats *f) {
  pthread_mutex_init(&f->mutex, NULL);
}

void el_formats_free(el_formats *f) {
  el_answer_format_close(f->own);
  pthread_mutex_destroy(&f->mutex);
}

void el_calling_free(el_calling *c) {
  el_answer_format_close(c->of_preset);
  el_tools_close(c->tools);
  free(c->only);
  el_free(c->prompt);
  *c = (el_calling){0};
}

static bool fail_format(el_api_parse *p, const el_error *err, const char *param) {
  if (err->code == EL_ERR_NO_MEMORY) return el_api_no_memory(p);
  return el_api_fail(p->error, 400, "invalid_value", param, "%s.", err->message);
}

static bool find_format(el_api_parse *p, el_calling *c) {
  el_formats *f = p->setup->formats;
  el_status status = EL_OK;
  el_error err;
  if (p->chat_template || p->tokenizer != p->setup->tokenizer) {
    status = el_answer_format_open(p->tokenizer, p->chat_template, &c->of_preset, &err);
    c->format = c->of_preset;
  } else {
    pthread_mutex_lock(&f->mutex);
    if (!f->own) status = el_answer_format_open(p->tokenizer, NULL, &f->own, &err);
    c->format = f->own;
    pthread_mutex_unlock(&f->mutex);
  }
  return !status || fail_format(p, &err, "messages");
}

/* ---------------------------------------------------------------- tool_choice */

static bool fail_choice(el_api_parse *p) {
  return el_api_fail(p->error, 400, "invalid_value", "tool_choice",
                     "Invalid value for 'tool_choice': supported are 'none', 'auto', 'required' and "
                     "{\"type\": \"function\", \"function\": {\"name\": ...}}.");
}

/* *none: no tool may be called. */
static bool read_calling_choice(el_api_parse *p, el_calling *c, bool *none) {
  const json_t *v = p->tool_choice;
  const char *s = json_string_value(v);
  if (!v || (s && !strcmp(s, "auto"))) return true;
  if (s) {
    *none = !strcmp(s, "none");
    c->rules.required = !strcmp(s, "required") || !strcmp(s, "any");
    return *none || c->rules.required || fail_choice(p);
  }
  const json_t *function = json_object_get(v, "function"), *name = json_object_get(function, "name");
  if (!json_is_object(v) || !json_is_string(name)) return fail_choice(p);
  c->rules.only = c->only = strdup(json_string_value(name));
  return c->only || el_api_no_memory(p);
}

static bool read_tools(el_api_parse *p, el_calling *c) {
  el_value tools;
  el_error err;
  el_convert converted = el_json_value(p->tools, &tools);
  if (converted != EL_CONVERTED) el_json_value_free(&tools);
  switch (converted) {
    case EL_CONVERTED: break;
    case EL_CONVERT_NO_MEMORY: return el_api_no_memory(p);
    case EL_CONVERT_DEEP:
      return el_api_fail(p->error, 400, "invalid_value", "tools",
                         "Invalid value for 'tools': it is nested deeper than %d.", EL_MAX_VALUE_DEPTH);
  }
  el_status status = el_tools_open(&tools, &c->tools, &err);
  el_json_value_free(&tools);
  if (status) return fail_format(p, &err, "tools");
  return !c->only || el_tools_have(c->tools, c->only) ||
         el_api_fail(p->error, 400, "invalid_value", "tool_choice",
                     "Invalid value for 'tool_choice': '%.128s' is none of the tools.", c->only);
}

bool el_calling_begin(el_api_parse *p) {
  el_calling *c = &p->out->calling;
  bool none = false;
  if (p->out->route) return true;
  c->rules.parallel = !p->one_call;
  c->keep_reasoning = p->keep_reasoning;
  if (!find_format(p, c) || !read_calling_choice(p, c, &none)) return false;
  if (p->tools) return none || read_tools(p, c);
  return !(c->rules.required || c->rules.only) ||
         el_api_fail(p->error, 400, "invalid_value", "tool_choice",
                     "'tool_choice' asks for a call, but there are no 'tools'.");
}

bool el_calling_wants_text(const el_calling *c) {
  el_answer_info info = {0};
  if (c->format) el_answer_format_info(c->format, &info);
  return info.text_arguments;
}

/* ---------------------------------------------------------------- messages, for templates that know no tools */

static const char *message_role(const json_t *m) {
  return json_string_value(json_object_get(m, "role"));
}

/* Appends a text to the content of a message, which is a string or parts. */
static bool append_message_text(el_api_parse *p, json_t *m, const char *text, size_t len) {
  json_t *content = json_object_get(m, "content"), *added;
  if (json_is_array(content)) {
    added = json_pack("{s:s, s:s%}", "type", "text", "text", text, len);
    return !json_array_append_new(content, added) || el_api_no_memory(p);
  }
  const char *before = json_is_string(content) ? json_string_value(content) : "";
  size_t n = json_is_string(content) ? json_string_length(content) : 0;
  el_buf both = {0};
  bool ok = el_buf_append(&both, before, n) && (!n || el_buf_append(&both, "\n\n", 2)) &&
            el_buf_append(&both, text, len) && !json_object_set_new(m, "content", json_stringn(both.data, both.len));
  el_buf_free(&both);
  return ok || el_api_no_memory(p);
}

/* The message that takes the instructions: the system message, which is made if there is none; or the first message, if
 * the template has no system messages. */
static json_t *system_message(json_t *messages, bool takes_system) {
  json_t *first = json_array_get(messages, 0);
  if (!takes_system || !strcmp(message_role(first), "system")) return first;
  json_t *system = json_pack("{s:s, s:s}", "role", "system", "content", "");
  return json_array_insert_new(messages, 0, system) ? NULL : json_array_get(messages, 0);
}

static bool tell_tools(el_api_parse *p, const el_calling *c, json_t *messages, bool takes_system) {
  char *text;
  size_t len;
  el_error err;
  if (el_answer_instructions(c->format, c->tools, &c->rules, &text, &len, &err)) return fail_format(p, &err, "tools");
  json_t *m = system_message(messages, takes_system);
  bool ok = m ? append_message_text(p, m, text, len) : el_api_no_memory(p);
  el_free(text);
  return ok;
}

/* Adds a call of an earlier turn to its message, as the model wrote it. */
static bool tell_call(el_api_parse *p, const el_calling *c, json_t *m, const json_t *call) {
  const json_t *function = json_object_get(call, "function"), *arguments = json_object_get(function, "arguments");
  char *json =
      json_is_string(arguments) ? strdup(json_string_value(arguments)) : el_json_dumps(arguments, JSON_ENCODE_ANY);
  char *text = NULL;
  size_t len;
  el_error err;
  if (!json && arguments) return el_api_no_memory(p);
  const char *given = json && *json ? json : "{}";
  bool ok = !el_answer_call_text(c->format, json_string_value(json_object_get(function, "name")), given, strlen(given),
                                 &text, &len, &err) &&
            append_message_text(p, m, text, len);
  free(json);
  el_free(text);
  return ok || el_api_no_memory(p);
}

static bool tell_calls(el_api_parse *p, const el_calling *c, json_t *m) {
  json_t *calls = json_object_get(m, "tool_calls"), *call;
  size_t i;
  json_array_foreach(calls, i, call) {
    if (!tell_call(p, c, m, call)) return false;
  }
  return !calls || !json_object_del(m, "tool_calls");
}

/* Answers of tools become messages of the user; several answers in a row become one message. */
static bool tell_results(el_api_parse *p, json_t *messages) {
  for (size_t i = 0; i < json_array_size(messages); i++) {
    json_t *m = json_array_get(messages, i);
    if (strcmp(message_role(m), "tool")) continue;
    json_t *before = i ? json_array_get(messages, i - 1) : NULL, *content = json_object_get(m, "content");
    bool again = before && json_is_true(json_object_get(before, "is_result"));
    json_t *to = again ? before : json_pack("{s:s, s:s, s:b}", "role", "user", "content", "", "is_result", 1);
    bool ok = to && append_message_text(p, to, "Result of the call:", 19);
    json_t *part;
    size_t k;
    if (ok && json_is_string(content))
      ok = append_message_text(p, to, json_string_value(content), json_string_length(content));
    if (ok && json_is_array(content)) json_array_foreach(content, k, part) {
        const json_t *text = json_object_get(part, "text");
        ok = ok && (!text || append_message_text(p, to, json_string_value(text), json_string_length(text)));
      }
    if (!again && to && json_array_set_new(messages, i, to)) ok = false;
    if (again && json_array_remove(messages, i--)) ok = false;
    if (!ok) return el_api_no_memory(p);
  }
  json_t *m;
  size_t i;
  json_array_foreach(messages, i, m) json_object_del(m, "is_result");
  return true;
}

bool el_calling_tell(el_api_parse *p) {
  const el_calling *c = &p->out->calling;
  json_t *messages = (json_t *)p->messages, *m;
  size_t i;
  el_answer_info info;
  if (!c->format) return true;
  el_answer_format_info(c->format, &info);
  if (!info.writes_calls) {
    json_array_foreach(messages, i, m) {
      if (!tell_calls(p, c, m)) return el_api_no_memory(p);
    }
    if (!tell_results(p, messages)) return false;
  }
  return !c->tools || info.shows_tools || tell_tools(p, c, messages, info.takes_system);
}

/* ---------------------------------------------------------------- after */

/* Compiles the constraint for calls that are required, or whose arguments must satisfy a schema. */
static bool constrain_calls(el_api_parse *p, el_calling *c) {
  el_api_request *r = p->out;
  el_constraint_source *source;
  el_error err;
  if (el_answer_constraint(c->format, c->tools, &c->rules, c->prompt, c->prompt_len, &source, &err))
    return fail_format(p, &err, "tool_choice");
  if (!source) return true;
  if (r->constraint) { /* by response_format and its like */
    el_free(source);
    if (c->rules.required || c->rules.only)
      return el_api_fail(p->error, 400, "unsupported_value", "tool_choice",
                         "An answer cannot be both a call that 'tool_choice' asks for and in a format of its own.");
    el_logf(p->setup->log, EL_LOG_WARN, "%s: strict tools and a response format: only the response format is enforced",
            r->api->name);
    return true;
  }
  r->engine = p->setup->engine;
  el_status status = el_constraint_open(r->engine, source, &r->constraint, &err);
  el_free(source);
  if (!status) r->request.constraint = r->constraint;
  return !status || fail_format(p, &err, "tools");
}

bool el_calling_end(el_api_parse *p) {
  el_calling *c = &p->out->calling;
  const el_api_prompt *prompt = p->out->prompts;
  el_answer_info info;
  el_error err;
  if (!c->format) return true;
  el_answer_format_info(c->format, &info);
  if (!c->tools && !info.reasoning_end[0]) {
    c->format = NULL; /* all of the answer is text */
    return true;
  }
  size_t n = prompt->n < END_TOKENS ? prompt->n : END_TOKENS;
  if (el_detokenize(p->tokenizer, prompt->tokens + prompt->n - n, n, true, &c->prompt, &c->prompt_len, &err))
    return fail_format(p, &err, "messages");
  p->out->request.shown_tokens = info.shown_tokens;
  p->out->request.n_shown_tokens = info.n_shown_tokens;
  return !c->tools || constrain_calls(p, c);
}
