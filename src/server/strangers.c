#include "server/strangers.h"

#include <string.h>

#include "base/random.h"

enum { WAYS = 4 };

static uint64_t hash_of(const unsigned char address[16]) {
  uint64_t halves[2];
  memcpy(halves, address, sizeof halves);
  return el_mix64(halves[0] + el_mix64(halves[1]));
}

/* The first of its places. */
static const el_stranger *places_of(const el_strangers *s, const unsigned char address[16]) {
  return &s->list[hash_of(address) % (EL_STRANGERS / WAYS) * WAYS];
}

static const el_stranger *find(const el_strangers *s, const unsigned char address[16]) {
  const el_stranger *p = places_of(s, address);
  for (int i = 0; i < WAYS; i++)
    if (!memcmp(p[i].address, address, sizeof p->address)) return &p[i];
  return NULL;
}

bool el_strangers_allow(el_strangers *s, const unsigned char address[16], uint64_t now_ns) {
  el_stranger *at = (el_stranger *)find(s, address);
  if (!at) {
    el_stranger *places = (el_stranger *)places_of(s, address);
    at = places;
    for (int i = 1; i < WAYS; i++)
      if (places[i].wrong.full_ns < at->wrong.full_ns) at = &places[i];
    *at = (el_stranger){0};
    memcpy(at->address, address, sizeof at->address);
  }
  if (el_bucket_wait_ns(&at->wrong, EL_STRANGERS_A_MINUTE, 1, now_ns)) return false;
  el_bucket_take(&at->wrong, EL_STRANGERS_A_MINUTE, 1, now_ns);
  return true;
}

uint64_t el_strangers_wait_ns(const el_strangers *s, const unsigned char address[16], uint64_t now_ns) {
  const el_stranger *at = find(s, address);
  return at ? el_bucket_wait_ns(&at->wrong, EL_STRANGERS_A_MINUTE, 1, now_ns) : 0;
}
