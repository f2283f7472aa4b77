#include "tokenizer/conversation.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/value.h"

/* Roles that templates write unchanged, also into the texts of control tokens: '<|' + role + '|>'.
 * Other roles are words of a client. */
static const char *const ROLES[] = {"system", "developer", "user", "assistant", "tool", "function", "model", "ipython"};

typedef struct conversation {
  const el_chat_template *template;
  const el_chat *chat;
  const el_special_texts *specials;
  size_t last_user; /* SIZE_MAX: none */
} conversation;

/* --- members of objects */

static bool is_string_value(const el_value *v) {
  return v && v->type == EL_VALUE_STRING;
}

static el_str string_of_value(const el_value *v) {
  return (el_str){v->string.data, v->string.len};
}

static bool is_given_value(const el_value *v) {
  return v && v->type != EL_VALUE_NULL;
}

/* --- contents */

static const el_val *text_part(el_rendering *r, el_str text, el_origin source) {
  el_val *part = el_template_dict(r);
  el_template_put(r, part, "type", 0, el_template_string(r, (el_str){"text", 4}, 0));
  el_template_put(r, part, "text", 0, el_template_string(r, text, source));
  return part;
}

/* Joins the texts of an array of content parts, for a template that takes only strings. Other kinds
 * of parts have been refused. */
static const el_val *joined_parts(el_rendering *r, const el_value *parts, el_origin source) {
  el_str *texts = el_template_room(r, parts->array.n * sizeof *texts);
  size_t n = 0;
  for (size_t i = 0; i < parts->array.n; i++) {
    const el_value *text = el_value_member(&parts->array.items[i], "text");
    if (is_string_value(text)) texts[n++] = string_of_value(text);
  }
  return el_template_lines(r, texts, n, source);
}

static const el_val *content_value(el_rendering *r, const conversation *c, const el_value *content, el_origin source) {
  if (content->type == EL_VALUE_ARRAY && !c->template->takes_parts) return joined_parts(r, content, source);
  if (content->type == EL_VALUE_ARRAY) {
    el_val *list = el_template_list(r);
    for (size_t i = 0; i < content->array.n; i++) {
      const el_value *part = &content->array.items[i], *text = el_value_member(part, "text");
      el_template_append(r, list,
                         is_string_value(text) && part->object.n <= 2 ? text_part(r, string_of_value(text), source)
                                                                      : el_template_value(r, part, source));
    }
    return list;
  }
  if (content->type == EL_VALUE_STRING && c->template->takes_parts && !c->template->takes_strings) {
    el_val *list = el_template_list(r);
    el_template_append(r, list, text_part(r, string_of_value(content), source));
    return list;
  }
  return el_template_value(r, content, source);
}

/* --- messages */

static const el_val *role_value(el_rendering *r, const el_value *role) {
  bool known = false;
  for (size_t i = 0; is_string_value(role) && i < sizeof ROLES / sizeof *ROLES; i++)
    known |= el_str_eq(string_of_value(role), ROLES[i]);
  return el_template_value(r, role, known ? 0 : EL_FROM_CHAT);
}

/* Reasoning has several names in messages. Templates read the first one, that of gpt-oss the
 * second, as in transformers. */
static const el_value *reasoning_of(const el_value *message) {
  static const char *const NAMES[] = {"reasoning_content", "thinking", "reasoning"};
  for (size_t i = 0; i < 3; i++)
    if (is_given_value(el_value_member(message, NAMES[i]))) return el_value_member(message, NAMES[i]);
  return NULL;
}

