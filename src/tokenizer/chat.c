/* Conversations as text and as tokens. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/private.h"

/* Of a preset: nothing but a template that is not the file's. */
struct el_chat_template {
  el_template *own;
};

/* c NULL: with the file's own. */
static el_status render_with(const el_tokenizer *t, const el_chat_template *c, const el_message *messages, size_t n,
                             bool add_generation_prompt, el_rendered *out, el_error *err) {
  if (c) return el_template_render(c->own, messages, n, add_generation_prompt, out, err);
  if (!t->template)
    return el_fail(err, EL_ERR_UNSUPPORTED, "the model's file has no chat template (tokenizer.chat_template)");
  return el_template_render(t->template, messages, n, add_generation_prompt, out, err);
}

el_status el_chat_template_open(const el_tokenizer *t, const char *source, el_chat_template **out, el_error *err) {
  el_str bos = el_token_bytes(t, t->vocab.bos, true), eos = el_token_bytes(t, t->vocab.eos, true);
  el_chat_template *c = calloc(1, sizeof *c);
  if (!c) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a chat template");
  el_status status = el_template_open((el_str){source, strlen(source)}, bos, eos, &c->own, err);
  /* Whether it is understood shows when it is used. */
  el_rendered r = {0};
  const el_message hello = {"user", "Hello"};
  if (!status) status = el_template_render(c->own, &hello, 1, true, &r, err);
  el_rendered_free(&r);
  if (status)
    el_chat_template_close(c);
  else
    *out = c;
  return status;
}

void el_chat_template_close(el_chat_template *c) {
  if (!c) return;
  el_template_close(c->own);
  free(c);
}

el_status el_chat_render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                         char **out, el_error *err) {
  el_rendered r = {0};
  el_status status = render_with(t, NULL, messages, n, add_generation_prompt, &r, err);
  if (!status && !el_buf_append(&r.text, "", 0)) /* an empty text is a text too */
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to render %zu messages", n);
  if (!status) {
    *out = r.text.data;
    r.text = (el_buf){0};
  }
  el_rendered_free(&r);
  return status;
}

/* The tokens that hold something of the text's bytes `range`. Tokens are the text's bytes in order (where a tokenizer
 * leaves some out, the span ends late by as much). */
static void find_span(const el_tokenizer *t, const el_buf *text, const int32_t *tokens, size_t n, el_range range,
                      size_t *begin, size_t *end) {
  size_t at = 0;
  *begin = *end = 0;
  for (size_t i = 0; i < n && range.begin < range.end && at < range.end; i++) {
    at += el_token_text(t, i ? tokens[i - 1] : -1, tokens[i], true).len;
    if (t->vocab.flags[tokens[i]] & EL_TOKEN_STRIP && at < text->len)
      at += el_ascii_spaces(text->data + at, text->len - at);
    if (at <= range.begin) *begin = i + 1;
    *end = i + 1;
  }
}

/* The rendered text is tokenized as a whole, since a piece may reach from the template into a message (white space
 * does); only the search for control tokens leaves the messages out. */
el_status el_chat_tokenize_with(const el_tokenizer *t, const el_chat_template *c, const el_message *messages, size_t n,
                                bool add_generation_prompt, size_t most, int32_t **out, size_t *n_out, size_t *begin,
                                size_t *end, el_error *err) {
  el_rendered r = {0};
  el_status status = render_with(t, c, messages, n, add_generation_prompt, &r, err);
  if (!status)
    status = el_tokenize_ranges(t, r.text.data, r.text.len, EL_TOKENIZE_SPECIAL, r.content, r.n_content, most, out,
                                n_out, err);
  if (!status) find_span(t, &r.text, *out, *n_out, r.user, begin, end);
  el_rendered_free(&r);
  return status;
}

el_status el_chat_tokenize_span(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                                size_t most, int32_t **out, size_t *n_out, size_t *begin, size_t *end, el_error *err) {
  return el_chat_tokenize_with(t, NULL, messages, n, add_generation_prompt, most, out, n_out, begin, end, err);
}

el_status el_chat_tokenize(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                           int32_t **out, size_t *n_out, el_error *err) {
  size_t begin, end;
  return el_chat_tokenize_span(t, messages, n, add_generation_prompt, SIZE_MAX, out, n_out, &begin, &end, err);
}
