/* One request from submission to its end, in the calling thread. */
#ifndef EL_CLI_GENERATE_H
#define EL_CLI_GENERATE_H

#include "edgelora.h"

typedef struct el_cli_answer {
  el_finish finish;
  int signal;       /* SIGINT or SIGTERM, when one ended it; 0 */
  bool not_invoked; /* as in el_event */
  int prompt_tokens, completion_tokens;
  double prompt_ms, decode_ms;
} el_cli_answer;

/* What a person is told with not_invoked. */
#define EL_NOT_INVOKED_WARNING "the prompt does not have the adapter's invocation: the base model has answered"

/* Whoever is told as soon as the router has chosen, by its CHOICE event. */
typedef void (*el_cli_chosen_fn)(void *user, const el_event *choice);

/* Text goes to `write` as it becomes certain; false from it ends the generation. A signal on signal_fd ends it too, a
 * second one ends the program at once. An error of the engine is returned, like those of el_submit. chosen may be
 * NULL. */
el_status el_cli_generate(el_engine *e, const el_request *request, int signal_fd, el_write_fn write,
                          el_cli_chosen_fn chosen, void *user, el_cli_answer *out, el_error *err);

#endif
