/* One request from submission to its end, in the calling thread. */
#ifndef EL_CLI_GENERATE_H
#define EL_CLI_GENERATE_H

#include "edgelora.h"

typedef struct el_cli_answer {
  el_finish finish;
  int signal; /* SIGINT or SIGTERM, when one ended it; 0 */
  int prompt_tokens, completion_tokens;
  double prompt_ms, decode_ms;
} el_cli_answer;

/* Text goes to `write` as it becomes certain; false from it ends the generation. A signal on signal_fd ends it too, a
 * second one ends the program at once. An error of the engine is returned, like those of el_submit. */
el_status el_cli_generate(el_engine *e, const el_request *request, int signal_fd, el_write_fn write, void *user,
                          el_cli_answer *out, el_error *err);

#endif
