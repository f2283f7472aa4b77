/* Which path leads to what. */
#ifndef EL_SERVER_ROUTE_H
#define EL_SERVER_ROUTE_H

#include "server/http/exchange.h"

/* A request without a body that the HTTP thread answers itself. */
typedef struct el_query {
  struct el_server *server;
  const el_key *key; /* NULL: none is asked for, or none was given where none is needed */
  const char *rest;  /* of the path: the name behind it, not empty; NULL: the route has none */
  struct MHD_Connection *connection;
} el_query;
/* A value of the query, as in /slots?fail_on_no_slot=1; NULL: it is not there. */
const char *el_query_argument(const el_query *q, const char *name);
/* A header; NULL: it is not there. */
const char *el_query_header(const el_query *q, const char *name);

typedef struct el_answer {
  el_buf body;
  int status;                 /* 200 unless it is set */
  const char *type;           /* Content-Type; application/json unless it is set */
  const char *const *headers; /* further ones: names and values in turn, then NULL; static. NULL: none */
  char header_value[32];      /* of header_name, one that is not static; NULL: there is none */
  const char *header_name;
} el_answer;

typedef struct el_route {
  const char *path;
  bool has_rest; /* what stands behind the path is a name, slashes included */
  bool for_all;  /* what it shows or changes is everybody's: a key that is limited to some adapters is not enough */
  bool open;     /* nobody is asked for a key */
  bool (*get)(const el_query *q, el_answer *out, el_api_error *e); /* NULL: it has no GET. False: *e */
  bool (*del)(const el_query *q, el_answer *out, el_api_error *e); /* and so with DELETE */
  el_work post;                                                    /* EL_WORK_NONE: it has no POST */
  const el_api *api;                                               /* with EL_WORK_API */
} el_route;

/* By its path, with or without /v1, and a slash at the end. NULL: there is no such endpoint. */
const el_route *el_route_find(const el_route *routes, size_t n_routes, const char *path);
/* The name behind the route's path, not empty; NULL: it has none. */
const char *el_route_rest(const el_route *r, const char *path);
/* For the header Allow. */
const char *el_route_methods(const el_route *r);

#endif
