/* One request and its answer: what the HTTP thread, a reader, the engine's thread and the watcher share.
 *
 * Life: the HTTP thread makes it when a request's headers are there, collects the body, suspends the connection and
 * hands it to the readers. One of them parses, tokenizes and submits one generation a choice. The engine's thread
 * leaves packed events and wakes the connection. The HTTP thread formats them and sends. Whoever may still touch it
 * holds a reference: the connection, the readers, and every generation until its DONE event. */
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

/* Packed events that wait for their client, or for the end of an answer in one piece; as JSON they are up to nine times
 * that. A generation ends by its max_tokens or the context, so this is reached only by very many choices or
 * alternatives; then the request fails, instead of the server's memory. */
#define EL_MAX_PENDING_BYTES ((size_t)16 << 20)

/* Answers of all requests together, in units of that: what clients have not taken yet. */
#define EL_MAX_PENDING_ANSWERS 16

typedef struct el_exchange el_exchange;

/* What a request asks for, of those that have a body: what its dialect says, by the readers and the engine; or what the
 * admin thread does. */
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
  uint64_t id; /* the engine's; valid while `running` */
  bool submitted;
  bool running; /* submitted, and not yet told to stop */
  bool done;    /* its DONE event has come */
} el_generation;

/* What the log tells of a request's generations together. */
typedef struct el_exchange_figures {
  size_t n_done; /* 0: the others say nothing */
  long prompt_tokens, completion_tokens, cached_tokens;
  double queued_ms, load_ms; /* the longest */
  uint64_t first_ns;         /* when the first token came; 0: none has */
} el_exchange_figures;

struct el_exchange {
  struct el_server *server;
  struct MHD_Connection *connection;
  atomic_int refs;
  atomic_size_t held;  /* bytes of the answer */
  atomic_bool entered; /* it counts among its key's (key_limits.h) */

  /* The HTTP thread's. */
  char id[32];    /* 24 hexadecimal digits: x-request-id, and the tail of the answer's id */
  char what[64];  /* method and path, for the log */
  el_trace trace; /* of its traceparent; empty: it has none */
  uint64_t started_ns;
  size_t header_bytes;
  int status;
  el_work work;
  const struct el_route *route; /* of its path; NULL: none */
  const el_api *api;            /* the dialect of that; NULL: none */
  bool handed_over;             /* to the readers or the admin thread */
  bool held_back;               /* the refusal has been, for a while */
  /* Why the body is dropped as it comes: it is too long itself; its caller's bodies are too many; everybody's are;
   * without a key of ours; in an encoding that we do not know. */
  bool too_large, over_share, no_room, denied, unknown_coding;
  bool tries_often;   /* denied, like too many before it from its address */
  bool last;          /* the connection is closed behind the answer */
  unsigned n_lengths; /* headers that tell where the body ends */
  el_api_keys *keys;  /* with a reference: among whom was looked for */
  const el_key *key;  /* of these, whose caller it is; NULL: none is asked for */
  el_caller *caller;  /* with a reference */
  el_reply *reply;
  el_buf taken; /* a stream's events that are being formatted: [taken_pos, len) */
  size_t taken_pos;
  el_buf out; /* a stream's bytes on their way: [out_pos, len) */
  size_t out_pos, sent_bytes;

  /* Guarded by the server's mutex. */
  el_exchange *next_queued;
  bool queued, in_hand; /* for a reader, by one */
  bool again;           /* in hand, and to be read once more */
  bool grows;           /* a short body that is a long one when it is decoded */

  /* The HTTP thread's, then a reader's (or the admin thread's), then read only. */
  el_buf body;
  el_coding coding; /* of the body */
  el_api_request request;
  const el_held_adapter
      *adapter; /* whom it names, or whom the router has chosen, once an answer is made; NULL: not yet, or several */
  const char
      *label; /* what metrics call its adapter; points into the request, or is static; NULL: the router decides */

  pthread_mutex_t mutex; /* guards all below */
  bool suspended;        /* the connection sleeps; whoever clears this resumes it */
  bool submitted;        /* a reader is through; `error`, the generations or `result` say with what */
  bool gone;             /* nobody waits for the answer any more: no new events, no new generations */
  bool failed;           /* `error` is the answer, or the end of it */
  el_api_error error;
  el_buf result; /* of what the admin thread did, or a reader alone */
  const char *result_type;
  el_buf events;
  el_generation *generations; /* of all choices */
  size_t n_generations;
  el_exchange_figures figures;
  size_t n_live;    /* submitted, and without DONE event */
  size_t n_waiting; /* to be submitted once the router has chosen for the first choice of their prompt */
  char **chosen;    /* of each prompt; NULL: not yet. Written by the engine's thread. With "auto" only */
};

/* NULL: out of memory. With one reference. */
el_exchange *el_exchange_new(struct el_server *s, struct MHD_Connection *connection);
void el_exchange_retain(el_exchange *x);
void el_exchange_release(el_exchange *x);

/* What the bodies of all requests may have together. */
size_t el_exchange_max_bodies(const struct el_server *s);
/* Appends to the body, or begins to drop it when it is over a limit. */
void el_exchange_body(el_exchange *x, const char *data, size_t len);

/* Counts bytes of an answer that are kept until the client takes them, until they are let go, or the exchange is freed.
 * False: its caller has left too many already, and they are not counted. */
bool el_exchange_hold(el_exchange *x, size_t bytes);
void el_exchange_let_go(el_exchange *x, size_t bytes);
/* What is told then; false. */
bool el_exchange_fail_held(const el_exchange *x, el_api_error *e);

/* Parses the body and submits its generations; wakes the connection if that ends it. The second time, and from there
 * on: submits those whose adapter has been chosen since. One reader at a time. */
void el_exchange_submit(el_exchange *x);
/* A reader, or the admin thread, is through. e: what it failed with, or NULL. */
void el_exchange_submitted(el_exchange *x, const el_api_error *e);
/* Decodes the body, if it is encoded: not beyond `limit` bytes. */
el_decoded el_exchange_decode(el_exchange *x, size_t limit, el_api_error *e);
/* What is told of a body beyond max_body_bytes; false. */
bool el_exchange_fail_too_large(const el_exchange *x, el_api_error *e);
/* Gives the body's memory back. */
void el_exchange_drop_body(el_exchange *x);

/* The name of the adapter that answers, or the base's, once something is ready; of several, the first prompt's. NULL:
 * none was chosen. */
const char *el_exchange_adapter(const el_exchange *x);

/* Whether the HTTP thread has something to send. With the mutex held. */
bool el_exchange_ready(const el_exchange *x);
/* Suspends the connection; the HTTP thread, inside one of its callbacks, with the mutex held. */
void el_exchange_suspend(el_exchange *x);

/* Wakes the connection, if it is suspended. */
void el_exchange_resume(el_exchange *x);
/* Nobody wants the answer: wakes the connection, to be closed. */
void el_exchange_leave(el_exchange *x);
/* As el_exchange_leave, and stops the generations. */
void el_exchange_abandon(el_exchange *x);
/* The answer ends in `e`: stops the generations and wakes the connection. */
void el_exchange_fail(el_exchange *x, const el_api_error *e);
/* Stops the generations of an exchange that has failed or whose client is gone. It calls the engine, so no mutex may be
 * held. */
void el_exchange_stop_generations(el_exchange *x);

#endif
