#include "engine/turns.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edgelora.h"

/* ----------------------------------------------------------------- the table */

void el_flows_init(el_flows *f) {
  *f = (el_flows){0};
  f->idle_end = &f->idle;
}

void el_flows_free(el_flows *f) {
  for (int i = 0; i < EL_FLOW_BUCKETS; i++)
    while (f->buckets[i]) {
      el_flow *flow = f->buckets[i];
      f->buckets[i] = flow->table_next;
      free(flow);
    }
  el_flows_init(f);
}

static el_flow **slot_of_tenant(el_flows *f, uint64_t tenant) {
  el_flow **at = &f->buckets[tenant % EL_FLOW_BUCKETS];
  while (*at && (*at)->tenant != tenant) at = &(*at)->table_next;
  return at;
}

el_flow *el_flows_find(const el_flows *f, uint64_t tenant) {
  el_flow *flow = f->buckets[tenant % EL_FLOW_BUCKETS];
  while (flow && flow->tenant != tenant) flow = flow->table_next;
  return flow;
}

static void take_idle(el_flows *f, el_flow **at) {
  el_flow *flow = *at;
  *at = flow->idle_next;
  if (!*at) f->idle_end = at;
  flow->idle_next = NULL;
  f->n_idle--;
}

/* The flow that was left first. */
static void forget_idle(el_flows *f) {
  el_flow *flow = f->idle;
  take_idle(f, &f->idle);
  *slot_of_tenant(f, flow->tenant) = flow->table_next;
  free(flow);
}

el_flow *el_flows_get(el_flows *f, uint64_t tenant, int weight) {
  el_flow **at = slot_of_tenant(f, tenant), *flow = *at;
  if (!flow) {
    if (!(flow = calloc(1, sizeof *flow))) return NULL;
    flow->tenant = tenant;
    *at = flow;
  } else if (!flow->n_refs) {
    el_flow **idle = &f->idle;
    while (*idle != flow) idle = &(*idle)->idle_next;
    take_idle(f, idle);
  }
  f->n_used += !flow->n_refs;
  flow->n_refs++;
  atomic_store(&flow->weight, weight ? weight : EL_WEIGHT_NORMAL);
  return flow;
}

void el_flows_put(el_flows *f, el_flow *flow, uint64_t now) {
  if (!flow || --flow->n_refs) return;
  *f->idle_end = flow;
  f->idle_end = &flow->idle_next;
  f->n_idle++;
  f->n_used--;
  /* One that has had no more than the others is as one that never came. */
  while (f->idle && (!f->n_used || f->idle->had <= now || f->n_idle > EL_MAX_IDLE_FLOWS)) forget_idle(f);
}

/* ------------------------------------------------------------------- waiting */

bool el_turns_init(el_turns *t, int most) {
  *t = (el_turns){.common = {.n_refs = 1, .weight = EL_WEIGHT_NORMAL}, .most = most};
  t->order = calloc((size_t)most, sizeof *t->order);
  return t->order;
}

void el_turns_free(el_turns *t) {
  free(t->order);
  *t = (el_turns){0};
}

void el_turns_add(el_turns *t, el_seq *q) {
  if (!q->flow) q->flow = &t->common;
  el_flow *f = q->flow;
  if (!f->waiting) {
    if (f->had < t->now) f->had = t->now;
    f->prev = NULL;
    f->next = t->waiting;
    if (f->next) f->next->prev = f;
    t->waiting = f;
  }
  el_seq **at = &f->waiting;
  if (f->waiting && f->last_waiting->id < q->id)
    at = &f->last_waiting->flow_next;
  else
    while (*at && (*at)->id < q->id) at = &(*at)->flow_next;
  q->flow_next = *at;
  *at = q;
  if (!q->flow_next) f->last_waiting = q;
}

void el_turns_remove(el_turns *t, el_seq *q) {
  el_flow *f = q->flow;
  el_seq **at = &f->waiting, *before = NULL;
  while (*at != q) before = *at, at = &before->flow_next;
  *at = q->flow_next;
  if (f->last_waiting == q) f->last_waiting = before;
  if (f->waiting) return;
  *(f->prev ? &f->prev->next : &t->waiting) = f->next;
  if (f->next) f->next->prev = f->prev;
}

/* ----------------------------------------------------------------- the order */

static bool is_before(const el_flow *a, const el_flow *b) {
  if (a->at->has_run != b->at->has_run) return a->at->has_run;
  if (a->at->has_run || a->ahead == b->ahead) return a->at->id < b->at->id;
  return a->ahead < b->ahead;
}

/* Where the order is full, the last one falls out: it has no turn in this round. */
static void put_in_order(el_turns *t, el_flow *f) {
  int at = t->n_order;
  if (at == t->most) {
    if (!is_before(f, t->order[at - 1])) return;
    at--;
  } else {
    t->n_order++;
  }
  for (; at > 0 && is_before(f, t->order[at - 1]); at--) t->order[at] = t->order[at - 1];
  t->order[at] = f;
}

void el_turns_begin(el_turns *t) {
  uint64_t least = UINT64_MAX;
  t->n_order = 0;
  for (el_flow *f = t->waiting; f; f = f->next) {
    f->at = f->waiting;
    f->ahead = f->had;
    if (f->had < least) least = f->had;
    put_in_order(t, f);
  }
  if (t->waiting && least > t->now) t->now = least;
}

el_seq *el_turns_next(el_turns *t) {
  if (!t->n_order) return NULL;
  el_flow *f = t->order[0];
  el_seq *q = f->at;
  t->n_order--;
  memmove(t->order, t->order + 1, (size_t)t->n_order * sizeof(el_flow *));
  /* As if it started: then another flow's is next. */
  f->at = q->flow_next;
  f->ahead += (uint64_t)q->n_prompt * (uint64_t)(EL_TURN_UNIT / atomic_load(&f->weight));
  if (f->at) put_in_order(t, f);
  return q;
}

/* ------------------------------------------------------------------- a step */

void el_turns_share(el_flow **flows, int n, int rows) {
  int64_t weights = 0;
  for (int i = 0; i < n; i++) {
    flows[i]->share = 0;
    weights += atomic_load(&flows[i]->weight);
  }
  /* Whoever wants no more than its part has it, and leaves the others a larger one. */
  for (bool again = true; again;) {
    const int64_t left = rows, all = weights;
    again = false;
    for (int i = 0; i < n; i++) {
      el_flow *f = flows[i];
      const int weight = atomic_load(&f->weight);
      if (f->share || !f->want || f->want * all > left * weight) continue;
      f->share = f->want;
      rows -= f->want;
      weights -= weight;
      again = true;
    }
  }
  const int64_t left = rows;
  for (int i = 0; i < n; i++) {
    el_flow *f = flows[i];
    if (f->share || !f->want) continue;
    f->share = -(int)(left * atomic_load(&f->weight) / weights); /* for now: those that want more */
    rows += f->share;
  }
  for (int i = 0; i < n; i++) {
    el_flow *f = flows[i];
    if (f->share > 0 || !f->want) continue;
    f->share = -f->share;
    if (rows > 0 && f->share < f->want) f->share++, rows--;
  }
}
