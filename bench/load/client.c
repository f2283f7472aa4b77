#include "bench/load/client.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "bench/load/http.h"
#include "bench/load/sse.h"

enum {
  READ_BYTES = 65536,
  BATCH = 256,               /* events taken from epoll at once */
  MAX_BODY = 64 << 20,       /* a list of 100,000 models takes 16 MiB */
  MAX_ERROR_BODY = 64 << 10, /* of an answer with another status than 200; the rest is let go */
  MAX_IDLE = 4096            /* connections that are kept; a server may have a limit, too */
};

typedef struct conn {
  struct conn *prev, *next; /* in the list of running ones, or of idle ones */
  int fd;
  uint64_t id;
  bool idle, stream, kept, answered; /* kept: it has carried a request before; answered: a byte has come */
  bool ended, over;                  /* ended: a reason was given for the text's end; over: [DONE] */
  double deadline;
  el_buf out; /* the request */
  size_t n_sent;
  el_http http;
  el_sse sse;
  el_load_answer answer;
} conn;

struct el_load_client {
  el_load_url url;
  el_load_hooks hooks;
  int epoll, timer, watched;
  conn running, idle; /* heads of rings: running by deadline, idle with the latest first */
  size_t n_running, n_idle;
  uint64_t n_opened;
  char bytes[READ_BYTES];
};

const char *el_load_end_name(el_load_end end) {
  static const char *const names[] = {"done",    "http",      "failed", "refused", "reset",
                                      "timeout", "malformed", "local",  "cut"};
  return names[end];
}

/* ---- rings */

static void unlink_conn(conn *k) {
  k->prev->next = k->next;
  k->next->prev = k->prev;
}

static void link_after(conn *at, conn *k) {
  k->prev = at;
  k->next = at->next;
  at->next->prev = k;
  at->next = k;
}

/* ---- connections */

static void close_fd(conn *k) {
  if (k->fd >= 0) close(k->fd); /* leaves the epoll set by itself */
  k->fd = -1;
}

static void free_conn(conn *k) {
  close_fd(k);
  el_buf_free(&k->out);
  el_buf_free(&k->answer.body);
  el_sse_free(&k->sse);
  free(k);
}

static void give_up(conn *k, el_load_end end, const char *why) {
  k->answer.end = end;
  snprintf(k->answer.why, sizeof k->answer.why, "%s", why);
}

static void give_up_errno(conn *k, int why) {
  el_load_end end = why == ECONNREFUSED                                        ? EL_LOAD_REFUSED
                    : why == ECONNRESET || why == EPIPE || why == ECONNABORTED ? EL_LOAD_RESET
                    : why == ETIMEDOUT                                         ? EL_LOAD_TIMEOUT
                                                                               : EL_LOAD_LOCAL;
  give_up(k, end, strerror(why));
}

static void want_events(el_load_client *c, conn *k, int op) {
  struct epoll_event e = {.events = EPOLLIN | (k->n_sent < k->out.len ? EPOLLOUT : 0u), .data.ptr = k};
  if (epoll_ctl(c->epoll, op, k->fd, &e)) {
    give_up_errno(k, errno);
    close_fd(k);
  }
}

/* k->fd stays -1 when it fails; the answer says why. */
static void open_fd(el_load_client *c, conn *k) {
  const struct sockaddr *a = (const struct sockaddr *)&c->url.address;
  int on = 1;
  k->fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (k->fd < 0) {
    give_up_errno(k, errno);
    return;
  }
  c->n_opened++;
  setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(k->fd, a, c->url.address_len) && errno != EINPROGRESS) {
    give_up_errno(k, errno);
    close_fd(k);
    return;
  }
  want_events(c, k, EPOLL_CTL_ADD);
}

