/* Which path leads to what. */
#ifndef EL_SERVER_ROUTE_H
#define EL_SERVER_ROUTE_H

#include "server/http/exchange.h"

/* A GET or DELETE request, which the HTTP thread answers itself. */
typedef struct el_query {
  struct el_server *server;
  const el_key *key; /* NULL: no key is required, or none was given where none is needed */
  const char *rest;  /* the name behind the route's path, not empty; NULL: the route has none */
  struct MHD_Connection *connection;
} el_query;
/* A value of the URL's query, as in /slots?fail_on_no_slot=1; NULL: it is not there. */
const char *el_query_argument(const el_query *q, const char *name);
/* A header; NULL: it is not there. */
const char *el_query_header(const el_query *q, const char *name);

typedef struct el_answer {
  el_buf body;
  int status;                 /* HTTP status; 200 by default */
  const char *type;           /* Content-Type; application/json by default */
  const char *const *headers; /* further headers: names and values in turn, then NULL; static. NULL: none */
  char header_value[32];      /* the value of header_name */
  const char *header_name;
} el_answer;

typedef struct el_route {
  const char *path;
  bool has_rest; /* a name follows the path; it may contain slashes */
  bool for_all;  /* it shows or changes what belongs to all: a key that is limited to some adapters is refused */
  bool open;     /* no key is required */
  bool (*get)(const el_query *q, el_answer *out, el_api_error *e); /* GET; NULL: not supported. False: *e */
  bool (*del)(const el_query *q, el_answer *out, el_api_error *e); /* DELETE, likewise */
  el_work post;                                                    /* POST; EL_WORK_NONE: not supported */
  const el_api *api;                                               /* with EL_WORK_API */
} el_route;

/* Finds the route of a path, with or without /v1 and a final slash. NULL: there is no such endpoint. */
const el_route *el_route_find(const el_route *routes, size_t n_routes, const char *path);
/* The name behind the route's path, not empty; NULL: it has none. */
const char *el_route_rest(const el_route *r, const char *path);
/* For the header Allow. */
const char *el_route_methods(const el_route *r);

#endif
