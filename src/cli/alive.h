/* The service manager's watchdog: sends a sign of life each time that the engine has come round. */
#ifndef EL_CLI_ALIVE_H
#define EL_CLI_ALIVE_H

#include <pthread.h>

#include "edgelora.h"

typedef struct el_cli_alive {
  el_engine *engine; /* NULL: nobody watches and there is no thread */
  int every_ms, stop_fd;
  pthread_t thread;
} el_cli_alive;

/* Starts a thread that sends signs of life, if the manager expects them. False: the thread could not be started;
 * errno says why. */
bool el_cli_alive_start(el_cli_alive *a, el_engine *engine);
/* To be called before the engine is closed. */
void el_cli_alive_stop(el_cli_alive *a);

#endif
