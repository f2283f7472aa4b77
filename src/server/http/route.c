#include "server/http/route.h"

#include <stdio.h>
#include <string.h>

const char *el_query_argument(const el_query *q, const char *name) {
  return MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *el_query_header(const el_query *q, const char *name) {
  return MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name);
}

static const char VERSION[] = "/v1";
enum { VERSION_LEN = sizeof VERSION - 1 };

/* Of a path of this length. */
static const el_route *find_route(const el_route *routes, size_t n_routes, const char *path, size_t len) {
  for (size_t i = 0; i < n_routes; i++) {
    const el_route *r = &routes[i];
    size_t n = strlen(r->path);
    if ((r->has_rest ? len > n : len == n) && !strncmp(path, r->path, n)) return r;
  }
  return NULL;
}

/* Looks the path up as it is, then with "/v1" removed or added, as the base address of some clients has it and that of
 * others does not. */
static const el_route *find_route_or_version(const el_route *routes, size_t n_routes, const char *path, size_t len) {
  char longer[64]; /* longer than any route, so what is cut off belongs to a name */
  const el_route *r = find_route(routes, n_routes, path, len);
  if (r) return r;
  if (len > VERSION_LEN + 1 && !strncmp(path, VERSION, VERSION_LEN) && path[VERSION_LEN] == '/')
    return find_route(routes, n_routes, path + VERSION_LEN, len - VERSION_LEN);
  snprintf(longer, sizeof longer, "%s%s", VERSION, path);
  return find_route(routes, n_routes, longer, VERSION_LEN + len);
}

const el_route *el_route_find(const el_route *routes, size_t n_routes, const char *path) {
  size_t len = strlen(path);
  const el_route *r = find_route_or_version(routes, n_routes, path, len);
  if (r) return r;
  while (len > 1 && path[len - 1] == '/') len--;
  return path[len] ? find_route_or_version(routes, n_routes, path, len) : NULL;
}

const char *el_route_rest(const el_route *r, const char *path) {
  size_t n = strlen(r->path);
  if (!r->has_rest) return NULL;
  if (!strncmp(path, r->path, n)) return path + n;
  return path + (strncmp(r->path, VERSION, VERSION_LEN) ? n + VERSION_LEN : n - VERSION_LEN);
}

const char *el_route_methods(const el_route *r) {
  if (r->get && r->post) return "GET, HEAD, POST, OPTIONS";
  if (r->get && r->del) return "GET, HEAD, DELETE, OPTIONS";
  return r->post ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
}
