/* Timing of work that all threads repeat. */
#ifndef EL_BENCH_MEASURE_TIMING_H
#define EL_BENCH_MEASURE_TIMING_H

#include "base/threads.h"
#include "bench/measure/figures.h"

/* Starts n threads and keeps them busy until the system has given each a core and has raised the clock of the cores.
 */
el_status el_bench_threads_new(int n, el_threads **out, el_error *err);

/* Work that all threads do, `passes` times. */
typedef void (*el_bench_work_fn)(void *arg, uint64_t passes, int ith, int n);

enum { EL_BENCH_MAX_REPEAT = 1000 };

/* Passes a second that each of the threads does, all at the same time: `repeat` samples, each of `seconds` at least. */
el_bench_figure el_bench_rate(el_threads *threads, el_bench_work_fn work, void *arg, double seconds, int repeat);

#endif
