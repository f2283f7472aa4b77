/* Decides which adapters stay in memory: what is evicted when room is needed. There are several
 * policies.
 *
 * An adapter's item belongs to whoever registered the adapter and outlives its stay in memory, so a
 * policy remembers what was evicted without a list of its own. Time is counted in requests. This
 * code knows neither memory nor files: the same code serves the engine and the simulation that
 * chose the default (`edgelora-bench cache`). For one thread only. */
#ifndef EL_ADAPTER_CACHE_H
#define EL_ADAPTER_CACHE_H

#include "base/error.h"

typedef struct el_cache_item el_cache_item;
struct el_cache_item {
  el_cache_item *prev, *next; /* neighbours in a queue, while the item is resident */
  uint32_t size;              /* in blocks, while the item is resident */
  uint8_t queue, hits;        /* S3-FIFO: the queue, and uses since the item came (0 to 3) */
  bool resident;
  uint64_t evicted; /* S3-FIFO: blocks that the main queue had evicted in all when the item left; 0:
                     * never */
  double score;     /* frequency: uses, each halved for every half-life that has passed, as of
                     * `scored` */
  uint64_t scored;
};

typedef struct el_cache_queue {
  el_cache_item *first, *last; /* the last is evicted first */
  uint64_t size;               /* in blocks */
} el_cache_queue;

typedef struct el_cache el_cache;
/* Whether an item may be evicted now. */
typedef bool (*el_cache_may)(const void *user, const el_cache_item *item);

typedef struct el_policy {
  const char *name;
  void (*use)(el_cache *c, el_cache_item *item); /* a request wants the item, resident or not */
  void (*insert)(el_cache *c, el_cache_item *item);
  void (*remove)(el_cache *c, el_cache_item *item, bool evicted);
  el_cache_item *(*victim)(el_cache *c, el_cache_may may, const void *user);
} el_policy;

enum { EL_CACHE_QUEUES = 2 };
struct el_cache {
  const el_policy *policy;
  el_cache_queue queue[EL_CACHE_QUEUES];
  uint64_t n_items, size; /* of resident items: their number, and blocks */
  uint64_t clock;         /* requests so far */
  uint64_t n_evicted_size;
};

/* Takes a policy by name: "frequency", "s3-fifo" or "lru"; NULL: the default. EL_ERR_INVALID lists
 * the names. */
el_status el_cache_init(el_cache *c, const char *policy, el_error *err);
/* The name of policy i, the default first; NULL after the last. */
const char *el_cache_policy_name(int i);

/* Tells the policy that a request wants the item, resident or not. */
void el_cache_use(el_cache *c, el_cache_item *item);
void el_cache_insert(el_cache *c, el_cache_item *item, uint32_t size);
/* evicted: the item left to make room; else it is gone for good. */
void el_cache_remove(el_cache *c, el_cache_item *item, bool evicted);
/* The item to evict first among those that may be evicted; NULL: none may. It stays in the cache
 * until el_cache_remove. */
el_cache_item *el_cache_victim(el_cache *c, el_cache_may may, const void *user);

#endif
