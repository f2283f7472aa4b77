/* The compute threads. threads.h explains the idea.
 *
 * There is one gate: a generation counter that threads watch for a bounded time and then sleep on
 * as a futex. Workers wait at it for a run, and all threads wait at it for the end of a phase. The
 * last one to arrive opens it. Before that, it does what must be done while nobody else runs: it
 * counts the phase, takes threads that are back into the team, and takes leaving threads out.
 *
 * When other processes use the cores, three things cost more than the time that these take:
 * - The scheduler may put two of our threads on one CPU. Spinning there keeps the thread that is
 *   waited for from running. So threads record the CPU that they arrive on, and a thread on the CPU
 *   of one that has not arrived sleeps at once.
 * - The scheduler may leave them there: two threads that sleep for each other look to it like one.
 *   So a worker that keeps meeting another one moves itself to a CPU with none of our threads.
 * - A thread that is interrupted is away for a time slice of milliseconds, and the others wait for
 *   it. So a thread that was interrupted expects it again, and gives way before that, between two
 *   phases and outside the team. */
#include "base/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/* Tuned numbers; none changes a result. They were found on two cores with a 4 ms time slice (AMD EPYC,
 * Zen 4), idle and with a busy process on one of them, by tokens per second of a 135M and a 1B model;
 * `edgelora-bench threads` measures barriers, waking, and the speed beside a busy process.
 * Without any of this a busy process left 28 of 110 tokens per second. Counting involuntary switches
 * in place of time off the CPU took a step of the quiet 1B model from 54 to 74 ms. */
enum {
  /* Spins before sleeping, tens of microseconds: longer than the imbalance of a phase, shorter than
   * a time slice of the scheduler. */
  SPINS = 4000,
  SHARED_BARRIERS = 16,     /* consecutive meetings on one CPU before a worker moves */
  MOVE_EVERY_NS = 20000000, /* the least time between two moves */
  SUSPICIOUS_NS = 1000000,  /* a phase that takes at least this long may have been interrupted */
  INTERRUPTED_NS = 700000,  /* it was interrupted, by another process's time slice, if the thread
                             * was off the CPU for this long */
  STAY_NS = 2000000,        /* how long a thread computes until it gives way: a little less than a
                             * time slice */
  REST_NS = 1500000,        /* how long it then sleeps */
  PROBE_EVERY = 8,          /* one rest in so many is a yield: does anybody want the CPU at all? */
  UNWANTED_NS = 300000      /* if a thread is back sooner than this, nobody else wanted the CPU */
};

enum { MAX_THREADS = 1024 };

typedef enum state { MEMBER, AWAY, BACK } state;

/* A thread. Its own fields are on a separate cache line. */
typedef struct place {
  /* What other threads see. */
  _Alignas(64) atomic_int cpu; /* where it was last seen; negative: not seen yet */
  atomic_uint arrived;         /* the generation of the barrier that it arrived at last, plus 1 */
  atomic_int state;
  atomic_uint from; /* the generation from which on it is a member */
  int rank;         /* in the team; written by the opener */
  /* What only the thread itself uses. */
  _Alignas(64) uint64_t resumed_ns; /* when it last arrived at a barrier, or woke up there */
  uint64_t begin_ns, begin_cpu_ns;  /* when counting began, by the clock and by its CPU time */
  uint64_t slept_ns, lost_ns;       /* since then: time asleep at barriers, and time off its CPU
                                     * against its will */
  uint64_t since_ns;                /* since when it has computed without giving way */
  uint64_t moved_ns;
  unsigned n_left;
  int shared; /* consecutive barriers that found it on the CPU of another thread */
  bool contended;
} place;

struct el_threads {
  int n;
  int *cpus;          /* [n], or NULL */
  pthread_t *handles; /* [n - 1] */
  int n_started;
  place *places; /* [n] */

  /* Of the run; the opener writes these while nobody else reads them. */
  el_phase_fn fn;
  void *arg;
  int phase, n_phases;
  int team;            /* members, at least 1 */
  el_threads_fn plain; /* of el_threads_run, which is a single phase */
  void *arg_of_plain;

