/* Monotonic time. */
#ifndef EL_BASE_CLOCK_H
#define EL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t el_now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline double el_seconds(void) {
  return (double)el_now_ns() * 1e-9;
}

/* Milliseconds between two times; 0 where the first is 0, which is none, or the later one. */
static inline double el_ms_between(uint64_t from, uint64_t to) {
  return from && to > from ? (double)(to - from) * 1e-6 : 0;
}

#endif
