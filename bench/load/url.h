/* Where the server is: http://HOST[:PORT][/PATH]. */
#ifndef EL_BENCH_LOAD_URL_H
#define EL_BENCH_LOAD_URL_H

#include <sys/socket.h>

#include "edgelora.h"

typedef struct el_load_url {
  char authority[300]; /* as in a Host header */
  char path[256];      /* in front of every request's path; "" or "/..." without a slash at its end */
  struct sockaddr_storage address;
  socklen_t address_len;
} el_load_url;

/* Looks the name up, too. A name with several addresses: the first of them that takes a connection. */
el_status el_load_url_read(const char *text, el_load_url *out, el_error *err);

#endif