static const el_val *message_value(el_rendering *r, const conversation *c, size_t at) {
  const el_value *message = &c->chat->messages->array.items[at], *reasoning = reasoning_of(message);
  el_origin content = at == c->last_user                     ? EL_FROM_LAST_USER
                      : at + 1 == c->chat->messages->array.n ? EL_FROM_LAST_MESSAGE
                                                             : EL_FROM_CHAT;
  el_val *dict = el_template_dict(r);
  if (reasoning) el_template_put(r, dict, "thinking", 0, el_template_value(r, reasoning, EL_FROM_CHAT));
  for (size_t i = 0; i < message->object.n; i++) {
    const el_member *m = &message->object.members[i];
    if (!is_given_value(&m->value)) continue;
    el_template_put(r, dict, m->name, EL_FROM_CHAT,
                    !strcmp(m->name, "role")      ? role_value(r, &m->value)
                    : !strcmp(m->name, "content") ? content_value(r, c, &m->value, content)
                                                  : el_template_value(r, &m->value, EL_FROM_CHAT));
  }
  if (reasoning) el_template_put(r, dict, "reasoning_content", 0, el_template_value(r, reasoning, EL_FROM_CHAT));
  return dict;
}

static void set_special(el_rendering *r, const char *name, el_str text) {
  if (text.len) el_template_set(r, name, el_template_string(r, text, 0));
}

static void set_list(el_rendering *r, const char *name, const el_value *v) {
  el_template_set(r, name, v ? el_template_value(r, v, EL_FROM_CHAT) : el_template_none(r));
}

static void set_variables(el_rendering *r, void *user) {
  const conversation *c = user;
  const el_chat *chat = c->chat;
  set_special(r, "bos_token", c->specials->bos);
  set_special(r, "eos_token", c->specials->eos);
  set_special(r, "unk_token", c->specials->unk);
  for (size_t i = 0; i < chat->n_variables; i++)
    el_template_set(r, chat->variables[i].name, el_template_value(r, &chat->variables[i].value, EL_FROM_CHAT));
  el_val *messages = el_template_list(r);
  for (size_t i = 0; i < chat->messages->array.n; i++) el_template_append(r, messages, message_value(r, c, i));
  el_template_set(r, "messages", messages);
  set_list(r, "tools", chat->tools);
  set_list(r, "documents", chat->documents);
  el_template_set(r, "add_generation_prompt", el_template_bool(r, chat->add_generation_prompt));
}

/* --- rendering */

static el_status check_conversation(const el_chat *chat, el_error *err) {
  const el_value *m = chat->messages;
  if (m->type != EL_VALUE_ARRAY || !m->array.n)
    return el_fail(err, EL_ERR_INVALID, "a conversation needs at least one message");
  for (size_t i = 0; i < m->array.n; i++) {
    const el_value *one = &m->array.items[i], *content = el_value_member(one, "content");
    if (one->type != EL_VALUE_OBJECT) return el_fail(err, EL_ERR_INVALID, "message %zu is no object", i);
    if (!is_string_value(el_value_member(one, "role")))
      return el_fail(err, EL_ERR_INVALID, "message %zu has no role", i);
    for (size_t k = 0; content && content->type == EL_VALUE_ARRAY && k < content->array.n; k++)
      if (content->array.items[k].type != EL_VALUE_OBJECT)
        return el_fail(err, EL_ERR_INVALID, "message %zu: part %zu of the content is no object", i, k);
  }
  if (chat->add_generation_prompt && chat->continue_final_message)
    return el_fail(err, EL_ERR_INVALID, "a conversation cannot go on with its last message and open another");
  return EL_OK;
}

/* Cuts the text off after the last message's content, without the template's white space after
 * it. */
static el_status cut_after_last(el_rendered *out, el_origin source, el_error *err) {
  size_t end = 0, n = out->n_spans;
  for (size_t i = 0; i < out->n_spans; i++)
    if (out->spans[i].source == source) {
      end = out->spans[i].end;
      n = i + 1;
    }
  if (!end)
    return el_fail(err, EL_ERR_INVALID, "there is nothing to go on with: the text has no content of the last message");
  out->text.len = end;
  out->text.data[end] = 0;
  out->n_spans = n;
  return EL_OK;
}

