/* What Linux says about the process of the server. */
#ifndef EL_BENCH_LOAD_PROCFS_H
#define EL_BENCH_LOAD_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct el_load_process {
  uint64_t resident_bytes;
  double cpu_seconds; /* of all its threads, those that have ended too */
} el_load_process;

/* false: there is no such process, or it may not be looked at. */
bool el_load_process_read(int pid, el_load_process *out);

#endif
