#include "bench/measure/limits.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpus.h"

/* ---- the machine */

/* The first line of a file of the first CPU's caches; false: there is none. */
static bool cache_line(int index, const char *what, char *out, int size) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  bool ok = fgets(out, size, file) != NULL;
  fclose(file);
  return ok;
}

/* How many CPUs a list such as 0-3,8-11 names. */
static int count_cpus(const char *list) {
  int n = 0;
  while (*list) {
    char *end;
    long first = strtol(list, &end, 10), last = first;
    if (end == list) break;
    if (*end == '-') last = strtol(end + 1, &end, 10);
    n += (int)(last - first) + 1;
    list = end + (*end == ',');
  }
  return n;
}

el_cli_machine el_cli_machine_get(void) {
  el_cli_machine m = {.cores = el_physical_cores(), .l3_sharers = 1};
  el_cli_bench_cpu_name(m.cpu, sizeof m.cpu);
  char line[256];
  for (int i = 0; cache_line(i, "level", line, sizeof line); i++) {
    int level = atoi(line);
    if (!cache_line(i, "type", line, sizeof line) || line[0] == 'I' || !cache_line(i, "size", line, sizeof line))
      continue;
    char *unit;
    size_t bytes = strtoul(line, &unit, 10);
    bytes <<= *unit == 'M' ? 20 : *unit == 'K' ? 10 : 0;
    int sharers = cache_line(i, "shared_cpu_list", line, sizeof line) ? count_cpus(line) : 1;
    if (sharers < 1) sharers = 1;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t instances = ((size_t)(cpus > 0 ? cpus : 1) + (size_t)sharers - 1) / (size_t)sharers;
    if (level >= 2) m.last_level_bytes = bytes * instances; /* levels come in their order */
    if (level == 2) m.l2_bytes = bytes;
    if (level == 3) {
      m.l3_bytes = bytes;
      m.l3_sharers = sharers;
    }
  }
  if (!m.last_level_bytes) m.last_level_bytes = (size_t)32 << 20;
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  m.memory_bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
  return m;
}

json_t *el_cli_machine_json(const el_cli_machine *m) {
  return json_pack("{s:s, s:i, s:I, s:I, s:I}", "cpu", m->cpu, "cores", m->cores, "l2_bytes", (json_int_t)m->l2_bytes,
                   "l3_bytes", (json_int_t)m->l3_bytes, "memory_bytes", (json_int_t)m->memory_bytes);
}

void el_cli_default_threads(el_cli_numbers *threads, const el_cli_machine *m) {
  if (threads->n) return;
  threads->items[threads->n++] = 1;
  if (m->cores > 1) threads->items[threads->n++] = m->cores;
}

/* ---- options */

unsigned el_cli_bench_names(const char *text, const char *const *names, int n) {
  unsigned bits = 0;
  while (*text) {
    size_t len = strcspn(text, ",");
    int found = -1;
    for (int i = 0; i < n; i++)
      if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) found = i;
    if (found < 0) return 0;
    bits |= 1u << found;
    text += len;
    if (*text == ',' && !*++text) return 0;
  }
  return bits;
}

/* ---- timing */

typedef struct sample {
  el_threads *threads;
  el_cli_work_fn work;
  void *arg;
  uint64_t passes;
  double seconds;
} sample;

static void run_sample(void *arg, int ith, int n) {
  sample *s = arg;
  el_barrier(s->threads, ith);
  uint64_t start = el_now_ns();
  s->work(s->arg, s->passes, ith, n);
  el_barrier(s->threads, ith);
  if (ith == 0) s->seconds = (double)(el_now_ns() - start) * 1e-9;
}

static double time_of(sample *s, uint64_t passes) {
  s->passes = passes;
  el_threads_run(s->threads, run_sample, s);
  return s->seconds > 1e-9 ? s->seconds : 1e-9;
}

el_cli_bench_figure el_cli_bench_rate(el_threads *threads, el_cli_work_fn work, void *arg, double seconds, int repeat) {
  sample s = {threads, work, arg, 0, 0};
  /* The first runs wake the threads, fill the caches, and find how many passes a sample takes. */
  uint64_t passes = 1;
  double took = time_of(&s, passes);
  while (took < seconds / 4) {
    double more = took > seconds / 64 ? seconds / 2 / took : 8;
    passes = (uint64_t)((double)passes * (more < 2 ? 2 : more));
    took = time_of(&s, passes);
  }
  passes = (uint64_t)((double)passes * seconds / took) + 1;
  double rates[EL_CLI_MAX_REPEAT];
  for (int i = 0; i < repeat; i++) rates[i] = (double)passes / time_of(&s, passes);
  return el_cli_bench_spread(rates, repeat);
}