el_status el_conversation_render(const el_chat_template *template, const el_chat *chat,
                                 const el_special_texts *specials, el_rendered *out, el_error *err) {
  el_status status = check_conversation(chat, err);
  if (status) return status;
  size_t n = chat->messages->array.n;
  conversation c = {template, chat, specials, SIZE_MAX};
  for (size_t i = 0; i < n; i++)
    if (el_str_eq(string_of_value(el_value_member(&chat->messages->array.items[i], "role")), "user")) c.last_user = i;
  status = el_template_render(template->program, set_variables, &c, (int64_t)time(NULL), NULL, out, err);
  if (status || !chat->continue_final_message) return status;
  status = cut_after_last(out, c.last_user == n - 1 ? EL_FROM_LAST_USER : EL_FROM_LAST_MESSAGE, err);
  if (status) el_rendered_free(out);
  return status;
}

/* --- templates */

/* Whether the template writes a message's content in this form into the text. A list that is
 * printed as such (in Python's way, or as JSON) does not count. */
static el_status find_taken(const el_chat_template *t, bool parts, bool *taken, el_error *err) {
  static const char MARK[] = "\x02mark\x02";
  static const el_special_texts NO_SPECIALS = {{"", 0}, {"", 0}, {"", 0}};
  const el_value text = {.type = EL_VALUE_STRING, .string = {MARK, sizeof MARK - 1}};
  const el_value type = {.type = EL_VALUE_STRING, .string = {"text", 4}};
  const el_member part_members[] = {{"type", type}, {"text", text}};
  const el_value part = {.type = EL_VALUE_OBJECT, .object = {part_members, 2}};
  const el_value list = {.type = EL_VALUE_ARRAY, .array = {&part, 1}};
  const el_value role = {.type = EL_VALUE_STRING, .string = {"user", 4}};
  const el_member members[] = {{"role", role}, {"content", parts ? list : text}};
  const el_value message = {.type = EL_VALUE_OBJECT, .object = {members, 2}};
  const el_value messages = {.type = EL_VALUE_ARRAY, .array = {&message, 1}};
  const el_chat chat = {.messages = &messages, .add_generation_prompt = true};
  const el_template_limits limits = {.steps = 1000000, .memory = 16 << 20, .output = 1 << 20};
  el_chat_template probe = {t->program, true, true};
  conversation c = {&probe, &chat, &NO_SPECIALS, 0};
  el_rendered out = {0};
  el_error why = {0};
  el_status status = el_template_render(t->program, set_variables, &c, 0, &limits, &out, &why);
  if (status == EL_ERR_NO_MEMORY) return el_fail(err, status, "%s", why.message);
  *taken = false;
  if (status) return EL_OK; /* the template refuses this form, or a message like this one */
  const char *data = out.text.data ? out.text.data : "";
  const char *at = memmem(data, out.text.len, MARK, sizeof MARK - 1);
  bool printed =
      memmem(data, out.text.len, "'type': 'text'", 14) || memmem(data, out.text.len, "\"type\": \"text\"", 14);
  el_rendered_free(&out);
  *taken = at && !printed;
  return EL_OK;
}

el_status el_chat_template_new(el_str text, el_chat_template **out, el_error *err) {
  el_chat_template *t = calloc(1, sizeof *t);
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a chat template of %zu bytes", text.len);
  el_status status = el_template_new(text, &t->program, err);
  if (!status) status = find_taken(t, true, &t->takes_parts, err);
  if (!status) status = find_taken(t, false, &t->takes_strings, err);
  if (status) {
    el_chat_template_close(t);
    return status;
  }
  *out = t;
  return EL_OK;
}

el_status el_chat_template_open(const el_tokenizer *t, const char *source, el_chat_template **out, el_error *err) {
  return el_chat_template_new(el_str_of(source), out, err);
}

void el_chat_template_close(el_chat_template *t) {
  if (!t) return;
  el_template_free(t->program);
  free(t);
}
