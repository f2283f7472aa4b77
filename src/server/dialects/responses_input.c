/* Rewrites the body of POST /v1/responses to that of a chat: items become messages. Tools and formats have their names
 * in other places than in chats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "server/dialects/responses.h"

/* A message of the assistant may come in several items: its reasoning, its text, each of its calls. */
typedef struct reader {
  el_api_parse *p;
  json_t *messages;
  json_t *open; /* the assistant's message to which further items belong; NULL: none */
  char at[96];  /* "input[3]" */
} reader;

static bool fail_item(reader *r, const char *code, const char *what) {
  return el_api_fail(r->p->error, 400, code, r->at, "%s value for '%s': %s.",
                     !strcmp(code, "unsupported_value") ? "Unsupported" : "Invalid", r->at, what);
}

static const char *string_member(const json_t *v, const char *key) {
  return json_string_value(json_object_get(v, key));
}

static bool texts_equal(const char *a, const char *b) {
  return a && !strcmp(a, b);
}

/* Logs an item that is skipped. */
static void warn_skipped(reader *r, const char *what, const char *name) {
  el_logf(r->p->setup->log, EL_LOG_WARN, "responses: %s: %s '%.60s' is skipped: it is not supported", r->at, what,
          name);
}

/* ---------------------------------------------------------------- messages */

/* Parts of text as a chat has them. */
static json_t *read_content_parts(reader *r, const json_t *content) {
  json_t *parts = json_array();
  const json_t *part;
  size_t i;
  json_array_foreach(content, i, part) {
    const char *type = string_member(part, "type");
    bool refusal = texts_equal(type, "refusal"),
         text = texts_equal(type, "input_text") || texts_equal(type, "output_text") || texts_equal(type, "text");
    json_t *s = json_object_get(part, refusal ? "refusal" : "text");
    if (!json_is_string(s) || (!text && !refusal)) {
      json_decref(parts);
      fail_item(r, text || refusal ? "invalid_value" : "unsupported_value",
                text || refusal ? "a part of text has no text" : "its content has a part that is not text");
      return NULL;
    }
    if (json_array_append_new(parts, json_pack("{s:s,s:O}", "type", "text", "text", s))) {
      json_decref(parts);
      el_api_no_memory(r->p);
      return NULL;
    }
  }
  return parts;
}

/* A string, or parts, which is an array. */
static json_t *read_item_content(reader *r, json_t *content) {
  if (json_is_string(content)) return json_incref(content);
  if (json_is_array(content)) return read_content_parts(r, content);
  fail_item(r, "invalid_value", "its content is neither a string nor an array");
  return NULL;
}

static bool append_message(reader *r, json_t *message) {
  return !json_array_append_new(r->messages, message) || el_api_no_memory(r->p);
}

/* The assistant's message to which an item belongs. */
static json_t *last_assistant_message(reader *r) {
  if (r->open) return r->open;
  json_t *message = json_pack("{s:s}", "role", "assistant");
  if (!append_message(r, message)) return NULL;
  return r->open = message;
}

static bool read_message_item(reader *r, const json_t *item) {
  const char *role = string_member(item, "role");
  if (!role) return fail_item(r, "invalid_value", "a message needs a role");
  json_t *content = read_item_content(r, json_object_get(item, "content"));
  if (!content) return false;
  if (!texts_equal(role, "assistant")) {
    r->open = NULL;
    return append_message(r, json_pack("{s:s,s:o}", "role", role, "content", content));
  }
  if (r->open && json_object_get(r->open, "content")) r->open = NULL;
  json_t *message = last_assistant_message(r);
  if (!message) {
    json_decref(content);
    return false;
  }
  return !json_object_set_new(message, "content", content) || el_api_no_memory(r->p);
}

static bool read_call_item(reader *r, const json_t *item) {
  const char *id = string_member(item, "call_id");
  json_t *name = json_object_get(item, "name"), *arguments = json_object_get(item, "arguments");
  if (!id || !json_is_string(name) || !json_is_string(arguments))
    return fail_item(r, "invalid_value", "a function_call needs 'call_id', 'name' and 'arguments', all strings");
  json_t *message = last_assistant_message(r);
  if (!message) return false;
  json_t *calls = json_object_get(message, "tool_calls");
  if (!calls && json_object_set_new(message, "tool_calls", calls = json_array())) return el_api_no_memory(r->p);
  json_t *call = json_pack("{s:s,s:s,s:{s:O,s:O}}", "id", id, "type", "function", "function", "name", name, "arguments",
                           arguments);
  return !json_array_append_new(calls, call) || el_api_no_memory(r->p);
}

