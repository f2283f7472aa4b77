/* A pool of compute threads that run one function together.
 *
 * A forward step is one el_threads_run_phases: waking workers costs microseconds, so it happens once a step. Its phases
 * are separated by barriers, which spin briefly (the other threads are a fraction of a phase away) and then sleep on a
 * futex, because clients share these cores.
 *
 * The threads that share a phase are a team. Who finds that another process takes turns with it on its CPU leaves the
 * team between two phases and gives way then, instead of being interrupted within one while the others wait for it:
 * they go on without it, and it joins them again when it is back. So a phase must not care who does which part of it,
 * nor how many they are. */
#ifndef EL_BASE_THREADS_H
#define EL_BASE_THREADS_H

#include <stdatomic.h>

#include "edgelora.h"

typedef struct el_threads el_threads;

/* n >= 1 threads, the caller of el_threads_run counted as one. cpus: [n] thread i stays on cpus[i], thread 0 from when
 * it calls el_threads_pin_caller on; NULL: wherever the system puts them. */
el_status el_threads_new(int n, const int *cpus, el_threads **out, el_error *err);
void el_threads_free(el_threads *t);
int el_threads_count(const el_threads *t);
/* Pins the thread that will call el_threads_run, if the others are pinned. */
void el_threads_pin_caller(const el_threads *t);

/* `rest` is called on a thread that is about to sleep, and on the caller of a run when it is over: what a thread holds
 * of its CPU while it computes is given back there. NULL: nothing. */
void el_threads_on_rest(el_threads *t, void (*rest)(void));

/* Runs fn(arg, ith, n) on all threads, ith = 0 on the caller; returns when all have returned. Not reentrant; one caller
 * at a time. */
typedef void (*el_threads_fn)(void *arg, int ith, int n);
void el_threads_run(el_threads *t, el_threads_fn fn, void *arg);
/* Inside el_threads_run: every thread waits for all. What was written before it is visible after it. */
void el_barrier(el_threads *t, int ith);

/* Who a thread is in a phase: one of `size` that share the work, the `rank`-th of them. `ith` is its own for good,
 * below el_threads_count: what scratch memory is told by. */
typedef struct el_turn {
  int ith, rank, size;
} el_turn;
/* Runs fn(arg, phase, turn) for phases 0 .. n - 1 on all threads that are free; each phase begins when all of the one
 * before it is done, and what was written then is visible. */
typedef void (*el_phase_fn)(void *arg, int phase, el_turn turn);
void el_threads_run_phases(el_threads *t, int n, el_phase_fn fn, void *arg);

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

/* Thread ith's share of n items in units of `unit`: [*begin, *end). */
static inline void el_share(int n, int unit, int ith, int nth, int *begin, int *end) {
  int units = (n + unit - 1) / unit;
  int b = (int)((long)units * ith / nth) * unit, e = (int)((long)units * (ith + 1) / nth) * unit;
  *begin = b < n ? b : n;
  *end = e < n ? e : n;
}

#endif
