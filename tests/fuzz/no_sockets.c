#include "no_sockets.h"

#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>

struct MHD_Response {
  int refs;
  char *data; /* with `mode` MUST_FREE ours */
  size_t len;
  bool owned;
  MHD_ContentReaderCallback read;
  void *cls;
  size_t block;
  MHD_ContentReaderFreeCallback free_cls;
  struct {
    char *name, *value;
  } headers[16];
  size_t n_headers;
};

struct MHD_Connection {
  const no_sockets_request *request;
  void *socket_context;
  struct MHD_Response *response;
  unsigned status;
  pthread_mutex_t mutex; /* guards all below */
  pthread_cond_t resumed;
  bool suspended;
};

struct MHD_Daemon {
  MHD_AccessHandlerCallback handler;
  void *handler_cls;
  void *(*on_line)(void *cls, const char *uri, struct MHD_Connection *c);
  void *on_line_cls;
  MHD_RequestCompletedCallback on_completed;
  void *on_completed_cls;
  MHD_NotifyConnectionCallback on_connection;
  void *on_connection_cls;
  struct MHD_Connection connection; /* stays open, as a kept one does */
  int fd;                           /* that the watcher looks at */
};

static struct MHD_Daemon *the_daemon;

/* ---------------------------------------------------------------- the daemon */

static void read_options(struct MHD_Daemon *d, va_list args) {
  for (int option; (option = va_arg(args, int)) != MHD_OPTION_END;) switch (option) {
      case MHD_OPTION_EXTERNAL_LOGGER:
        va_arg(args, void *);
        va_arg(args, void *);
        break;
      case MHD_OPTION_URI_LOG_CALLBACK:
        d->on_line = va_arg(args, void *(*)(void *, const char *, struct MHD_Connection *));
        d->on_line_cls = va_arg(args, void *);
        break;
      case MHD_OPTION_NOTIFY_COMPLETED:
        d->on_completed = va_arg(args, MHD_RequestCompletedCallback);
        d->on_completed_cls = va_arg(args, void *);
        break;
      case MHD_OPTION_NOTIFY_CONNECTION:
        d->on_connection = va_arg(args, MHD_NotifyConnectionCallback);
        d->on_connection_cls = va_arg(args, void *);
        break;
      case MHD_OPTION_CONNECTION_MEMORY_LIMIT: va_arg(args, size_t); break;
      case MHD_OPTION_ARRAY: va_arg(args, void *); break; /* of TLS, which there is none of */
      case MHD_OPTION_LISTEN_SOCKET:
      case MHD_OPTION_CONNECTION_LIMIT:
      case MHD_OPTION_CONNECTION_TIMEOUT: va_arg(args, int); break;
      default: fprintf(stderr, "no_sockets: option %d is not known\n", option), abort();
    }
}

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback apc, void *apc_cls,
                                    MHD_AccessHandlerCallback handler, void *cls, ...) {
  struct MHD_Daemon *d = calloc(1, sizeof *d);
  va_list args;
  if (!d) abort();
  d->handler = handler;
  d->handler_cls = cls;
  va_start(args, cls);
  read_options(d, args);
  va_end(args);
  d->fd = eventfd(0, EFD_CLOEXEC);
  pthread_mutex_init(&d->connection.mutex, NULL);
  pthread_cond_init(&d->connection.resumed, NULL);
  the_daemon = d;
  d->on_connection(d->on_connection_cls, &d->connection, &d->connection.socket_context, MHD_CONNECTION_NOTIFY_STARTED);
  return d;
}

enum MHD_Result MHD_is_feature_supported(enum MHD_FEATURE feature) {
  return MHD_NO;
}

void MHD_stop_daemon(struct MHD_Daemon *d) {
  abort(); /* it is never stopped */
}
MHD_socket MHD_quiesce_daemon(struct MHD_Daemon *d) {
  return MHD_INVALID_SOCKET;
}
const char *MHD_get_version(void) {
  return "none";
}
const char *MHD_get_reason_phrase_for(unsigned code) {
  return "";
}

/* ---------------------------------------------------------------- what a request has */

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *c, enum MHD_ConnectionInfoType what,
                                                        ...) {
  static union MHD_ConnectionInfo info;
  info = (union MHD_ConnectionInfo){0};
  if (what == MHD_CONNECTION_INFO_SOCKET_CONTEXT) {
    info.socket_context = c->socket_context;
  } else if (what == MHD_CONNECTION_INFO_CONNECTION_FD) {
    info.connect_fd = the_daemon->fd;
  } else {
    return NULL;
  }
  return &info;
}

static void list_of(struct MHD_Connection *c, enum MHD_ValueKind kind, const no_sockets_pair **list, size_t *n) {
  *list = kind == MHD_HEADER_KIND ? c->request->headers : c->request->arguments;
  *n = kind == MHD_HEADER_KIND ? c->request->n_headers : kind == MHD_GET_ARGUMENT_KIND ? c->request->n_arguments : 0;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key) {
  const no_sockets_pair *list;
  size_t n;
  list_of(c, kind, &list, &n);
  for (size_t i = 0; i < n; i++)
    if (!strcasecmp(list[i].name, key)) return list[i].value;
  return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *c, enum MHD_ValueKind kind, MHD_KeyValueIterator see, void *cls) {
  const no_sockets_pair *list;
  size_t n;
  list_of(c, kind, &list, &n);
  for (size_t i = 0; i < n; i++)
    if (see(cls, kind, list[i].name, list[i].value) != MHD_YES) return (int)i + 1;
  return (int)n;
}

/* ---------------------------------------------------------------- responses */

