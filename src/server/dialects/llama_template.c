/* POST /apply-template: renders a conversation. */
#include "base/json_out.h"
#include "server/dialects/llama.h"

/* Writes the text of the chat's tokens, which is what a model would read. */
static bool apply_template(el_api_parse *p, el_buf *out) {
  const el_api_prompt *prompt = p->out->prompts;
  char *text;
  size_t len;
  el_error err;
  if (el_detokenize(p->tokenizer, prompt->tokens, prompt->n, true, &text, &len, &err))
    return el_api_fail_engine(p->error, &err, "", true);
  bool ok = el_buf_printf(out, "{\"prompt\":") && el_json_string(out, text, len) && el_buf_append(out, "}", 1);
  el_free(text);
  return ok || el_api_no_memory(p);
}

/* Nothing is computed, so it may be longer than the context, up to the limit of /tokenize. */
enum { MAX_TOKENS = 1 << 18 };

static bool check_template_messages(el_api_parse *p) {
  p->max_tokens = MAX_TOKENS;
  return p->messages || el_api_fail(p->error, 400, "missing_required_parameter", "messages",
                                    "Missing required parameter: 'messages'.");
}

const el_api el_llama_template = {.name = "template",
                                  .shared = EL_AT_CHAT,
                                  .check = check_template_messages,
                                  .read_prompts = el_api_messages_read,
                                  .answer = apply_template,
                                  .write_error = el_llama_write_error};
