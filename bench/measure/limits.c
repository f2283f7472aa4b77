#include "bench/measure/limits.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- memory */

enum { HUGE_PAGE = 2 << 20 };

static size_t whole_pages(size_t bytes) {
  return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void *el_bench_pages_new(size_t bytes) {
  void *p = aligned_alloc(HUGE_PAGE, whole_pages(bytes));
  if (p) madvise(p, whole_pages(bytes), MADV_HUGEPAGE); /* a wish: with small pages the figures are lower */
  return p;
}

static void write_part(void *arg, int ith, int n) {
  const el_bench_memory *m = arg;
  memset(m->data + (size_t)ith * m->part, ith + 1, m->part);
}

bool el_bench_memory_new(el_bench_memory *m, el_threads *threads, size_t part) {
  *m = (el_bench_memory){el_bench_pages_new(part * (size_t)el_threads_count(threads)), part};
  if (!m->data) return false;
  el_threads_run(threads, write_part, m);
  return true;
}

size_t el_bench_memory_part(const el_bench_machine *m, int mib, int n) {
  size_t total = (size_t)mib << 20, most = m->memory_bytes / 4;
  if (!total) {
    total = 8 * m->last_level_bytes;
    if (total < (size_t)512 << 20) total = (size_t)512 << 20;
    if (total > most) total = most;
  }
  return (total / (size_t)n + EL_PEAK_READ_UNIT - 1) / EL_PEAK_READ_UNIT * EL_PEAK_READ_UNIT;
}

/* ---- the limits */

static const double SAMPLE_SECONDS = 0.04;

typedef struct reading {
  const el_bench_memory *memory;
  el_peak_read_fn read;
  int streams;
  size_t ahead;
  atomic_ullong sum; /* where results go, so that they are needed */
} reading;

static void read_part(void *arg, uint64_t passes, int ith, int n) {
  reading *r = arg;
  unsigned long long sum = 0;
  while (passes--)
    sum += r->read(r->memory->data + (size_t)ith * r->memory->part, r->memory->part, r->streams, r->ahead);
  atomic_fetch_add_explicit(&r->sum, sum, memory_order_relaxed);
}

el_bench_figure el_bench_read_again(el_threads *threads, const el_bench_memory *m, const el_bench_read *way,
                                    int repeat) {
  const double gb = (double)m->part * el_threads_count(threads) * 1e-9;
  int width;
  reading r = {.memory = m, .read = el_peak_read(&width), .streams = way->streams, .ahead = way->ahead};
  return el_bench_scaled(el_bench_rate(threads, read_part, &r, SAMPLE_SECONDS, repeat), gb);
}

/* Every way once, then the fastest ones in earnest. */
enum { N_AHEADS = 4, N_WAYS = 4 * N_AHEADS, FINALISTS = 3 };

el_bench_read el_bench_read_fastest(el_threads *threads, const el_bench_memory *m, int repeat) {
  static const size_t aheads[N_AHEADS] = {0, 512, 2048, 8192};
  double first[N_WAYS];
  int width;
  reading r = {.memory = m, .read = el_peak_read(&width)};
  for (int w = 0; w < N_WAYS; w++) {
    r.streams = 1 << w / N_AHEADS;
    r.ahead = aheads[w % N_AHEADS];
    first[w] = el_bench_rate(threads, read_part, &r, 0.02, 1).median;
  }
  el_bench_read best = {{0, 0, 0}, 1, 0};
  for (int i = 0; i < FINALISTS; i++) {
    int w = 0;
    for (int k = 1; k < N_WAYS; k++)
      if (first[k] > first[w]) w = k;
    first[w] = 0;
    el_bench_read way = {{0, 0, 0}, 1 << w / N_AHEADS, aheads[w % N_AHEADS]};
    way.gb_per_second = el_bench_read_again(threads, m, &way, repeat);
    if (way.gb_per_second.median > best.gb_per_second.median) best = way;
  }
  return best;
}

static void run_peak_loop(void *arg, uint64_t passes, int ith, int n) {
  const el_peak_loop *loop = arg;
  loop->run(passes);
}

el_bench_figure el_bench_compute(el_threads *threads, const el_peak_loop *loop, int repeat) {
  el_bench_figure f = el_bench_rate(threads, run_peak_loop, (void *)loop, SAMPLE_SECONDS, repeat);
  return el_bench_scaled(f, loop->operations * 1e-9 * el_threads_count(threads));
}
