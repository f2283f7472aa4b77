/* The compute threads. See threads.h for the idea.
 *
 * Both waits, for the next run and at a barrier, are the same: watch a generation counter, spin for a bounded time,
 * then sleep on it as a futex. The thread that moves the counter wakes sleepers only if there are any.
 *
 * When other processes use the cores, the scheduler may put two of our threads on one. Spinning there keeps the thread
 * that is waited for from running, a whole spin at every barrier. So threads note the CPU that they arrive on, and who
 * finds itself on the CPU of one that has not arrived sleeps at once. */
#include "base/threads.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

enum {
  /* Spins before sleeping, tens of microseconds: longer than a phase's imbalance, shorter than a scheduler's time
     slice. */
  SPINS_BARRIER = 4000,
  SPINS_IDLE = 4000,
  MAX_THREADS = 1024
};

typedef struct gate {
  _Alignas(64) atomic_uint generation;
  _Alignas(64) atomic_uint sleepers;
} gate;

/* What a thread shows the others. */
typedef struct place {
  _Alignas(64) atomic_int cpu; /* where it was last seen; negative: not yet */
  atomic_uint arrived;         /* the generation of the barrier that it last arrived at, plus 1 */
} place;

struct el_threads {
  int n;
  pthread_t *handles; /* [n - 1] */
  int n_started;
  el_threads_fn fn;
  void *arg;
  atomic_bool quit;
  gate start, barrier;
  place *places; /* [n] */
  _Alignas(64) atomic_int arrived;
};

typedef struct worker {
  el_threads *pool;
  int ith;
} worker;

static inline void cpu_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Whether a thread that we wait for was last seen on our CPU. */
static bool shares_cpu(const el_threads *t, int ith, unsigned seen) {
  int cpu = atomic_load_explicit(&t->places[ith].cpu, memory_order_relaxed);
  for (int i = 0; i < t->n; i++)
    if (i != ith && atomic_load_explicit(&t->places[i].arrived, memory_order_relaxed) != seen + 1 &&
        atomic_load_explicit(&t->places[i].cpu, memory_order_relaxed) == cpu)
      return true;
  return false;
}

static void gate_wait(gate *g, unsigned seen, int spins) {
  for (int i = 0; i < spins; i++) {
    if (atomic_load_explicit(&g->generation, memory_order_acquire) != seen) return;
    cpu_relax();
  }
  while (atomic_load_explicit(&g->generation, memory_order_acquire) == seen) {
    /* Announced before the futex checks the generation: either the opener sees a sleeper or the futex sees the change.
     */
    atomic_fetch_add(&g->sleepers, 1);
    syscall(SYS_futex, &g->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
  }
}

static void gate_open(gate *g) {
  atomic_fetch_add(&g->generation, 1);
  if (atomic_load(&g->sleepers)) syscall(SYS_futex, &g->generation, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
}

void el_barrier(el_threads *t, int ith) {
  if (t->n == 1) return;
  unsigned seen = atomic_load_explicit(&t->barrier.generation, memory_order_relaxed);
  atomic_store_explicit(&t->places[ith].cpu, sched_getcpu(), memory_order_relaxed);
  atomic_store_explicit(&t->places[ith].arrived, seen + 1, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) == t->n - 1) {
    atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
    gate_open(&t->barrier);
  } else {
    gate_wait(&t->barrier, seen, shares_cpu(t, ith, seen) ? 0 : SPINS_BARRIER);
  }
}

static void *worker_main(void *p) {
  worker w = *(worker *)p;
  free(p);
  unsigned seen = 0;
  for (;;) {
    gate_wait(&w.pool->start, seen, SPINS_IDLE);
    seen++;
    if (atomic_load(&w.pool->quit)) return NULL;
    w.pool->fn(w.pool->arg, w.ith, w.pool->n);
    el_barrier(w.pool, w.ith);
  }
}

void el_threads_run(el_threads *t, el_threads_fn fn, void *arg) {
  t->fn = fn;
  t->arg = arg;
  if (t->n > 1) gate_open(&t->start);
  fn(arg, 0, t->n);
  el_barrier(t, 0);
}

el_status el_threads_new(int n, el_threads **out, el_error *err) {
  if (n < 1 || n > MAX_THREADS) return el_fail(err, EL_ERR_INVALID, "threads: %d is not in 1 to %d", n, MAX_THREADS);
  el_threads *t = NULL;
  if (posix_memalign((void **)&t, 64, sizeof *t)) t = NULL;
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "threads: out of memory");
  memset(t, 0, sizeof *t);
  t->n = n;
  t->handles = calloc((size_t)n, sizeof *t->handles);
  if (posix_memalign((void **)&t->places, 64, sizeof *t->places * (size_t)n)) t->places = NULL;
  if (!t->handles || !t->places) {
    el_threads_free(t);
    return el_fail(err, EL_ERR_NO_MEMORY, "threads: out of memory");
  }
  for (int i = 0; i < n; i++) {
    atomic_init(&t->places[i].cpu, -1 - i);
    atomic_init(&t->places[i].arrived, 0);
  }
  for (int i = 1; i < n; i++) {
    worker *w = malloc(sizeof *w);
    if (w) *w = (worker){t, i};
    if (!w || pthread_create(&t->handles[t->n_started], NULL, worker_main, w)) {
      free(w);
      el_threads_free(t);
      return el_fail(err, EL_ERR_NO_MEMORY, "threads: cannot start thread %d of %d", i + 1, n);
    }
    t->n_started++;
  }
  *out = t;
  return EL_OK;
}

void el_threads_free(el_threads *t) {
  if (!t) return;
  atomic_store(&t->quit, true);
  gate_open(&t->start);
  for (int i = 0; i < t->n_started; i++) pthread_join(t->handles[i], NULL);
  free(t->handles);
  free(t->places);
  free(t);
}

int el_threads_count(const el_threads *t) {
  return t->n;
}

/* A core is counted once: by the first of its hardware threads, as the kernel lists them. */
int el_physical_cores(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set)) return 1;
  int n = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    int first = cpu;
    if (f) {
      if (fscanf(f, "%d", &first) != 1) first = cpu;
      fclose(f);
    }
    /* A sibling outside our set does not stand for the core. */
    n += first == cpu || first < 0 || first >= CPU_SETSIZE || !CPU_ISSET(first, &set);
  }
  return n > 0 ? n : 1;
}
