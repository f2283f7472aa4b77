/* Waiting for a condition until a monotonic time: setting the system's clock neither ends a wait
 * nor prolongs it. */
#ifndef EL_BASE_WAIT_H
#define EL_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"

#define EL_FOREVER UINT64_MAX

/* The time, as of el_now_ns, that is so many milliseconds from now; below 0: EL_FOREVER. */
static inline uint64_t el_deadline_in(int ms) {
  return ms < 0 ? EL_FOREVER : el_now_ns() + (uint64_t)ms * 1000000u;
}

/* For el_cond_wait. False: the system has no memory for it. */
static inline bool el_cond_init(pthread_cond_t *c) {
  pthread_condattr_t a;
  if (pthread_condattr_init(&a)) return false;
  bool ok = !pthread_condattr_setclock(&a, CLOCK_MONOTONIC) && !pthread_cond_init(c, &a);
  pthread_condattr_destroy(&a);
  return ok;
}

/* Gives the mutex away until somebody signals *c, or for no reason. False: `until_ns` has
 * passed. */
static inline bool el_cond_wait(pthread_cond_t *c, pthread_mutex_t *held, uint64_t until_ns) {
  if (until_ns == EL_FOREVER) return pthread_cond_wait(c, held) == 0;
  const struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
  return pthread_cond_timedwait(c, held, &until) == 0;
}

#endif
