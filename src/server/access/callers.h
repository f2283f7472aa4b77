/* Callers, and what each may take before the engine has its requests: memory for bodies, and the readers' time.
 * And what each may leave behind: answers that their clients do not take.
 *
 * A key is a caller; where none is asked for, an address is (of IPv6 the first 64 bits: whoever has one has them all).
 * Behind a proxy that makes all addresses one, callers without keys are one.
 *
 * Of what all share a caller may have as much as is left for the others: half of it while it is alone, a third beside
 * another that takes all it can, and so on; so there is always room for one more. */
#ifndef EL_SERVER_CALLERS_H
#define EL_SERVER_CALLERS_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/access/keys.h"

struct el_exchange;

/* What waits for the readers: short bodies and long ones, see readers.c. */
enum { EL_LANE_SHORT, EL_LANE_LONG, EL_N_LANES };

/* Requests of one caller, in the order in which they came. */
typedef struct el_line {
  struct el_exchange *head, *tail;
  struct el_caller *next_waiting; /* of this lane, whose line is not empty */
  uint64_t served;                /* bytes that the readers have taken, in the lane's own time */
} el_line;

/* The server's mutex guards all but `bytes` and `held`. */
typedef struct el_caller {
  struct el_caller *next; /* of the same bucket */
  uint64_t domain;        /* of the key; 0: it is an address */
  unsigned char address[16];
  size_t n_refs;
  size_t n_connections; /* of the address */
  atomic_size_t bytes;  /* of its bodies */
  atomic_size_t held;   /* of its answers, see el_exchange_hold */
  el_line lines[EL_N_LANES];
  int n_long; /* readers that have a long body of it in hand */
} el_caller;

enum { EL_CALLER_BUCKETS = 256 };
typedef struct el_callers {
  el_caller *buckets[EL_CALLER_BUCKETS];
} el_callers;

/* With a reference; NULL: out of memory. The server's mutex is held, as it is for the next. */
el_caller *el_callers_get(el_callers *all, const el_key *key, struct MHD_Connection *connection);
void el_callers_put(el_callers *all, el_caller *caller); /* NULL is allowed */

/* The 16 bytes of a client's address in IPv6's form, of one of IPv6 the first 8; zeros for what is neither. */
void el_callers_address(struct MHD_Connection *connection, unsigned char out[16]);

/* Whether one that has `mine` of `all` that is in use may have `more` of it, where `limit` is there. */
static inline bool el_share_allows(size_t mine, size_t more, size_t all, size_t limit) {
  return all <= limit && more <= limit - all && mine + more <= limit - all;
}

#endif
