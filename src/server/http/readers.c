/* Megabytes of JSON take a tenth of a second to parse, and the HTTP thread goes on meanwhile; so do the bodies of
 * others, by three rules:
 *
 * Short bodies have a reader of their own, which never takes a long one: whatever others send, a short request finds
 * somebody who reads it within the time of a few short ones.
 *
 * Long bodies have two readers, which give way to all that computes. A caller has one of them at a time, so that
 * another's long body does not wait for all of the first one's. Each needs the memory of a parsed body, which is many
 * times its length where it is made of small values: this is why there are not more.
 *
 * In each lane callers take turns by the bytes that they have had: who has had the fewest is next. (Start-time fair
 * queueing: a caller that comes anew begins where the others stand, so that nobody saves up turns.)
 *
 * A body cannot hold a reader for long: it is max_body_bytes long at most, and a prompt that the context cannot hold is
 * given up once that is certain (el_tokenize_at_most), so that no more is tokenized than could be of use.
 *
 * A compressed body is decoded by its reader. What a short one says may be long, a thousand times as long: then the
 * short bodies' reader leaves it to the others, as soon as that shows. */
#include "server/http/readers.h"

#include "base/priority.h"
#include "server/http/state.h"

/* A longer body is a long one. Reading this much takes about 3 ms, most of it for tokens, of which there are thousands:
 * then their computation takes seconds. */
#define SHORT_BODY ((size_t)16 << 10)
/* What a request costs beside its bytes. */
#define REQUEST_COST 1024
/* As the thread that loads adapters: see base/priority.h. */
enum { LONG_NICE = 10, LONG_SLICE_US = 200 };

/* What was chosen for a request with several choices is submitted from its parsed form: its body is gone. */
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

/* The caller that is next, as the place that points to it; NULL: nobody may be. */
static el_caller **next_caller(const el_server *s, el_lane *lane, int which) {
  el_caller **best = NULL;
  for (el_caller **at = &lane->waiting; *at; at = &(*at)->lines[which].next_waiting) {
    bool has_one = which == EL_LANE_LONG && (*at)->n_long >= EL_LONG_READERS - 1;
    if (has_one && !s->stopping) continue;
    /* Of two that stand equal the one that came first, which is further back. */
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

/* Turns are counted in what is read, which is what a body says, or as much of it as was decoded. */
static void charge_caller(el_server *s, el_caller *caller, int which, size_t bytes) {
  pthread_mutex_lock(&s->mutex);
  caller->lines[which].served += bytes;
  pthread_mutex_unlock(&s->mutex);
}

/* Whether it can be parsed now; else it has failed, or is left to the readers of long bodies. */
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
