/* A pool of compute threads that run one function together.
 *
 * A forward step is one el_threads_run_phases: waking workers takes microseconds, so it is done
 * once a step. Phases are separated by barriers, where threads spin briefly (the others are a
 * fraction of a phase away) and then sleep on a futex, because clients share these cores.
 *
 * The threads that share a phase are a team. If another process takes turns with a thread on its
 * CPU, the thread leaves the team between two phases and gives way then, instead of being
 * interrupted in a phase while the others wait for it. The others go on without it, and it joins
 * them again when it is back. So the result of a phase must not depend on which thread does which
 * part, nor on how many there are. */
#ifndef EL_BASE_THREADS_H
#define EL_BASE_THREADS_H

#include <stdatomic.h>

#include "edgelora.h"

typedef struct el_threads el_threads;

/* n >= 1 threads, including the caller of el_threads_run. cpus: [n] thread i stays on cpus[i];
 * thread 0 does so once it calls el_threads_pin_caller. NULL: the system chooses CPUs. */
el_status el_threads_new(int n, const int *cpus, el_threads **out, el_error *err);
void el_threads_free(el_threads *t);
int el_threads_count(const el_threads *t);
/* Pins the thread that will call el_threads_run, if the others are pinned. */
void el_threads_pin_caller(const el_threads *t);

/* `rest` is called on a thread that is about to sleep, and on the caller of a run at its end. It
 * gives back what the thread holds of its CPU while it computes. NULL: nothing. */
void el_threads_on_rest(el_threads *t, void (*rest)(void));

/* Runs fn(arg, ith, n) on all threads, with ith = 0 on the caller; returns when all have returned.
 * Not reentrant; one caller at a time. */
typedef void (*el_threads_fn)(void *arg, int ith, int n);
void el_threads_run(el_threads *t, el_threads_fn fn, void *arg);
/* Inside el_threads_run: every thread waits for all threads. What was written before it is visible
 * after it. */
void el_barrier(el_threads *t, int ith);

/* A thread's role in a phase: number `rank` of `size` threads that share the work. `ith` is its
 * permanent number, below el_threads_count, which selects scratch memory. */
typedef struct el_turn {
  int ith, rank, size;
} el_turn;
/* Runs fn(arg, phase, turn) for phases 0 .. n - 1 on all threads that are free. Each phase begins
 * when the one before it is complete, and sees everything that was written in it. */
typedef void (*el_phase_fn)(void *arg, int phase, el_turn turn);
void el_threads_run_phases(el_threads *t, int n, el_phase_fn fn, void *arg);

/* Work that threads take piece by piece, because pieces differ, or because another process may
 * delay a thread. There is one cursor for each phase; it is set to 0 before threads see it. */
typedef struct el_cursor {
  _Alignas(64) atomic_int next;
} el_cursor;

/* The next one of n pieces; -1: none is left. */
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