el_cli_bench_figure el_cli_bench_scaled(el_cli_bench_figure f, double factor) {
  return (el_cli_bench_figure){f.median * factor, f.min * factor, f.max * factor};
}

static void spin(void *arg, int ith, int n) {
  uint64_t end = el_now_ns() + 300000000;
  while (el_now_ns() < end) continue;
}

el_status el_cli_bench_threads(int n, el_threads **out, el_error *err) {
  el_status status = el_threads_new(n, NULL, out, err);
  if (!status) el_threads_run(*out, spin, NULL);
  return status;
}

/* ---- memory */

enum { HUGE_PAGE = 2 << 20 };

static size_t whole_pages(size_t bytes) {
  return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void *el_cli_pages_new(size_t bytes) {
  void *p = aligned_alloc(HUGE_PAGE, whole_pages(bytes));
  if (p) madvise(p, whole_pages(bytes), MADV_HUGEPAGE); /* a wish: with small pages the figures are lower */
  return p;
}

static void write_part(void *arg, int ith, int n) {
  const el_cli_memory *m = arg;
  memset(m->data + (size_t)ith * m->part, ith + 1, m->part);
}

bool el_cli_memory_new(el_cli_memory *m, el_threads *threads, size_t part) {
  *m = (el_cli_memory){el_cli_pages_new(part * (size_t)el_threads_count(threads)), part};
  if (!m->data) return false;
  el_threads_run(threads, write_part, m);
  return true;
}

size_t el_cli_memory_part(const el_cli_machine *m, int mib, int n) {
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
  const el_cli_memory *memory;
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

el_cli_bench_figure el_cli_bench_read_again(el_threads *threads, const el_cli_memory *m, const el_cli_read *way,
                                            int repeat) {
  const double gb = (double)m->part * el_threads_count(threads) * 1e-9;
  int width;
  reading r = {.memory = m, .read = el_peak_read(&width), .streams = way->streams, .ahead = way->ahead};
  return el_cli_bench_scaled(el_cli_bench_rate(threads, read_part, &r, SAMPLE_SECONDS, repeat), gb);
}

/* Every way once, then the fastest ones in earnest. */
enum { N_AHEADS = 4, N_WAYS = 4 * N_AHEADS, FINALISTS = 3 };

el_cli_read el_cli_bench_read(el_threads *threads, const el_cli_memory *m, int repeat) {
  static const size_t aheads[N_AHEADS] = {0, 512, 2048, 8192};
  double first[N_WAYS];
  int width;
  reading r = {.memory = m, .read = el_peak_read(&width)};
  for (int w = 0; w < N_WAYS; w++) {
    r.streams = 1 << w / N_AHEADS;
    r.ahead = aheads[w % N_AHEADS];
    first[w] = el_cli_bench_rate(threads, read_part, &r, 0.02, 1).median;
  }
  el_cli_read best = {{0, 0, 0}, 1, 0};
  for (int i = 0; i < FINALISTS; i++) {
    int w = 0;
    for (int k = 1; k < N_WAYS; k++)
      if (first[k] > first[w]) w = k;
    first[w] = 0;
    el_cli_read way = {{0, 0, 0}, 1 << w / N_AHEADS, aheads[w % N_AHEADS]};
    way.gb_per_second = el_cli_bench_read_again(threads, m, &way, repeat);
    if (way.gb_per_second.median > best.gb_per_second.median) best = way;
  }
  return best;
}

static void run_loop(void *arg, uint64_t passes, int ith, int n) {
  const el_peak_loop *loop = arg;
  loop->run(passes);
}

el_cli_bench_figure el_cli_bench_compute(el_threads *threads, const el_peak_loop *loop, int repeat) {
  el_cli_bench_figure f = el_cli_bench_rate(threads, run_loop, (void *)loop, SAMPLE_SECONDS, repeat);
  return el_cli_bench_scaled(f, loop->operations * 1e-9 * el_threads_count(threads));
}
