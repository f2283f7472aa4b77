/* Keeps some connections free for new clients. See shed.c. */
#ifndef EL_SERVER_SHED_H
#define EL_SERVER_SHED_H

#include <stddef.h>

struct el_server;

/* The last eighth of the connections is kept free for new clients. */
static inline size_t el_spare_connections(size_t max) {
  return max / 8;
}

/* Shuts connections when fewer than that are free. The watcher calls it in each round, with the server's mutex
 * held. */
void el_shed(struct el_server *s);

#endif
