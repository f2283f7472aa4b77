/* One request and its answer; shared by the HTTP thread, a reader, the engine's thread and the watcher.
 *
 * The HTTP thread makes it when a request's headers are there, collects the body, suspends the connection and
 * hands the exchange to the readers. One of them parses, tokenizes and submits one generation per choice. The
 * engine's thread adds packed events and wakes the connection. The HTTP thread formats the events and sends
 * them. Whoever may still use the exchange holds a reference: the connection, the readers, and each generation
 * until its DONE event. */
#ifndef EL_SERVER_EXCHANGE_H
#define EL_SERVER_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/access/callers.h"
#include "server/answers/reply.h"
#include "server/http/decode.h"
#include "server/http/trace.h"
#include "server/requests/request.h"

/* Limit of the packed events that wait for a client, or for the end of an answer in one piece. As JSON they
 * are up to nine times as large. A generation ends by its max_tokens or the context, so only very many choices
 * or alternatives reach the limit; then the request fails and the server's memory stays bounded. */
#define EL_MAX_PENDING_BYTES ((size_t)16 << 20)

/* Limit of the answers of all requests together that clients have not taken yet, in units of the limit above. */
#define EL_MAX_PENDING_ANSWERS 16

typedef struct el_exchange el_exchange;

/* The work of a request with a body: its dialect's, done by the readers and the engine; or the admin
 * thread's. */
typedef enum el_work {
  EL_WORK_NONE,
  EL_WORK_API,
  EL_WORK_LOAD,
  EL_WORK_UNLOAD,
  EL_WORK_RESCAN,
  EL_WORK_SCALES
} el_work;

typedef struct el_generation {
  el_exchange *x;
  int choice;
  uint64_t id; /* the engine's number; valid while `running` */
  bool submitted;
  bool running; /* submitted and not cancelled */
  bool done;    /* its DONE event has arrived */
} el_generation;

/* Figures of all generations of a request together, for the log. */
typedef struct el_exchange_figures {
  size_t n_done; /* 0: the other fields are not set */
  long prompt_tokens, completion_tokens, cached_tokens;
  double queued_ms, load_ms; /* the longest of all */
  uint64_t first_ns;         /* when the first token arrived; 0: none yet */
} el_exchange_figures;

struct el_exchange {
  struct el_server *server;
  struct MHD_Connection *connection;
  atomic_int refs;
  atomic_size_t held;  /* bytes of the answer */
  atomic_bool entered; /* it is counted in its key's account (key_limits.h) */

  /* Used by the HTTP thread only. */
  char id[32];    /* 24 hexadecimal digits: x-request-id, and the end of the answer's id */
  char what[64];  /* method and path, for the log */
  el_trace trace; /* from the traceparent header; empty: there is none */
  uint64_t started_ns;
  size_t header_bytes;
  int status;
  el_work work;
  const struct el_route *route; /* of its path; NULL: no such endpoint */
  const el_api *api;            /* the route's dialect; NULL: none */
  bool handed_over;             /* to the readers or the admin thread */
  bool held_back;               /* a refusal was delayed, and the delay is over */
  /* Why the body is dropped as it arrives: it is too long; its caller's bodies are too large together; all
   * callers' are; there is no valid key; its encoding is unknown. */
  bool too_large, over_share, no_room, denied, unknown_coding;
  bool tries_often;   /* denied after too many wrong keys from its address */
  bool last;          /* the connection is closed after the answer */
  unsigned n_lengths; /* headers that give the length of the body */
  el_api_keys *keys;  /* the keys that were searched; with a reference */
  const el_key *key;  /* the caller's, among `keys`; NULL: no key is required */
  el_caller *caller;  /* with a reference */
  el_reply *reply;
  el_buf taken; /* a stream's events that are being formatted: [taken_pos, len) */
  size_t taken_pos;
  el_buf out; /* a stream's bytes on their way: [out_pos, len) */
  size_t out_pos, sent_bytes;

  /* Guarded by the server's mutex. */
  el_exchange *next_queued;
  bool queued, in_hand; /* waits for a reader; a reader works on it */
  bool again;           /* in hand, and to be read once more afterwards */
  bool grows;           /* a short body that turned out long when it was decoded */

