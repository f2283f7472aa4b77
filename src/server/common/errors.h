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
  const char *type; /* static, in OpenAI's form; NULL: by the status */
  int retry_s;      /* of a 429 or 503: after how many seconds it may be tried again; 0: soon */
  /* Of a context_length_exceeded: the context, and how many tokens the prompt has at least, as one that does not fit is
   * not read to its end. 0: another error. */
  size_t n_ctx, n_prompt;
} el_api_error;

/* Fills *e and returns false, so that a parser writes `return el_api_fail(e, 400, NULL, "n", "...")`. param may be
 * NULL. */
bool el_api_fail(el_api_error *e, int status, const char *code, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* What the engine or the tokenizer said, as an answer. `model` is what the caller calls the adapter, or the base.
 * limited: its key is, so it is told that name instead of a file's path, and of other names. */
bool el_api_fail_engine(el_api_error *e, const el_error *err, const char *model, bool limited);

/* What a context is exceeded by, as llama-server's clients read it: `,"n_prompt_tokens":...,"n_ctx":...`, or nothing.
 */
bool el_api_error_write_context(const el_api_error *e, el_buf *out);
/* Appends the JSON object. False: out of memory. */
bool el_api_error_write(const el_api_error *e, el_buf *out);

#endif
