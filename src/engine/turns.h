/* Who is next when several tenants wait: whoever has had the least, by its weight.
 *
 * Requests of one tenant are a flow: among themselves they start in order of arrival. Each flow has a count of what it
 * has had: the rows of its prompts that had to be computed, when a request of it starts, and each token that is
 * generated, both divided by its weight. Of the flows that wait, the one that has had the least is next; of those that
 * have had as much as each other, the one whose request is older. A flow of which nothing waits saves nothing up and
 * owes nothing: when a request of it comes, its count is raised to that of the one that was next last; and when there
 * is no request at all, who has had what is forgotten. So with one flow all is first come, first served; and
 *
 *   the first waiting request of a tenant that has not had more than its share is behind one request of each other
 *   tenant at most.
 *
 * (Start-time fair queueing, Goyal et al. 1996; with costs that are known when they have been had, as in "Fairness in
 * Serving Large Language Models", Sheng et al. 2024.)
 *
 * A request that has had a slot and waits again, as its pages were wanted or its adapter has been chosen, goes before
 * those of other flows that have not: what it has had is paid for. Engine thread only, but where it says otherwise. */
#ifndef EL_ENGINE_TURNS_H
#define EL_ENGINE_TURNS_H

#include <stdatomic.h>

#include "engine/seq.h"

enum {
  EL_FLOW_BUCKETS = 256,
  EL_MAX_IDLE_FLOWS = 1024, /* that have had more than others and have left: the oldest are forgotten */
  EL_TURN_UNIT = 1 << 16    /* a row of a flow of weight 1 */
};

typedef struct el_flow {
  /* Under the engine's mutex. */
  struct el_flow *table_next, *idle_next; /* of the same bucket; of those that nobody has */
  uint64_t tenant;
  int n_refs;        /* of sequences */
  int n_unfinished;  /* that clients wait for: readings do not count */
  atomic_int weight; /* of the request that came last */

  /* The engine thread's. */
  uint64_t had;
  el_seq *waiting, *last_waiting; /* in order of id */
  struct el_flow *prev, *next;    /* of those of which something waits */
  el_seq *at;                     /* while an order is gone through: its next one, */
  uint64_t ahead;                 /* and what it will have had by then */
  int want, share;                /* while a step is planned: rows of its prompts */
} el_flow;

/* The flows of all requests that there are. Under the engine's mutex. */
typedef struct el_flows {
  el_flow *buckets[EL_FLOW_BUCKETS];
  el_flow *idle, **idle_end; /* the one that was left first is the first */
  int n_idle, n_used;
} el_flows;

void el_flows_init(el_flows *f);
void el_flows_free(el_flows *f);
el_flow *el_flows_find(const el_flows *f, uint64_t tenant); /* NULL: it has none */
/* With a reference; weight 0: EL_WEIGHT_NORMAL. NULL: out of memory. */
el_flow *el_flows_get(el_flows *f, uint64_t tenant, int weight);
/* The engine thread, under the mutex. now: of el_turns. NULL is allowed. */
void el_flows_put(el_flows *f, el_flow *flow, uint64_t now);

typedef struct el_turns {
  el_flow common;   /* of sequences that have none */
  el_flow *waiting; /* flows of which something waits */
  uint64_t now;     /* what the flow had had that was next last */
  el_flow **order;  /* [n_order], next first, at most [most] */
  int n_order, most;
} el_turns;

/* most: how many requests an order is gone through at most. False: out of memory. */
bool el_turns_init(el_turns *t, int most);
void el_turns_free(el_turns *t);

void el_turns_add(el_turns *t, el_seq *q);
void el_turns_remove(el_turns *t, el_seq *q);

/* The waiting requests as they are next, the first `most` of them: each call gives another one, NULL after the last.
 * What was given may be removed meanwhile, and nothing else. */
void el_turns_begin(el_turns *t);
el_seq *el_turns_next(el_turns *t);

/* n rows more that a flow has had. */
static inline void el_flow_charge(el_flow *f, int n) {
  f->had += (uint64_t)n * (uint64_t)(EL_TURN_UNIT / atomic_load_explicit(&f->weight, memory_order_relaxed));
}

/* Divides `rows` among n flows, oldest first, by their weights: none gets more than it wants, nothing is left while
 * somebody wants more, and the first gets one at least. */
void el_turns_share(el_flow **flows, int n, int rows);

#endif
