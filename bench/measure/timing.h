/* Work that is done again and again by all threads, and timed. */
#ifndef EL_BENCH_MEASURE_TIMING_H
#define EL_BENCH_MEASURE_TIMING_H

#include "base/threads.h"
#include "bench/measure/figures.h"

/* Threads that run: they have been busy for so long that the system has given each a core, and the cores their clock.
 */
el_status el_bench_threads_new(int n, el_threads **out, el_error *err);

/* Work that all threads do, `passes` times. */
typedef void (*el_bench_work_fn)(void *arg, uint64_t passes, int ith, int n);

enum { EL_BENCH_MAX_REPEAT = 1000 };

/* How often a second the threads together do one pass each: `repeat` samples of `seconds` and more. */
el_bench_figure el_bench_rate(el_threads *threads, el_bench_work_fn work, void *arg, double seconds, int repeat);

#endif
