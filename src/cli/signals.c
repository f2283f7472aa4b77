#include "cli/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int open_signals(bool hangup) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (hangup) sigaddset(&set, SIGHUP);
  int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd >= 0) pthread_sigmask(SIG_BLOCK, &set, NULL);
  return fd;
}

int el_cli_signals_open(void) {
  return open_signals(false);
}

int el_cli_signals_open_with_hangup(void) {
  return open_signals(true);
}

int el_cli_signal_take(int fd, int timeout_ms) {
  struct signalfd_siginfo info;
  if (read(fd, &info, sizeof info) == (ssize_t)sizeof info) return (int)info.ssi_signo;
  if (timeout_ms == 0) return 0;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (poll(&p, 1, timeout_ms) > 0 && read(fd, &info, sizeof info) == (ssize_t)sizeof info) return (int)info.ssi_signo;
  return 0;
}
