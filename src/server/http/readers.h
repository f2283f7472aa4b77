/* The readers: threads that turn bodies into submitted generations. See readers.c. */
#ifndef EL_SERVER_READERS_H
#define EL_SERVER_READERS_H

#include <pthread.h>

#include "server/access/callers.h"

struct el_server;

enum { EL_SHORT_READERS = 1, EL_LONG_READERS = 2, EL_READERS = EL_SHORT_READERS + EL_LONG_READERS };

typedef struct el_lane {
  el_caller *waiting; /* whose lines are not empty */
  uint64_t served;    /* where the caller stood that was served last: who comes anew begins there */
  pthread_cond_t changed;
} el_lane;

typedef struct el_readers {
  el_lane lanes[EL_N_LANES]; /* guarded by the server's mutex */
  pthread_t threads[EL_READERS];
  int n_threads;
} el_readers;

/* False: a thread could not be started; those that were are to be joined all the same. */
bool el_readers_start(struct el_server *s);
/* Hands a request over, with a reference of the readers' own, unless one has it already: then it is read once more
 * afterwards. The server's mutex is held. */
void el_readers_push(struct el_server *s, struct el_exchange *x);
/* The server stops: wakes them all; what still waits is gone through. The server's mutex is held. */
void el_readers_wake(struct el_server *s);
void el_readers_join(struct el_server *s);

#endif
