/* Which of several nodes gets a request. */
#ifndef EL_BENCH_PLAN_BALANCE_H
#define EL_BENCH_PLAN_BALANCE_H

#include "bench/load/workload.h"

typedef enum el_balance {
  EL_BALANCE_RANDOM, /* any node */
  EL_BALANCE_HASH,   /* each adapter has one node, by a hash of it */
  EL_BALANCE_RING,   /* the same, but a node that has twice its part of what is under way is passed by, see ring.h */
  EL_BALANCE_SHARE   /* adapters are placed by how often they are asked for, so that nodes have even shares; the popular
                      * ones have several nodes, which take turns by chance: so many that none gets more than half of an
                      * even share of all requests from it */
} el_balance;

/* "random", "hash", "bounded", "share"; false: unknown. */
bool el_balance_get(const char *name, el_balance *out);

/* node_of[i]: of items[i]. Adapters are numbers below n_adapters; requests for the base go to any node. false: no
 * memory. seconds: that a request is under way, for EL_BALANCE_RING. */
bool el_balance_items(el_balance how, const el_load_item *items, size_t n, int n_adapters, int nodes, double seconds,
                      uint64_t seed, int *node_of);

#endif
