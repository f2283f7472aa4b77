#include "adapter/invocation.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int el_invocation_find(const el_invocation *inv, const int32_t *tokens, int n) {
  if (!inv->n) return 0;
  for (int at = n - inv->n; at >= 0; at--)
    if (!memcmp(tokens + at, inv->tokens, sizeof *tokens * (size_t)inv->n)) return at + inv->n_lead;
  return EL_NOT_INVOKED;
}

static el_status tokenize_invocation(el_lora_file *f, const char *text, const el_tokenizer *t, const char *path,
                                     el_error *err) {
  int32_t *tokens = NULL;
  size_t n;
  el_error why;
  el_status status =
      el_tokenize_at_most(t, text, strlen(text), EL_TOKENIZE_SPECIAL, EL_MAX_INVOCATION, &tokens, &n, &why);
  if (status == EL_ERR_NO_MEMORY) return el_fail_about(err, status, path, "out of memory");
  if (status) return el_fail_about(err, EL_ERR_FORMAT, path, "invocation_string: %s", why.message);
  if (n)
    el_lora_file_invoke_with(f, tokens, (int)n, 1);
  else
    status = el_fail_about(err, EL_ERR_FORMAT, path, "invocation_string has no tokens");
  free(tokens);
  return status;
}

el_status el_invocation_resolve(el_lora_file *f, const el_tokenizer *t, const char *path, el_error *err) {
  const char *text = el_lora_file_invocation_text(f);
  if (text) return tokenize_invocation(f, text, t, path, err);
  const el_invocation *inv = el_lora_file_invocation(f);
  for (int i = 0; i < inv->n; i++)
    if (inv->tokens[i] >= el_tokenizer_n_vocab(t))
      return el_fail_about(err, EL_ERR_FORMAT, path, "invocation token %d of %d is %d, the base model's are 0 to %d",
                           i + 1, inv->n, (int)inv->tokens[i], (int)el_tokenizer_n_vocab(t) - 1);
  return EL_OK;
}
