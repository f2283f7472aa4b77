/* sd_notify(3) and sd_watchdog_enabled(3) without libsystemd. The protocol is stable and short. */
#include "cli/notify.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum { LONGEST_WORD = 1024 }; /* longer messages are cut; only STATUS can be longer */

/* A path, or '@' and a name in the abstract namespace. */
static int send_to_manager(const char *socket_name, const char *text, size_t len) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  size_t n = strlen(socket_name);
  if (*socket_name != '/' && *socket_name != '@') return EAFNOSUPPORT;
  if (n < 2) return EINVAL;
  if (n >= sizeof to.sun_path) return ENAMETOOLONG;
  memcpy(to.sun_path, socket_name, n);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
  if (*socket_name == '@')
    to.sun_path[0] = 0; /* no byte may follow the name */
  else
    size++;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ssize_t sent;
  do {
    sent = sendto(fd, text, len, MSG_NOSIGNAL, (const struct sockaddr *)&to, size);
  } while (sent < 0 && errno == EINTR);
  int why = sent < 0 ? errno : 0;
  close(fd);
  return why;
}

int el_cli_notify(const char *fmt, ...) {
  const char *socket_name = getenv("NOTIFY_SOCKET");
  if (!socket_name || !*socket_name) return 0;
  char text[LONGEST_WORD];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (n < 0) return EINVAL;
  return send_to_manager(socket_name, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

int el_cli_notify_reloading(void) {
  return el_cli_notify("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the configuration anew",
                       (unsigned long long)(el_now_ns() / 1000));
}

static bool read_env_number(const char *text, unsigned long long *out) {
  char *end;
  errno = 0;
  *out = strtoull(text, &end, 10);
  return end != text && !*end && !errno && !strchr(text, '-');
}

int el_cli_notify_watchdog_ms(void) {
  const char *limit = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
  unsigned long long us, pid;
  if (!limit || !read_env_number(limit, &us) || !us) return -1;
  if (process && (!read_env_number(process, &pid) || pid != (unsigned long long)getpid())) return -1;
  unsigned long long ms = us / 3000;
  return ms < 1 ? 1 : ms > INT_MAX ? INT_MAX : (int)ms;
}
