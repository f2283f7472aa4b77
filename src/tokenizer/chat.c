/* Conversations as text and as tokens. */
#include "base/error.h"
#include "tokenizer/private.h"

static el_status render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                        el_rendered *out, el_error *err) {
  if (!t->template)
    return el_fail(err, EL_ERR_UNSUPPORTED, "the model's file has no chat template (tokenizer.chat_template)");
  return el_template_render(t->template, messages, n, add_generation_prompt, out, err);
}

el_status el_chat_render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                         char **out, el_error *err) {
  el_rendered r = {0};
  el_status status = render(t, messages, n, add_generation_prompt, &r, err);
  if (!status && !el_buf_append(&r.text, "", 0)) /* an empty text is a text too */
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory to render %zu messages", n);
  if (!status) {
    *out = r.text.data;
    r.text = (el_buf){0};
  }
  el_rendered_free(&r);
  return status;
}

/* The rendered text is tokenized as a whole, since a piece may reach from the template into a message (white space
 * does); only the search for control tokens leaves the messages out. */
el_status el_chat_tokenize(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                           int32_t **out, size_t *n_out, el_error *err) {
  el_rendered r = {0};
  el_status status = render(t, messages, n, add_generation_prompt, &r, err);
  if (!status)
    status =
        el_tokenize_ranges(t, r.text.data, r.text.len, EL_TOKENIZE_SPECIAL, r.content, r.n_content, out, n_out, err);
  el_rendered_free(&r);
  return status;
}
