/* Rewrites the body of POST /v1/messages to that of a chat: blocks become messages, and tools and tool_choice change
 * form. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "server/dialects/anthropic.h"

typedef struct reader {
  el_api_parse *p;
  json_t *messages;
  char at[96]; /* "messages[3].content[1]" */
} reader;

static bool json_is_text(const json_t *v, const char *s) {
  return json_is_string(v) && !strcmp(json_string_value(v), s);
}

static const json_t *block_type_of(const json_t *block) {
  return json_object_get(block, "type");
}

static bool fail_message(reader *r, const char *what) {
  return el_api_fail(r->p->error, 400, "invalid_value", r->at, "%s: %s", r->at, what);
}

/* j NULL: there was no memory for it. */
static bool append_json(reader *r, json_t *list, json_t *j) {
  return !json_array_append_new(list, j) || el_api_no_memory(r->p);
}

static bool set_member(reader *r, json_t *object, const char *key, json_t *j) {
  return !json_object_set_new(object, key, j) || el_api_no_memory(r->p);
}

/* ---------------------------------------------------------------- blocks */

static bool fail_block(reader *r, const json_t *block) {
  const json_t *type = block_type_of(block);
  if (!json_is_string(type)) return fail_message(r, "a content block has no type");
  if (json_is_text(type, "image") || json_is_text(type, "document"))
    return el_api_fail(r->p->error, 400, "unsupported_value", r->at,
                       "%s: %ss are not supported: the model reads text alone.", r->at, json_string_value(type));
  return el_api_fail(r->p->error, 400, "unsupported_value", r->at,
                     "%s: content blocks of the type '%.60s' are not supported.", r->at, json_string_value(type));
}

/* Appends {"type": "text", "text": ...} to the list, without further members. */
static bool add_text_block(reader *r, json_t *list, const json_t *block) {
  json_t *text = json_object_get(block, "text");
  if (!json_is_string(text)) return fail_message(r, "a text block has no text");
  return append_json(r, list, json_pack("{s:s,s:O}", "type", "text", "text", text));
}

/* Text blocks, or a string. */
static json_t *text_parts(reader *r, const json_t *content) {
  json_t *parts = json_array(), *block;
  size_t i;
  bool ok = parts || el_api_no_memory(r->p);
  if (ok && json_is_string(content))
    ok = append_json(r, parts, json_pack("{s:s,s:O}", "type", "text", "text", content));
  if (ok && content && !json_is_string(content) && !json_is_array(content))
    ok = fail_message(r, "it is neither a string nor a list of blocks");
  if (json_is_array(content)) json_array_foreach(content, i, block) {
      if (ok) ok = json_is_text(block_type_of(block), "text") ? add_text_block(r, parts, block) : fail_block(r, block);
    }
  if (ok) return parts;
  json_decref(parts);
  return NULL;
}

/* The result of a tool becomes a message of its own. */
static bool add_tool_result(reader *r, const json_t *block) {
  json_t *id = json_object_get(block, "tool_use_id"), *parts = text_parts(r, json_object_get(block, "content"));
  if (!parts) return false;
  if (!json_is_string(id)) {
    json_decref(parts);
    return fail_message(r, "a tool_result block has no tool_use_id");
  }
  json_t *one = json_array_size(parts) == 1 ? json_incref(json_object_get(json_array_get(parts, 0), "text")) : NULL;
  if (one || !json_array_size(parts)) {
    json_decref(parts);
    parts = one ? one : json_string("");
  }
  return append_json(r, r->messages, json_pack("{s:s,s:O,s:o}", "role", "tool", "tool_call_id", id, "content", parts));
}

static bool add_tool_use(reader *r, json_t *calls, const json_t *block) {
  json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name"),
         *input = json_object_get(block, "input");
  if (!json_is_string(id) || !json_is_string(name) || !json_is_object(input))
    return fail_message(r,
                        "a tool_use block needs 'id' and 'name', which are strings, and 'input', which is an object");
  /* The arguments as text, as in a chat; the template decides what to do with it. */
  char *text = el_json_dumps(input, JSON_COMPACT);
  json_t *call = text ? json_pack("{s:O,s:s,s:{s:O,s:s}}", "id", id, "type", "function", "function", "name", name,
                                  "arguments", text)
                      : NULL;
  free(text);
  return append_json(r, calls, call);
}

static bool add_thought(reader *r, json_t *message, const json_t *block) {
  json_t *text = json_object_get(block, "thinking");
  if (!json_is_string(text)) return fail_message(r, "a thinking block has no thinking");
  return !json_string_length(text) || set_member(r, message, "reasoning_content", json_incref(text));
}

