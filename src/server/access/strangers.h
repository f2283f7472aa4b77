/* Counts wrong keys by client address. A right key is accepted from any address: behind a proxy all
 * callers may share one, and someone who guesses keys must not shut the others out. So the limit is on
 * wrong keys: beyond EL_STRANGERS_A_MINUTE per minute and address (a bucket as for a key's limits) the
 * answer is a 429, sent a second late. Only the HTTP thread may call. */
#ifndef EL_SERVER_STRANGERS_H
#define EL_SERVER_STRANGERS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/access/quota.h"

enum { EL_STRANGERS = 1024, EL_STRANGERS_A_MINUTE = 30 };

typedef struct el_stranger {
  unsigned char address[16];
  el_bucket wrong;
} el_stranger;

/* Zeroed: empty. An address can be in a few places only, and replaces the one there that has been quiet
 * for longest. So the table is bounded, and someone with many addresses cannot push an address out for
 * long. */
typedef struct el_strangers {
  el_stranger list[EL_STRANGERS];
} el_strangers;

/* Counts a wrong key from this address. False: there were too many. */
bool el_strangers_allow(el_strangers *s, const unsigned char address[16], uint64_t now_ns);
/* How long until a wrong key from there would get a 401 again. */
uint64_t el_strangers_wait_ns(const el_strangers *s, const unsigned char address[16], uint64_t now_ns);

#endif