  _Atomic(void (*)(void)) rest;
  atomic_bool quit;
  atomic_uint over; /* the generation that the end of the run opens; until then, the generation
                     * before the run */
  _Alignas(64) atomic_uint generation;
  _Alignas(64) atomic_uint sleepers;
  _Alignas(64) atomic_int arrived;
  atomic_bool team_changes; /* some thread leaves or is back */
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

/* ---- the gate */

static void rest(el_threads *t) {
  void (*fn)(void) = atomic_load_explicit(&t->rest, memory_order_acquire);
  if (fn) fn();
}

/* True: the thread slept. */
static bool gate_wait(el_threads *t, unsigned seen, int spins) {
  bool slept = false;
  for (int i = 0; i < spins; i++) {
    if (atomic_load_explicit(&t->generation, memory_order_acquire) != seen) return false;
    cpu_relax();
  }
  while (atomic_load_explicit(&t->generation, memory_order_acquire) == seen) {
    /* Announced before the futex checks the generation: either the opener sees a sleeper, or the
     * futex sees the change. */
    if (!slept) rest(t);
    atomic_fetch_add(&t->sleepers, 1);
    syscall(SYS_futex, &t->generation, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&t->sleepers, 1);
    slept = true;
  }
  return slept;
}

static void gate_open(el_threads *t) {
  atomic_fetch_add(&t->generation, 1);
  if (atomic_load(&t->sleepers)) syscall(SYS_futex, &t->generation, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
}

/* ---- the team */

/* Threads that are back belong to the team from generation `from` on. The state is written last:
 * who sees it also sees the rest. */
static void count_team(el_threads *t, unsigned from) {
  int size = 0;
  for (int i = 0; i < t->n; i++) {
    place *p = &t->places[i];
    int was = atomic_load_explicit(&p->state, memory_order_acquire);
    if (was == AWAY) continue;
    p->rank = size++;
    if (was == MEMBER) continue;
    atomic_store_explicit(&p->from, from, memory_order_relaxed);
    atomic_store_explicit(&p->state, MEMBER, memory_order_release);
  }
  t->team = size;
}

static bool is_member(const el_threads *t, int ith, unsigned generation) {
  const place *p = &t->places[ith];
  return atomic_load_explicit(&p->state, memory_order_acquire) == MEMBER &&
         (int)(generation - atomic_load_explicit(&p->from, memory_order_relaxed)) >= 0;
}

/* Whether a thread that is waited for was last seen on this thread's CPU. */
static bool shares_cpu(const el_threads *t, int ith, unsigned seen) {
  int cpu = atomic_load_explicit(&t->places[ith].cpu, memory_order_relaxed);
  for (int i = 0; i < t->n; i++) {
    const place *p = &t->places[i];
    if (i != ith && atomic_load_explicit(&p->cpu, memory_order_relaxed) == cpu &&
        atomic_load_explicit(&p->arrived, memory_order_relaxed) != seen + 1 &&
        atomic_load_explicit(&p->state, memory_order_relaxed) == MEMBER)
      return true;
  }
  return false;
}

/* Moves this thread to a CPU where no other thread was seen, if it may use one. The set of CPUs
 * that it may use stays unchanged. */
static void move_away(const el_threads *t, int ith) {
  cpu_set_t allowed, others;
  if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
  others = allowed;
  for (int i = 0; i < t->n; i++) {
    int cpu = atomic_load_explicit(&t->places[i].cpu, memory_order_relaxed);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(cpu, &others);
  }
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others)) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}

static uint64_t cpu_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* From now on, counts how long the thread is off its CPU against its will: by the clock, minus the
 * time that it computed and slept. */
static void count_from(place *p, uint64_t now) {
  p->begin_ns = p->resumed_ns = now;
  p->begin_cpu_ns = cpu_ns();
  p->slept_ns = p->lost_ns = 0;
}

/* Waits, and counts time asleep. */
static void wait_counted(el_threads *t, place *p, unsigned seen, int spins) {
  if (!gate_wait(t, seen, spins)) return;
  uint64_t now = el_now_ns();
  p->slept_ns += now - p->resumed_ns;
  p->resumed_ns = now;
}

/* At the end of a phase: whether to give way now. The system is asked only after a phase that took
 * suspiciously long. */
