/* Consistent hashing with bounded loads, as HAProxy does it (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with
 * Bounded Loads", SODA 2018): the requests of an adapter go to the next node on a ring, or, if that node has as many
 * running requests as it may, to the one after it. */
#ifndef EL_BENCH_PLAN_RING_H
#define EL_BENCH_PLAN_RING_H

#include "bench/load/workload.h"

/* A node's part of what is under way, as a multiple of an even one: hash-balance-factor of deploy/haproxy. */
#define EL_RING_BOUND 2.0

/* node_of[i]: of items[i], which are in order of arrival and each under way for `seconds`. Only items with an adapter
 * are placed, the others count where node_of has them already. False: no memory. */
bool el_ring_items(const el_load_item *items, size_t n, int nodes, double seconds, int *node_of);

#endif
