#include "base/priority.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

void el_thread_give_way(int nice, int slice_us) {
  struct { /* sched_attr of the system call, which glibc has no function for */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attr = {.policy = SCHED_BATCH, .nice = nice, .runtime = (uint64_t)slice_us * 1000};
  attr.size = sizeof attr;
  syscall(SYS_sched_setattr, 0, &attr, 0);
}
