/* What this machine reads and computes at most, to compare with. */
#ifndef EL_BENCH_MEASURE_LIMITS_H
#define EL_BENCH_MEASURE_LIMITS_H

#include "bench/measure/machine.h"
#include "bench/measure/timing.h"
#include "bench/peak/peak.h"

/* Memory in huge pages where the system gives them. It must be written before it is read, and is released with free.
 * NULL: no memory. */
void *el_bench_pages_new(size_t bytes);

/* Memory that threads read, each its own part. */
typedef struct el_bench_memory {
  unsigned char *data;
  size_t part; /* a thread's, in bytes */
} el_bench_memory;

/* `part` bytes for each thread, a multiple of EL_PEAK_READ_UNIT, written by the thread that will read it. m->data is to
 * be released with free. */
bool el_bench_memory_new(el_bench_memory *m, el_threads *threads, size_t part);
/* The part of each of n threads, so that all parts together are larger than the caches. `mib`: the size of all parts
 * that the user asked for; 0: the default.
 */
size_t el_bench_memory_part(const el_bench_machine *m, int mib, int n);

typedef struct el_bench_read {
  el_bench_figure gb_per_second;
  int streams;
  size_t ahead; /* bytes; 0: no prefetch instructions */
} el_bench_read;

/* Tries several ways to read the memory and returns the fastest. */
el_bench_read el_bench_read_fastest(el_threads *threads, const el_bench_memory *m, int repeat);
/* Measures one way again. */
el_bench_figure el_bench_read_again(el_threads *threads, const el_bench_memory *m, const el_bench_read *way,
                                    int repeat);
/* Billions of operations a second. */
el_bench_figure el_bench_compute(el_threads *threads, const el_peak_loop *loop, int repeat);

#endif
