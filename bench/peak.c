/* edgelora-bench peak: the limits of the machine, to compare the speed of the program with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/measure/limits.h"
#include "bench/measure/options.h"
#include "kernels/kernels.h"

enum { MAX_COLUMNS = 64, MAX_ROWS = 16 };

enum { COMPUTE = 1, MEMORY = 2, CACHES = 4 };
static const char *const limit_names[] = {"compute", "memory", "caches"};

typedef struct peak {
  const char *limits_text;
  unsigned limits; /* bits */
  el_cli_numbers threads;
  int memory_mib, repeat;
  bool json;
  el_bench_machine machine;
  json_t *compute, *read;
  bool out_of_memory;
  /* The table: a line a limit, a cell a number of threads. */
  struct line {
    char name[64];
    char cells[MAX_COLUMNS][40];
    const char *unit;
  } lines[MAX_ROWS];
  int n_lines;
} peak;

static struct line *line_of(peak *p, const char *name, const char *unit) {
  for (int i = 0; i < p->n_lines; i++)
    if (strcmp(p->lines[i].name, name) == 0) return &p->lines[i];
  struct line *line = &p->lines[p->n_lines++];
  snprintf(line->name, sizeof line->name, "%s", name);
  line->unit = unit;
  return line;
}

static void put_cell(peak *p, const char *name, const char *unit, int column, const el_bench_figure *f) {
  const char *form = f->median >= 100 ? "%.0f (%.0f-%.0f)" : "%.1f (%.1f-%.1f)";
  struct line *line = line_of(p, name, unit);
  snprintf(line->cells[column], sizeof line->cells[column], form, f->median, f->min, f->max);
}

static void add_entry(peak *p, json_t *to, json_t *entry) {
  if (!entry || json_array_append_new(to, entry)) p->out_of_memory = true;
}

static void measure_compute(peak *p, el_threads *threads, int column) {
  int n = p->threads.items[column];
  for (int i = 0; el_peak_loop_at(i); i++) {
    const el_peak_loop *loop = el_peak_loop_at(i);
    const char *kind = loop->kind == EL_PEAK_INT8 ? "int8" : "f32";
    el_bench_figure f = el_bench_compute(threads, loop, p->repeat);
    char name[64];
    snprintf(name, sizeof name, "%-5s %-10s  %s", kind, loop->isa, loop->instruction);
    put_cell(p, name, "GOPS", column, &f);
    add_entry(p, p->compute,
              json_pack("{s:s, s:s, s:s, s:i, s:o}", "kind", kind, "isa", loop->isa, "instruction", loop->instruction,
                        "threads", n, "gops", el_bench_figure_json(&f)));
  }
}

static int measure_read(peak *p, el_threads *threads, int column, const char *level, size_t part) {
  el_bench_memory memory;
  if (!el_bench_memory_new(&memory, threads, part)) return el_cli_no_memory();
  int n = p->threads.items[column], width;
  el_peak_read(&width);
  el_bench_read r = el_bench_read_fastest(threads, &memory, p->repeat);
  free(memory.data);
  char name[64];
  snprintf(name, sizeof name, "read  %s", level);
  put_cell(p, name, "GB/s", column, &r.gb_per_second);
  add_entry(p, p->read,
            json_pack("{s:s, s:i, s:I, s:i, s:i, s:I, s:o}", "level", level, "threads", n, "bytes",
                      (json_int_t)(part * (size_t)n), "load_bytes", width, "streams", r.streams, "prefetch_ahead_bytes",
                      (json_int_t)r.ahead, "gb_per_second", el_bench_figure_json(&r.gb_per_second)));
  return -1;
}

/* A thread's part of a cache: half of it, so that the rest of the program does not push it out. 0: there is no such
 * cache, or it holds no more than the one before it. */
static size_t l2_part(const el_bench_machine *m) {
  return m->l2_bytes / 2 / EL_PEAK_READ_UNIT * EL_PEAK_READ_UNIT;
}
static size_t l3_part(const el_bench_machine *m, int n) {
  size_t on_one = (size_t)(n < m->l3_sharers ? n : m->l3_sharers);
  size_t part = m->l3_bytes / 2 / on_one / EL_PEAK_READ_UNIT * EL_PEAK_READ_UNIT;
  return part >= 2 * m->l2_bytes ? part : 0;
}

static int measure_limits(peak *p) {
  for (size_t i = 0; i < p->threads.n; i++) {
    el_threads *threads;
    el_error err;
    int n = p->threads.items[i];
    if (el_bench_threads_new(n, &threads, &err)) return el_cli_failed(&err);
    int code = -1;
    if (p->limits & COMPUTE) measure_compute(p, threads, (int)i);
    if (p->limits & MEMORY)
      code = measure_read(p, threads, (int)i, "memory", el_bench_memory_part(&p->machine, p->memory_mib, n));
    size_t l2 = l2_part(&p->machine), l3 = l3_part(&p->machine, n);
    if (code < 0 && l3 && (p->limits & CACHES)) code = measure_read(p, threads, (int)i, "L3", l3);
    if (code < 0 && l2 && (p->limits & CACHES)) code = measure_read(p, threads, (int)i, "L2", l2);
    el_threads_free(threads);
    if (code >= 0) return code;
  }
  return -1;
}

