/* What a server is for is done by the engine thread and those that compute with it, in steps. A timer that said "alive"
 * would say so for an engine that hangs in a step, or for ever waits for one of its threads. So a sign is sent only if
 * the engine thread has come round since the last one; each look wakes it, so an idle one comes round too. Loads, and
 * folders that are looked through, have threads of their own: a disk that does not answer makes those wait who want
 * something from it, and is no reason to end the others. */
#include "cli/alive.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/notify.h"

static void *alive_main(void *arg) {
  const el_cli_alive *a = arg;
  struct pollfd stop = {.fd = a->stop_fd, .events = POLLIN};
  pthread_setname_np(pthread_self(), "el-alive");
  for (uint64_t before = el_engine_turns(a->engine), now; poll(&stop, 1, a->every_ms) <= 0; before = now) {
    now = el_engine_turns(a->engine);
    if (now != before) el_cli_notify("WATCHDOG=1");
  }
  return NULL;
}

bool el_cli_alive_start(el_cli_alive *a, el_engine *engine) {
  *a = (el_cli_alive){.every_ms = el_cli_notify_watchdog_ms()};
  if (a->every_ms < 0) return true;
  a->stop_fd = eventfd(0, EFD_CLOEXEC);
  if (a->stop_fd < 0) return false;
  a->engine = engine;
  errno = pthread_create(&a->thread, NULL, alive_main, a);
  if (!errno) return true;
  close(a->stop_fd);
  a->engine = NULL;
  return false;
}

void el_cli_alive_stop(el_cli_alive *a) {
  if (!a->engine) return;
  eventfd_write(a->stop_fd, 1);
  pthread_join(a->thread, NULL);
  close(a->stop_fd);
  a->engine = NULL;
}