/* Sends what the socket takes. Before the end of a connection an answer may stand, so that is left to reading. */
static void send_some(el_load_client *c, conn *k) {
  while (k->n_sent < k->out.len) {
    ssize_t n = send(k->fd, k->out.data + k->n_sent, k->out.len - k->n_sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) break; /* or it is not connected yet */
    if (n < 0 && errno != EPIPE && errno != ECONNRESET) {       /* it never was */
      give_up_errno(k, errno);
      close_fd(k);
      return;
    }
    k->n_sent = n < 0 ? k->out.len : k->n_sent + (size_t)n;
  }
  want_events(c, k, EPOLL_CTL_MOD);
}

/* ---- answers */

static void take_event(el_load_client *c, conn *k, double now) {
  el_load_event e;
  el_load_answer *a = &k->answer;
  if (!el_load_event_read(k->sse.data.data, k->sse.data.len, &e)) {
    give_up(k, EL_LOAD_MALFORMED, "an event is neither a JSON object nor [DONE]");
    return;
  }
  if (e.failed) give_up(k, EL_LOAD_FAILED, e.error);
  if (e.text) {
    if (a->texts++ == 0)
      a->first = now;
    else
      c->hooks.gap(c->hooks.user, k->id, now - a->last);
    a->last = now;
  }
  if ((e.finished || e.done) && !a->done) a->done = now;
  k->ended |= e.finished;
  k->over |= e.done;
  if (e.prompt_tokens >= 0) a->prompt_tokens = e.prompt_tokens;
  if (e.completion_tokens >= 0) a->completion_tokens = e.completion_tokens;
  if (e.cached_tokens >= 0) a->cached_tokens = e.cached_tokens;
}

static void take_events(el_load_client *c, conn *k, const char *bytes, size_t len, double now) {
  while (len && k->answer.end == EL_LOAD_DONE) {
    size_t used;
    el_sse_result r = el_sse_read(&k->sse, bytes, len, &used);
    if (r == EL_SSE_BAD) give_up(k, EL_LOAD_MALFORMED, "an event is longer than 1 MiB");
    if (r == EL_SSE_EVENT) take_event(c, k, now);
    bytes += used;
    len -= used;
  }
}

static void take_body(conn *k, const char *bytes, size_t len) {
  el_buf *b = &k->answer.body;
  bool ok = k->http.status == 200;
  size_t most = ok ? MAX_BODY : MAX_ERROR_BODY;
  if (len > most - b->len) {
    if (ok) give_up(k, EL_LOAD_MALFORMED, "the answer is longer than 64 MiB");
    len = most - b->len;
  }
  if (!el_buf_append(b, bytes, len)) give_up(k, EL_LOAD_LOCAL, "out of memory");
}

/* The server's own words for a status that is not 200. */
static void name_status(conn *k) {
  el_load_answer *a = &k->answer;
  el_load_event e;
  bool told = a->body.len && el_load_event_read(a->body.data, a->body.len, &e) && e.failed;
  give_up(k, EL_LOAD_STATUS, told ? e.error : "");
}

/* The answer is there as far as it came: the request is over. */
static void judge_answer(conn *k) {
  el_load_answer *a = &k->answer;
  a->status = k->http.status;
  if (a->end != EL_LOAD_DONE) return;
  if (k->http.state == EL_HTTP_BAD)
    give_up(k, EL_LOAD_MALFORMED, k->http.why);
  else if (k->http.status != 200)
    name_status(k);
  else if (k->stream && !k->ended && !k->over)
    give_up(k, EL_LOAD_MALFORMED, "the stream has no end: neither a finish_reason nor [DONE]");
}

static void finish_request(el_load_client *c, conn *k) {
  bool keep = k->fd >= 0 && k->http.state == EL_HTTP_DONE && k->http.keep_alive && k->n_sent == k->out.len &&
              k->answer.end <= EL_LOAD_FAILED && c->n_idle < MAX_IDLE;
  el_load_answer answer = k->answer;
  uint64_t id = k->id;
  k->answer = (el_load_answer){0};
  unlink_conn(k);
  c->n_running--;
  if (keep) {
    k->idle = k->kept = true;
    link_after(&c->idle, k);
    c->n_idle++;
  } else {
    free_conn(k);
  }
  if (answer.end == EL_LOAD_DONE && !answer.done) answer.done = el_seconds();
  c->hooks.ended(c->hooks.user, id, &answer);
  el_buf_free(&answer.body);
}