static bool read_output_item(reader *r, const json_t *item) {
  const char *id = string_member(item, "call_id");
  if (!id) return fail_item(r, "invalid_value", "a function_call_output needs 'call_id'");
  json_t *content = read_item_content(r, json_object_get(item, "output"));
  if (!content) return false;
  r->open = NULL;
  return append_message(r, json_pack("{s:s,s:s,s:o}", "role", "tool", "tool_call_id", id, "content", content));
}

/* Reasoning: its text, or its summary if there is no text. */
static bool read_reasoning_item(reader *r, const json_t *item) {
  const json_t *parts = json_object_get(item, "content"), *part;
  if (!json_array_size(parts)) parts = json_object_get(item, "summary");
  el_buf text = {0};
  size_t i;
  json_array_foreach(parts, i, part) {
    const char *s = string_member(part, "text");
    if (s && !el_buf_append(&text, s, strlen(s))) {
      el_buf_free(&text);
      return el_api_no_memory(r->p);
    }
  }
  r->open = NULL;
  json_t *message = text.len ? last_assistant_message(r) : NULL;
  bool ok = !text.len ||
            (message && !json_object_set_new(message, "reasoning_content", json_stringn(text.data, text.len))) ||
            el_api_no_memory(r->p);
  el_buf_free(&text);
  return ok;
}

static bool read_input_item(reader *r, const json_t *item) {
  const char *type = string_member(item, "type");
  if (!json_is_object(item)) return fail_item(r, "invalid_value", "it is not an object");
  if (!type || texts_equal(type, "message")) return read_message_item(r, item);
  if (texts_equal(type, "function_call")) return read_call_item(r, item);
  if (texts_equal(type, "function_call_output")) return read_output_item(r, item);
  if (texts_equal(type, "reasoning")) return read_reasoning_item(r, item);
  if (texts_equal(type, "item_reference")) return fail_item(r, "unsupported_value", "items are not kept by their ids");
  warn_skipped(r, "an item of the type", type);
  return true;
}

/* ---------------------------------------------------------------- the conversation */

/* Loads the items of the stored answer that this request continues. */
static bool load_previous(el_api_parse *p, el_responses_request *own, const json_t *id) {
  if (!id || json_is_null(id)) return true;
  if (!json_is_string(id)) return el_api_type_error(p, "previous_response_id", "a string", id);
  el_buf text = {0};
  bool found, no_memory = false;
  json_error_t why;
  if (!el_stored_get(own->stored, json_string_value(id), own->domain, EL_STORED_ITEMS, &text, &found))
    return el_api_no_memory(p);
  json_t *items = found ? el_json_load(text.data, text.len, JSON_ALLOW_NUL, &why, &no_memory) : NULL;
  el_buf_free(&text);
  if (!found)
    return el_api_fail(p->error, 400, "previous_response_not_found", "previous_response_id",
                       "Previous response with id '%.60s' not found.", json_string_value(id));
  json_decref(own->items);
  own->items = items;
  return items || el_api_no_memory(p);
}

static bool add_input_items(el_api_parse *p, el_responses_request *own, json_t *input) {
  if (!input || json_is_null(input))
    return el_api_fail(p->error, 400, "missing_required_parameter", "input", "Missing required parameter: 'input'.");
  if (json_is_string(input))
    return !json_array_append_new(own->items, json_pack("{s:s,s:O}", "role", "user", "content", input)) ||
           el_api_no_memory(p);
  if (!json_is_array(input)) return el_api_type_error(p, "input", "a string or an array of items", input);
  return !json_array_extend(own->items, input) || el_api_no_memory(p);
}

static bool make_input_messages(el_api_parse *p, el_responses_request *own, size_t n_before, json_t *body) {
  reader r = {.p = p, .messages = json_array()};
  json_t *instructions = json_object_get(body, "instructions");
  if (!r.messages || json_object_set_new(body, "messages", r.messages)) return el_api_no_memory(p);
  if (json_is_string(instructions)) {
    if (!append_message(&r, json_pack("{s:s,s:O}", "role", "system", "content", instructions))) return false;
  } else if (instructions && !json_is_null(instructions)) {
    return el_api_type_error(p, "instructions", "a string", instructions);
  }
  size_t i;
  const json_t *item;
  json_array_foreach(own->items, i, item) {
    if (i < n_before)
      snprintf(r.at, sizeof r.at, "previous_response_id");
    else
      snprintf(r.at, sizeof r.at, "input[%zu]", i - n_before);
    if (!read_input_item(&r, item)) return false;
  }
  return true;
}

/* ---------------------------------------------------------------- tools and formats */

