#include "router/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

el_status el_router_prompt_new(const el_tokenizer *t, const char *text, el_router_prompt *out, el_error *err) {
  el_router_prompt p = {0};
  el_message message = {"user", text};
  el_status status = EL_ERR_UNSUPPORTED;
  if (el_tokenizer_has_template(t))
    status = el_chat_tokenize_span(t, &message, 1, true, SIZE_MAX, &p.tokens, &p.n, &p.begin, &p.end, err);
  if (status == EL_ERR_UNSUPPORTED) status = el_tokenize(t, text, strlen(text), EL_TOKENIZE_BOS, &p.tokens, &p.n, err);
  if (!status && !p.n) {
    free(p.tokens);
    status = el_fail(err, EL_ERR_INVALID, "the prompt has no tokens");
  }
  if (status) return status;
  if (p.begin == p.end) { /* there is no template, or it has trimmed the whole message */
    p.begin = 0;
    p.end = p.n;
  }
  *out = p;
  return EL_OK;
}