/* The connection is gone. A kept one may have been gone before the request. */
static void lost_connection(el_load_client *c, conn *k, int why) {
  close_fd(k);
  if (k->kept && !k->answered) {
    k->kept = false;
    k->n_sent = 0;
    open_fd(c, k);
    if (k->fd >= 0) return;
  } else if (why) {
    give_up_errno(k, why);
  } else {
    el_http_end(&k->http);
    if (k->http.state == EL_HTTP_BAD) give_up(k, EL_LOAD_RESET, k->http.why);
    judge_answer(k);
  }
  k->answer.status = k->http.status;
  finish_request(c, k);
}

static void drop_idle(el_load_client *c, conn *k) {
  unlink_conn(k);
  c->n_idle--;
  free_conn(k);
}

/* Whether the request has ended. */
static bool take_bytes(el_load_client *c, conn *k, size_t len) {
  double now = el_seconds();
  const char *p = c->bytes;
  k->answered = true;
  while (len && k->http.state != EL_HTTP_DONE && k->http.state != EL_HTTP_BAD) {
    const char *body;
    size_t n_body, used = el_http_read(&k->http, p, len, &body, &n_body);
    if (n_body && k->stream && k->http.status == 200)
      take_events(c, k, body, n_body, now);
    else if (n_body)
      take_body(k, body, n_body);
    p += used;
    len -= used;
    if (k->answer.end != EL_LOAD_DONE) break;
  }
  if (len) k->http.keep_alive = false; /* more than an answer */
  return k->http.state == EL_HTTP_DONE || k->http.state == EL_HTTP_BAD || k->answer.end != EL_LOAD_DONE;
}

static void on_ready(el_load_client *c, conn *k, uint32_t events) {
  if (k->idle) { /* nothing is to come: it was closed, or is no longer understood */
    drop_idle(c, k);
    return;
  }
  if ((events & EPOLLOUT) && k->n_sent < k->out.len) send_some(c, k);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || k->fd < 0) {
    if (k->fd < 0) finish_request(c, k);
    return;
  }
  ssize_t n = recv(k->fd, c->bytes, sizeof c->bytes, 0);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    lost_connection(c, k, n < 0 ? errno : 0);
  } else if (take_bytes(c, k, (size_t)n)) {
    judge_answer(k);
    finish_request(c, k);
  }
}

/* ---- the public side */

el_status el_load_client_new(const el_load_url *url, const el_load_hooks *hooks, int watched, el_load_client **out,
                             el_error *err) {
  el_load_client *c = calloc(1, sizeof *c);
  if (!c) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  *c = (el_load_client){.url = *url, .hooks = *hooks, .watched = watched};
  c->running.prev = c->running.next = &c->running;
  c->idle.prev = c->idle.next = &c->idle;
  c->epoll = epoll_create1(EPOLL_CLOEXEC);
  c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  struct epoll_event timer = {.events = EPOLLIN, .data.ptr = &c->timer};
  struct epoll_event watch = {.events = EPOLLIN, .data.ptr = &c->watched};
  if (c->epoll < 0 || c->timer < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &timer) ||
      (watched >= 0 && epoll_ctl(c->epoll, EPOLL_CTL_ADD, watched, &watch))) {
    el_fail(err, EL_ERR_IO, "epoll: %s", strerror(errno));
    el_load_client_free(c);
    return err->code;
  }
  *out = c;
  return EL_OK;
}

void el_load_client_cut(el_load_client *c) {
  while (c->running.next != &c->running) {
    conn *k = c->running.next;
    close_fd(k);
    give_up(k, EL_LOAD_CUT, "the run was ended");
    k->answer.status = k->http.status;
    finish_request(c, k);
  }
}

