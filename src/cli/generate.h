/* Runs one request from its submission to its end, in the calling thread. */
#ifndef EL_CLI_GENERATE_H
#define EL_CLI_GENERATE_H

#include "edgelora.h"

typedef struct el_cli_answer {
  el_finish finish;
  int signal;       /* SIGINT or SIGTERM if one ended it; otherwise 0 */
  bool not_invoked; /* as in el_event_done */
  int prompt_tokens, completion_tokens;
  double prompt_ms, decode_ms;
} el_cli_answer;

/* The warning for not_invoked. */
#define EL_NOT_INVOKED_WARNING "the prompt does not have the adapter's invocation: the base model has answered"

/* Called as soon as the router has decided. */
typedef void (*el_cli_decided_fn)(void *user, const el_event_decision *decision);

/* Text goes to `write` as it becomes certain; if that returns false, the generation ends. A signal on signal_fd ends
 * it too; a second signal ends the program at once. Returns errors of the engine and of el_submit. `decided` may be
 * NULL. */
el_status el_cli_generate(el_engine *e, const el_request *request, int signal_fd, el_write_fn write,
                          el_cli_decided_fn decided, void *user, el_cli_answer *out, el_error *err);

#endif
