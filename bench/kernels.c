/* edgelora-bench kernels: each kernel alone, beside the machine's limits measured in the same run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/kernels/work.h"
#include "bench/measure/limits.h"
#include "bench/measure/options.h"
#include "kernels/select.h"

enum { MAX_ISAS = 16, MAX_SHAPES = 32, N_LAYOUTS = EL_LAYOUT_BF16 + 1 };

static const double SAMPLE_SECONDS = 0.02;

typedef struct shape {
  int a, b;
} shape;

typedef enum what { GEMM = 1, QUANTIZE = 2, RMS_NORM = 4, SWIGLU = 8, ATTEND = 16 } what;
static const char *const kernel_names[] = {"gemm", "quantize", "rms_norm", "swiglu", "attend"};
enum { N_KERNELS = sizeof kernel_names / sizeof *kernel_names };

typedef struct bench {
  const char *isa, *kernels_text, *layouts_text, *shapes_text, *heads_text;
  el_cli_numbers threads, cols;
  int positions, repeat;
  bool cold, json;

  unsigned kernels, layouts; /* bits */
  shape shapes[MAX_SHAPES], heads[MAX_SHAPES];
  int n_shapes, n_heads;
  const el_kernels *isas[MAX_ISAS];
  int n_isas;

  el_bench_machine machine;
  json_t *limits, *results;
  double widest; /* the largest (most - least) / median of all figures */

  /* What is being measured */
  const el_kernels *with;
  el_threads *pool;
  int n_threads;
  el_bench_memory memory;
  el_bench_read way;                     /* the fastest one to read it */
  double int8_peak, f32_peak, read_peak; /* of n_threads; 0: not known */
} bench;

/* ---- what was asked for */

/* A comma-separated list such as 576x576,2048x8192; their number, 0: it is none. */
static int parse_shapes(const char *text, int most, int unit, shape *out) {
  int n = 0;
  for (;; text++) {
    char *end;
    if (n == MAX_SHAPES || *text < '1' || *text > '9') return 0;
    long a = strtol(text, &end, 10);
    if (*end != 'x' || end[1] < '1' || end[1] > '9') return 0;
    long b = strtol(end + 1, &end, 10);
    if (a > most || b > most || b % unit || (*end && *end != ',')) return 0;
    out[n++] = (shape){(int)a, (int)b};
    text = end;
    if (!*text) return n;
  }
}

static int choose_isas(const el_cli_command *self, bench *b) {
  if (!b->isa || strcmp(b->isa, "all") != 0) {
    el_error err;
    b->n_isas = 1;
    return el_kernels_get(b->isa, &b->isas[0], &err) ? el_cli_usage_error(self, "--isa: '%s': %s", b->isa, err.message)
                                                     : -1;
  }
  /* Not the portable kernels, unless there are no others: they take minutes. */
  for (int i = 0; el_kernels_at(i) && b->n_isas < MAX_ISAS; i++)
    if (i == 0 || strcmp(el_kernels_at(i)->name, "scalar") != 0) b->isas[b->n_isas++] = el_kernels_at(i);
  return -1;
}

static int choose_kernels(const el_cli_command *self, bench *b) {
  const char *layouts[N_LAYOUTS];
  for (int i = 0; i < N_LAYOUTS; i++) layouts[i] = el_layout_name((el_layout)i);
  b->kernels = el_bench_parse_names(b->kernels_text, kernel_names, N_KERNELS);
  if (!b->kernels)
    return el_cli_usage_error(self, "--kernels: '%s' is not a list of gemm, quantize, rms_norm, swiglu and attend",
                              b->kernels_text);
  b->layouts = el_bench_parse_names(b->layouts_text, layouts, N_LAYOUTS);
  if (!b->layouts)
    return el_cli_usage_error(self, "--layouts: '%s' is not a list of q4, q4m, q8, q8m, f16 and bf16", b->layouts_text);
  b->n_shapes = parse_shapes(b->shapes_text, 1 << 20, EL_GROUP, b->shapes);
  if (!b->n_shapes)
    return el_cli_usage_error(
        self,
        "--shapes: '%s' is not a list of 1 to %d shapes ROWSxCOLUMNS, such as 576x1536; columns are "
        "a multiple of %d",
        b->shapes_text, MAX_SHAPES, EL_GROUP);
  b->n_heads = parse_shapes(b->heads_text, 1024, 16, b->heads);
  if (!b->n_heads)
    return el_cli_usage_error(self,
                              "--heads: '%s' is not a list of QUERIESxDIMENSIONS, such as 3x64; dimensions are a "
                              "multiple of 16",
                              b->heads_text);
  return choose_isas(self, b);
}

