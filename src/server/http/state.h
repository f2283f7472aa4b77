/* The server's state, shared by http/, page/, openapi/, endpoints/ and server.c. The folders that those build
 * on do not know it. */
#ifndef EL_SERVER_STATE_H
#define EL_SERVER_STATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/log.h"
#include "server/access/allowed.h"
#include "server/access/callers.h"
#include "server/access/keys.h"
#include "server/access/strangers.h"
#include "server/answers/stored.h"
#include "server/common/json_value.h"
#include "server/http/exchange.h"
#include "server/http/readers.h"
#include "server/http/shed.h"
#include "server/http/tally.h"
#include "server/http/tls.h"
#include "server/requests/calling.h"
#include "server/requests/scales.h"
#include "server/requests/unknown.h"
#include "server/server.h"

/* One open connection. The HTTP thread makes and frees it; the watcher reads it under the server's mutex. */
typedef struct el_conn {
  struct el_conn *prev, *next;
  int fd;
  bool tls;              /* it is encrypted: we do not write to the socket ourselves */
  bool used;             /* a request arrived on it before */
  bool in_request;       /* between the first line of a request and the last byte of its body */
  bool half_closed;      /* the watcher has seen that the client will send no more */
  bool expired;          /* the watcher has shut it: its client was late, or others need the room */
  uint64_t deadline_ns;  /* for what the client has to send; 0: nothing is expected */
  uint64_t since_ns;     /* when it was opened, or a request on it began or was answered */
  uint64_t answered_ns;  /* when the watcher saw that the whole answer was ready to be taken; 0: not yet */
  el_caller *address;    /* with a reference */
  el_exchange *exchange; /* its client waits for these generations; NULL: none */
  el_exchange *refused;  /* a refusal that is sent at resume_ns; NULL: none */
  uint64_t resume_ns;
} el_conn;

/* A request about which the watcher has to act. */
typedef struct el_watched {
  el_exchange *exchange;
  bool left; /* its client has gone; otherwise it has failed */
} el_watched;

/* Requests that wait for the admin thread; guarded by the server's mutex. */
typedef struct el_queue {
  el_exchange *head, *tail;
  pthread_cond_t changed; /* signalled for new work, and at the end */
} el_queue;

struct el_server {
  el_server_options options;     /* with strings of our own */
  const struct el_route *routes; /* all endpoints; [n_routes], static */
  size_t n_routes;
  el_log log;
  el_model_info model;
  el_allowed allowed; /* folders from which clients may load adapters */
  el_tally tally;
  el_unknown unknown;
  el_scales scales;
  el_stored stored;
  el_formats formats;
  json_t *template_json;       /* options.template_variables as JSON, which owns the strings of */
  el_value template_variables; /* the values that templates get */
  int64_t started;             /* seconds since the epoch */
  int listen_fd;
  int port;
  bool loopback; /* only this machine can reach it */
  char url[160];
  struct MHD_Daemon *daemon;
  el_tls tls;

  pthread_mutex_t reload_mutex;  /* held while the file of keys is reloaded; taken before all others */
  atomic_bool asks_for_key;      /* there are keys; once set, it stays set */
  atomic_bool leaving;           /* everything is still served, but GET /ready answers 503 */
  atomic_bool draining;          /* new requests are answered with 503 */
  atomic_size_t body_bytes;      /* request bodies of all callers */
  atomic_size_t held_bytes;      /* answers of all callers that wait for clients */
  atomic_uint_fast64_t n_denied; /* requests without a valid key */

  el_strangers strangers; /* used by the HTTP thread only */

  pthread_mutex_t mutex; /* guards everything below; taken before an exchange's mutex, never after it */
  bool stopping;
  el_api_keys *keys; /* with a reference; NULL: no key is required */
  el_conn *connections;
  size_t n_connections;
  uint64_t shed_told_ns;  /* when shed connections were last logged */
  size_t n_requests;      /* whose headers have arrived and whose answer is not completely sent */
  size_t n_exchanges;     /* not freed yet, including those of clients that are gone */
  pthread_cond_t changed; /* n_requests or n_exchanges has gone down */
  pthread_cond_t watch;   /* wakes the watcher: the first connection, or the end */
  el_callers callers;     /* of current requests */
  el_readers readers;
  el_queue admin;

  struct pollfd *watch_fds; /* scratch of the watcher, max_connections long */
  el_watched *watched;
  pthread_t admin_thread, watcher;
  bool has_admin, has_watcher;
};

/* state.c: the current keys, with a reference; NULL: there are none. */
el_api_keys *el_server_keys(el_server *s);
/* Whether the server accepts new requests: it neither leaves nor drains. */
bool el_server_is_ready(el_server *s);

/* http.c */
struct MHD_Daemon *el_http_start(el_server *s);

/* request_log.c: logs a request that is over. cut_off: its answer was not sent completely. */
void el_request_log(el_exchange *x, bool cut_off);

/* watch.c: the watcher thread, which handles hang-ups of clients and receive deadlines. */
void *el_watch_main(void *server);
/* Shuts a connection whose client does not send what is expected, or does not take its answer; with `tell` it
 * gets a 408 first. The server's mutex is held. */
void el_watch_shut(el_conn *c, bool tell);

/* admin_queue.c: hands a request over to the admin thread. The server's mutex is held. */
void el_admin_push(el_server *s, el_exchange *x);
/* Waits for a request and returns it with its reference. NULL: the server stops and the queue is empty. */
el_exchange *el_admin_pop(el_server *s);

/* listen.c: fills listen_fd, port and url. */
el_status el_listen(el_server *s, el_error *err);
/* Checks that the host can be resolved. */
el_status el_listen_check(const char *host, int port, el_error *err);

/* origin.c: whether a web page of this origin may call. origin NULL: not a browser, or a page of the host
 * itself. False: *e. */
bool el_origin_allowed(const el_server *s, const char *origin, const char *host, el_api_error *e);

#endif
