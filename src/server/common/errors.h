/* Errors as OpenAI's clients know them: {"error": {"message", "type", "param", "code"}}. */
#ifndef EL_SERVER_ERRORS_H
#define EL_SERVER_ERRORS_H

#include "base/buf.h"
#include "edgelora.h"

typedef struct el_api_error {
  int status;       /* HTTP */
  const char *code; /* static; NULL: none */
  char param[128];  /* the field at fault, such as "messages[2].content"; "": none */
  char message[1024];
  const char *type; /* static, one of OpenAI's error types; NULL: derived from the status */
  int retry_s;      /* of a 429 or 503: seconds after which to try again; 0: soon */
  /* Of a context_length_exceeded: the context, and a lower bound of the prompt's tokens, as a prompt that
   * does not fit is not read to its end. 0: another error. */
  size_t n_ctx, n_prompt;
} el_api_error;

/* Fills *e and returns false, so that a parser can write `return el_api_fail(e, 400, NULL, "n", "...")`.
 * `param` may be NULL. */
bool el_api_fail(el_api_error *e, int status, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Makes an answer of an error of the engine or the tokenizer. `model` is the name by which the caller
 * calls the adapter, or the base. limited: the caller's key is limited, so the answer has that name
 * instead of file paths and other names. */
bool el_api_fail_engine(el_api_error *e, const el_error *err, const char *model, bool limited);

/* For a context_length_exceeded, appends `,"n_prompt_tokens":...,"n_ctx":...` for clients of llama-server;
 * otherwise nothing. */
bool el_api_error_write_context(const el_api_error *e, el_buf *out);
/* Appends the JSON object. False: out of memory. */
bool el_api_error_write(const el_api_error *e, el_buf *out);

#endif
