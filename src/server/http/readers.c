/* Megabytes of JSON take a tenth of a second to parse. The readers do this, so that the HTTP thread and other callers'
 * bodies do not wait. There are three rules:
 *
 * Short bodies have a reader of their own, which never takes a long one. Whatever others send, a short request is read
 * within the time of a few short ones.
 *
 * Long bodies have two readers, which give way to all threads that compute. A caller has one of them at a time, so that
 * a long body of another caller does not wait for all of the first one's. Each reader needs the memory of a parsed
 * body, which is many times its length if it consists of small values. That is why there are only two.
 *
 * In each lane callers take turns by bytes: the caller whose bodies have taken the fewest bytes is next. (Start-time
 * fair queueing: a new caller starts at the others' virtual time, so nobody saves up turns.)
 *
 * A body cannot occupy a reader for long. It has at most max_body_bytes, and a prompt that does not fit the context is
 * given up as soon as that is certain (el_tokenize_at_most).
 *
 * A compressed body is decoded by its reader. A short one may be a thousand times as long when it is decoded. As soon
 * as that shows, the reader of short bodies leaves it to the others. */
#include "server/http/readers.h"

#include "base/priority.h"
#include "server/http/state.h"

/* Bodies above this length are long. Reading this much takes about 3 ms, most of it for thousands of tokens, whose
 * computation then takes seconds. */
#define SHORT_BODY ((size_t)16 << 10)
/* The cost of a request beside its bytes, in bytes. */
#define REQUEST_COST 1024
/* Like the thread that loads adapters: see base/priority.h. */
enum { LONG_NICE = 10, LONG_SLICE_US = 200 };

/* The remaining choices of a request with a router's decision are submitted from its parsed form; the body is gone. */
static int lane_of_exchange(const el_exchange *x) {
  return x->grows || x->body.len > SHORT_BODY ? EL_LANE_LONG : EL_LANE_SHORT;
}

void el_readers_push(el_server *s, el_exchange *x) {
  if (x->queued || x->in_hand) {
    x->again = x->in_hand;
    return;
  }
  int which = lane_of_exchange(x);
  el_lane *lane = &s->readers.lanes[which];
  el_line *line = &x->caller->lines[which];
  x->queued = true;
  el_exchange_retain(x);
  x->next_queued = NULL;
  if (line->tail) {
    line->tail->next_queued = x;
  } else {
    line->head = x;
    if (line->served < lane->served) line->served = lane->served;
    line->next_waiting = lane->waiting;
    lane->waiting = x->caller;
  }
  line->tail = x;
  pthread_cond_signal(&lane->changed);
}

/* The next caller, as the pointer that points to it; NULL: none may be served. */
static el_caller **next_caller(const el_server *s, el_lane *lane, int which) {
  el_caller **best = NULL;
  for (el_caller **at = &lane->waiting; *at; at = &(*at)->lines[which].next_waiting) {
    bool has_one = which == EL_LANE_LONG && (*at)->n_long >= EL_LONG_READERS - 1;
    if (has_one && !s->stopping) continue;
    /* Among equals the one that came first, which is further back in the list. */
    if (!best || (*at)->lines[which].served <= (*best)->lines[which].served) best = at;
  }
  return best;
}

static el_exchange *take_exchange(el_server *s, int which) {
  el_lane *lane = &s->readers.lanes[which];
  el_caller **at = next_caller(s, lane, which);
  if (!at) return NULL;
  el_caller *caller = *at;
  el_line *line = &caller->lines[which];
  el_exchange *x = line->head;
  lane->served = line->served;
  line->served += x->body.len + REQUEST_COST;
  if (!(line->head = x->next_queued)) {
    line->tail = NULL;
    *at = line->next_waiting;
  }
  x->queued = false;
  x->in_hand = true;
  caller->n_long += which == EL_LANE_LONG;
  return x;
}

/* With the server's mutex held. */
static void give_back_exchange(el_server *s, el_exchange *x, int which) {
  x->in_hand = false;
  if (which == EL_LANE_LONG) {
    x->caller->n_long--;
    pthread_cond_signal(&s->readers.lanes[which].changed); /* the caller's next one may be taken */
  }
  if (x->again && !s->stopping) el_readers_push(s, x);
  x->again = false;
}

/* Charges what is read: the decoded body, or as much of it as was decoded. */
static void charge_caller(el_server *s, el_caller *caller, int which, size_t bytes) {
  pthread_mutex_lock(&s->mutex);
  caller->lines[which].served += bytes;
  pthread_mutex_unlock(&s->mutex);
}

/* Whether the body can be parsed now; otherwise the request has failed, or is left to the readers of long bodies. */
static bool decode_body(el_server *s, el_exchange *x, int which) {
  size_t most = s->options.max_body_bytes, limit = which == EL_LANE_SHORT && most > SHORT_BODY ? SHORT_BODY : most;
  el_api_error e;
  el_decoded result = el_exchange_decode(x, limit, &e);
  charge_caller(s, x->caller, which, result == EL_DECODED ? x->body.len : limit);
  if (result == EL_DECODED) return true;
  if (result == EL_DECODED_TOO_LONG && limit < most) {
    pthread_mutex_lock(&s->mutex);
    x->grows = true;
    el_readers_push(s, x);
    pthread_mutex_unlock(&s->mutex);
    return false;
  }
  if (result == EL_DECODED_TOO_LONG) el_exchange_fail_too_large(x, &e);
  el_exchange_submitted(x, &e);
  return false;
}

static void read_lane(el_server *s, int which) {
  pthread_mutex_lock(&s->mutex);
  for (;;) {
    el_exchange *x = take_exchange(s, which);
    if (!x) {
      if (s->stopping) break;
      pthread_cond_wait(&s->readers.lanes[which].changed, &s->mutex);
      continue;
    }
    pthread_mutex_unlock(&s->mutex);
    if (!x->coding || decode_body(s, x, which)) el_exchange_submit(x);
    pthread_mutex_lock(&s->mutex);
    give_back_exchange(s, x, which);
    pthread_mutex_unlock(&s->mutex);
    el_exchange_release(x);
    pthread_mutex_lock(&s->mutex);
  }
  pthread_mutex_unlock(&s->mutex);
}

static void *short_main(void *server) {
  pthread_setname_np(pthread_self(), "el-reader");
  read_lane(server, EL_LANE_SHORT);
  return NULL;
}

static void *long_main(void *server) {
  pthread_setname_np(pthread_self(), "el-reader-long");
  el_thread_give_way(LONG_NICE, LONG_SLICE_US, NULL);
  read_lane(server, EL_LANE_LONG);
  return NULL;
}

bool el_readers_start(el_server *s) {
  el_readers *r = &s->readers;
  for (; r->n_threads < EL_READERS; r->n_threads++)
    if (pthread_create(&r->threads[r->n_threads], NULL, r->n_threads < EL_SHORT_READERS ? short_main : long_main, s))
      return false;
  return true;
}

void el_readers_wake(el_server *s) {
  for (int i = 0; i < EL_N_LANES; i++) pthread_cond_broadcast(&s->readers.lanes[i].changed);
}

void el_readers_join(el_server *s) {
  for (int i = 0; i < s->readers.n_threads; i++) pthread_join(s->readers.threads[i], NULL);
}