/* ---- output */

static const char *plural(int n) {
  return n == 1 ? "" : "s";
}

static void put_limits(bench *b) {
  if (b->json) return;
  printf("\n%s, %d thread%s", b->with->name, b->n_threads, plural(b->n_threads));
  if (b->int8_peak > 0) printf("; int8 peak %.0f GOPS, f32 peak %.0f GOPS", b->int8_peak, b->f32_peak);
  printf("; memory %.1f GB/s\n", b->read_peak);
  fflush(stdout);
}

static bool add_limits(bench *b) {
  put_limits(b);
  json_t *entry =
      json_pack("{s:s, s:i, s:f}", "isa", b->with->name, "threads", b->n_threads, "read_gb_per_second", b->read_peak);
  if (entry && b->int8_peak > 0) {
    json_object_set_new(entry, "int8_gops", json_real(b->int8_peak));
    json_object_set_new(entry, "f32_gops", json_real(b->f32_peak));
  }
  return entry && json_array_append_new(b->limits, entry) == 0;
}

static bool add_result(bench *b, json_t *entry) {
  if (!entry || json_object_set_new(entry, "isa", json_string(b->with->name)) ||
      json_object_set_new(entry, "threads", json_integer(b->n_threads)))
    return false;
  return json_array_append_new(b->results, entry) == 0;
}

static void note_range(bench *b, const el_bench_figure *f) {
  double width = (f->max - f->min) / f->median;
  if (width > b->widest) b->widest = width;
}

static void gemm_head(bench *b) {
  if (b->json) return;
  printf("\nGOPS and share of the peak, by columns\n%-7s%14s", "layout", "rows x columns");
  for (size_t i = 0; i < b->cols.n; i++) printf("%12d", b->cols.items[i]);
  printf("%12s\n", "GB/s at 1");
}

/* ---- measuring */

/* The machine's reading speed at this moment: on a virtual one it changes with the cores that the host gives. */
static double read_now(bench *b) {
  return el_bench_read_again(b->pool, &b->memory, &b->way, 1).median;
}

static int gemm_row(bench *b, el_layout layout, shape s) {
  int max_cols = 0;
  for (size_t i = 0; i < b->cols.n; i++)
    if (b->cols.items[i] > max_cols) max_cols = b->cols.items[i];
  el_bench_gemm g;
  el_error err;
  size_t streamed = b->cold ? 4 * b->machine.last_level_bytes : 0;
  if (el_bench_gemm_new(&g, b->with, layout, s.a, s.b, max_cols, streamed, b->n_threads, &err))
    return el_cli_failed(&err);
  const char *name = el_layout_name(layout);
  const bool is_float = el_layout_is_float(layout);
  const double peak = is_float ? b->f32_peak : b->int8_peak, weight_gb = (double)el_packed_bytes(&g.w) * 1e-9;
  double at_1 = 0, read_at_1 = 0;
  bool ok = true;
  if (!b->json) printf("%-7s%7dx%-6d", name, s.a, s.b);
  for (size_t i = 0; ok && i < b->cols.n; i++) {
    int n_cols = b->cols.items[i];
    el_bench_gemm_columns(&g, n_cols);
    double read = b->cold ? read_now(b) : 0;
    el_bench_figure f = el_bench_rate(b->pool, el_bench_gemm_run, &g, SAMPLE_SECONDS, b->repeat);
    /* A pass of all threads together is one product. */
    el_bench_figure gops = el_bench_scaled(f, 2e-9 * s.a * s.b * n_cols), gbs = el_bench_scaled(f, weight_gb);
    note_range(b, &f);
    if (n_cols == 1) at_1 = gbs.median, read_at_1 = read;
    if (!b->json) {
      char share[16] = "";
      if (peak > 0) snprintf(share, sizeof share, "%.0f%%", 100 * gops.median / peak);
      printf("%7.*f %4s", gops.median < 100, gops.median, share);
      fflush(stdout);
      continue;
    }
    json_t *entry = json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:o, s:o}", "kernel", "gemm", "layout", name, "rows", s.a,
                              "columns_of_weights", s.b, "columns", n_cols, "cold", b->cold, "gops",
                              el_bench_figure_json(&gops), "weight_gb_per_second", el_bench_figure_json(&gbs));
    if (entry && peak > 0) json_object_set_new(entry, "share_of_peak", json_real(gops.median / peak));
    if (entry && b->cold) json_object_set_new(entry, "share_of_read", json_real(gbs.median / read));
    ok = add_result(b, entry);
  }
  if (!b->json) {
    if (at_1 > 0) printf("%9.1f", at_1);
    if (at_1 > 0 && b->cold) printf(" (%.0f%% of memory's)", 100 * at_1 / read_at_1);
    putchar('\n');
    fflush(stdout);
  }
  el_bench_gemm_free(&g);
  return ok ? -1 : el_cli_no_memory();
}

