/* The machine: cores and caches, as the system tells them. */
#ifndef EL_BENCH_MEASURE_MACHINE_H
#define EL_BENCH_MEASURE_MACHINE_H

#include <jansson.h>

typedef struct el_bench_machine {
  char cpu[128];
  int cores;                 /* physical ones that this process may use */
  size_t l2_bytes, l3_bytes; /* of one cache; 0: not known, or there is none */
  int l3_sharers;            /* CPUs that share one third-level cache; 1 if it is not known */
  size_t last_level_bytes;   /* of all caches of the last level together; 32 MiB if nothing is known */
  size_t memory_bytes;
} el_bench_machine;

el_bench_machine el_bench_machine_get(void);
/* What --json reports of the machine, a new reference. NULL: no memory. */
json_t *el_bench_machine_json(const el_bench_machine *m);

/* The CPU's own name where the system tells it, else its architecture. */
void el_bench_cpu_name(char *out, size_t size);

#endif
