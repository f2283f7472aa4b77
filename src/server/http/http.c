/* Connections, bodies and routing, in libmicrohttpd's single thread (epoll). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json_out.h"
#include "server/answers/decision.h"
#include "server/answers/packed_event.h"
#include "server/answers/writer.h"
#include "server/http/key_limits.h"
#include "server/http/route.h"
#include "server/http/state.h"

/* libmicrohttpd's memory for a connection: the request line and headers of one request, and pieces of its body. */
#define CONNECTION_MEMORY ((size_t)32 << 10)
/* Headers beyond this are refused with JSON. If they do not fit into that memory, libmicrohttpd refuses them itself. */
#define MAX_HEADERS ((size_t)24 << 10)
/* How much of a stream is handed over at a time. */
#define STREAM_BLOCK 4096
/* Longer names of adapters and the base are left out of headers, which must fit into CONNECTION_MEMORY. */
#define MAX_HEADER_VALUE 1024
/* Seconds after which a refused client ("overloaded", "too many") may try again. */
#define RETRY_AFTER_S 1
/* The refusal itself is delayed by this time, so that a client that ignores Retry-After and sends megabytes again at
 * once can do so only once a second. */
#define REFUSAL_NS 1000000000u

static const char *header(struct MHD_Connection *c, const char *name) {
  return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static el_conn *conn_of(struct MHD_Connection *c) {
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  return info ? info->socket_context : NULL;
}

/* ---------------------------------------------------------------- answering */

static const char *origin_of(el_exchange *x) {
  return header(x->connection, "Origin");
}

static bool origin_allowed(el_exchange *x, el_api_error *e) {
  return el_origin_allowed(x->server, origin_of(x), header(x->connection, "Host"), e);
}

static void add_cors(el_exchange *x, struct MHD_Response *r) {
  const char *origin = origin_of(x);
  el_api_error ignored;
  if (!origin || !origin_allowed(x, &ignored)) return;
  MHD_add_response_header(r, "Access-Control-Allow-Origin", origin);
  MHD_add_response_header(r, "Access-Control-Expose-Headers",
                          "x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
                          "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, "
                          "x-ratelimit-reset-tokens, " EL_ADAPTER_HEADER);
  MHD_add_response_header(r, "Vary", "Origin");
}

/* Queues `r` and drops our reference to it. NULL: out of memory, which closes the connection. */
static enum MHD_Result queue(el_exchange *x, int status, struct MHD_Response *r) {
  if (!r) return MHD_NO;
  x->status = status;
  MHD_add_response_header(r, "x-request-id", x->id);
  el_limits_add_headers(x, r);
  if (*x->trace.id) {
    char parent[EL_TRACEPARENT_BYTES];
    el_trace_write(&x->trace, x->id, parent);
    MHD_add_response_header(r, "traceparent", parent);
  }
  if (x->last || !el_server_is_ready(x->server)) MHD_add_response_header(r, "Connection", "close");
  add_cors(x, r);
  enum MHD_Result rc = MHD_queue_response(x->connection, (unsigned)status, r);
  MHD_destroy_response(r);
  return rc;
}

/* Takes the buffer. */
static struct MHD_Response *buffer_response(el_exchange *x, el_buf *b, const char *type) {
  x->sent_bytes = b->len;
  struct MHD_Response *r = MHD_create_response_from_buffer(b->len, b->data, MHD_RESPMEM_MUST_FREE);
  if (!r) el_buf_free(b);
  if (r) MHD_add_response_header(r, "Content-Type", type);
  return r;
}

static struct MHD_Response *json_response(el_exchange *x, el_buf *b) {
  return buffer_response(x, b, "application/json");
}

/* The same for an answer of the model, with the name of the adapter in a header. */
static enum MHD_Result queue_answer(el_exchange *x, struct MHD_Response *r) {
  const char *name = el_exchange_adapter(x);
  el_buf b = {0};
  if (r && name && el_decision_header(name, &b) && b.len <= MAX_HEADER_VALUE)
    MHD_add_response_header(r, EL_ADAPTER_HEADER, b.data);
  el_buf_free(&b);
  return queue(x, 200, r);
}

static void add_retry_after(struct MHD_Response *r, int seconds) {
  char text[16];
  snprintf(text, sizeof text, "%d", seconds);
  MHD_add_response_header(r, "Retry-After", text);
}

static enum MHD_Result answer_error(el_exchange *x, const el_api_error *e, const char *allow) {
  el_buf b = {0};
  bool own = x->api && x->api->write_error;
  if (!(own ? x->api->write_error(e, &b) : el_api_error_write(e, &b))) {
    el_buf_free(&b);
    return MHD_NO;
  }
  struct MHD_Response *r = json_response(x, &b);
  if (r && (e->status == 503 || e->status == 429)) add_retry_after(r, e->retry_s ? e->retry_s : RETRY_AFTER_S);
  if (r && e->status == 401) MHD_add_response_header(r, "WWW-Authenticate", "Bearer");
  if (r && e->status == 415) MHD_add_response_header(r, "Accept-Encoding", EL_CODINGS);
  if (r && allow) MHD_add_response_header(r, "Allow", allow);
  return queue(x, e->status, r);
}

static enum MHD_Result answer_too_large(el_exchange *x) {
  el_api_error e;
  el_exchange_fail_too_large(x, &e);
  return answer_error(x, &e, NULL);
}

static enum MHD_Result answer_unknown_coding(el_exchange *x) {
  el_api_error e;
  el_api_fail(&e, 415, "unsupported_encoding", NULL, "Content-Encoding '%.100s' is not one of %s.",
              header(x->connection, "Content-Encoding"), EL_CODINGS);
  return answer_error(x, &e, NULL);
}

/* A proxy before us may have understood another length than libmicrohttpd, so that what it sends as the next client's
 * request would be read as the rest of this body. So nothing more is read from this connection. */
static enum MHD_Result answer_two_lengths(el_exchange *x) {
  el_api_error e;
  el_api_fail(&e, 400, "bad_request", NULL,
              "The body's length is told more than once, by Content-Length and Transfer-Encoding or by one of them "
              "twice.");
  x->last = true;
  return answer_error(x, &e, NULL);
}

static enum MHD_Result answer_over_share(el_exchange *x) {
  el_api_error e;
  el_api_fail(&e, 429, "too_many_bytes", NULL,
              "Request bodies of %s wait to be read, and may have as much as is left of %zu bytes for all; send this "
              "one again when they are answered.",
              x->key ? "this API key" : "this address", el_exchange_max_bodies(x->server));
  return answer_error(x, &e, NULL);
}

static enum MHD_Result answer_preflight(el_exchange *x, const el_route *r) {
  struct MHD_Response *resp = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
  if (!resp) return MHD_NO;
  const char *headers = header(x->connection, "Access-Control-Request-Headers");
  MHD_add_response_header(resp, "Allow", el_route_methods(r));
  if (origin_of(x)) {
    MHD_add_response_header(resp, "Access-Control-Allow-Methods", el_route_methods(r));
    if (headers) MHD_add_response_header(resp, "Access-Control-Allow-Headers", headers);
    MHD_add_response_header(resp, "Access-Control-Max-Age", "600");
    /* A web page may call this address, which its browser takes for a private one. */
    if (header(x->connection, "Access-Control-Request-Private-Network"))
      MHD_add_response_header(resp, "Access-Control-Allow-Private-Network", "true");
  }
  return queue(x, 200, resp);
}

/* Answers with the route's function for GET or DELETE. */
static enum MHD_Result answer_query(el_exchange *x, const el_route *r, const char *path,
                                    bool (*answer)(const el_query *q, el_answer *out, el_api_error *e)) {
  const el_query q = {x->server, x->key, el_route_rest(r, path), x->connection};
  el_answer a = {.status = 200, .type = "application/json"};
  el_api_error e = {0};
  if (!answer(&q, &a, &e)) {
    el_buf_free(&a.body);
    return answer_error(x, &e, NULL);
  }
  struct MHD_Response *resp = buffer_response(x, &a.body, a.type);
  for (const char *const *h = a.headers; resp && h && *h; h += 2) MHD_add_response_header(resp, h[0], h[1]);
  if (resp && a.header_name) MHD_add_response_header(resp, a.header_name, a.header_value);
  return queue(x, a.status, resp);
}

/* ---------------------------------------------------------------- generations */

static bool make_reply(el_exchange *x) {
  char id[64];
  snprintf(id, sizeof id, "%s%s", x->api->id_prefix, x->id);
  const char *adapter = x->chosen ? x->chosen[0] : NULL; /* none: the answer is a failure */
  const el_reply_info head = {.id = id,
                              .created = (int64_t)time(NULL),
                              .model = adapter ? adapter : x->request.model,
                              .asked = x->label ? x->label : x->request.model,
                              .limited = el_key_is_limited(x->key)};
  el_engine *engine = x->server->options.engine;
  if (adapter && !x->adapter && el_adapter_hold(engine, adapter, &x->adapter, NULL)) x->adapter = NULL; /* gone since */
  x->reply = el_reply_new(x->adapter ? x->adapter->tokenizer : el_engine_tokenizer(engine), &x->request, &head);
  return x->reply != NULL;
}

/* All choices have ended, or a stream has failed before it began. */
static enum MHD_Result answer_whole(el_exchange *x, el_buf *events) {
  el_buf json = {0};
  el_api_error e;
  el_api_fail(&e, 500, "no_memory", NULL, "Out of memory while writing the answer.");
  size_t pos = 0;
  bool ok = make_reply(x) && el_reply_feed(x->reply, events, &pos, NULL) && el_reply_write(x->reply, &json, &e);
  el_limits_leave(x); /* before its client hears of its end */
  el_exchange_let_go(x, events->len);
  el_buf_free(events);
  if (ok && !el_exchange_hold(x, json.len)) ok = el_exchange_fail_held(x, &e);
  if (ok) return queue_answer(x, json_response(x, &json));
  el_buf_free(&json);
  return answer_error(x, &e, NULL);
}

/* The next engine events that are not formatted yet; after the last of them, the failure if there is one. False: there
 * are none, and the connection sleeps; or *broken. */
static bool take_packed_events(el_exchange *x, bool *broken) {
  el_exchange_let_go(x, x->taken.len);
  el_buf_free(&x->taken);
  x->taken_pos = 0;
  pthread_mutex_lock(&x->mutex);
  bool gone = x->gone, failed = x->failed;
  el_api_error e = x->error;
  x->taken = x->events;
  x->events = (el_buf){0};
  bool wait = !gone && !failed && !x->taken.len;
  if (wait) el_exchange_suspend(x);
  pthread_mutex_unlock(&x->mutex);
  *broken = gone || (failed && !x->taken.len && !el_reply_fail(x->reply, &e, &x->out));
  return !wait && !*broken;
}

/* Formats what has happened since into x->out. False: as take_packed_events. */
static bool refill(el_exchange *x, bool *broken) {
  x->out.len = x->out_pos = 0;
  while (!x->out.len) {
    if (x->taken_pos == x->taken.len && !take_packed_events(x, broken)) return false;
    *broken = !el_reply_feed(x->reply, &x->taken, &x->taken_pos, &x->out);
    if (*broken) return false;
    if (el_reply_finished(x->reply)) el_limits_leave(x);
  }
  return true;
}

static ssize_t read_answer_stream(void *cls, uint64_t pos, char *buf, size_t max) {
  el_exchange *x = cls;
  if (x->out_pos == x->out.len) {
    bool broken;
    if (el_reply_finished(x->reply)) return MHD_CONTENT_READER_END_OF_STREAM;
    if (!refill(x, &broken)) return broken ? MHD_CONTENT_READER_END_WITH_ERROR : 0;
  }
  size_t n = x->out.len - x->out_pos;
  if (n > max) n = max;
  memcpy(buf, x->out.data + x->out_pos, n);
  x->out_pos += n;
  x->sent_bytes += n;
  return (ssize_t)n;
}

static enum MHD_Result answer_stream(el_exchange *x) {
  if (!make_reply(x)) return MHD_NO;
  struct MHD_Response *r =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_answer_stream, x, NULL);
  if (!r) return MHD_NO;
  MHD_add_response_header(r, "Content-Type", x->api->writer->stream_type);
  MHD_add_response_header(r, "Cache-Control", "no-cache");
  /* tells nginx to pass events on at once */
  MHD_add_response_header(r, "X-Accel-Buffering", "no");
  return queue_answer(x, r);
}

