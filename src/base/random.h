/* splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): its
 * finaliser and its increment. */
#ifndef EL_BASE_RANDOM_H
#define EL_BASE_RANDOM_H

#include <stdint.h>

#define EL_GOLDEN_GAMMA 0x9e3779b97f4a7c15u

static inline uint64_t el_mix64(uint64_t z) {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

#endif
