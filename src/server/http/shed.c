/* A connection costs little, so clients may take their time as long as connections are left. When they are nearly used
 * up, connections that wait for their clients are shut: first those of the address that has the most. Among these,
 * first the ones that are idle between requests, then the request that has been arriving for longest, then the answer
 * that has waited longest to be taken.
 *
 * So a thousand clients that send or take a byte per second keep nobody out. A client that sends its request at once,
 * or waits for an answer that is being generated, is never shut. */
#include "server/http/shed.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "server/http/state.h"

/* A grace period for clients: a request, or its last bytes, may be on the way. */
#define GRACE_NS 1000000000u
#define TAKING_GRACE_NS 5000000000u
/* Between two lines in the log. */
#define SAY_NS 10000000000u

/* What the server waits for. YET: for the client, but within the grace period. */
typedef enum waits { IDLE, ARRIVING, TAKING, YET, NOT } waits;

typedef struct candidate {
  el_conn *conn;
  size_t siblings; /* connections of its address */
  waits waits;
  uint64_t since_ns;
} candidate;

/* Whether the whole answer is ready and only has to be taken by the client. */
static bool is_answered(el_conn *c) {
  el_exchange *x = c->exchange;
  if (!x) return !c->deadline_ns; /* one that needed no work */
  pthread_mutex_lock(&x->mutex);
  bool done = x->submitted && !x->n_live && !x->n_waiting;
  pthread_mutex_unlock(&x->mutex);
  return done;
}

/* Whether there are bytes that the HTTP thread has not read; then the server does not wait for the client. */
static bool has_unread(const el_conn *c) {
  int n = 0;
  return !ioctl(c->fd, FIONREAD, &n) && n > 0;
}

/* `since`: when that began. */
static waits look_at_connection(el_conn *c, uint64_t now, uint64_t *since) {
  *since = c->since_ns;
  if (c->expired) return NOT;
  if (!c->exchange && c->deadline_ns) {
    if (now - c->since_ns < GRACE_NS || has_unread(c)) return YET;
    return c->used && !c->in_request ? IDLE : ARRIVING;
  }
  if (!is_answered(c)) return NOT;
  if (!c->answered_ns) c->answered_ns = now;
  *since = c->answered_ns;
  return now - c->answered_ns < TAKING_GRACE_NS ? YET : TAKING;
}

static int compare_waits(const void *x, const void *y) {
  const candidate *a = x, *b = y;
  if (a->siblings != b->siblings) return a->siblings < b->siblings ? 1 : -1;
  if (a->waits != b->waits) return a->waits < b->waits ? -1 : 1;
  return (a->since_ns > b->since_ns) - (a->since_ns < b->since_ns);
}

void el_shed(el_server *s) {
  size_t max = (size_t)s->options.max_connections, allowed = max - el_spare_connections(max), n = 0;
  if (s->n_connections <= allowed) return;
  candidate *list = calloc(s->n_connections, sizeof *list);
  if (!list) return; /* then they end by their time limits */
  uint64_t now = el_now_ns();
  for (el_conn *c = s->connections; c; c = c->next) {
    candidate k = {.conn = c, .siblings = c->address->n_connections};
    k.waits = look_at_connection(c, now, &k.since_ns);
    if (k.waits != NOT) list[n++] = k;
  }
  qsort(list, n, sizeof *list, compare_waits);
  size_t excess = s->n_connections - allowed, shut = 0;
  for (size_t i = 0; i < n && i < excess; i++) {
    if (list[i].waits == YET) continue; /* it comes before those of an address with fewer connections */
    el_watch_shut(list[i].conn, list[i].waits == ARRIVING && list[i].conn->in_request);
    shut++;
  }
  free(list);
  if (!shut || now - s->shed_told_ns < SAY_NS) return;
  s->shed_told_ns = now;
  el_logf(&s->log, EL_LOG_WARN, "connections: %zu of %zu are open; those that wait longest for their clients are shut",
          s->n_connections, max);
}
