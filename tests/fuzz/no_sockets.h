/* A libmicrohttpd without sockets: what src/server needs of it, for one request at a time, which the caller makes. */
#ifndef EL_TESTS_NO_SOCKETS_H
#define EL_TESTS_NO_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct no_sockets_pair {
  const char *name, *value; /* NULL: an argument without a value */
} no_sockets_pair;

typedef struct no_sockets_request {
  const char *method, *path; /* of the URL, without the query */
  const no_sockets_pair *headers, *arguments;
  size_t n_headers, n_arguments;
  const char *body;
  size_t len, piece; /* the body comes in pieces of that, at least 1 */
} no_sockets_request;

typedef struct no_sockets_answer {
  unsigned status; /* 0: the connection was closed instead */
  bool cut_off;    /* in the middle of the body */
  char type[128];
  char *body; /* to be freed, with a NUL behind it */
  size_t len;
} no_sockets_answer;

/* On the one daemon that was started, as the HTTP thread does it. */
void no_sockets_ask(const no_sockets_request *q, no_sockets_answer *a);

#endif
