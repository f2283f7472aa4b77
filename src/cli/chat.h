/* A conversation on the terminal. */
#ifndef EL_CLI_CHAT_H
#define EL_CLI_CHAT_H

#include "edgelora.h"

typedef struct el_cli_chat_options {
  el_engine *engine;
  int signal_fd;
  const char *adapter; /* NULL: the base model; "auto": the router chooses for each message */
  bool has_router;
  bool quiet;                /* no warnings */
  const char *system;        /* NULL: the template's own */
  const el_request *request; /* sampling and limits of every answer; its prompt and adapter are not used */
} el_cli_chat_options;

/* Until the person ends it. Returns the exit status. */
int el_cli_chat(const el_cli_chat_options *options);

/* Whose tokens a request's prompt has: an adapter may have some of its own. *held: to be released with
 * el_adapter_release, on failure too (NULL). */
el_status el_cli_hold(el_engine *e, const el_request *request, const el_held_adapter **held, const el_tokenizer **t,
                      el_error *err);

/* Puts a conversation into the request: its tokens, and where the last message of the user stands in them. The tokens
 * are the caller's, to be released with el_free. */
el_status el_cli_chat_prompt(el_engine *e, const el_message *messages, size_t n, el_request *request, el_error *err);

#endif