/* Answers, or suspends the connection until there is an answer. */
static enum MHD_Result answer_work(el_exchange *x) {
  pthread_mutex_lock(&x->mutex);
  bool ready = el_exchange_ready(x), gone = x->gone, failed = x->failed;
  el_api_error e = x->error;
  el_buf events = {0};
  if (!ready) {
    el_exchange_suspend(x);
  } else if (!gone && !failed && (!x->request.stream || el_packed_events_begin_with_failure(&x->events))) {
    events = x->events;
    x->events = (el_buf){0};
  }
  pthread_mutex_unlock(&x->mutex);
  if (!ready) return MHD_YES;
  if (gone) return MHD_NO;
  if (failed) return answer_error(x, &e, NULL);
  if (x->work != EL_WORK_API || x->api->answer) {
    el_buf result = x->result; /* whoever made it is through with it */
    el_limits_leave(x);
    x->result = (el_buf){0};
    return queue(x, 200, buffer_response(x, &result, x->result_type));
  }
  return x->request.stream && !events.len ? answer_stream(x) : answer_whole(x, &events);
}

/* ---------------------------------------------------------------- a request's way in */

/* The body is complete, so nothing more is expected from the client. With `works` another thread takes over, under the
 * same lock: a server that stops finds either nothing of the request or all of it. False: the server is stopping. */