static int gemm_rows(bench *b) {
  gemm_head(b);
  for (int i = 0; i < b->n_shapes; i++)
    for (int l = 0; l < N_LAYOUTS; l++) {
      if (!(b->layouts >> l & 1)) continue;
      int code = gemm_row(b, (el_layout)l, b->shapes[i]);
      if (code >= 0) return code;
    }
  return -1;
}

/* `bytes`: what one thread reads in a pass. */
static int other_row(bench *b, const char *kernel, const char *size, el_bench_work_fn work, void *arg, size_t bytes) {
  const bool streamed = b->cold && work == el_bench_attend_run;
  const double read = streamed ? read_now(b) : 0;
  el_bench_figure f = el_bench_rate(b->pool, work, arg, SAMPLE_SECONDS, b->repeat),
                  gbs = el_bench_scaled(f, (double)bytes * 1e-9 * b->n_threads);
  note_range(b, &f);
  if (!b->json) {
    printf("%-10s%-34s%8.1f GB/s", kernel, size, gbs.median);
    if (streamed) printf(" (%.0f%% of memory's)", 100 * gbs.median / read);
    printf("%12.0f ns\n", 1e9 / f.median);
    fflush(stdout);
    return -1;
  }
  json_t *entry = json_pack("{s:s, s:s, s:b, s:o, s:f}", "kernel", kernel, "size", size, "cold", streamed,
                            "gb_per_second", el_bench_figure_json(&gbs), "ns", 1e9 / f.median);
  if (entry && streamed) json_object_set_new(entry, "share_of_read", json_real(gbs.median / read));
  return add_result(b, entry) ? -1 : el_cli_no_memory();
}

static int row_rows(bench *b, int n) {
  el_bench_rows r;
  el_error err;
  char size[64];
  size_t bytes = (size_t)n * sizeof(float);
  snprintf(size, sizeof size, "%d values", n);
  if (el_bench_rows_new(&r, b->with, n, b->n_threads, &err)) return el_cli_failed(&err);
  int code = -1;
  if (b->kernels & QUANTIZE) code = other_row(b, "quantize", size, el_bench_quantize_run, &r, bytes);
  if (code < 0 && (b->kernels & RMS_NORM)) code = other_row(b, "rms_norm", size, el_bench_rms_norm_run, &r, 2 * bytes);
  if (code < 0 && (b->kernels & SWIGLU)) code = other_row(b, "swiglu", size, el_bench_swiglu_run, &r, 2 * bytes);
  el_bench_rows_free(&r);
  return code;
}

