#include "server/requests/infill.h"

#include <stdlib.h>
#include <string.h>

/* Whether the model has the tokens for it. */
static bool has_infill_tokens(const el_tokenizer *t) {
  return el_tokenizer_fim(t, EL_FIM_PREFIX) >= 0 && el_tokenizer_fim(t, EL_FIM_SUFFIX) >= 0 &&
         el_tokenizer_fim(t, EL_FIM_MIDDLE) >= 0;
}

bool el_infill_tokens(el_api_parse *p, const char *prefix, size_t prefix_len, const char *suffix, size_t suffix_len,
                      const char *param, int32_t **out, size_t *n) {
  const el_tokenizer *t = p->tokenizer;
  if (!has_infill_tokens(t))
    return el_api_fail(p->error, 400, "unsupported_parameter", param,
                       "'%s' is not supported: the model has no tokens to fill in the middle with.", param);
  const struct {
    int32_t token; /* before the text */
    const char *text;
    size_t len;
  } parts[] = {{el_tokenizer_fim(t, EL_FIM_PREFIX), prefix, prefix_len},
               {el_tokenizer_fim(t, EL_FIM_SUFFIX), suffix, suffix_len},
               {el_tokenizer_fim(t, EL_FIM_MIDDLE), "", 0}};
  el_buf all = {0};
  el_error err;
  int32_t *tokens;
  size_t n_tokens;
  /* For an empty text this gives the BOS, if the model wants one. */
  el_status status = el_tokenize_at_most(t, "", 0, EL_TOKENIZE_BOS, p->max_tokens, &tokens, &n_tokens, &err);
  bool memory = true;
  for (size_t i = 0;; i++) {
    if (!status) {
      memory = memory && el_buf_append(&all, tokens, n_tokens * sizeof *tokens);
      el_free(tokens);
    }
    if (status || !memory || i == sizeof parts / sizeof *parts) break;
    memory = el_buf_append(&all, &parts[i].token, sizeof parts[i].token);
    status = el_tokenize_at_most(t, parts[i].text, parts[i].len, 0, p->max_tokens, &tokens, &n_tokens, &err);
  }
  if (!status && memory) {
    *n = all.len / sizeof **out;
    *out = (int32_t *)(void *)all.data; /* of malloc, as all buffers are */
    return true;
  }
  el_buf_free(&all);
  if (!memory) return el_api_no_memory(p);
  el_api_fail_engine(p->error, &err, "", true);
  return false;
}
