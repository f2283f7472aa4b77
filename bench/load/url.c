#include "bench/load/url.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* Takes [HOST] or HOST, and its port. */
static el_status split_url(const char *authority, char host[static 256], char port[static 6], const char *text,
                           el_error *err) {
  bool bracket = authority[0] == '[';
  const char *begin = authority + bracket, *end = bracket ? strchr(begin, ']') : begin + strcspn(begin, ":");
  size_t len = end ? (size_t)(end - begin) : 0;
  if (!len || len > 255) return el_fail(err, EL_ERR_INVALID, "'%.200s' names no host of 1 to 255 characters", text);
  memcpy(host, begin, len);
  host[len] = 0;
  const char *rest = end + bracket;
  if (!*rest) {
    strcpy(port, "80");
    return EL_OK;
  }
  char *stop;
  long n = rest[0] == ':' && isdigit((unsigned char)rest[1]) ? strtol(rest + 1, &stop, 10) : 0;
  if (n < 1 || n > 65535 || *stop)
    return el_fail(err, EL_ERR_INVALID, "'%.200s': '%.20s' is not a port from 1 to 65535", text,
                   rest + (rest[0] == ':'));
  snprintf(port, 6, "%d", (int)n);
  return EL_OK;
}

/* Within seconds: an address that nobody has may never say so. */
static bool address_answers(const struct addrinfo *a) {
  enum { PATIENCE_MS = 3000 };
  int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), why = 0;
  if (fd < 0) return false;
  bool ok = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
  if (!ok && errno == EINPROGRESS) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof why;
    ok = poll(&p, 1, PATIENCE_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && !why;
  }
  close(fd);
  return ok;
}

el_status el_load_url_read(const char *text, el_load_url *out, el_error *err) {
  static const char scheme[] = "http://";
  *out = (el_load_url){.address_len = 0};
  if (strncmp(text, scheme, sizeof scheme - 1) != 0)
    return el_fail(err, EL_ERR_INVALID, "'%.200s' does not begin with http:// (https is not spoken)", text);
  const char *begin = text + sizeof scheme - 1;
  size_t len = strcspn(begin, "/"), path = strlen(begin + len);
  for (const char *p = begin; *p; p++) /* it is written into a request as it is */
    if (!isgraph((unsigned char)*p) || *p == '@' || *p == '?' || *p == '#')
      return el_fail(err, EL_ERR_INVALID, "'%.200s' has a character that has no place there: only host, port and path",
                     text);
  while (path && begin[len + path - 1] == '/') path--;
  if (len >= sizeof out->authority || path >= sizeof out->path)
    return el_fail(err, EL_ERR_INVALID, "'%.80s...' is too long: at most %zu characters before the path, %zu in it",
                   text, sizeof out->authority - 1, sizeof out->path - 1);
  memcpy(out->authority, begin, len);
  memcpy(out->path, begin + len, path);
  char host[256], port[6];
  el_status status = split_url(out->authority, host, port, text, err);
  if (status) return status;
  struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
  int rc = getaddrinfo(host, port, &hints, &found);
  if (rc) return el_fail(err, EL_ERR_IO, "host '%.200s': %s", host, gai_strerror(rc));
  const struct addrinfo *a = found;
  if (a->ai_next)
    while (a && !address_answers(a)) a = a->ai_next;
  if (!a) a = found;
  memcpy(&out->address, a->ai_addr, a->ai_addrlen);
  out->address_len = a->ai_addrlen;
  freeaddrinfo(found);
  return EL_OK;
}