static int attend_row(bench *b, shape heads) {
  el_bench_attend a;
  el_error err;
  char size[64];
  size_t streamed = b->cold ? 4 * b->machine.last_level_bytes : 0;
  snprintf(size, sizeof size, "%d x %d, %d positions", heads.a, heads.b, b->positions);
  if (el_bench_attend_new(&a, b->with, heads.a, heads.b, b->positions, streamed, b->n_threads, &err))
    return el_cli_failed(&err);
  int code = other_row(b, "attend", size, el_bench_attend_run, &a, el_bench_attend_bytes(&a));
  el_bench_attend_free(&a);
  return code;
}

static int other_rows(bench *b) {
  if (!b->json) printf("\n%-10s%-34s%13s%15s\n", "kernel", "of each thread", "input read", "one thread's");
  int code = -1;
  for (int i = 0; code < 0 && i < b->n_shapes && (b->kernels & (QUANTIZE | RMS_NORM | SWIGLU)); i++) {
    bool seen = false;
    for (int k = 0; k < i; k++) seen |= b->shapes[k].b == b->shapes[i].b;
    if (!seen) code = row_rows(b, b->shapes[i].b);
  }
  for (int i = 0; code < 0 && i < b->n_heads && (b->kernels & ATTEND); i++) code = attend_row(b, b->heads[i]);
  return code;
}

static int find_read_peak(bench *b) {
  size_t part = el_bench_memory_part(&b->machine, 0, b->n_threads);
  if (!el_bench_memory_new(&b->memory, b->pool, part)) return el_cli_no_memory();
  b->way = el_bench_read_fastest(b->pool, &b->memory, b->repeat < 3 ? b->repeat : 3);
  b->read_peak = b->way.gb_per_second.median;
  return -1;
}

static double compute_peak(bench *b, el_peak_kind kind) {
  const el_peak_loop *loop = el_peak_loop_of(b->with->name, kind);
  return loop ? el_bench_compute(b->pool, loop, b->repeat).median : 0;
}

/* One instruction set. The clock may depend on it, so its peaks are measured right before. */
static int measure_isa(bench *b) {
  b->int8_peak = compute_peak(b, EL_PEAK_INT8);
  b->f32_peak = compute_peak(b, EL_PEAK_F32);
  if (!add_limits(b)) return el_cli_no_memory();
  int code = b->kernels & GEMM ? gemm_rows(b) : -1;
  if (code < 0 && (b->kernels & ~(unsigned)GEMM)) code = other_rows(b);
  return code;
}

static int measure_kernels(bench *b) {
  for (size_t t = 0; t < b->threads.n; t++) {
    el_error err;
    b->n_threads = b->threads.items[t];
    if (el_bench_threads_new(b->n_threads, &b->pool, &err)) return el_cli_failed(&err);
    int code = find_read_peak(b);
    for (int i = 0; code < 0 && i < b->n_isas; i++) {
      b->with = b->isas[i];
      code = measure_isa(b);
    }
    free(b->memory.data);
    b->memory.data = NULL;
    el_threads_free(b->pool);
    if (code >= 0) return code;
  }
  return -1;
}

static int print_kernels_end(const bench *b) {
  if (!b->json) {
    printf("\nMedians of %d; the widest range of a figure is %.0f%% of its median.\n", b->repeat, 100 * b->widest);
    return el_cli_end(EL_EXIT_OK);
  }
  json_t *report = json_pack("{s:o, s:i, s:O, s:O}", "machine", el_bench_machine_json(&b->machine), "repeat", b->repeat,
                             "limits", b->limits, "results", b->results);
  return el_bench_print_json(report);
}