  /* Written by the HTTP thread, then by a reader or the admin thread, then read only. */
  el_buf body;
  el_coding coding; /* of the body */
  el_api_request request;
  const el_held_adapter
      *adapter; /* that it names; or that the router has chosen, once an answer is written; NULL: not yet, or several */
  const char *label; /* of its adapter in metrics; points into the request, or is static; NULL: the router decides */

  pthread_mutex_t mutex; /* guards all below */
  bool suspended;        /* the connection is suspended; whoever clears this resumes it */
  bool submitted;        /* a reader is done; the result is in `error`, `generations` or `result` */
  bool gone;             /* the client is gone: no new events, no new generations */
  bool failed;           /* `error` is the answer, or the end of a stream */
  el_api_error error;
  el_buf result; /* an answer made by the admin thread, or by a reader without generations */
  const char *result_type;
  el_buf events;
  el_generation *generations; /* of all choices */
  size_t n_generations;
  el_exchange_figures figures;
  size_t n_live;    /* submitted, and without a DONE event yet */
  size_t n_waiting; /* to be submitted once the router has decided for the first choice of their prompt */
  char **chosen;    /* the router's decision for each prompt; NULL: not yet. Written by the engine's thread; only with
                       "auto" */
};

/* Returns it with one reference. NULL: out of memory. */
el_exchange *el_exchange_new(struct el_server *s, struct MHD_Connection *connection);
void el_exchange_retain(el_exchange *x);
void el_exchange_release(el_exchange *x);

/* The limit of all request bodies together. */
size_t el_exchange_max_bodies(const struct el_server *s);
/* Appends to the body, or drops it from then on if it is over a limit. */
void el_exchange_body(el_exchange *x, const char *data, size_t len);

/* Counts bytes of an answer that wait for the client, until el_exchange_let_go or the end of the exchange.
 * False: too many bytes wait for this caller's clients already; nothing is counted. */
bool el_exchange_hold(el_exchange *x, size_t bytes);
void el_exchange_let_go(el_exchange *x, size_t bytes);
/* Fills *e for that case; returns false. */
bool el_exchange_fail_held(const el_exchange *x, el_api_error *e);

/* Parses the body and submits its generations; wakes the connection if that completes it. Further calls
 * submit the generations whose adapter the router has chosen since. One reader at a time. */
void el_exchange_submit(el_exchange *x);
/* A reader or the admin thread is done. e: why it failed, or NULL. */
void el_exchange_submitted(el_exchange *x, const el_api_error *e);
/* Decodes the body if it is encoded, up to `limit` bytes. */
el_decoded el_exchange_decode(el_exchange *x, size_t limit, el_api_error *e);
/* Fills *e for a body beyond max_body_bytes; returns false. */
bool el_exchange_fail_too_large(const el_exchange *x, el_api_error *e);
/* Frees the memory of the body. */
void el_exchange_drop_body(el_exchange *x);

/* The name of the adapter that answers, or the base's, once something is ready; with several prompts, that of
 * the first. NULL: none was chosen. */
const char *el_exchange_adapter(const el_exchange *x);

/* Whether the HTTP thread has something to send. The mutex is held. */
bool el_exchange_ready(const el_exchange *x);
/* Suspends the connection. The HTTP thread calls it in one of its callbacks, with the mutex held. */
void el_exchange_suspend(el_exchange *x);

/* Wakes the connection if it is suspended. */
void el_exchange_resume(el_exchange *x);
/* The client is gone: wakes the connection so that it is closed. */
void el_exchange_leave(el_exchange *x);
/* The same as el_exchange_leave, and stops the generations. */
void el_exchange_abandon(el_exchange *x);
/* The answer ends in `e`: stops the generations and wakes the connection. */
void el_exchange_fail(el_exchange *x, const el_api_error *e);
/* Stops the generations of an exchange that has failed or whose client is gone. It calls the engine, so no
 * mutex may be held. */
void el_exchange_stop_generations(el_exchange *x);

#endif
