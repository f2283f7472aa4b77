/* The service manager's watchdog: a sign of life for each time that the engine has come round. */
#ifndef EL_CLI_ALIVE_H
#define EL_CLI_ALIVE_H

#include <pthread.h>

#include "edgelora.h"

typedef struct el_cli_alive {
  el_engine *engine; /* NULL: nobody watches, there is no thread */
  int every_ms, stop_fd;
  pthread_t thread;
} el_cli_alive;

/* Begins to give signs, from a thread of its own, if the manager watches for them. False: there can be no such thread,
 * errno says why. */
bool el_cli_alive_start(el_cli_alive *a, el_engine *engine);
/* Before the engine is closed. */
void el_cli_alive_stop(el_cli_alive *a);

#endif