/* ---------------------------------------------------------------- messages */

/* A single text becomes a string. Templates read both forms; for those that take only strings, parts are joined by line
 * ends. */
static json_t *content_of_texts(json_t *parts) {
  json_t *one = json_array_size(parts) == 1 ? json_incref(json_object_get(json_array_get(parts, 0), "text")) : NULL;
  if (!one) return parts;
  json_decref(parts);
  return one;
}

static bool add_user(reader *r, const json_t *content, size_t at) {
  json_t *parts = json_array(), *block;
  size_t i;
  bool ok = parts || el_api_no_memory(r->p);
  json_array_foreach(content, i, block) {
    snprintf(r->at, sizeof r->at, "messages[%zu].content[%zu]", at, i);
    if (!ok) break;
    ok = json_is_text(block_type_of(block), "tool_result") ? add_tool_result(r, block)
         : json_is_text(block_type_of(block), "text")      ? add_text_block(r, parts, block)
                                                           : fail_block(r, block);
  }
  bool empty = !json_array_size(parts) && json_array_size(content);
  if (ok && !empty)
    return append_json(r, r->messages, json_pack("{s:s,s:o}", "role", "user", "content", content_of_texts(parts)));
  json_decref(parts);
  return ok;
}

static bool add_assistant(reader *r, const json_t *content, size_t at) {
  json_t *m = json_pack("{s:s}", "role", "assistant"), *parts = json_array(), *calls = json_array(), *block;
  size_t i;
  bool ok = (m && parts && calls) || el_api_no_memory(r->p);
  json_array_foreach(content, i, block) {
    const json_t *type = block_type_of(block);
    snprintf(r->at, sizeof r->at, "messages[%zu].content[%zu]", at, i);
    if (!ok) break;
    ok = json_is_text(type, "text")                ? add_text_block(r, parts, block)
         : json_is_text(type, "tool_use")          ? add_tool_use(r, calls, block)
         : json_is_text(type, "thinking")          ? add_thought(r, m, block)
         : json_is_text(type, "redacted_thinking") ? true /* another's, which nobody can read */
                                                   : fail_block(r, block);
  }
  if (ok)
    ok = set_member(r, m, "content", json_array_size(parts) ? content_of_texts(json_incref(parts)) : json_string(""));
  if (ok && json_array_size(calls)) ok = set_member(r, m, "tool_calls", json_incref(calls));
  json_decref(parts);
  json_decref(calls);
  if (ok) return append_json(r, r->messages, m);
  json_decref(m);
  return false;
}

static bool add_anthropic_message(reader *r, const json_t *m, size_t at) {
  json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
  snprintf(r->at, sizeof r->at, "messages[%zu]", at);
  if (!json_is_object(m)) return fail_message(r, "it is no object");
  bool user = json_is_text(role, "user"), assistant = json_is_text(role, "assistant"),
       system = json_is_text(role, "system");
  snprintf(r->at, sizeof r->at, "messages[%zu].role", at);
  if (!user && !assistant && !system) return fail_message(r, "it has to be 'user' or 'assistant'");
  snprintf(r->at, sizeof r->at, "messages[%zu].content", at);
  if (json_is_string(content))
    return append_json(r, r->messages, json_pack("{s:O,s:O}", "role", role, "content", content));
  if (!json_is_array(content)) return fail_message(r, "it is neither a string nor a list of blocks");
  return assistant ? add_assistant(r, content, at) : add_user(r, content, at);
}

static bool make_chat_messages(reader *r, json_t *body) {
  json_t *system = json_object_get(body, "system"), *messages = json_incref(json_object_get(body, "messages")), *m;
  size_t i;
  bool ok = true;
  snprintf(r->at, sizeof r->at, "messages");
  if (!json_is_array(messages)) {
    json_decref(messages);
    return fail_message(r, "Field required: a list of messages");
  }
  r->messages = json_array();
  if (!r->messages || json_object_set_new(body, "messages", r->messages)) ok = el_api_no_memory(r->p);
  snprintf(r->at, sizeof r->at, "system");
  json_t *parts = ok && system && !json_is_null(system) ? text_parts(r, system) : NULL;
  if (ok && system && !json_is_null(system)) ok = parts;
  if (ok && json_array_size(parts))
    ok = append_json(r, r->messages,
                     json_pack("{s:s,s:o}", "role", "system", "content", content_of_texts(json_incref(parts))));
  json_decref(parts);
  json_array_foreach(messages, i, m) {
    if (ok) ok = add_anthropic_message(r, m, i);
  }
  json_decref(messages);
  /* A final message of the assistant is the beginning of the answer. */
  const json_t *last = ok ? json_array_get(r->messages, json_array_size(r->messages) - 1) : NULL;
  bool goes_on = json_is_text(json_object_get(last, "role"), "assistant") && !json_object_get(last, "tool_calls");
  return ok && (!goes_on || set_member(r, body, "continue_final_message", json_true()));
}