static bool received(el_exchange *x, el_conn *c, bool works) {
  el_server *s = x->server;
  pthread_mutex_lock(&s->mutex);
  bool ok = !c->expired && !s->stopping;
  if (ok) {
    c->deadline_ns = 0;
    c->in_request = false;
    x->handed_over = works;
  }
  if (ok && works) {
    c->exchange = x;
    if (x->work == EL_WORK_API)
      el_readers_push(s, x);
    else
      el_admin_push(s, x);
  }
  pthread_mutex_unlock(&s->mutex);
  return ok;
}

/* Suspends the connection for a while, after which dispatch is called again. False: the server is stopping. */
static bool hold_back(el_exchange *x, el_conn *c) {
  el_server *s = x->server;
  x->held_back = true;
  pthread_mutex_lock(&s->mutex);
  bool ok = !c->expired && !s->stopping;
  if (ok) {
    c->refused = x;
    c->resume_ns = el_now_ns() + REFUSAL_NS;
    pthread_mutex_lock(&x->mutex);
    el_exchange_suspend(x);
    pthread_mutex_unlock(&x->mutex);
  }
  pthread_mutex_unlock(&s->mutex);
  return ok;
}

static enum MHD_Result refuse_request(el_exchange *x, int status, const char *code, const char *allow,
                                      const char *message) {
  el_api_error e;
  el_api_fail(&e, status, code, NULL, "%s", message);
  return answer_error(x, &e, allow);
}

