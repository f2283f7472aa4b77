/* A chat on the terminal. */
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
  const el_request *request; /* sampling and limits for every answer; its prompt and adapter are ignored */
} el_cli_chat_options;

/* Runs until the person ends it. Returns the exit status. */
int el_cli_chat(const el_cli_chat_options *options);

/* Selects an adapter by its name or, with `routed`, whom the router decides for. */
el_adapter_selection el_cli_selection(const char *adapter, bool routed);

/* The tokenizer for a request's prompt, as an adapter may have tokens of its own. Release *held with
 * el_adapter_release; after a failure it is NULL. */
el_status el_cli_hold(el_engine *e, const el_request *request, const el_held_adapter **held, const el_tokenizer **t,
                      el_error *err);

/* Puts a conversation into the request: its tokens, and where the user's last message is in them. The caller frees
 * the tokens with el_free. */
el_status el_cli_chat_prompt(el_engine *e, const el_message *messages, size_t n, el_request *request, el_error *err);

#endif
