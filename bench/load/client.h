/* Many requests to one server at once, on one thread: non-blocking sockets and epoll.
 *
 * Connections are kept and used again, the latest first. There are as many connections as there are requests at the
 * same time. The server may close a kept connection. The request is then sent again on a new one, as long as no byte of
 * an answer has come. */
#ifndef EL_BENCH_LOAD_CLIENT_H
#define EL_BENCH_LOAD_CLIENT_H

#include "base/buf.h"
#include "bench/load/url.h"

typedef enum el_load_end {
  EL_LOAD_DONE,
  EL_LOAD_STATUS,    /* an answer with another status than 200 */
  EL_LOAD_FAILED,    /* the server said so in the middle of its answer */
  EL_LOAD_REFUSED,   /* no connection */
  EL_LOAD_RESET,     /* closed or reset before the answer's end */
  EL_LOAD_TIMEOUT,   /* the answer did not end in time */
  EL_LOAD_MALFORMED, /* no answer as it should be */
  EL_LOAD_LOCAL,     /* this side could not: out of descriptors, ports or memory */
  EL_LOAD_CUT,       /* ended by us, with the run */
  EL_LOAD_N_ENDS
} el_load_end;

/* "done", "http", "failed", ... Never NULL. */
const char *el_load_end_name(el_load_end end);

typedef struct el_load_answer {
  el_load_end end;
  int status;     /* HTTP's; 0: none came */
  char why[128];  /* in words, if it is not done */
  double sent;    /* when it was; all times are el_seconds(), 0: it did not happen */
  double first;   /* the first event with text */
  double last;    /* the latest of these */
  double done;    /* the end of the text */
  uint64_t texts; /* events with text */
  long long prompt_tokens, completion_tokens, cached_tokens; /* as the server counts; -1: it does not say */
  el_buf body;                                               /* of an answer that is no stream; bounded */
} el_load_answer;

typedef struct el_load_hooks {
  void *user;
  /* A further event with text came, `gap` seconds after the one before it. */
  void (*gap)(void *user, uint64_t id, double gap);
  /* Each request ends once. The answer is gone afterwards. May send the next one. */
  void (*ended)(void *user, uint64_t id, el_load_answer *answer);
} el_load_hooks;

typedef struct el_load_client el_load_client;

/* watched: a descriptor; see el_load_client_wait. -1: none. */
el_status el_load_client_new(const el_load_url *url, const el_load_hooks *hooks, int watched, el_load_client **out,
                             el_error *err);
/* Requests that run end as EL_LOAD_CUT. Not to be called by a hook. */
void el_load_client_cut(el_load_client *c);
void el_load_client_free(el_load_client *c);

typedef struct el_load_call {
  uint64_t id;
  const char *method, *path; /* path: begins with a slash */
  const char *body;          /* JSON; may be NULL */
  size_t body_len;
  bool stream; /* the answer is a stream of events */
  double deadline;
} el_load_call;

/* Sends a request now. Deadlines never go back from call to call. false: no memory. What else fails, ends the request.
 */
bool el_load_client_send(el_load_client *c, const el_load_call *call);
/* Does what there is to do, until a time or until something has happened. true: the watched descriptor is readable. */
bool el_load_client_wait(el_load_client *c, double until);
size_t el_load_client_running(const el_load_client *c);
/* Connections that were opened so far. */
uint64_t el_load_client_opened(const el_load_client *c);

#endif