static bool should_leave(place *p, uint64_t now) {
  if (now - p->resumed_ns > SUSPICIOUS_NS) {
    uint64_t off = now - p->begin_ns, on = cpu_ns() - p->begin_cpu_ns + p->slept_ns, lost = off > on ? off - on : 0;
    if (lost > p->lost_ns + INTERRUPTED_NS) {
      p->contended = true;
      p->since_ns = now;
    }
    p->lost_ns = lost;
  }
  p->resumed_ns = now;
  return p->contended && now - p->since_ns > STAY_NS;
}

/* Gives way outside the team. Sleeping keeps the thread's claim to half of the time, which yielding
 * gives up; but only yielding shows whether anybody else wants the CPU. */
static void give_way(el_threads *t, place *p) {
  uint64_t left = el_now_ns();
  rest(t);
  if (p->n_left++ % PROBE_EVERY) {
    struct timespec rest = {.tv_nsec = REST_NS};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
  } else {
    sched_yield();
  }
  uint64_t now = el_now_ns();
  if (now - left < UNWANTED_NS) {
    p->contended = false;
    p->n_left = 0; /* the system is asked first the next time */
  }
  p->since_ns = now;
  count_from(p, now);
  atomic_store_explicit(&p->state, BACK, memory_order_release);
  atomic_store_explicit(&t->team_changes, true, memory_order_release);
}

/* ---- barriers */

/* Waits for the team, or leaves it and returns immediately. False: it has left. *opened: the
 * generation that follows. */
static bool arrive(el_threads *t, int ith, bool ends_phase, bool leave, unsigned *opened) {
  place *p = &t->places[ith];
  unsigned seen = atomic_load_explicit(&t->generation, memory_order_relaxed);
  const int team = t->team; /* read now: after arriving, a thread may no longer look at it */
  *opened = seen + 1;
  atomic_store_explicit(&p->cpu, sched_getcpu(), memory_order_relaxed);
  atomic_store_explicit(&p->arrived, seen + 1, memory_order_relaxed);
  if (leave) {
    atomic_store_explicit(&p->state, AWAY, memory_order_relaxed);
    atomic_store_explicit(&t->team_changes, true, memory_order_relaxed);
  }
  if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) == team - 1) {
    atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
    if (ends_phase && ++t->phase == t->n_phases) {
      /* Nobody is taken in: the next run does that, and it may begin before a late thread has
       * looked. */
      atomic_store_explicit(&t->over, seen + 1, memory_order_relaxed);
    } else if (atomic_exchange_explicit(&t->team_changes, false, memory_order_acquire)) {
      count_team(t, seen + 1);
      if (!t->team) { /* all of them want to leave: one must stay */
        leave = false;
        atomic_store_explicit(&p->state, BACK, memory_order_relaxed);
        count_team(t, seen + 1);
      }
    }
    gate_open(t);
    return !leave;
  }
  if (leave) return false;
  if (!shares_cpu(t, ith, seen)) {
    p->shared = 0;
    wait_counted(t, p, seen, SPINS);
    return true;
  }
  if (ith && !t->cpus && ++p->shared >= SHARED_BARRIERS) {
    uint64_t now = el_now_ns();
    if (now - p->moved_ns > MOVE_EVERY_NS) {
      move_away(t, ith);
      p->moved_ns = now;
    }
    p->shared = 0;
  }
  wait_counted(t, p, seen, 0);
  return true;
}

void el_barrier(el_threads *t, int ith) {
  unsigned opened;
  if (t->n > 1) arrive(t, ith, false, false, &opened);
}

/* ---- runs */

/* Runs a member's part of the run, from the current phase to the end, or until it leaves. Returns
 * the generation in which it has nothing to do. */
static unsigned work(el_threads *t, int ith, unsigned generation) {
  place *p = &t->places[ith];
  const int n = t->n_phases;
  count_from(p, el_now_ns());
  /* After the last barrier the next run may begin at once, so the phase is counted here, too. */
  for (int phase = t->phase; phase < n; phase++) {
    t->fn(t->arg, phase, (el_turn){ith, p->rank, t->team});
    bool leave = should_leave(p, el_now_ns()) && phase + 1 < n;
    if (!arrive(t, ith, true, leave, &generation)) {
      give_way(t, p);
      return generation - 1;
    }
  }
  return generation;
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set); /* a CPU that has gone offline meanwhile: use any CPU */
}