static bool has_key(const el_exchange *x) {
  return header(x->connection, "Authorization") || header(x->connection, "x-api-key");
}

static enum MHD_Result answer_denied(el_exchange *x) {
  if (x->tries_often) {
    unsigned char address[16];
    el_api_error e;
    el_callers_address(x->connection, address);
    el_api_fail(&e, 429, "too_many_attempts", NULL,
                "Too many requests without a valid API key came from this address.");
    e.retry_s = el_quota_seconds(el_strangers_wait_ns(&x->server->strangers, address, el_now_ns()));
    return answer_error(x, &e, NULL);
  }
  return refuse_request(x, 401, "invalid_api_key", NULL,
                        has_key(x) ? "Incorrect API key provided."
                                   : "No API key provided: the header 'Authorization: Bearer KEY' is needed.");
}

/* Finds the caller's key. Browsers send OPTIONS without a key, and supervisors have none. */
static void find_key(el_exchange *x, const char *method) {
  el_server *s = x->server;
  if (!atomic_load(&s->asks_for_key) || !strcmp(method, "OPTIONS")) return;
  x->keys = el_server_keys(s);
  x->key = el_api_keys_find(x->keys, header(x->connection, "Authorization"), header(x->connection, "x-api-key"));
  x->denied = !x->key && !(x->route && x->route->open);
  if (!x->denied) return;
  atomic_fetch_add(&s->n_denied, 1);
  if (!has_key(x)) return; /* which guesses nothing */
  unsigned char address[16];
  el_callers_address(x->connection, address);
  x->tries_often = !el_strangers_allow(&s->strangers, address, el_now_ns());
}

