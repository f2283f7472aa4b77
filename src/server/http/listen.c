#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "server/http/state.h"

/* Bursts of clients wait here while max_connections are open. */
#define BACKLOG 511

/* A peer whose machine has vanished is noticed after 30 + 3·10 s. Accepted sockets inherit this. */
static void set_keepalive(int fd) {
  int on = 1, idle = 30, interval = 10, count = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static int open_socket(const struct addrinfo *a) {
  int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), on = 1;
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  set_keepalive(fd);
  if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, BACKLOG)) return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

static int bound_port(int fd) {
  struct sockaddr_storage a;
  socklen_t len = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &len)) return -1;
  return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

static bool is_loopback(const struct sockaddr *a) {
  if (a->sa_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
  return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static void set_url(el_server *s, const struct addrinfo *a) {
  char host[100];
  if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST))
    snprintf(host, sizeof host, "localhost");
  if (!strcmp(host, "0.0.0.0")) snprintf(host, sizeof host, "127.0.0.1");
  if (!strcmp(host, "::")) snprintf(host, sizeof host, "::1");
  snprintf(s->url, sizeof s->url, strchr(host, ':') ? "%s://[%s]:%d" : "%s://%s:%d", s->tls.cert.len ? "https" : "http",
           host, s->port);
}

static el_status find_addresses(const char *host, int number, struct addrinfo **out, el_error *err) {
  char port[8];
  snprintf(port, sizeof port, "%d", number);
  struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  int rc = getaddrinfo(host, port, &hints, out);
  return rc ? el_fail(err, EL_ERR_IO, "cannot listen on host '%s': %s", host, gai_strerror(rc)) : EL_OK;
}

el_status el_listen_check(const char *host, int port, el_error *err) {
  struct addrinfo *found;
  el_status status = find_addresses(host, port, &found, err);
  if (!status) freeaddrinfo(found);
  return status;
}

el_status el_listen(el_server *s, el_error *err) {
  const char *host = s->options.host;
  struct addrinfo *found;
  el_status status = find_addresses(host, s->options.port, &found, err);
  if (status) return status;

  int fd = -1;
  for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
    fd = open_socket(a);
    if (fd < 0) continue;
    s->port = bound_port(fd);
    set_url(s, a);
    s->loopback = is_loopback(a->ai_addr);
  }
  freeaddrinfo(found);
  if (fd < 0) return el_fail(err, EL_ERR_IO, "cannot listen on %s port %d: %s", host, s->options.port, strerror(errno));
  s->listen_fd = fd;
  return EL_OK;
}