static struct MHD_Response *new_response(void) {
  struct MHD_Response *r = calloc(1, sizeof *r);
  if (r) r->refs = 1;
  return r;
}

struct MHD_Response *MHD_create_response_from_buffer(size_t size, void *data, enum MHD_ResponseMemoryMode mode) {
  struct MHD_Response *r = new_response();
  if (!r) return NULL;
  r->data = data;
  r->len = size;
  r->owned = mode == MHD_RESPMEM_MUST_FREE;
  return r;
}

struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback read,
                                                       void *cls, MHD_ContentReaderFreeCallback free_cls) {
  struct MHD_Response *r = new_response();
  if (!r) return NULL;
  r->read = read;
  r->cls = cls;
  r->block = block;
  r->free_cls = free_cls;
  return r;
}

/* What the library takes of a header: no line ends, which would begin another. */
enum MHD_Result MHD_add_response_header(struct MHD_Response *r, const char *name, const char *value) {
  if (!name[0] || !value[0] || strpbrk(name, "\t\r\n ") || strpbrk(value, "\r\n")) return MHD_NO;
  assert(r->n_headers < sizeof r->headers / sizeof *r->headers);
  r->headers[r->n_headers].name = strdup(name);
  r->headers[r->n_headers++].value = strdup(value);
  return MHD_YES;
}

const char *MHD_get_response_header(struct MHD_Response *r, const char *key) {
  for (size_t i = 0; i < r->n_headers; i++)
    if (!strcasecmp(r->headers[i].name, key)) return r->headers[i].value;
  return NULL;
}

void MHD_destroy_response(struct MHD_Response *r) {
  if (--r->refs) return;
  for (size_t i = 0; i < r->n_headers; i++) {
    free(r->headers[i].name);
    free(r->headers[i].value);
  }
  if (r->owned) free(r->data);
  if (r->free_cls) r->free_cls(r->cls);
  free(r);
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned status, struct MHD_Response *r) {
  assert(!c->response && status >= 100 && status < 600);
  r->refs++;
  c->response = r;
  c->status = status;
  return MHD_YES;
}

/* ---------------------------------------------------------------- waiting */

void MHD_suspend_connection(struct MHD_Connection *c) {
  pthread_mutex_lock(&c->mutex);
  c->suspended = true;
  pthread_mutex_unlock(&c->mutex);
}

void MHD_resume_connection(struct MHD_Connection *c) {
  pthread_mutex_lock(&c->mutex);
  c->suspended = false;
  pthread_cond_signal(&c->resumed);
  pthread_mutex_unlock(&c->mutex);
}

static void wait_while_suspended(struct MHD_Connection *c) {
  pthread_mutex_lock(&c->mutex);
  while (c->suspended) pthread_cond_wait(&c->resumed, &c->mutex); /* for ever: the fuzzer's timeout tells */
  pthread_mutex_unlock(&c->mutex);
}

/* ---------------------------------------------------------------- a request */

/* Until something is queued; false: the connection is to be closed. */
static bool handle(struct MHD_Daemon *d, struct MHD_Connection *c, void **context) {
  const no_sockets_request *q = c->request;
  size_t none = 0;
  if (d->handler(d->handler_cls, c, q->path, q->method, "HTTP/1.1", NULL, &none, context) != MHD_YES) return false;
  for (size_t at = 0; at < q->len && !c->response;) {
    size_t n = q->len - at < q->piece ? q->len - at : q->piece, left = n;
    if (d->handler(d->handler_cls, c, q->path, q->method, "HTTP/1.1", q->body + at, &left, context) != MHD_YES)
      return false;
    at += n - left;
  }
  while (!c->response) {
    wait_while_suspended(c);
    none = 0;
    if (d->handler(d->handler_cls, c, q->path, q->method, "HTTP/1.1", NULL, &none, context) != MHD_YES) return false;
  }
  return true;
}

static void append(no_sockets_answer *a, const char *data, size_t n) {
  a->body = realloc(a->body, a->len + n + 1);
  if (!a->body) abort();
  if (n) memcpy(a->body + a->len, data, n);
  a->len += n;
  a->body[a->len] = 0;
}

static void take_body(struct MHD_Connection *c, const struct MHD_Response *r, no_sockets_answer *a) {
  char piece[512];
  append(a, r->data, r->read ? 0 : r->len);
  while (r->read) {
    wait_while_suspended(c);
    ssize_t n = r->read(r->cls, a->len, piece, sizeof piece < r->block ? sizeof piece : r->block);
    a->cut_off = n == MHD_CONTENT_READER_END_WITH_ERROR;
    if (n < 0) break;
    assert((size_t)n <= sizeof piece);
    append(a, piece, (size_t)n);
  }
}

void no_sockets_ask(const no_sockets_request *q, no_sockets_answer *a) {
  struct MHD_Daemon *d = the_daemon;
  struct MHD_Connection *c = &d->connection;
  void *context = NULL;
  *a = (no_sockets_answer){0};
  c->request = q;
  d->on_line(d->on_line_cls, q->path, c);
  bool answered = handle(d, c, &context);
  if (answered) {
    const char *type = MHD_get_response_header(c->response, "Content-Type");
    a->status = c->status;
    snprintf(a->type, sizeof a->type, "%s", type ? type : "");
    if (strcmp(q->method, "HEAD")) take_body(c, c->response, a);
  }
  d->on_completed(d->on_completed_cls, c, &context,
                  answered && !a->cut_off ? MHD_REQUEST_TERMINATED_COMPLETED_OK : MHD_REQUEST_TERMINATED_WITH_ERROR);
  if (c->response) MHD_destroy_response(c->response);
  c->response = NULL;
}
