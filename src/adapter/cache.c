#include "adapter/cache.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------- queues */

static void push_first(el_cache *c, int queue, el_cache_item *item) {
  el_cache_queue *q = &c->queue[queue];
  item->queue = (uint8_t)queue;
  item->prev = NULL;
  item->next = q->first;
  *(q->first ? &q->first->prev : &q->last) = item;
  q->first = item;
  q->size += item->size;
}

static void take_out(el_cache *c, el_cache_item *item) {
  el_cache_queue *q = &c->queue[item->queue];
  *(item->prev ? &item->prev->next : &q->first) = item->next;
  *(item->next ? &item->next->prev : &q->last) = item->prev;
  q->size -= item->size;
  item->prev = item->next = NULL;
}

static void insert_first(el_cache *c, el_cache_item *item) {
  push_first(c, 0, item);
}

static void remove_plain(el_cache *c, el_cache_item *item, bool evicted) {
  take_out(c, item);
}

static el_cache_item *last_that_may(const el_cache_queue *q, el_cache_may may, const void *user) {
  el_cache_item *item = q->last;
  while (item && !may(user, item)) item = item->prev;
  return item;
}

/* ---------------------------------------------------------------------- LRU */

static void lru_use(el_cache *c, el_cache_item *item) {
  if (!item->resident) return;
  take_out(c, item);
  push_first(c, 0, item);
}

static el_cache_item *lru_victim(el_cache *c, el_cache_may may, const void *user) {
  return last_that_may(&c->queue[0], may, user);
}

/* ------------------------------------------------------------------ S3-FIFO */

/* Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023. New items enter a
 * small queue, a tenth of what is resident. Items used meanwhile go on to the main queue; the
 * others leave. An item that is wanted again before the main queue has evicted as much as its size
 * goes straight to the main queue. */
enum { SMALL, MAIN, MAX_HITS = 3 };

static void s3_use(el_cache *c, el_cache_item *item) {
  if (item->resident && item->hits < MAX_HITS) item->hits++;
}

static void s3_insert(el_cache *c, el_cache_item *item) {
  bool remembered = item->evicted && c->n_evicted_size - item->evicted <= c->size;
  item->hits = 0;
  push_first(c, remembered ? MAIN : SMALL, item);
}

static void s3_remove(el_cache *c, el_cache_item *item, bool evicted) {
  take_out(c, item);
  item->evicted = 0;
  if (!evicted) return;
  c->n_evicted_size += item->size;
  if (item->queue == SMALL) item->evicted = c->n_evicted_size;
}

static el_cache_item *s3_victim(el_cache *c, el_cache_may may, const void *user) {
  /* An item is passed MAX_HITS + 1 times at most before it is chosen. Items that may not be evicted
   * are passed too. */
  for (uint64_t steps = (MAX_HITS + 2) * (c->n_items + 1); steps; steps--) {
    bool small = c->queue[SMALL].last && (c->queue[SMALL].size * 10 > c->size || !c->queue[MAIN].last);
    el_cache_item *item = c->queue[small ? SMALL : MAIN].last;
    if (!item) return NULL;
    bool can = may(user, item);
    if (can && (small ? item->hits <= 1 : item->hits == 0)) return item;
    take_out(c, item);
    if (small)
      item->hits = 0;
    else if (item->hits && can)
      item->hits--;
    push_first(c, MAIN, item);
  }
  el_cache_item *item = last_that_may(&c->queue[SMALL], may, user);
  return item ? item : last_that_may(&c->queue[MAIN], may, user);
}

/* ---------------------------------------------------------------- frequency */

/* Least frequently used with forgetting (the LRFU family: Lee et al., IEEE Trans. Computers 50
 * (2001)). An item's score is the number of its uses, each worth half as much after a half-life.
 * Scores are kept for items that are not resident, too. This makes it better than LRU where
 * popularity follows a power law: an adapter that is asked for once does not drive out one that is
 * asked for every minute. A longer half-life gains one point where popularity does not drift and
 * loses twenty where it drifts much (`edgelora-bench cache`). */
enum { HALF_LIFE_MIN = 64, HALF_LIFE_ITEMS = 8 };

static double half_life(const el_cache *c) {
  return HALF_LIFE_MIN + (double)HALF_LIFE_ITEMS * (double)c->n_items;
}

static double score_now(const el_cache *c, const el_cache_item *item) {
  return item->score * exp2(-(double)(c->clock - item->scored) / half_life(c));
}

static void frequency_use(el_cache *c, el_cache_item *item) {
  item->score = score_now(c, item) + 1;
  item->scored = c->clock;
}

static el_cache_item *frequency_victim(el_cache *c, el_cache_may may, const void *user) {
  el_cache_item *least = NULL;
  double score = 0;
  for (el_cache_item *i = c->queue[0].last; i; i = i->prev) {
    if (!may(user, i)) continue;
    double s = score_now(c, i);
    if (least && s >= score) continue;
    least = i;
    score = s;
  }
  return least;
}

/* -------------------------------------------------------------------- cache */

static const el_policy policies[] = {
    {"frequency", frequency_use, insert_first, remove_plain, frequency_victim},
    {"s3-fifo", s3_use, s3_insert, s3_remove, s3_victim},
    {"lru", lru_use, insert_first, remove_plain, lru_victim},
};
enum { N_POLICIES = sizeof policies / sizeof *policies };

const char *el_cache_policy_name(int i) {
  return i < N_POLICIES ? policies[i].name : NULL;
}

el_status el_cache_init(el_cache *c, const char *policy, el_error *err) {
  for (int i = 0; i < N_POLICIES; i++) {
    if (policy && strcmp(policy, policies[i].name)) continue;
    *c = (el_cache){.policy = &policies[i]};
    return EL_OK;
  }
  return el_fail(err, EL_ERR_INVALID, "cache_policy: '%.64s' is not %s, %s, %s or none", policy, policies[0].name,
                 policies[1].name, policies[2].name);
}

void el_cache_use(el_cache *c, el_cache_item *item) {
  c->clock++;
  c->policy->use(c, item);
}

void el_cache_insert(el_cache *c, el_cache_item *item, uint32_t size) {
  assert(!item->resident);
  item->size = size;
  c->policy->insert(c, item);
  item->resident = true;
  c->n_items++;
  c->size += size;
}

void el_cache_remove(el_cache *c, el_cache_item *item, bool evicted) {
  assert(item->resident);
  c->policy->remove(c, item, evicted);
  item->resident = false;
  c->n_items--;
  c->size -= item->size;
}

el_cache_item *el_cache_victim(el_cache *c, el_cache_may may, const void *user) {
  return c->policy->victim(c, may, user);
}
