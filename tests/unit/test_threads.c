/* The compute threads: barriers, phases, teams that change, sleeping, pinning; and lists of CPUs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpus.h"
#include "base/threads.h"

enum { MAX = 8 };

static el_threads *threads_open(int n) {
  el_threads *t = NULL;
  el_error err;
  if (el_threads_new(n, NULL, &t, &err)) fail_msg("%s", err.message);
  assert_int_equal(el_threads_count(t), n);
  return t;
}

/* --- rest */

static atomic_int n_rested;
static _Thread_local bool has_rested;

static void note_rest(void) {
  if (!has_rested) atomic_fetch_add(&n_rested, 1);
  has_rested = true;
}

static void no_work(void *arg, int ith, int n) {}

static void every_thread_rests_when_it_has_nothing_to_do(void **state) {
  for (int n = 1; n <= 4; n++) {
    el_threads *t = threads_open(n);
    el_threads_on_rest(t, note_rest);
    has_rested = false;
    atomic_store(&n_rested, 0);
    el_threads_run(t, no_work, NULL);
    assert_true(has_rested); /* the caller at once, the others when they sleep */
    while (atomic_load(&n_rested) < n) sched_yield();
    el_threads_on_rest(t, NULL);
    has_rested = false;
    el_threads_run(t, no_work, NULL);
    assert_false(has_rested);
    el_threads_free(t);
  }
}

/* --- barriers */

typedef struct rounds {
  el_threads *threads;
  int n_rounds, n;
  int seen[MAX];          /* written by their threads between barriers, without atomics */
  atomic_int wrong, ends; /* cmocka's assertions are for the main thread */
} rounds;

static void count_rounds(void *arg, int ith, int n) {
  rounds *r = arg;
  if (n != r->n) atomic_fetch_add(&r->wrong, 1);
  for (int i = 0; i < r->n_rounds; i++) {
    r->seen[ith] = i;
    el_barrier(r->threads, ith);
    for (int k = 0; k < n; k++)
      if (r->seen[k] != i) atomic_fetch_add(&r->wrong, 1);
    el_barrier(r->threads, ith);
  }
  atomic_fetch_add(&r->ends, 1);
}

static void a_barrier_shows_everybody_what_all_have_written(void **state) {
  for (int n = 1; n <= MAX; n++) {
    rounds r = {.threads = threads_open(n), .n_rounds = n > 2 ? 50 : 2000, .n = n};
    for (int i = 0; i < 5; i++) el_threads_run(r.threads, count_rounds, &r);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_int_equal(atomic_load(&r.ends), 5 * n);
    el_threads_free(r.threads);
  }
}

/* --- phases */

enum { N_PHASES = 40, N_CELLS = 64 };

/* Phase i adds i to all cells, shared by rank; every thread checks that the phase before it is complete. */
typedef struct phases {
  int cells[N_CELLS];
  atomic_int wrong, calls;
  el_threads *threads;
} phases;

static void add_phase(void *arg, int phase, el_turn turn) {
  phases *p = arg;
  int begin, end, before = phase * (phase - 1) / 2;
  if (turn.rank < 0 || turn.rank >= turn.size || turn.size > MAX || turn.ith >= MAX) atomic_fetch_add(&p->wrong, 1);
  el_share(N_CELLS, 1, turn.rank, turn.size, &begin, &end);
  for (int i = begin; i < end; i++) {
    if (p->cells[i] != before) atomic_fetch_add(&p->wrong, 1);
    p->cells[i] += phase;
  }
  atomic_fetch_add(&p->calls, 1);
}

static void check_phases(phases *p) {
  memset(p->cells, 0, sizeof p->cells);
  el_threads_run_phases(p->threads, N_PHASES, add_phase, p);
  for (int i = 0; i < N_CELLS; i++) assert_int_equal(p->cells[i], N_PHASES * (N_PHASES - 1) / 2);
  assert_int_equal(atomic_load(&p->wrong), 0);
}

static void phases_follow_one_another_on_any_number_of_threads(void **state) {
  for (int n = 1; n <= MAX; n++) {
    phases p = {.threads = threads_open(n)};
    for (int i = 0; i < (n > 2 ? 20 : 500); i++) check_phases(&p);
    el_threads_free(p.threads);
  }
}

static void runs_of_both_kinds_follow_one_another(void **state) {
  phases p = {.threads = threads_open(3)};
  rounds r = {.threads = p.threads, .n_rounds = 3, .n = 3};
  for (int i = 0; i < 50; i++) {
    check_phases(&p);
    el_threads_run(p.threads, count_rounds, &r);
  }
  assert_int_equal(atomic_load(&r.wrong), 0);
  assert_int_equal(atomic_load(&r.ends), 150);
  el_threads_free(p.threads);
}

/* Workers that sleep are woken, whatever they were about to do when the run began. */
static void a_run_finds_its_threads_asleep_or_not(void **state) {
  phases p = {.threads = threads_open(4)};
  for (int i = 0; i < 60; i++) {
    usleep((useconds_t)(i * 37 % 400));
    check_phases(&p);
  }
  el_threads_free(p.threads);
}

/* --- a busy machine */

static atomic_bool busy;

static void *keep_busy(void *arg) {
  while (atomic_load_explicit(&busy, memory_order_relaxed)) continue;
  return NULL;
}

static void slow_phase(void *arg, int phase, el_turn turn) {
  uint64_t end = el_now_ns() + 100000;
  add_phase(arg, phase, turn);
  while (el_now_ns() < end) continue;
}

