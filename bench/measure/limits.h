/* What the benches of parts of this machine and of this program share: repeated timing on all threads, memory that is
 * read, and the limits to compare with. */
#ifndef EL_BENCH_MEASURE_LIMITS_H
#define EL_BENCH_MEASURE_LIMITS_H

#include "base/threads.h"
#include "bench/measure/figures.h"
#include "bench/peak/peak.h"
#include "cli/options.h"

/* Cores and caches, as the system tells them. */
typedef struct el_cli_machine {
  char cpu[128];
  int cores;                 /* physical ones that this process may use */
  size_t l2_bytes, l3_bytes; /* of one cache; 0: not known, or there is none */
  int l3_sharers;            /* CPUs that share one third-level cache; 1 if it is not known */
  size_t last_level_bytes;   /* of all caches of the last level together; 32 MiB if nothing is known */
  size_t memory_bytes;
} el_cli_machine;

el_cli_machine el_cli_machine_get(void);
/* A new reference: what --json reports of it. NULL: out of memory. */
json_t *el_cli_machine_json(const el_cli_machine *m);

/* Threads that run: they have been busy for so long that the system has given each a core, and the cores their clock.
 */
el_status el_cli_bench_threads(int n, el_threads **out, el_error *err);

/* Work that all threads do, `passes` times. */
typedef void (*el_cli_work_fn)(void *arg, uint64_t passes, int ith, int n);

enum { EL_CLI_MAX_REPEAT = 1000 };

/* How often a second the threads together do one pass each: `repeat` samples of `seconds` and more. */
el_cli_bench_figure el_cli_bench_rate(el_threads *threads, el_cli_work_fn work, void *arg, double seconds, int repeat);
el_cli_bench_figure el_cli_bench_scaled(el_cli_bench_figure f, double factor);

/* Memory in huge pages where the system gives them, to be written before it is read; released with free. NULL: there is
 * none. */
void *el_cli_pages_new(size_t bytes);

/* Memory that threads read, each its own part. */
typedef struct el_cli_memory {
  unsigned char *data;
  size_t part; /* a thread's, in bytes */
} el_cli_memory;

/* `part` bytes for each thread, a multiple of EL_PEAK_READ_UNIT, written by the thread that will read it. m->data is to
 * be released with free. */
bool el_cli_memory_new(el_cli_memory *m, el_threads *threads, size_t part);
/* More than the caches of the machine hold, for n threads together; a thread's part. `mib`: 0, or what was asked for.
 */
size_t el_cli_memory_part(const el_cli_machine *m, int mib, int n);

typedef struct el_cli_read {
  el_cli_bench_figure gb_per_second;
  int streams;
  size_t ahead; /* bytes; 0: no prefetch instructions */
} el_cli_read;

/* The best of several ways to read it. */
el_cli_read el_cli_bench_read(el_threads *threads, const el_cli_memory *m, int repeat);
/* Once more, in a way that was found. */
el_cli_bench_figure el_cli_bench_read_again(el_threads *threads, const el_cli_memory *m, const el_cli_read *way,
                                            int repeat);
/* Billions of operations a second. */
el_cli_bench_figure el_cli_bench_compute(el_threads *threads, const el_peak_loop *loop, int repeat);

/* A comma-separated list of names as bits; 0: one is unknown. */
unsigned el_cli_bench_names(const char *text, const char *const *names, int n);
/* --threads: the default is 1 and all cores. */
void el_cli_default_threads(el_cli_numbers *threads, const el_cli_machine *m);

#endif