/* ---------------------------------------------------------------- tools */

/* Tools that Anthropic's servers run, or that clients know by their type, have no schema, so the model cannot be told
 * about them. */
static bool add_tool(reader *r, json_t *tools, const json_t *tool) {
  const json_t *type = block_type_of(tool);
  json_t *schema = json_object_get(tool, "input_schema"), *description = json_object_get(tool, "description");
  if (!json_is_object(tool)) return fail_message(r, "it is no object");
  if (json_is_string(type) && !json_is_text(type, "custom") && !schema) {
    el_logf(r->p->setup->log, EL_LOG_WARN, "message: %s: a tool of the type '%.60s' is skipped: it is not supported",
            r->at, json_string_value(type));
    return true;
  }
  json_t *function = json_object();
  bool ok = function != NULL || el_api_no_memory(r->p);
  if (ok && json_object_get(tool, "name"))
    ok = set_member(r, function, "name", json_incref(json_object_get(tool, "name")));
  if (ok && description) ok = set_member(r, function, "description", json_incref(description));
  if (ok && schema) ok = set_member(r, function, "parameters", json_incref(schema));
  if (ok && json_object_get(tool, "strict"))
    ok = set_member(r, function, "strict", json_incref(json_object_get(tool, "strict")));
  if (ok) return append_json(r, tools, json_pack("{s:s,s:o}", "type", "function", "function", function));
  json_decref(function);
  return false;
}

static bool make_chat_tools(reader *r, json_t *body) {
  json_t *tools = json_object_get(body, "tools"), *tool, *functions;
  size_t i;
  if (!tools || json_is_null(tools)) return true;
  if (!json_is_array(tools)) return el_api_type_error(r->p, "tools", "an array", tools);
  if (!(functions = json_array())) return el_api_no_memory(r->p);
  json_array_foreach(tools, i, tool) {
    snprintf(r->at, sizeof r->at, "tools[%zu]", i);
    if (add_tool(r, functions, tool)) continue;
    json_decref(functions);
    return false;
  }
  return set_member(r, body, "tools", functions);
}

static bool make_chat_tool_choice(reader *r, json_t *body) {
  const json_t *choice = json_object_get(body, "tool_choice"), *type = block_type_of(choice);
  json_t *name = json_object_get(choice, "name");
  snprintf(r->at, sizeof r->at, "tool_choice");
  if (!choice || json_is_null(choice)) return true;
  bool tool = json_is_text(type, "tool"), any = json_is_text(type, "any"), none = json_is_text(type, "none");
  if (!tool && !any && !none && !json_is_text(type, "auto"))
    return fail_message(r, "its type has to be 'auto', 'any', 'tool' or 'none'");
  if (tool && !json_is_string(name)) return fail_message(r, "it has no name");
  if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")) &&
      !set_member(r, body, "parallel_tool_calls", json_false()))
    return false;
  return set_member(r, body, "tool_choice",
                    tool ? json_pack("{s:s,s:{s:O}}", "type", "function", "function", "name", name)
                         : json_string(any    ? "required"
                                       : none ? "none"
                                              : "auto"));
}

/* {"type": "enabled"} sets the template variable enable_thinking. */
static bool make_thinking(reader *r, json_t *body) {
  const json_t *thinking = json_object_get(body, "thinking");
  if (!thinking || json_is_null(thinking)) return true;
  snprintf(r->at, sizeof r->at, "thinking");
  bool off = json_is_text(block_type_of(thinking), "disabled");
  if (!off && !json_is_text(block_type_of(thinking), "enabled") && !json_is_text(block_type_of(thinking), "adaptive"))
    return fail_message(r, "its type has to be 'enabled', 'adaptive' or 'disabled'");
  if (json_object_get(body, "chat_template_kwargs")) return true;
  return set_member(r, body, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", !off));
}

bool el_anthropic_prepare(el_api_parse *p, json_t *body) {
  reader r = {.p = p};
  json_t *stop = json_object_get(body, "stop_sequences");
  if (!make_chat_messages(&r, body) || !make_chat_tools(&r, body) || !make_chat_tool_choice(&r, body) ||
      !make_thinking(&r, body))
    return false;
  return !stop || json_is_null(stop) || set_member(&r, body, "stop", json_incref(stop));
}
