#include "base/priority.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

/* The state of this thread; its place in the system's queue belongs to the thread as well. */
static _Thread_local struct {
  const atomic_bool *others_compute; /* NULL: its turns do not end by themselves */
  uint64_t ns, began_ns;
} turn;

void el_thread_give_way(int nice, int slice_us, const atomic_bool *others_compute) {
  struct { /* sched_attr of the system call, for which glibc has no function */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attr = {.policy = SCHED_BATCH, .nice = nice, .runtime = (uint64_t)slice_us * 1000};
  attr.size = sizeof attr;
  syscall(SYS_sched_setattr, 0, &attr, 0);
  turn.others_compute = others_compute;
  turn.ns = (uint64_t)slice_us * 1000;
  turn.began_ns = el_now_ns();
}

void el_thread_breathe(void) {
  if (!turn.others_compute || !atomic_load_explicit(turn.others_compute, memory_order_relaxed)) return;
  if (el_now_ns() - turn.began_ns < turn.ns) return;
  sched_yield();
  turn.began_ns = el_now_ns();
}