static int run_kernels(const el_cli_command *self, int argc, char **argv) {
  bench b = {.kernels_text = "gemm,quantize,rms_norm,swiglu,attend",
             .layouts_text = "q4,q4m,q8,q8m,f16,bf16",
             .shapes_text = "576x576,2048x2048,2048x8192",
             .heads_text = "3x64,4x64",
             .cols = {.items = {1, 2, 4, 8, 16, 32, 128}, .n = 7},
             .positions = 1024,
             .repeat = 5};
  const el_cli_option options[] = {
      {0, "isa", "NAME", EL_CLI_TEXT, &b.isa, 0, 0,
       "instruction set, as in 'edgelora run --isa'; 'all': every one that this CPU has, except scalar; default: the "
       "best one"},
      {0, "kernels", "LIST", EL_CLI_TEXT, &b.kernels_text, 0, 0,
       "which kernels: gemm, quantize, rms_norm, swiglu, attend; default: all"},
      {0, "layouts", "LIST", EL_CLI_TEXT, &b.layouts_text, 0, 0,
       "layouts of packed weights: q4 (Q4_0), q4m (Q4_1), q8 (Q8_0), q8m (Q5_1), f16, bf16; default: all"},
      {0, "shapes", "LIST", EL_CLI_TEXT, &b.shapes_text, 0, 0,
       "rows x columns of the weights; the columns are also the sizes of quantize, rms_norm and swiglu; default "
       "576x576,2048x2048,2048x8192"},
      {0, "cols", "LIST", EL_CLI_NUMBERS, &b.cols, 1, 4096,
       "columns of the activations: rows of a step, that is, sequences or prompt tokens; default 1,2,4,8,16,32,128"},
      {0, "heads", "LIST", EL_CLI_TEXT, &b.heads_text, 0, 0,
       "query heads that share keys and values, x dimensions of a head; default 3x64,4x64"},
      {0, "positions", "N", EL_CLI_INT, &b.positions, 1, 1 << 20,
       "number of positions that attend reads; default 1024"},
      {0, "cold", NULL, EL_CLI_FLAG, &b.cold, 0, 0,
       "read weights, keys and values from memory, as with a large model: use copies that are larger than the caches"},
      {'t', "threads", "LIST", EL_CLI_NUMBERS, &b.threads, 1, EL_MAX_THREADS,
       "numbers of threads to measure with; default: 1, and one per physical core"},
      {0, "repeat", "R", EL_CLI_INT, &b.repeat, 1, EL_BENCH_MAX_REPEAT,
       "measure R times and take the median; default 5"},
      {0, "json", NULL, EL_CLI_FLAG, &b.json, 0, 0, "print one JSON object, ranges included, instead of tables"},
  };
  const el_cli_group group = {"Measurement", options, sizeof options / sizeof *options};
  int code = el_cli_parse(self, &group, 1, argc, argv, NULL);
  if (code < 0) code = choose_kernels(self, &b);
  if (code >= 0) return code;
  b.machine = el_bench_machine_get();
  el_bench_default_threads(&b.threads, &b.machine);
  b.limits = json_array();
  b.results = json_array();
  if (!b.limits || !b.results) code = el_cli_no_memory();
  if (code < 0 && !b.json)
    printf("machine   %s; %d cores; weights %s\n", b.machine.cpu, b.machine.cores,
           b.cold ? "from memory" : "in the cache where they fit");
  if (code < 0) code = measure_kernels(&b);
  if (code < 0) code = print_kernels_end(&b);
  json_decref(b.limits);
  json_decref(b.results);
  return code;
}

const el_cli_command el_cmd_bench_kernels = {
    .name = "kernels",
    .summary = "each kernel alone, and its share of the machine's limit",
    .usage = "[--isa NAME] [--shapes LIST] [--cols LIST] [--cold] [options]",
    .about =
        "Times each kernel alone, beside the limits of this machine, which are measured in the same run.\n"
        "  gemm    multiplies a matrix of packed weights by one or more columns of activations. Figures are\n"
        "          billions of operations a second (GOPS; a product and its addition are two), and their\n"
        "          share of the limit that 'edgelora-bench peak' calls int8 (layouts q4 to q8m) or f32\n"
        "          (f16, bf16). Threads share the rows. GB/s at 1: bytes of weights read a second with one\n"
        "          column.\n"
        "  others  quantize, rms_norm, swiglu and attend: bytes of input read a second by all threads. Each\n"
        "          thread has its own data. attend reads the keys and values of one head for the query\n"
        "          heads that share them.",
    .examples =
        "  edgelora-bench kernels --layouts q4,q8 --shapes 2048x8192\n"
        "  edgelora-bench kernels --cold --cols 1 --kernels gemm,attend\n"
        "  edgelora-bench kernels --isa all --json",
    .run = run_kernels};
