/* Conversations as text and as tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/private.h"

/* As in transformers, the template called tool_use is used if there are tools. */
static const el_chat_template *own_template(const el_tokenizer *t, const el_chat *chat) {
  bool tools = chat->tools && chat->tools->type == EL_VALUE_ARRAY && chat->tools->array.n;
  return tools && t->tools_template ? t->tools_template : t->template;
}

static el_status render_chat(const el_tokenizer *t, const el_chat *chat, el_rendered *out, el_error *err) {
  const el_chat_template *template = chat->template_instead ? chat->template_instead : own_template(t, chat);
  if (!template)
    return el_fail(err, EL_ERR_UNSUPPORTED, "the model's chat template (tokenizer.chat_template) cannot be used: %s",
                   t->why_no_template.message);
  const el_special_texts specials = {el_token_bytes(t, t->vocab.bos, true), el_token_bytes(t, t->vocab.eos, true),
                                     el_token_bytes(t, t->vocab.unk, true)};
  return el_conversation_render(template, chat, &specials, out, err);
}

el_status el_chat_text(const el_tokenizer *t, const el_chat *chat, char **out, size_t *len, el_error *err) {
  el_rendered r = {0};
  el_status status = render_chat(t, chat, &r, err);
  if (!status && !el_buf_append(&r.text, "", 0)) /* an empty text is a text, too */
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to render a conversation");
  if (!status) {
    *out = r.text.data;
    *len = r.text.len;
    r.text = (el_buf){0};
  }
  el_rendered_free(&r);
  return status;
}

/* Finds the tokens that hold any of the bytes `range` of the text. Tokens are the text's bytes in
 * order (where a tokenizer leaves some out, the span ends late by as many). */
static void find_span(const el_tokenizer *t, const el_buf *text, const int32_t *tokens, size_t n, el_range range,
                      size_t *begin, size_t *end) {
  size_t at = 0;
  *begin = *end = 0;
  for (size_t i = 0; i < n && range.begin < range.end && at < range.end; i++) {
    at += el_token_text(t, i ? tokens[i - 1] : -1, tokens[i], true).len;
    if (el_vocab_flags(&t->vocab, (uint32_t)tokens[i]) & EL_TOKEN_STRIP && at < text->len)
      at += el_ascii_spaces(text->data + at, text->len - at);
    if (at <= range.begin) *begin = i + 1;
    *end = i + 1;
  }
}

/* The rendered text is tokenized as a whole, since a piece may reach from the template into a
 * message (white space does). Only the search for control tokens excludes the messages. */
el_status el_chat_tokens(const el_tokenizer *t, const el_chat *chat, size_t most, int32_t **out, size_t *n_out,
                         size_t *begin, size_t *end, el_error *err) {
  el_rendered r = {0};
  el_status status = render_chat(t, chat, &r, err);
  if (status) return status;
  el_range user = {SIZE_MAX, 0}, *content = malloc((r.n_spans + 1) * sizeof *content);
  for (size_t i = 0; content && i < r.n_spans; i++) {
    content[i] = (el_range){r.spans[i].begin, r.spans[i].end};
    if (r.spans[i].source != EL_FROM_LAST_USER) continue;
    if (user.begin > r.spans[i].begin) user.begin = r.spans[i].begin;
    user.end = r.spans[i].end;
  }
  if (!content)
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to render a conversation");
  else
    status = el_tokenize_ranges(t, r.text.data ? r.text.data : "", r.text.len, EL_TOKENIZE_SPECIAL, content, r.n_spans,
                                most, out, n_out, err);
  if (!status) find_span(t, &r.text, *out, *n_out, user, begin, end);
  free(content);
  el_rendered_free(&r);
  return status;
}

/* --- messages that are a role and a content */

typedef struct simple_chat {
  el_chat chat;
  el_value messages, *items;
  el_member *members;
} simple_chat;

static el_value string_value(const char *s) {
  return (el_value){.type = EL_VALUE_STRING, .string = {s, strlen(s)}};
}

/* On success, free it with close_simple. */
static el_status open_simple(simple_chat *s, const el_message *messages, size_t n, bool add_generation_prompt,
                             el_error *err) {
  for (size_t i = 0; i < n; i++)
    if (!messages[i].role || !messages[i].content)
      return el_fail(err, EL_ERR_INVALID, "message %zu has no %s", i, messages[i].role ? "content" : "role");
  s->items = calloc(n + 1, sizeof *s->items);
  s->members = calloc(2 * n + 1, sizeof *s->members);
  if (!s->items || !s->members) {
    free(s->items);
    free(s->members);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to render %zu messages", n);
  }
  for (size_t i = 0; i < n; i++) {
    s->members[2 * i] = (el_member){"role", string_value(messages[i].role)};
    s->members[2 * i + 1] = (el_member){"content", string_value(messages[i].content)};
    s->items[i] = (el_value){.type = EL_VALUE_OBJECT, .object = {&s->members[2 * i], 2}};
  }
  s->messages = (el_value){.type = EL_VALUE_ARRAY, .array = {s->items, n}};
  s->chat = (el_chat){.messages = &s->messages, .add_generation_prompt = add_generation_prompt};
  return EL_OK;
}

static void close_simple(simple_chat *s) {
  free(s->items);
  free(s->members);
}

el_status el_chat_render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                         char **out, el_error *err) {
  simple_chat s;
  size_t len;
  char *text = NULL;
  el_status status = open_simple(&s, messages, n, add_generation_prompt, err);
  if (status) return status;
  status = el_chat_text(t, &s.chat, &text, &len, err);
  close_simple(&s);
  if (!status && strlen(text) != len) {
    free(text);
    return el_fail(err, EL_ERR_INVALID, "the chat template writes a NUL character, which would cut the text short");
  }
  if (!status) *out = text;
  return status;
}

el_status el_chat_tokenize_span(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                                size_t most, int32_t **out, size_t *n_out, size_t *begin, size_t *end, el_error *err) {
  simple_chat s;
  el_status status = open_simple(&s, messages, n, add_generation_prompt, err);
  if (status) return status;
  status = el_chat_tokens(t, &s.chat, most, out, n_out, begin, end, err);
  close_simple(&s);
  return status;
}

el_status el_chat_tokenize(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                           int32_t **out, size_t *n_out, el_error *err) {
  size_t begin, end;
  return el_chat_tokenize_span(t, messages, n, add_generation_prompt, SIZE_MAX, out, n_out, &begin, &end, err);
}
