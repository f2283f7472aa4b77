/* The log-probabilities of one choice, as JSON in the making.
 *
 * A token's text may become certain only with later tokens (a character of several tokens, a possible stop string), or
 * never (a stop string that matched). So tokens wait here until the text that they begin has been given out. */
#ifndef EL_SERVER_LOGPROBS_H
#define EL_SERVER_LOGPROBS_H

#include "base/buf.h"
#include "edgelora.h"

typedef struct el_logprobs {
  const el_tokenizer *tokenizer;
  bool chat; /* OpenAI has one form for chats, another for completions */
  bool ids;  /* of a chat's: objects have the token's id too, as llama-server has it */
  int n_top;
  const el_request *request; /* which control tokens are text */

  int32_t last;       /* the token before the next one; -1: none */
  size_t token_bytes; /* bytes of all tokens so far: where the next one starts in the completion */
  size_t token_chars; /* characters that start before it, an echoed prompt's included */
  el_buf waiting;
  el_buf content;                      /* chat: the objects, with commas between */
  el_buf tokens, values, offsets, top; /* completions: the four arrays */
  size_t n;                            /* tokens written and not yet taken */
} el_logprobs;

/* False: out of memory. */
bool el_logprobs_add(el_logprobs *l, int32_t token, float logprob, const el_token_logprob *top, size_t n_top);
/* A prompt's, as the engine tells them: of n tokens, and [n, n_top] alternatives; the first token has none. */
typedef struct el_prompt_logprobs {
  const int32_t *tokens;
  const float *logprobs;
  const el_token_logprob *top;
  size_t n, n_top;
} el_prompt_logprobs;
/* For `echo`. hidden: the first token is not in the text. */
bool el_logprobs_add_prompt(el_logprobs *l, const el_prompt_logprobs *p, bool hidden);
/* As vLLM writes them: [null, {"id": {"logprob", "rank", "decoded_token"}, ...}, ...], n_top alternatives and the token
 * itself; of that one the rank is null where it is not among them. */
bool el_prompt_logprobs_write(const el_tokenizer *t, const el_prompt_logprobs *p, size_t n_top, el_buf *out);
/* Moves the tokens on that start before byte `end` of the completion. */
bool el_logprobs_advance(el_logprobs *l, size_t end);
/* Appends the value of a choice's "logprobs" and empties what it wrote. */
bool el_logprobs_take(el_logprobs *l, el_buf *out);
/* The same of a chat's, only the array of objects. */
bool el_logprobs_take_list(el_logprobs *l, el_buf *out);
void el_logprobs_free(el_logprobs *l);

#endif
