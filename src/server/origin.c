/* Which web pages may call the server.
 *
 * Any page that a user visits can make the browser send requests to 127.0.0.1. Browsers then tell the page's origin,
 * and programs tell none. So a request with an origin is answered only if the operator allowed that origin, or if it is
 * the server's own. "Its own" is believed only for addresses and localhost: a page of evil.example whose name was
 * rebound to 127.0.0.1 also has an origin that equals the Host header. */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "server/private.h"

/* host: as in a Host header, "127.0.0.1:8080", "[::1]:8080", "localhost". */
static bool is_address_or_localhost(const char *host) {
  char name[64];
  unsigned char address[sizeof(struct in6_addr)];
  bool v6 = host[0] == '[';
  size_t len = v6 ? strcspn(++host, "]") : strcspn(host, ":");
  if (len >= sizeof name) return false;
  memcpy(name, host, len);
  name[len] = 0;
  return v6 ? inet_pton(AF_INET6, name, address) == 1
            : !strcasecmp(name, "localhost") || inet_pton(AF_INET, name, address) == 1;
}

bool el_origin_allowed(const el_server *s, const char *origin, const char *host) {
  const char *allowed = s->options.cors_origin, scheme[] = "http://";
  if (!origin) return true;
  if (allowed && (!strcmp(allowed, "*") || !strcmp(allowed, origin))) return true;
  return host && !strncmp(origin, scheme, sizeof scheme - 1) && !strcasecmp(origin + sizeof scheme - 1, host) &&
         is_address_or_localhost(host);
}