static void print_limits(const peak *p) {
  const el_bench_machine *m = &p->machine;
  printf("machine   %s; %d cores", m->cpu, m->cores);
  if (m->l2_bytes) printf("; L2 %.1f MiB", (double)m->l2_bytes / (1 << 20));
  if (m->l3_bytes) printf("; L3 %.1f MiB", (double)m->l3_bytes / (1 << 20));
  printf("\nkernels   %s would be used; figures are the median (least-most) of %d\n\n%-36s", el_kernels_at(0)->name,
         p->repeat, "limit");
  for (size_t i = 0; i < p->threads.n; i++) {
    char head[32];
    snprintf(head, sizeof head, "%d thread%s", p->threads.items[i], p->threads.items[i] == 1 ? "" : "s");
    printf("%22s", head);
  }
  putchar('\n');
  for (int k = 0; k < p->n_lines; k++) {
    printf("%-36s", p->lines[k].name);
    for (size_t i = 0; i < p->threads.n; i++) printf("%22s", p->lines[k].cells[i]);
    printf("  %s\n", p->lines[k].unit);
  }
}

static int print_limits_json(const peak *p) {
  return el_bench_print_json(json_pack("{s:o, s:s, s:i, s:O, s:O}", "machine", el_bench_machine_json(&p->machine),
                                       "kernels", el_kernels_at(0)->name, "repeat", p->repeat, "compute", p->compute,
                                       "read", p->read));
}

static int run_peak(const el_cli_command *self, int argc, char **argv) {
  peak *p = calloc(1, sizeof *p);
  if (!p) return el_cli_no_memory();
  p->repeat = 5;
  p->limits_text = "compute,memory,caches";
  const el_cli_option options[] = {
      {0, "limits", "LIST", EL_CLI_TEXT, &p->limits_text, 0, 0, "which limits: compute, memory, caches; default: all"},
      {'t', "threads", "LIST", EL_CLI_NUMBERS, &p->threads, 1, EL_MAX_THREADS,
       "numbers of threads; default: 1, and one for each physical core"},
      {0, "memory-mib", "N", EL_CLI_INT, &p->memory_mib, 0, 65536,
       "MiB of memory to read; default 0: 8 times the size of the last-level caches, at least 512"},
      {0, "repeat", "R", EL_CLI_INT, &p->repeat, 1, EL_BENCH_MAX_REPEAT,
       "measure R times and show the median and the range; default 5"},
      {0, "json", NULL, EL_CLI_FLAG, &p->json, 0, 0, "print one JSON object instead of a table"},
  };
  const el_cli_group group = {"Measurement", options, sizeof options / sizeof *options};
  int code = el_cli_parse(self, &group, 1, argc, argv, NULL);
  p->limits = el_bench_parse_names(p->limits_text, limit_names, sizeof limit_names / sizeof *limit_names);
  if (code < 0 && !p->limits)
    code = el_cli_usage_error(self, "--limits: '%s' is not a list of compute, memory and caches", p->limits_text);
  if (code < 0) {
    p->machine = el_bench_machine_get();
    el_bench_default_threads(&p->threads, &p->machine);
    p->compute = json_array();
    p->read = json_array();
    p->out_of_memory = !p->compute || !p->read;
    if (!p->out_of_memory) code = measure_limits(p);
    if (p->out_of_memory) code = el_cli_no_memory();
    if (code < 0 && p->json) code = print_limits_json(p);
    if (code < 0) {
      print_limits(p);
      code = el_cli_end(EL_EXIT_OK);
    }
  }
  json_decref(p->compute);
  json_decref(p->read);
  free(p);
  return code;
}

const el_cli_command el_cmd_bench_peak = {
    .name = "peak",
    .summary = "the limits of this machine: int8 multiply-adds, and reading memory",
    .usage = "[--threads LIST] [options]",
    .about =
        "Measures what no program on this machine can exceed, to compare speeds with:\n"
        "  int8   products of 8-bit integers in registers, by the instruction that each set of kernels\n"
        "         uses, in billions of operations a second (GOPS; a product and its addition are two).\n"
        "         vpmaddubsw adds in 16 bits only. A kernel needs further instructions to widen and add up\n"
        "         the sums, which are not counted, so it reaches about 60% of this limit.\n"
        "  f32    fused multiply-adds of floats: the limit for weights that stay in 16 bits.\n"
        "  read   bytes that all threads read a second from memory, in the fastest of 16 ways; also from\n"
        "         the L3 and L2 caches. Decode of one sequence reads all weights once for each token, so it\n"
        "         cannot be faster than reading speed / size of the weights.\n"
        "The share of the limit that prompt processing reaches is 2 x parameters x tokens a second / int8.\n"
        "Nothing else should be running.",
    .examples =
        "  edgelora-bench peak\n"
        "  edgelora-bench peak --threads 1,4,8 --repeat 9 --json",
    .run = run_peak};
