#include "adapter/peek.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"

enum {
  FIRST = 8,         /* entries that are timed before the file system is judged */
  SLOW_US = 1000,    /* a slow entry takes at least this; local disks take a few microseconds */
  THREADS = 64,      /* they wait and hardly compute */
  STACK = 128 << 10, /* bytes: it holds nothing but paths */
  TELL_S = 5
};

typedef struct work {
  int dir_fd;
  el_peek *peeks;
  size_t n;
  atomic_size_t next;
} work;

static void look_at_entry(const work *w, size_t i) {
  el_peek *p = &w->peeks[i];
  p->is_adapter = el_signature_at(w->dir_fd, p->entry, &p->is_folder, &p->problem, &p->unsure, &p->signature);
}

static void *help_looking(void *arg) {
  work *w = arg;
  for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) look_at_entry(w, i);
  return NULL;
}

static void tell_progress(el_peeker *p, const work *w, size_t looked) {
  uint64_t now = el_now_ns();
  if (!p->told_ns) p->told_ns = now;
  if (!p->progress || now - p->told_ns < (uint64_t)TELL_S * 1000000000u) return;
  p->told_ns = now;
  p->progress(p->user, looked < w->n ? looked : w->n, w->n);
}

/* Threads that cannot be started for lack of memory are not needed: this thread goes on by
 * itself. */
static int start_helpers(work *w, pthread_t threads[THREADS], size_t wanted) {
  pthread_attr_t a;
  sigset_t all, before; /* signals are for the program's own threads */
  int n = 0;
  if (pthread_attr_init(&a)) return 0;
  pthread_attr_setstacksize(&a, STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (n < THREADS && (size_t)n < wanted && !pthread_create(&threads[n], &a, help_looking, w)) n++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&a);
  return n;
}

void el_peek_all(el_peeker *p, int dir_fd, el_peek *peeks, size_t n) {
  work w = {.dir_fd = dir_fd, .peeks = peeks, .n = n};
  pthread_t threads[THREADS];
  int n_threads = 0;
  const uint64_t began = el_now_ns();
  bool judged = p->slow;
  if (p->slow) n_threads = start_helpers(&w, threads, n);
  for (size_t i; (i = atomic_fetch_add(&w.next, 1)) < n; tell_progress(p, &w, i + 1)) {
    look_at_entry(&w, i);
    if (judged || i + 1 < FIRST) continue;
    judged = true;
    p->slow = el_now_ns() - began > (uint64_t)FIRST * SLOW_US * 1000;
    if (p->slow) n_threads = start_helpers(&w, threads, n - i - 1);
  }
  while (n_threads > 0) pthread_join(threads[--n_threads], NULL);
}
