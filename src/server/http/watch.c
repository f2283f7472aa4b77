/* The watcher thread. It handles what libmicrohttpd does not see:
 *
 * - A suspended connection is not polled. A client that hangs up while its request waits or generates would be noticed
 * only when there is something to send, which without `stream` is at the end.
 * - libmicrohttpd's timeout counts silence, so a client that sends a byte now and then could hold a connection for
 * ever.
 * - A client that leaves in the middle of a request is noticed only by that timeout. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/wait.h"
#include "server/http/state.h"

#define TICK_NS 100000000 /* a hang-up must stop the generation within a second */

static const char TIMEOUT_BODY[] =
    "{\"error\":{\"message\":\"The request did not arrive in time.\",\"type\":\"invalid_request_error\",\"param\":null,"
    "\"code\":\"request_timeout\"}}";

/* With `tell` the HTTP thread waits for bytes on this connection and writes none, so this is the only writer. The HTTP
 * thread then sees the end of the connection and closes it. */
void el_watch_shut(el_conn *c, bool tell) {
  c->expired = true;
  c->deadline_ns = 0;
  if (tell && !c->tls) {
    char answer[512];
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     sizeof TIMEOUT_BODY - 1, TIMEOUT_BODY);
    (void)!send(c->fd, answer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  shutdown(c->fd, SHUT_RDWR);
}

/* Whether a client has closed its sending side, all its bytes are read, and its request is incomplete. For a moment
 * this is also true while the HTTP thread is about to take a complete request, so it must be true in two rounds. */
static bool left_in_the_middle(el_conn *c, short events) {
  int unread = 0;
  bool now = events && !ioctl(c->fd, FIONREAD, &unread) && !unread, before = c->half_closed;
  c->half_closed = now;
  return now && before;
}

/* Shuts connections that are late or abandoned, and lists in `l` the requests that have failed or whose clients have
 * gone. The server's mutex is held; the HTTP thread takes it to unlist a connection before its descriptor is closed. */
static size_t look_at_connections(el_server *s, el_watched *l) {
  uint64_t now = el_now_ns();
  size_t n = 0, found = 0;
  struct pollfd *fds = s->watch_fds;
  for (el_conn *c = s->connections; c; c = c->next) fds[n++] = (struct pollfd){.fd = c->fd, .events = POLLRDHUP};
  if (poll(fds, n, 0) < 0)
    for (size_t i = 0; i < n; i++) fds[i].revents = 0;
  for (el_conn *c = s->connections; c; c = c->next, fds++) {
    el_exchange *x = c->exchange;
    if (c->refused && now >= c->resume_ns) {
      el_exchange_resume(c->refused);
      c->refused = NULL;
    }
    /* A request for the admin thread is carried out and answered even if its client has closed its sending side. */
    if (x && x->work != EL_WORK_API) continue;
    if (x) {
      pthread_mutex_lock(&x->mutex);
      bool failed = x->failed;
      pthread_mutex_unlock(&x->mutex);
      if (!fds->revents && !failed) continue;
      el_exchange_retain(x);
      l[found++] = (el_watched){x, fds->revents != 0};
    } else if (c->deadline_ns && now >= c->deadline_ns) {
      el_watch_shut(c, c->in_request);
    } else if (c->deadline_ns && left_in_the_middle(c, fds->revents)) {
      el_watch_shut(c, false);
    }
  }
  return found;
}

static void act_on_watched(const el_watched *l, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (l[i].left)
      el_exchange_abandon(l[i].exchange);
    else
      el_exchange_stop_generations(l[i].exchange);
    el_exchange_release(l[i].exchange);
  }
}

static void sleep_a_tick(el_server *s) {
  uint64_t until = el_now_ns() + TICK_NS;
  while (!s->stopping && el_cond_wait(&s->watch, &s->mutex, until)) {
  }
}

void *el_watch_main(void *server) {
  el_server *s = server;
  pthread_mutex_lock(&s->mutex);
  while (!s->stopping) {
    if (!s->connections) {
      pthread_cond_wait(&s->watch, &s->mutex);
      continue;
    }
    sleep_a_tick(s);
    size_t n = look_at_connections(s, s->watched);
    el_shed(s);
    pthread_mutex_unlock(&s->mutex);
    act_on_watched(s->watched, n);
    pthread_mutex_lock(&s->mutex);
  }
  pthread_mutex_unlock(&s->mutex);
  return NULL;
}