static enum MHD_Result dispatch(el_exchange *x, const char *method, const char *path) {
  const el_route *r = x->route;
  el_conn *c = conn_of(x->connection);
  bool post = r && r->post && !strcmp(method, "POST");
  bool get = r && r->get && (!strcmp(method, "GET") || !strcmp(method, "HEAD"));
  bool del = r && r->del && !strcmp(method, "DELETE");
  bool forbidden = r && r->for_all && el_key_is_limited(x->key);
  el_api_error e;
  bool allowed = origin_allowed(x, &e);
  bool works = post && !x->denied && !forbidden && !x->too_large && !x->unknown_coding && x->n_lengths <= 1 &&
               x->header_bytes <= MAX_HEADERS && !x->over_share && !x->no_room && !atomic_load(&x->server->draining) &&
               allowed;
  if (post) x->work = r->post;
  const bool late = x->over_share || x->no_room || x->tries_often;
  const bool over = works && x->work == EL_WORK_API && !el_limits_enter(x, &e);
  works = works && !over;
  if (!received(x, c, works)) return MHD_NO;
  if (over) return answer_error(x, &e, NULL);
  if (late && !x->held_back) return hold_back(x, c) ? MHD_YES : MHD_NO;
  if (works) return answer_work(x);
  if (!allowed) return answer_error(x, &e, NULL);
  if (x->denied) return answer_denied(x);
  if (x->too_large) return answer_too_large(x);
  if (x->header_bytes > MAX_HEADERS)
    return refuse_request(x, 431, "headers_too_large", NULL,
                          "The request's headers are longer than the limit of 24 KiB.");
  if (x->n_lengths > 1) return answer_two_lengths(x);
  if (x->unknown_coding) return answer_unknown_coding(x);
  if (!r)
    return refuse_request(
        x, 404, "unknown_url", NULL,
        "There is no such endpoint; see /v1/models, /v1/completions, /v1/chat/completions, /v1/route, /health, "
        "/slots and /metrics.");
  if (!strcmp(method, "OPTIONS")) return answer_preflight(x, r);
  if (!post && !get && !del)
    return refuse_request(x, 405, "method_not_allowed", el_route_methods(r),
                          "This endpoint does not have this method.");
  if (forbidden)
    return refuse_request(x, 403, "insufficient_permissions", NULL,
                          "This needs an API key that is not limited to some adapters.");
  if (get || del) return answer_query(x, r, path, get ? r->get : r->del);
  if (x->over_share) return answer_over_share(x);
  return atomic_load(&x->server->draining)
             ? refuse_request(x, 503, "shutting_down", NULL, "The server is shutting down.")
             : refuse_request(x, 503, "overloaded", NULL,
                              "The server holds as many request bodies as it takes; try again later.");
}

/* Writes method and path for the log, with characters that are safe on a terminal. */
static void describe_request(el_exchange *x, const char *method, const char *path) {
  snprintf(x->what, sizeof x->what, "%.10s %s", method, path);
  for (char *p = x->what; *p; p++)
    if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f) *p = '?';
}

/* Only one Content-Encoding is accepted, as only the client knows the order of several. */
static enum MHD_Result see_header(void *exchange, enum MHD_ValueKind kind, const char *name, const char *value) {
  el_exchange *x = exchange;
  if (!value) value = "";
  x->header_bytes += strlen(name) + strlen(value) + sizeof ": \r\n" - 1;
  x->n_lengths +=
      !strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) || !strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
  if (!strcasecmp(name, MHD_HTTP_HEADER_CONTENT_ENCODING))
    x->unknown_coding = x->coding || (x->coding = el_coding_get(value)) == EL_CODING_UNKNOWN;
  return MHD_YES;
}

/* The headers have come. */
static enum MHD_Result begin_request(el_server *s, struct MHD_Connection *c, const char *method, const char *path,
                                     void **context) {
  el_exchange *x = conn_of(c) ? el_exchange_new(s, c) : NULL;
  if (!x) return MHD_NO;
  *context = x;
  describe_request(x, method, path);
  el_trace_read(header(c, "traceparent"), &x->trace);
  x->route = el_route_find(s->routes, s->n_routes, path);
  x->api = x->route ? x->route->api : NULL;
  find_key(x, method);
  MHD_get_connection_values(c, MHD_HEADER_KIND, see_header, x);
  pthread_mutex_lock(&s->mutex);
  s->n_requests++;
  x->caller = el_callers_get(&s->callers, x->key, c);
  pthread_mutex_unlock(&s->mutex);
  if (!x->caller) return MHD_NO;
  /* A client that sends "Expect: 100-continue" is refused before it sends; others send the whole body before they read
   * the answer. */
  const char *expect = header(c, "Expect"), *length = header(c, "Content-Length");
  if (expect && x->denied) return received(x, conn_of(c), false) ? answer_denied(x) : MHD_NO;
  if (expect && x->unknown_coding) return received(x, conn_of(c), false) ? answer_unknown_coding(x) : MHD_NO;
  if (expect && length && strtoull(length, NULL, 10) > s->options.max_body_bytes)
    return received(x, conn_of(c), false) ? answer_too_large(x) : MHD_NO;
  return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *len, void **context) {
  el_exchange *x = *context;
  if (!x) return begin_request(cls, c, method, path, context);
  if (*len) {
    el_exchange_body(x, data, *len);
    *len = 0;
    return MHD_YES;
  }
  return x->handed_over ? answer_work(x) : dispatch(x, method, path);
}