static void *worker_main(void *arg) {
  worker w = *(worker *)arg;
  el_threads *t = w.pool;
  free(arg);
  if (t->cpus) pin(t->cpus[w.ith]);
  for (unsigned idle = 0;;) {
    unsigned now = atomic_load_explicit(&t->generation, memory_order_acquire);
    if (atomic_load(&t->quit)) return NULL;
    if (now != idle && is_member(t, w.ith, now))
      idle = work(t, w.ith, now);
    else
      gate_wait(t, now, SPINS);
  }
}

/* All workers wait at the gate, or have left the last run early. */
static void run(el_threads *t) {
  unsigned next = atomic_load_explicit(&t->generation, memory_order_relaxed) + 1;
  atomic_store_explicit(&t->places[0].state, BACK, memory_order_relaxed);
  count_team(t, next);
  t->phase = 0;
  atomic_store_explicit(&t->over, next - 1, memory_order_relaxed);
  gate_open(t);
  work(t, 0, next);
  for (;;) { /* this thread may have left: it takes part again, or finds that the others are done */
    unsigned now = atomic_load_explicit(&t->generation, memory_order_acquire);
    /* Not before the last gate is open: the thread that ends the run may still be about to open it,
     * and a gate that opens in the middle of the next run would let its first threads through. */
    if (now == atomic_load_explicit(&t->over, memory_order_relaxed)) break;
    if (is_member(t, 0, now))
      work(t, 0, now);
    else
      gate_wait(t, now, SPINS);
  }
  rest(t);
}

static void plain_phase(void *arg, int phase, el_turn turn) {
  el_threads *t = arg;
  t->plain(t->arg_of_plain, turn.ith, t->n);
}

void el_threads_run(el_threads *t, el_threads_fn fn, void *arg) {
  if (t->n == 1) {
    fn(arg, 0, 1);
    rest(t);
    return;
  }
  for (int i = 1; i < t->n; i++)
    while (atomic_load_explicit(&t->places[i].state, memory_order_acquire) == AWAY) sched_yield();
  t->plain = fn;
  t->arg_of_plain = arg;
  t->fn = plain_phase;
  t->arg = t;
  t->n_phases = 1;
  run(t);
}

void el_threads_run_phases(el_threads *t, int n, el_phase_fn fn, void *arg) {
  if (t->n == 1) {
    for (int i = 0; i < n; i++) fn(arg, i, (el_turn){0, 0, 1});
    rest(t);
    return;
  }
  if (n < 1) return;
  t->fn = fn;
  t->arg = arg;
  t->n_phases = n;
  run(t);
}

el_status el_threads_new(int n, const int *cpus, el_threads **out, el_error *err) {
  if (n < 1 || n > MAX_THREADS) return el_fail(err, EL_ERR_INVALID, "threads: %d is not in 1 to %d", n, MAX_THREADS);
  el_threads *t = NULL;
  if (posix_memalign((void **)&t, 64, sizeof *t)) t = NULL;
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "threads: out of memory");
  memset(t, 0, sizeof *t);
  t->n = t->team = n;
  t->handles = calloc((size_t)n, sizeof *t->handles);
  if (cpus) t->cpus = calloc((size_t)n, sizeof *t->cpus);
  if (posix_memalign((void **)&t->places, 64, sizeof *t->places * (size_t)n)) t->places = NULL;
  if (!t->handles || !t->places || (cpus && !t->cpus)) {
    el_threads_free(t);
    return el_fail(err, EL_ERR_NO_MEMORY, "threads: out of memory");
  }
  if (cpus) memcpy(t->cpus, cpus, sizeof *cpus * (size_t)n);
  memset(t->places, 0, sizeof *t->places * (size_t)n);
  for (int i = 0; i < n; i++) {
    atomic_init(&t->places[i].cpu, -1 - i);
    t->places[i].rank = i;
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
  gate_open(t);
  for (int i = 0; i < t->n_started; i++) pthread_join(t->handles[i], NULL);
  free(t->handles);
  free(t->cpus);
  free(t->places);
  free(t);
}

int el_threads_count(const el_threads *t) {
  return t->n;
}

void el_threads_on_rest(el_threads *t, void (*fn)(void)) {
  atomic_store_explicit(&t->rest, fn, memory_order_release);
}

void el_threads_pin_caller(const el_threads *t) {
  if (t->cpus) pin(t->cpus[0]);
}
