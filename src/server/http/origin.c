/* Which web pages may call the server.
 *
 * Any page that a user visits can make the browser send requests to 127.0.0.1. Browsers then send the page's origin;
 * programs send none. A request with an origin is answered in three cases:
 * - The page is from localhost or from inside a desktop application (Ollama's list). Only the user's own programs put
 *   pages there, and such a program could call the server itself.
 * - The operator has allowed the origin. Sandboxed pages and pages from files have the origin "null", which any page
 * can give itself.
 * - The origin is the server's own. This is believed only for IP addresses and localhost, as a page of evil.example
 * whose name was rebound to 127.0.0.1 also has an origin that equals the Host header.
 *
 * Browsers send no origin with a GET to the page's own host. So where only this machine reaches the server and no key
 * is required, the Host header must be a name that no stranger can point here. */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "server/http/state.h"

/* Finds the host in a Host header ("127.0.0.1:8080", "[::1]:8080", "localhost"), without port and brackets. Returns its
 * length; 0: it is not a host. */
static size_t host_of(const char **host) {
  bool v6 = **host == '[';
  size_t len = v6 ? strcspn(++*host, "]") : strcspn(*host, ":");
  const char *rest = *host + len;
  if (v6 && *rest++ != ']') return 0;
  if (*rest == ':') rest += 1 + strspn(rest + 1, "0123456789");
  return *rest ? 0 : len;
}

static bool host_is(const char *name, size_t len, const char *what) {
  return strlen(what) == len && !strncasecmp(name, what, len);
}

static bool host_ends_in(const char *name, size_t len, const char *end) {
  size_t n = strlen(end);
  return len > n && !strncasecmp(name + len - n, end, n);
}

static bool is_address(const char *name, size_t len) {
  char copy[64];
  unsigned char address[sizeof(struct in6_addr)];
  if (len >= sizeof copy) return false;
  memcpy(copy, name, len);
  copy[len] = 0;
  return inet_pton(AF_INET, copy, address) == 1 || inet_pton(AF_INET6, copy, address) == 1;
}

/* Browsers do not ask a name server for these. */
static bool is_localhost(const char *name, size_t len) {
  return host_is(name, len, "localhost") || host_ends_in(name, len, ".localhost");
}

static bool is_address_or_localhost(const char *host) {
  size_t len = host_of(&host);
  return len && (is_localhost(host, len) || is_address(host, len));
}

static bool is_local_page(const char *origin) {
  static const char *const applications[] = {"app://", "file://", "tauri://", "vscode-webview://", "vscode-file://"};
  for (size_t i = 0; i < sizeof applications / sizeof *applications; i++)
    if (!strncmp(origin, applications[i], strlen(applications[i]))) return true;
  const char *host = strstr(origin, "://");
  if (strncmp(origin, "http://", 7) && strncmp(origin, "https://", 8)) return false;
  host += strlen("://");
  size_t len = host_of(&host);
  return len && (is_localhost(host, len) || host_is(host, len, "127.0.0.1") || host_is(host, len, "0.0.0.0") ||
                 host_is(host, len, "::1"));
}

static bool is_own_page(const char *origin, const char *host) {
  static const char scheme[] = "http://";
  return host && !strncmp(origin, scheme, sizeof scheme - 1) && !strcasecmp(origin + sizeof scheme - 1, host) &&
         is_address_or_localhost(host);
}

/* Whether the operator has allowed this origin; with `host`, any origin of this host. */
static bool is_cors_origin(const el_server *s, const char *origin, const char *host) {
  for (size_t i = 0; i < s->options.n_cors_origins; i++) {
    const char *allowed = s->options.cors_origins[i], *of = strstr(allowed, "://");
    if (!strcmp(allowed, "*") || (origin && !strcasecmp(allowed, origin))) return true;
    if (host && of && !strcasecmp(of + 3, host)) return true;
  }
  return false;
}

/* A name for which no stranger's name server can answer: one without a dot, or in a zone for local names. */
static bool is_local_name(const char *host) {
  size_t len = host_of(&host);
  return len && (!memchr(host, '.', len) || host_ends_in(host, len, ".local") || host_ends_in(host, len, ".internal"));
}

bool el_origin_allowed(const el_server *s, const char *origin, const char *host, el_api_error *e) {
  if (origin && !is_local_page(origin) && !is_own_page(origin, host) && !is_cors_origin(s, origin, NULL))
    return el_api_fail(
        e, 403, "origin_not_allowed", NULL,
        "Pages of this web origin may not call the server; its operator can allow them (--cors-origin).");
  if (!host || !s->loopback || atomic_load(&s->asks_for_key) || is_address_or_localhost(host) || is_local_name(host) ||
      is_cors_origin(s, NULL, host))
    return true;
  return el_api_fail(e, 403, "host_not_allowed", NULL,
                     "The server listens on this machine alone and is not called '%.255s'; its operator can allow the "
                     "name (--cors-origin http://%.255s).",
                     host, host);
}
