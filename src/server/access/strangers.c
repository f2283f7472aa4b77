#include "server/access/strangers.h"

#include <string.h>

#include "base/random.h"

enum { WAYS = 4 };

static uint64_t hash_address(const unsigned char address[16]) {
  uint64_t halves[2];
  memcpy(halves, address, sizeof halves);
  return el_mix64(halves[0] + el_mix64(halves[1]));
}

/* The first of its places in the list. */
static size_t first_stranger_place(const unsigned char address[16]) {
  return hash_address(address) % (EL_STRANGERS / WAYS) * WAYS;
}

/* Its index in the list; EL_STRANGERS: it is not there. */
static size_t find_stranger(const el_strangers *s, const unsigned char address[16]) {
  size_t first = first_stranger_place(address);
  for (size_t i = first; i < first + WAYS; i++)
    if (!memcmp(s->list[i].address, address, sizeof s->list[i].address)) return i;
  return EL_STRANGERS;
}

bool el_strangers_allow(el_strangers *s, const unsigned char address[16], uint64_t now_ns) {
  size_t known = find_stranger(s, address);
  el_stranger *places = &s->list[first_stranger_place(address)], *at = known < EL_STRANGERS ? &s->list[known] : places;
  if (known == EL_STRANGERS) {
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
  size_t at = find_stranger(s, address);
  return at < EL_STRANGERS ? el_bucket_wait_ns(&s->list[at].wrong, EL_STRANGERS_A_MINUTE, 1, now_ns) : 0;
}