/* Threads give way, leave the team and come back; nothing of the work is lost or done twice. */
static void others_on_the_same_cores_do_not_change_what_is_done(void **state) {
  pthread_t others[4];
  atomic_store(&busy, true);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&others[i], NULL, keep_busy, NULL), 0);
  for (int n = 2; n <= 4; n++) {
    phases p = {.threads = threads_open(n)};
    rounds r = {.threads = p.threads, .n_rounds = 1, .n = n};
    uint64_t end = el_now_ns() + 700000000;
    for (int i = 0; el_now_ns() < end; i++) {
      memset(p.cells, 0, sizeof p.cells);
      el_threads_run_phases(p.threads, N_PHASES, slow_phase, &p);
      for (int c = 0; c < N_CELLS; c++) assert_int_equal(p.cells[c], N_PHASES * (N_PHASES - 1) / 2);
      if (i % 4 == 0) el_threads_run(p.threads, count_rounds, &r);
    }
    assert_int_equal(atomic_load(&p.wrong), 0);
    assert_int_equal(atomic_load(&r.wrong), 0);
    el_threads_free(p.threads);
  }
  atomic_store(&busy, false);
  for (int i = 0; i < 4; i++) pthread_join(others[i], NULL);
}

static double cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void idle_threads_take_no_time(void **state) {
  phases p = {.threads = threads_open(MAX)};
  check_phases(&p);
  usleep(50000);
  double before = cpu_ms();
  usleep(500000);
  assert_true(cpu_ms() - before < 5);
  el_threads_free(p.threads);
}

/* --- CPUs */

static void where(void *arg, int ith, int n) {
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  int *cpus = arg;
  cpus[ith] = CPU_COUNT(&set) == 1 ? sched_getcpu() : -1;
}

static void *pinned_run(void *arg) {
  el_threads *t = arg;
  static int cpus[MAX];
  el_threads_pin_caller(t);
  el_threads_run(t, where, cpus);
  return cpus;
}

static void pinned_threads_stay_on_their_cpus(void **state) {
  int cpus[EL_MAX_CPUS], n;
  el_error err;
  assert_int_equal(el_cpus_parse("auto", cpus, &n, &err), EL_OK);
  assert_int_equal(n, el_physical_cores());
  if (n > MAX) n = MAX;
  el_threads *t = NULL;
  assert_int_equal(el_threads_new(n, cpus, &t, &err), EL_OK);
  pthread_t thread; /* not this one: it would stay pinned */
  void *seen;
  assert_int_equal(pthread_create(&thread, NULL, pinned_run, t), 0);
  pthread_join(thread, &seen);
  for (int i = 0; i < n; i++) assert_int_equal(((int *)seen)[i], cpus[i]);
  el_threads_free(t);
}

static void refuse(const char *list, const char *says) {
  int cpus[EL_MAX_CPUS], n;
  el_error err = {0};
  assert_int_equal(el_cpus_parse(list, cpus, &n, &err), EL_ERR_INVALID);
  if (!strstr(err.message, says)) fail_msg("'%s' gives: %s", list, err.message);
}

static void a_list_of_cpus_is_taken_in_its_order_or_refused_with_the_reason(void **state) {
  cpu_set_t before, one;
  assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
  int first = 0;
  while (!CPU_ISSET(first, &before)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0); /* as in a container with one CPU */
  int cpus[EL_MAX_CPUS], n;
  el_error err;
  char text[64];
  snprintf(text, sizeof text, "%d", first);
  assert_int_equal(el_cpus_parse(text, cpus, &n, &err), EL_OK);
  assert_int_equal(n, 1);
  assert_int_equal(cpus[0], first);
  snprintf(text, sizeof text, "%d-%d", first, first);
  assert_int_equal(el_cpus_parse(text, cpus, &n, &err), EL_OK);
  assert_int_equal(n, 1);
  assert_int_equal(el_cpus_parse("auto", cpus, &n, &err), EL_OK);
  assert_int_equal(n, 1);
  snprintf(text, sizeof text, "%d,%d", first, first);
  refuse(text, "named twice");
  snprintf(text, sizeof text, "%d-%d", first, first + 1);
  refuse(text, "is not one that this process may use");
  refuse("9999", "CPU 9999 is not one that this process may use");
  static const char *const bad[] = {"", ",", "0,", ",0", "a", "0-", "-1", "1-0", "0 ", "0x1", "0--1", "99999", "AUTO"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse(bad[i], "is neither a list of CPUs");
  assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
  int k = 0, last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &before)) k++, last = cpu;
  if (k < 2) return;
  snprintf(text, sizeof text, "%d,%d", last, first);
  assert_int_equal(el_cpus_parse(text, cpus, &n, &err), EL_OK);
  assert_int_equal(n, 2);
  assert_int_equal(cpus[0], last);
  assert_int_equal(cpus[1], first);
}

static void numbers_of_threads_out_of_range_are_refused(void **state) {
  el_threads *t = NULL;
  el_error err;
  assert_int_equal(el_threads_new(0, NULL, &t, &err), EL_ERR_INVALID);
  assert_int_equal(el_threads_new(1025, NULL, &t, &err), EL_ERR_INVALID);
  assert_null(t);
  el_threads_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_thread_rests_when_it_has_nothing_to_do),
      cmocka_unit_test(a_barrier_shows_everybody_what_all_have_written),
      cmocka_unit_test(phases_follow_one_another_on_any_number_of_threads),
      cmocka_unit_test(runs_of_both_kinds_follow_one_another),
      cmocka_unit_test(a_run_finds_its_threads_asleep_or_not),
      cmocka_unit_test(others_on_the_same_cores_do_not_change_what_is_done),
      cmocka_unit_test(idle_threads_take_no_time),
      cmocka_unit_test(pinned_threads_stay_on_their_cpus),
      cmocka_unit_test(a_list_of_cpus_is_taken_in_its_order_or_refused_with_the_reason),
      cmocka_unit_test(numbers_of_threads_out_of_range_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
