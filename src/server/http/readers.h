/* The readers: threads that turn request bodies into submitted generations. See readers.c. */
#ifndef EL_SERVER_READERS_H
#define EL_SERVER_READERS_H

#include <pthread.h>

#include "server/access/callers.h"

struct el_server;

enum { EL_SHORT_READERS = 1, EL_LONG_READERS = 2, EL_READERS = EL_SHORT_READERS + EL_LONG_READERS };

typedef struct el_lane {
  el_caller *waiting; /* callers with a line that is not empty */
  uint64_t served;    /* the virtual time of the caller that was served last; a new caller begins there */
  pthread_cond_t changed;
} el_lane;

typedef struct el_readers {
  el_lane lanes[EL_N_LANES]; /* guarded by the server's mutex */
  pthread_t threads[EL_READERS];
  int n_threads;
} el_readers;

/* False: a thread could not be started; el_readers_join must be called in any case. */
bool el_readers_start(struct el_server *s);
/* Hands a request over to the readers, who take a reference. If a reader already works on it, it is read once
 * more afterwards. The server's mutex is held. */
void el_readers_push(struct el_server *s, struct el_exchange *x);
/* The server stops: wakes all readers, who finish what still waits. The server's mutex is held. */
void el_readers_wake(struct el_server *s);
void el_readers_join(struct el_server *s);

#endif