/* Makes {"type": "function", "function": {"name", ...}} of {"type": "function", "name", ...}. */
static json_t *make_function_tool(const json_t *tool) {
  json_t *function = el_json_copy(tool);
  if (!function) return NULL;
  json_object_del(function, "type");
  return json_pack("{s:s,s:o}", "type", "function", "function", function);
}

static bool make_function_tools(el_api_parse *p, json_t *body) {
  const json_t *tools = json_object_get(body, "tools"), *tool;
  if (!json_is_array(tools)) return true; /* its field says what is wrong */
  reader r = {.p = p, .at = "tools"};
  json_t *functions = json_array();
  size_t i;
  json_array_foreach(tools, i, tool) {
    const char *type = string_member(tool, "type");
    bool function = texts_equal(type, "function");
    if (!function) {
      warn_skipped(&r, "a tool of the type", type ? type : "");
      continue;
    }
    json_t *nested = json_object_get(tool, "function") ? json_incref((json_t *)tool) : make_function_tool(tool);
    if (json_array_append_new(functions, nested)) {
      json_decref(functions);
      return el_api_no_memory(p);
    }
  }
  bool any = json_array_size(functions) > 0;
  bool ok = !json_object_set_new(body, "tools", functions);
  if (!any) json_object_del(body, "tool_choice"); /* of none */
  return ok || el_api_no_memory(p);
}

static bool make_tool_choice(el_api_parse *p, json_t *body) {
  const json_t *choice = json_object_get(body, "tool_choice");
  const char *type = string_member(choice, "type");
  if (!json_is_object(choice)) return true;
  json_t *name = json_object_get(choice, "name"), *mode = json_object_get(choice, "mode"), *as_chat = NULL;
  if (texts_equal(type, "function") && json_is_string(name))
    as_chat = json_pack("{s:s,s:{s:O}}", "type", "function", "function", "name", name);
  else if (texts_equal(type, "allowed_tools") && json_is_string(mode))
    as_chat = json_incref(mode);
  if (!as_chat) {
    reader r = {.p = p, .at = "tool_choice"};
    warn_skipped(&r, "a choice of the type", type ? type : "");
    return !json_object_del(body, "tool_choice") || el_api_no_memory(p);
  }
  return !json_object_set_new(body, "tool_choice", as_chat) || el_api_no_memory(p);
}

/* ---------------------------------------------------------------- what the answer repeats */

/* The value in an answer, as JSON, for a field that the body lacks. */
static const struct {
  const char *name, *otherwise;
} ECHOED[] = {{"instructions", "null"},
              {"max_output_tokens", "null"},
              {"max_tool_calls", "null"},
              {"metadata", "{}"},
              {"parallel_tool_calls", "true"},
              {"previous_response_id", "null"},
              {"prompt_cache_key", "null"},
              {"reasoning", "{\"effort\":null,\"summary\":null}"},
              {"safety_identifier", "null"},
              {"service_tier", "\"default\""},
              {"store", "true"},
              {"text", "{\"format\":{\"type\":\"text\"}}"},
              {"tool_choice", "\"auto\""},
              {"tools", "[]"},
              {"top_logprobs", "0"},
              {"truncation", "\"disabled\""},
              {"user", "null"}};

static bool make_request_echo(el_api_parse *p, el_responses_request *own, const json_t *body) {
  el_buf out = {0};
  bool ok = true;
  for (size_t i = 0; ok && i < sizeof ECHOED / sizeof *ECHOED; i++) {
    const json_t *v = json_object_get(body, ECHOED[i].name);
    bool given = v && !json_is_null(v);
    char *text = given ? el_json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    ok = (text || !given) && el_buf_printf(&out, ",\"%s\":%s", ECHOED[i].name, text ? text : ECHOED[i].otherwise);
    free(text);
  }
  own->echo = out.data;
  return ok || el_api_no_memory(p);
}

static void free_responses_request(void *request) {
  el_responses_request *own = request;
  json_decref(own->items);
  free(own->echo);
  free(own);
}

bool el_responses_prepare(el_api_parse *p, json_t *body) {
  el_responses_request *own = calloc(1, sizeof *own);
  if (!own) return el_api_no_memory(p);
  p->out->own = own;
  p->out->free_own = free_responses_request;
  own->stored = p->setup->stored;
  own->domain = p->setup->domain;
  own->store = !json_is_false(json_object_get(body, "store"));
  if (!(own->items = json_array())) return el_api_no_memory(p);
  if (!load_previous(p, own, json_object_get(body, "previous_response_id"))) return false;
  size_t n_before = json_array_size(own->items);
  return make_request_echo(p, own, body) && add_input_items(p, own, json_object_get(body, "input")) &&
         make_input_messages(p, own, n_before, body) && make_function_tools(p, body) && make_tool_choice(p, body);
}