void el_load_client_free(el_load_client *c) {
  if (!c) return;
  while (c->running.next != &c->running) {
    conn *k = c->running.next;
    unlink_conn(k);
    free_conn(k);
  }
  while (c->idle.next != &c->idle) drop_idle(c, c->idle.next);
  if (c->epoll >= 0) close(c->epoll);
  if (c->timer >= 0) close(c->timer);
  free(c);
}

static bool write_request(el_load_client *c, conn *k, const el_load_call *call) {
  el_buf_consume(&k->out, k->out.len);
  k->n_sent = 0;
  bool ok = el_buf_printf(&k->out, "%s %s%s HTTP/1.1\r\nHost: %s\r\n", call->method, c->url.path, call->path,
                          c->url.authority);
  if (call->body)
    ok = ok && el_buf_printf(&k->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", call->body_len);
  return ok && el_buf_append(&k->out, "\r\n", 2) && (!call->body || el_buf_append(&k->out, call->body, call->body_len));
}

bool el_load_client_send(el_load_client *c, const el_load_call *call) {
  conn *k = c->idle.next;
  bool kept = k != &c->idle;
  if (kept) {
    unlink_conn(k);
    c->n_idle--;
  } else if (!(k = calloc(1, sizeof *k))) {
    return false;
  } else {
    k->fd = -1;
  }
  if (!write_request(c, k, call)) {
    free_conn(k);
    return false;
  }
  k->id = call->id;
  k->stream = call->stream;
  k->deadline = call->deadline;
  k->idle = k->answered = k->ended = k->over = false;
  el_http_reset(&k->http);
  el_sse_reset(&k->sse);
  k->answer = (el_load_answer){.sent = el_seconds(), .prompt_tokens = -1, .completion_tokens = -1, .cached_tokens = -1};
  assert(c->running.prev == &c->running || c->running.prev->deadline <= k->deadline);
  link_after(c->running.prev, k);
  c->n_running++;
  if (!kept) open_fd(c, k);
  if (k->fd >= 0) send_some(c, k);
  if (k->fd < 0) { /* ends in the next wait, not inside this call: who is told may be who calls */
    unlink_conn(k);
    k->deadline = 0;
    link_after(&c->running, k);
  }
  return true;
}

static void set_timer(el_load_client *c, double at) {
  double whole = floor(at);
  struct itimerspec t = {.it_value = {(time_t)whole, (long)((at - whole) * 1e9)}};
  timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void expire_requests(el_load_client *c) {
  double now = el_seconds();
  /* Not those that are sent meanwhile: they may fail at once, and for ever. */
  size_t n = c->n_running;
  for (conn *k; n-- && (k = c->running.next) != &c->running && k->deadline <= now;) {
    if (k->answer.end == EL_LOAD_DONE) give_up(k, EL_LOAD_TIMEOUT, "no end of the answer in time");
    k->answer.status = k->http.status;
    close_fd(k);
    finish_request(c, k);
  }
}

bool el_load_client_wait(el_load_client *c, double until) {
  struct epoll_event events[BATCH];
  if (c->running.next != &c->running && c->running.next->deadline < until) until = c->running.next->deadline;
  bool due = until <= el_seconds(), watched = false;
  if (!due) set_timer(c, until);
  int n = epoll_wait(c->epoll, events, BATCH, due ? 0 : -1);
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr == &c->timer) {
      uint64_t times;
      if (read(c->timer, &times, sizeof times) < 0) continue; /* it was set again since */
    } else if (events[i].data.ptr == &c->watched) {
      watched = true;
    } else {
      on_ready(c, events[i].data.ptr, events[i].events);
    }
  }
  expire_requests(c);
  return watched;
}

size_t el_load_client_running(const el_load_client *c) {
  return c->n_running;
}

uint64_t el_load_client_opened(const el_load_client *c) {
  return c->n_opened;
}
