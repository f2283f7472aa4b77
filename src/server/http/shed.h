/* Room for clients that come while others hold all connections. See shed.c. */
#ifndef EL_SERVER_SHED_H
#define EL_SERVER_SHED_H

#include <stddef.h>

struct el_server;

/* The last eighth of the connections is kept free for those that come. */
static inline size_t el_spare_connections(size_t max) {
  return max / 8;
}

/* Shuts connections when fewer than that are free. The watcher's, each time that it looks around; the server's mutex is
 * held. */
void el_shed(struct el_server *s);

#endif
