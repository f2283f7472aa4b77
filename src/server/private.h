/* The server's own state, shared by the files of this folder. */
#ifndef EL_SERVER_PRIVATE_H
#define EL_SERVER_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/log.h"
#include "server/allowed.h"
#include "server/callers.h"
#include "server/calling.h"
#include "server/exchange.h"
#include "server/json_value.h"
#include "server/keys.h"
#include "server/readers.h"
#include "server/scales.h"
#include "server/server.h"
#include "server/shed.h"
#include "server/stored.h"
#include "server/strangers.h"
#include "server/tally.h"
#include "server/tls.h"
#include "server/unknown.h"

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
  el_server_options options; /* strings are ours */
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
  el_keys *keys; /* with a reference; NULL: nobody is asked for one */
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

/* server.c: the keys as they are now, with a reference; NULL: there are none. */
el_keys *el_server_keys(el_server *s);

/* http.c */
struct MHD_Daemon *el_http_start(el_server *s);

/* request_log.c: the line of a request that is over. cut_off: its answer has not been sent to its end. */
void el_request_log(el_exchange *x, bool cut_off);

/* watch.c: client hang-ups and receive deadlines. */
void *el_watch_main(void *server);
/* Shuts a connection on which bytes are awaited, or an answer is not taken; with `tell` by a 408. The server's mutex is
 * held. */
void el_watch_shut(el_conn *c, bool tell);

/* admin.c: adapters loaded and unloaded. */
void *el_admin_main(void *server);
/* Hands a request over; the server's mutex is held. */
void el_admin_push(el_server *s, el_exchange *x);

/* listen.c: fills listen_fd, port and url. */
el_status el_listen(el_server *s, el_error *err);
/* Whether the host's name says where. */
el_status el_listen_check(const char *host, int port, el_error *err);

/* info.c, metrics.c: the answers of GET endpoints. False: out of memory, or *e. whole: with figures, which are
 * everybody's; else only whether it serves. */
bool el_info_health(el_server *s, bool whole, el_buf *out);
/* Whether new requests are welcome. */
bool el_info_is_ready(el_server *s);
bool el_info_metrics(el_server *s, el_buf *out);
bool el_info_slots(el_server *s, bool fail_when_full, el_buf *out, el_api_error *e);
bool el_info_queue(el_server *s, el_buf *out, el_api_error *e);
bool el_info_tokenizer(el_server *s, el_buf *out);
bool el_info_lora(el_server *s, el_buf *out, el_api_error *e);

/* The pool's blocks by use. */
typedef struct el_pool_use {
  uint64_t kv, adapters_used, adapters_idle, free;
} el_pool_use;
el_pool_use el_info_pool(const el_stats *st);

/* stats.c: the machine's figures as JSON; a limited key gets what is its own. */
bool el_info_stats(el_server *s, const el_key *key, el_buf *out);

/* models.c: those that a key may name. limit and after: of the query; NULL: not given. */
bool el_models_list(el_server *s, const el_key *key, const char *limit, const char *after, el_buf *out,
                    el_api_error *e);
bool el_models_one(el_server *s, const el_key *key, const char *id, el_buf *out, el_api_error *e);
/* Whether this name asks for the router's choice: it is "auto", and nothing that the key allows is called that. */
bool el_models_is_auto(el_server *s, const el_key *key, const char *name);
/* Whether it is the base's name, or an alias of it that is no adapter's. */
bool el_models_is_base(el_server *s, const char *name);

/* Whether the key may name what has this name or alias, which is there. */
bool el_models_allows(el_server *s, const el_key *key, const char *name);
/* Whether it may ask for this name: by the adapter that it leads to, and where it leads to none, by itself. */
bool el_models_may_ask(el_server *s, const el_key *key, const char *name);

/* adapters.c: adapters' states, counts and presets, as far as the key allows. */
bool el_adapters_write_invocation(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer);
typedef struct el_adapters_query {
  const char *limit, *offset, *search, *sort, *state; /* of the URL; NULL: not given */
} el_adapters_query;
bool el_adapters_list(el_server *s, const el_key *key, const el_adapters_query *asked, el_buf *out, el_api_error *e);
bool el_adapters_one(el_server *s, const el_key *key, const char *name, el_buf *out, el_api_error *e);

/* origin.c: whether a browser's page of this origin may call; NULL: no browser, or a page of the host's own. False: *e.
 */
bool el_origin_allowed(const el_server *s, const char *origin, const char *host, el_api_error *e);

#endif
