/* A conversation on the terminal. */
#ifndef EL_CLI_CHAT_H
#define EL_CLI_CHAT_H

#include "edgelora.h"

typedef struct el_cli_chat_options {
  el_engine *engine;
  int signal_fd;
  const char *adapter;       /* NULL: the base model */
  const char *system;        /* NULL: the template's own */
  const el_request *request; /* sampling and limits of every answer; its prompt and adapter are not used */
} el_cli_chat_options;

/* Until the person ends it. Returns the exit status. */
int el_cli_chat(const el_cli_chat_options *options);

/* The exchange's tokens, from its messages: `system` (may be NULL) and `user`. The tokens are the caller's. */
el_status el_cli_chat_prompt(el_engine *e, const char *system, const char *user, int32_t **tokens, size_t *n,
                             el_error *err);

#endif
