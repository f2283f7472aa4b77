/* Addresses from which wrong keys come, and how often. A right key is let in wherever it comes from: behind a proxy all
 * callers have one address, and whoever guesses must not shut the others out. So what is limited is what a wrong key
 * costs and is told: beyond EL_STRANGERS_A_MINUTE of them (a bucket as of a key's limits) the answer is a 429 that
 * comes a second late. The HTTP thread alone. */
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

/* Zeroed: nobody. An address has one of few places, of which the one that has been quiet for longest is given up: so it
 * is bounded, and who has many addresses hides none of them for long. */
typedef struct el_strangers {
  el_stranger list[EL_STRANGERS];
} el_strangers;

/* A wrong key has come from this address. False: too many have. */
bool el_strangers_allow(el_strangers *s, const unsigned char address[16], uint64_t now_ns);
/* How long until a wrong one would be a 401 again. */
uint64_t el_strangers_wait_ns(const el_strangers *s, const unsigned char address[16], uint64_t now_ns);

#endif
