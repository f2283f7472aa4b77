/* Callers, and each one's share of what they compete for before the engine has their requests (memory
 * for bodies, the readers' time) and after it (answers that clients have not taken yet).
 *
 * A caller is a key; without keys it is an address (of IPv6 the first 64 bits, as one client usually
 * has them all). Behind a proxy that hides addresses, all callers without keys are one.
 *
 * A caller may have as much of a shared limit as it leaves free for the others: half of it while it is
 * alone, a third beside another caller that takes all it can, and so on. So there is always room for
 * one more. */
#ifndef EL_SERVER_CALLERS_H
#define EL_SERVER_CALLERS_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/access/keys.h"

struct el_exchange;

/* The two queues of the readers: short bodies and long bodies, see readers.c. */
enum { EL_LANE_SHORT, EL_LANE_LONG, EL_N_LANES };

/* The waiting requests of one caller, in order of arrival. */
typedef struct el_line {
  struct el_exchange *head, *tail;
  struct el_caller *next_waiting; /* the next caller in this lane whose line is not empty */
  uint64_t served;                /* bytes that the readers have taken: the caller's virtual time in the lane */
} el_line;

/* The server's mutex guards everything but `bytes` and `held`. */
typedef struct el_caller {
  struct el_caller *next; /* in the same bucket */
  uint64_t domain;        /* the key's; 0: the caller is an address */
  unsigned char address[16];
  size_t n_refs;
  size_t n_connections; /* open connections from the address */
  atomic_size_t bytes;  /* of its request bodies */
  atomic_size_t held;   /* bytes of its answers, see el_exchange_hold */
  el_line lines[EL_N_LANES];
  int n_long; /* readers that are working on a long body of this caller */
} el_caller;

enum { EL_CALLER_BUCKETS = 256 };
typedef struct el_callers {
  el_caller *buckets[EL_CALLER_BUCKETS];
} el_callers;

/* Finds or makes the caller; it comes with a reference. NULL: out of memory. The server's mutex is held
 * here and for el_callers_put. */
el_caller *el_callers_get(el_callers *all, const el_key *key, struct MHD_Connection *connection);
void el_callers_put(el_callers *all, el_caller *caller); /* NULL is allowed */

/* A client's address in 16 bytes: IPv4 in its IPv6 form, the first 8 bytes of an IPv6 address, zeros for
 * anything else. */
void el_callers_address(struct MHD_Connection *connection, unsigned char out[16]);

/* Whether a caller that has `mine` of the `all` in use may have `more`, when the limit is `limit`. */
static inline bool el_share_allows(size_t mine, size_t more, size_t all, size_t limit) {
  return all <= limit && more <= limit - all && mine + more <= limit - all;
}

#endif