/* ---------------------------------------------------------------- connections */

/* The first line of a request has arrived. On a new connection the time counts from its opening. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *c) {
  el_server *s = cls;
  el_conn *conn = conn_of(c);
  if (!conn) return NULL;
  pthread_mutex_lock(&s->mutex);
  conn->in_request = true;
  conn->since_ns = el_now_ns();
  if (conn->used) conn->deadline_ns = el_now_ns() + (uint64_t)s->options.receive_timeout_ms * 1000000;
  conn->used = true;
  pthread_mutex_unlock(&s->mutex);
  return NULL;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode why) {
  el_server *s = cls;
  el_conn *conn = conn_of(c);
  el_exchange *x = *context;
  pthread_mutex_lock(&s->mutex);
  if (conn) {
    conn->exchange = conn->refused = NULL;
    conn->in_request = false;
    conn->since_ns = el_now_ns();
    conn->answered_ns = 0;
    conn->deadline_ns = conn->since_ns + (uint64_t)s->options.idle_timeout_ms * 1000000;
  }
  pthread_mutex_unlock(&s->mutex);
  *context = NULL;
  if (!x) return;
  el_request_log(x, why != MHD_REQUEST_TERMINATED_COMPLETED_OK);
  el_exchange_abandon(x);
  pthread_mutex_lock(&s->mutex);
  s->n_requests--;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->mutex);
  el_exchange_release(x);
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what) {
  el_server *s = cls;
  if (what == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    el_conn *conn = info ? calloc(1, sizeof *conn) : NULL;
    *context = conn;
    if (!conn) return;
    conn->fd = info->connect_fd;
    conn->tls = s->tls.cert.len > 0;
    conn->since_ns = el_now_ns();
    conn->deadline_ns = conn->since_ns + (uint64_t)s->options.receive_timeout_ms * 1000000;
    pthread_mutex_lock(&s->mutex);
    if (!(conn->address = el_callers_get(&s->callers, NULL, c))) {
      pthread_mutex_unlock(&s->mutex);
      *context = NULL; /* no request is taken from it */
      free(conn);
      return;
    }
    conn->address->n_connections++;
    s->n_connections++;
    conn->next = s->connections;
    if (conn->next) conn->next->prev = conn;
    s->connections = conn;
    pthread_cond_signal(&s->watch);
    pthread_mutex_unlock(&s->mutex);
    return;
  }
  el_conn *conn = *context;
  if (!conn) return;
  pthread_mutex_lock(&s->mutex);
  if (conn->next) conn->next->prev = conn->prev;
  if (conn->prev)
    conn->prev->next = conn->next;
  else
    s->connections = conn->next;
  s->n_connections--;
  conn->address->n_connections--;
  el_callers_put(&s->callers, conn->address);
  pthread_mutex_unlock(&s->mutex);
  free(conn);
}

static void on_log(void *cls, const char *fmt, va_list ap) {
  el_server *s = cls;
  char line[512];
  vsnprintf(line, sizeof line, fmt, ap);
  line[strcspn(line, "\n")] = 0;
  el_logf(&s->log, EL_LOG_DEBUG, "libmicrohttpd: %s", line);
}

struct MHD_Daemon *el_http_start(el_server *s) {
  const bool tls = s->tls.cert.len > 0;
  const struct MHD_OptionItem certificate[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, s->tls.cert.data},
                                               {MHD_OPTION_HTTPS_MEM_KEY, 0, s->tls.key.data},
                                               {MHD_OPTION_END, 0, NULL}};
  unsigned flags =
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0);
  return MHD_start_daemon(flags, 0, NULL, NULL, on_request, s,                                                 //
                          MHD_OPTION_EXTERNAL_LOGGER, on_log, s,                                               //
                          MHD_OPTION_LISTEN_SOCKET, s->listen_fd,                                              //
                          MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->options.max_connections,                   //
                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(s->options.idle_timeout_ms + 999) / 1000,  //
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,                               //
                          MHD_OPTION_URI_LOG_CALLBACK, on_request_line, s,                                     //
                          MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,                                        //
                          MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,                                      //
                          MHD_OPTION_ARRAY, tls ? certificate : certificate + 2,                               //
                          MHD_OPTION_END);
}
