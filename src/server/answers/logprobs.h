/* Writes the log-probabilities of one choice as JSON, token by token.
 *
 * A token's text may become certain only with later tokens (a character of several tokens, a possible
 * stop string), or never (a stop string that matched). So tokens wait here until their text has been
 * sent. */
#ifndef EL_SERVER_LOGPROBS_H
#define EL_SERVER_LOGPROBS_H

#include "base/buf.h"
#include "edgelora.h"

typedef struct el_logprobs {
  const el_tokenizer *tokenizer;
  bool chat; /* OpenAI's form for chats; otherwise its form for completions */
  bool ids;  /* in the form for chats: objects also have the token's id, as llama-server writes it */
  int n_top;
  const el_request *request; /* says which control tokens are text */

  int32_t last;       /* the token before the next one; -1: none */
  size_t token_bytes; /* bytes of all tokens so far: the offset of the next one in the completion */
  size_t token_chars; /* characters that start before the next token, including an echoed prompt */
  el_buf waiting;
  el_buf content;                      /* chat: the objects, separated by commas */
  el_buf tokens, values, offsets, top; /* completions: the four arrays */
  size_t n;                            /* tokens written and not yet taken */
} el_logprobs;

/* False: out of memory. */
bool el_logprobs_add(el_logprobs *l, int32_t token, float logprob, const el_token_logprob *top, size_t n_top);
/* The log-probabilities of a prompt as the engine gives them: of n tokens, with [n, n_top]
 * alternatives. The first token has none. */
typedef struct el_prompt_logprobs {
  const int32_t *tokens;
  const float *logprobs;
  const el_token_logprob *top;
  size_t n, n_top;
} el_prompt_logprobs;
/* Adds a prompt, for `echo`. hidden: the first token is not in the text. */
bool el_logprobs_add_prompt(el_logprobs *l, const el_prompt_logprobs *p, bool hidden);
/* Writes them as vLLM does: [null, {"id": {"logprob", "rank", "decoded_token"}, ...}, ...], with n_top
 * alternatives and the token itself. If the token is not among the alternatives, its rank is null. */
bool el_prompt_logprobs_write(const el_tokenizer *t, const el_prompt_logprobs *p, size_t n_top, el_buf *out);
/* Writes the waiting tokens that start before byte `end` of the completion. */
bool el_logprobs_advance(el_logprobs *l, size_t end);
/* Appends the value of a choice's "logprobs", of the tokens written since the last call. */
bool el_logprobs_take(el_logprobs *l, el_buf *out);
/* The same in the form for chats, but only the array of objects. */
bool el_logprobs_take_list(el_logprobs *l, el_buf *out);
void el_logprobs_free(el_logprobs *l);

#endif
