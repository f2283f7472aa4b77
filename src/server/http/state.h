/* The server's state. Files of http/ and endpoints/ and server.c share it; the folders below them do not know it. */
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

/* One open connection. Made and freed by the HTTP thread; the watcher reads it under the server's mutex. */
typedef struct el_conn {
  struct el_conn *prev, *next;
  int fd;
  bool tls;              /* nothing of ours is written to it as it is */
  bool used;             /* a request came on it before */
  bool in_request;       /* between a request's first line and the last byte of its body */
  bool half_closed;      /* its client will send no more, by the watcher's last look */
  bool expired;          /* the watcher has shut it down: it was late, or others need the room */
  uint64_t deadline_ns;  /* for what is awaited from the client; 0: nothing is */
  uint64_t since_ns;     /* when it was opened, or a request began or was answered on it */
  uint64_t answered_ns;  /* when the watcher saw that all of an answer was there to be taken; 0: not yet */
  el_caller *address;    /* with a reference */
  el_exchange *exchange; /* whose generations its client waits for; NULL: none */
  el_exchange *refused;  /* whose answer waits for its time, resume_ns; NULL: none */
  uint64_t resume_ns;
} el_conn;

/* What the watcher has to do about a request. */
typedef struct el_watched {
  el_exchange *exchange;
  bool left; /* its client has gone; else it has failed */
} el_watched;

/* Requests that wait for the admin thread; the server's mutex. */
typedef struct el_queue {
  el_exchange *head, *tail;
  pthread_cond_t changed; /* work, or the end */
} el_queue;

struct el_server {
  el_server_options options;     /* strings are ours */
  const struct el_route *routes; /* all endpoints; [n_routes], static */
  size_t n_routes;
  el_log log;
  el_model_info model;
  el_allowed allowed; /* folders that clients may load from */
  el_tally tally;
  el_unknown unknown;
  el_scales scales;
  el_stored stored;
  el_formats formats;
  json_t *template_json;       /* options.template_variables, and what templates get of them, */
  el_value template_variables; /* which has its strings */
  int64_t started;             /* seconds since the epoch */
  int listen_fd;
  int port;
  bool loopback; /* only this machine reaches it */
  char url[160];
  struct MHD_Daemon *daemon;
  el_tls tls;

  pthread_mutex_t reload_mutex;  /* whoever reads the keys' file anew; taken before all others */
  atomic_bool asks_for_key;      /* there are keys; it stays so */
  atomic_bool leaving;           /* all is served still, but GET /ready is a 503 */
  atomic_bool draining;          /* new requests are answered 503 */
  atomic_size_t body_bytes;      /* of all callers, as */
  atomic_size_t held_bytes;      /* of their answers */
  atomic_uint_fast64_t n_denied; /* requests without a key of ours */

  el_strangers strangers; /* the HTTP thread's */

  pthread_mutex_t mutex; /* guards all below; taken before an exchange's, never after it */
  bool stopping;
  el_api_keys *keys; /* with a reference; NULL: nobody is asked for one */
  el_conn *connections;
  size_t n_connections;
  uint64_t shed_told_ns;  /* when the log was told of connections that had to be shut */
  size_t n_requests;      /* whose headers have come and whose answer has not been sent to its end */
  size_t n_exchanges;     /* not yet freed: those of clients that are gone included */
  pthread_cond_t changed; /* n_requests or n_exchanges went down */
  pthread_cond_t watch;   /* for the watcher: the first connection, or the end */
  el_callers callers;     /* of requests that are there */
  el_readers readers;
  el_queue admin;

  struct pollfd *watch_fds; /* the watcher's scratch, max_connections long */
  el_watched *watched;
  pthread_t admin_thread, watcher;
  bool has_admin, has_watcher;
};

/* state.c: the keys as they are now, with a reference; NULL: there are none. */
el_api_keys *el_server_keys(el_server *s);
/* Whether new requests are welcome. */
bool el_server_is_ready(el_server *s);

/* http.c */
struct MHD_Daemon *el_http_start(el_server *s);

/* request_log.c: the line of a request that is over. cut_off: its answer has not been sent to its end. */
void el_request_log(el_exchange *x, bool cut_off);

/* watch.c: client hang-ups and receive deadlines. */
void *el_watch_main(void *server);
/* Shuts a connection on which bytes are awaited, or an answer is not taken; with `tell` by a 408. The server's mutex is
 * held. */
void el_watch_shut(el_conn *c, bool tell);

/* admin_queue.c: hands a request over to the admin thread; the server's mutex is held. */
void el_admin_push(el_server *s, el_exchange *x);
/* Waits for one, which comes with its reference. NULL: the server stops, and the queue is empty. */
el_exchange *el_admin_pop(el_server *s);

/* listen.c: fills listen_fd, port and url. */
el_status el_listen(el_server *s, el_error *err);
/* Whether the host's name says where. */
el_status el_listen_check(const char *host, int port, el_error *err);

/* origin.c: whether a browser's page of this origin may call; NULL: no browser, or a page of the host's own. False: *e.
 */
bool el_origin_allowed(const el_server *s, const char *origin, const char *host, el_api_error *e);

#endif
