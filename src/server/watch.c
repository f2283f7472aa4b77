/* The watcher's thread: what libmicrohttpd does not see.
 *
 * A suspended connection is not polled, so a client that hangs up while its request waits or generates would be noticed
 * only when there is something to send, which without `stream` is at the end. And libmicrohttpd's timeout counts
 * silence, so a client that sends a byte now and then could hold a connection for ever. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "server/private.h"

#define TICK_NS 100000000 /* a hang-up is to stop the generation within a second */

static const char TIMEOUT_BODY[] =
    "{\"error\":{\"message\":\"The request did not arrive in time.\",\"type\":\"invalid_request_error\",\"param\":null,"
    "\"code\":\"request_timeout\"}}";

/* The HTTP thread awaits bytes on this connection and writes none, so this is the only writer. It sees the end of the
 * connection next, and closes it. */
static void expire(el_conn *c) {
  c->expired = true;
  c->deadline_ns = 0;
  if (c->in_request) {
    char answer[512];
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     sizeof TIMEOUT_BODY - 1, TIMEOUT_BODY);
    (void)!send(c->fd, answer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  shutdown(c->fd, SHUT_RDWR);
}

typedef struct look {
  struct pollfd *fds;
  el_exchange **exchanges;
  size_t n;
} look;

/* Expires what is late; lists the connections whose clients wait for generations. With the server's mutex held, under
 * which the HTTP thread unlists a connection before its descriptor is closed. */
static void look_around(el_server *s, look *l) {
  uint64_t now = el_now_ns();
  l->n = 0;
  for (el_conn *c = s->connections; c; c = c->next) {
    if (c->deadline_ns && now >= c->deadline_ns) expire(c);
    if (!c->exchange) continue;
    l->fds[l->n] = (struct pollfd){.fd = c->fd, .events = POLLRDHUP};
    l->exchanges[l->n++] = c->exchange;
  }
  if (l->n && poll(l->fds, l->n, 0) < 0)
    for (size_t i = 0; i < l->n; i++) l->fds[i].revents = 0;
  for (size_t i = 0; i < l->n; i++) el_exchange_retain(l->exchanges[i]);
}

static void act(look *l) {
  for (size_t i = 0; i < l->n; i++) {
    el_exchange *x = l->exchanges[i];
    pthread_mutex_lock(&x->mutex);
    bool failed = x->failed;
    pthread_mutex_unlock(&x->mutex);
    if (l->fds[i].revents)
      el_exchange_abandon(x);
    else if (failed)
      el_exchange_stop_generations(x);
    el_exchange_release(x);
  }
}

static void sleep_a_tick(el_server *s) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += TICK_NS;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  while (!s->stopping && pthread_cond_timedwait(&s->watch, &s->mutex, &until) != ETIMEDOUT) {
  }
}

void *el_watch_main(void *server) {
  el_server *s = server;
  look l = {s->watch_fds, s->watch_exchanges, 0};
  pthread_mutex_lock(&s->mutex);
  while (!s->stopping) {
    if (!s->connections) {
      pthread_cond_wait(&s->watch, &s->mutex);
      continue;
    }
    sleep_a_tick(s);
    look_around(s, &l);
    pthread_mutex_unlock(&s->mutex);
    act(&l);
    pthread_mutex_lock(&s->mutex);
  }
  pthread_mutex_unlock(&s->mutex);
  return NULL;
}
