/* A pool of compute threads that run one function together (SPMD), with barriers inside it.
 *
 * A forward step is one el_threads_run: waking workers costs microseconds, so it happens once a step, and phases of
 * the step are separated by el_barrier, which spins briefly (the other threads are a fraction of a phase away) and
 * then sleeps on a futex, because clients share these cores. */
#ifndef EL_BASE_THREADS_H
#define EL_BASE_THREADS_H

#include <stdatomic.h>

#include "edgelora.h"

typedef struct el_threads el_threads;

/* n >= 1 threads, the caller of el_threads_run counted as one. */
el_status el_threads_new(int n, el_threads **out, el_error *err);
void el_threads_free(el_threads *t);
int el_threads_count(const el_threads *t);

/* Runs fn(arg, ith, n) on all threads, ith = 0 on the caller; returns when all have returned. Not reentrant; one caller
 * at a time. */
typedef void (*el_threads_fn)(void *arg, int ith, int n);
void el_threads_run(el_threads *t, el_threads_fn fn, void *arg);

/* Inside a run: every thread waits for all. What was written before it is visible after it. */
void el_barrier(el_threads *t, int ith);

/* Work that threads take piece by piece, because pieces differ or threads do: another process may hold one of them up.
 * One for each phase; it starts at 0 before threads see it. */
typedef struct el_cursor {
  _Alignas(64) atomic_int next;
} el_cursor;

/* The next of n pieces; -1: none is left. */
static inline int el_cursor_take(el_cursor *c, int n) {
  int i = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed);
  return i < n ? i : -1;
}

/* The number of physical cores that this process may run on, at least 1. */
int el_physical_cores(void);

/* Thread ith's share of n items in units of `unit`: [*begin, *end). */
static inline void el_share(int n, int unit, int ith, int nth, int *begin, int *end) {
  int units = (n + unit - 1) / unit;
  int b = (int)((long)units * ith / nth) * unit, e = (int)((long)units * (ith + 1) / nth) * unit;
  *begin = b < n ? b : n;
  *end = e < n ? e : n;
}

#endif
