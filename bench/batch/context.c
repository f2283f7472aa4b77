/* edgelora-bench batch --context: steps of decoding with so many tokens before them, without queue and sampling. To
 * compute such prompts would take minutes: one of FILLED tokens is, and its keys and values are copied over the
 * context. Beside each figure, from the same seconds, how fast this machine reads memory. */
#include "bench/batch/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/measure/figures.h"
#include "bench/measure/limits.h"
#include "bench/measure/steps.h"

enum { FILLED = 256 };

typedef struct contexts {
  const el_cli_context *with;
  el_cli_machine machine;
  el_cli_steps steps;
  el_cli_memory memory;
  el_cli_read way;
  json_t *results;
} contexts;

/* Medians of the rounds, for one batch size and context. */
typedef struct figures {
  el_cli_bench_figure tokens, attention_ms, kv_gbs, read;
  double step_ms, kv_mb;
} figures;

static int longest(const el_cli_context *w) {
  int most = 0;
  for (size_t i = 0; i < w->n_contexts; i++) most = w->contexts[i] > most ? w->contexts[i] : most;
  return most;
}

static unsigned char *page_at(contexts *c, int sequence, int i) {
  el_cli_steps *s = &c->steps;
  const size_t page = s->pages[(size_t)sequence * (size_t)s->pages_each + (size_t)i];
  return s->kv + page * el_kv_page_bytes(s->h, s->kv_type);
}

static void fill(contexts *c, int step_rows) {
  const int context = longest(c->with), n = context < FILLED ? context : FILLED,
            n_pages = (n + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS;
  for (int pos = 0, k; pos < n; pos += k) {
    for (k = 0; k < step_rows && pos + k < n; k++)
      c->steps.rows[k] = el_cli_steps_row(&c->steps, 0, pos + k, NULL, false);
    el_cli_steps_run(&c->steps, k);
  }
  for (int s = 0; s < c->with->max_npl; s++)
    for (int i = 0; i < c->steps.pages_each; i++)
      if (s > 0 || i >= n_pages)
        memcpy(page_at(c, s, i), page_at(c, 0, i % n_pages), el_kv_page_bytes(c->steps.h, c->steps.kv_type));
}

static el_status open_contexts(contexts *c, const char *path, el_error *err) {
  const el_cli_context *w = c->with;
  const int rows = w->common->options.step_rows > w->max_npl ? w->common->options.step_rows : w->max_npl;
  const el_cli_steps_setup setup = {.options = &w->common->options,
                                    .cores = c->machine.cores,
                                    .n_sequences = w->max_npl,
                                    .ctx = longest(w) + w->ntg,
                                    .step_rows = rows,
                                    .max_logits = w->max_npl,
                                    .ranks = w->ranks,
                                    .n_ranks = w->n_ranks,
                                    .n_adapters = w->n_adapters};
  el_status status = el_cli_steps_open(&c->steps, path, &setup, err);
  if (status) return status;
  fill(c, rows);
  const int n_threads = el_threads_count(c->steps.threads);
  if (el_cli_memory_new(&c->memory, c->steps.threads, el_cli_memory_part(&c->machine, 0, n_threads))) return EL_OK;
  return el_fail(err, EL_ERR_NO_MEMORY, "not enough memory to measure how fast it is read");
}

/* Seconds of --ntg steps, the first not counted; attention's alone in *attention. */
static double decode(contexts *c, int npl, int context, double *attention) {
  double parts[EL_N_PARTS] = {0}, unused[EL_N_PARTS] = {0}, seconds = 0;
  const int n = c->steps.n_adapters;
  for (int i = -1; i < c->with->ntg; i++) {
    for (int s = 0; s < npl; s++)
      c->steps.rows[s] =
          el_cli_steps_row(&c->steps, s, context + (i < 0 ? 0 : i), n ? c->steps.adapters[s % n] : NULL, true);
    el_step_profile(c->steps.step, i < 0 ? unused : parts);
    const double each = el_cli_steps_run(&c->steps, npl);
    seconds += i < 0 ? 0 : each;
  }
  *attention = parts[EL_PART_ATTENTION];
  return seconds;
}

/* Of keys and values that a step reads, on average; what windows hide is counted too. */
static double kv_bytes(const contexts *c, int npl, int context) {
  const double positions = context + (c->with->ntg + 1) / 2.0;
  return npl * positions * (double)(el_kv_page_bytes(c->steps.h, c->steps.kv_type) / EL_PAGE_TOKENS);
}

static bool measure(contexts *c, int npl, int context, figures *f) {
  const int n = c->with->repeat, ntg = c->with->ntg;
  double *all = calloc(4 * (size_t)n, sizeof *all), *tokens = all, *ms = all + n, *gbs = all + 2 * n,
         *read = all + 3 * n;
  if (!all) return false;
  const double bytes = kv_bytes(c, npl, context);
  for (int i = 0; i < n; i++) {
    double attention;
    read[i] = el_cli_bench_read_again(c->steps.threads, &c->memory, &c->way, 1).median;
    tokens[i] = npl * ntg / decode(c, npl, context, &attention);
    ms[i] = attention / ntg * 1e3;
    gbs[i] = bytes * ntg / attention * 1e-9;
  }
  *f = (figures){.tokens = el_cli_bench_spread(tokens, n),
                 .attention_ms = el_cli_bench_spread(ms, n),
                 .kv_gbs = el_cli_bench_spread(gbs, n),
                 .read = el_cli_bench_spread(read, n),
                 .kv_mb = bytes * 1e-6};
  f->step_ms = 1e3 * npl / f->tokens.median;
  free(all);
  return true;
}

static bool report(contexts *c, int npl, int context) {
  figures f;
  if (!measure(c, npl, context, &f)) return false;
  if (c->with->json) {
    json_t *entry =
        json_pack("{s:i, s:i, s:o, s:o, s:f, s:o, s:o}", "npl", npl, "context", context, "tokens_per_second",
                  el_cli_bench_figure_json(&f.tokens), "attention_ms", el_cli_bench_figure_json(&f.attention_ms),
                  "kv_mb", f.kv_mb, "kv_gb_per_second", el_cli_bench_figure_json(&f.kv_gbs), "read_gb_per_second",
                  el_cli_bench_figure_json(&f.read));
    return entry && json_array_append_new(c->results, entry) == 0;
  }
  char tokens[64];
  snprintf(tokens, sizeof tokens, "%.1f (%.1f-%.1f)", f.tokens.median, f.tokens.min, f.tokens.max);
  printf("%7d %7d %24s %10.2f %10.2f %10.1f %10.1f %9.1f %6.0f%%\n", npl, context, tokens, f.step_ms,
         f.attention_ms.median, f.kv_mb, f.kv_gbs.median, f.read.median, 100 * f.kv_gbs.median / f.read.median);
  fflush(stdout);
  return true;
}

static int print_end(const contexts *c) {
  if (!c->with->json) return el_cli_end(EL_EXIT_OK);
  json_t *report = json_pack("{s:o, s:s, s:i, s:i, s:i, s:O}", "machine", el_cli_machine_json(&c->machine), "isa",
                             c->steps.kernels->name, "threads", el_threads_count(c->steps.threads), "ntg", c->with->ntg,
                             "repeat", c->with->repeat, "results", c->results);
  return el_cli_print_json(report);
}

int el_cli_context_run(const el_cli_context *with) {
  contexts c = {.with = with, .machine = el_cli_machine_get(), .results = json_array()};
  char *path = el_cli_model_path(with->common->model);
  int code = path ? -1 : EL_EXIT_USAGE;
  el_error err;
  if (code < 0 && open_contexts(&c, path, &err)) code = el_cli_failed(&err);
  if (code < 0 && !c.results) code = el_cli_no_memory();
  if (code < 0) {
    c.way = el_cli_bench_read(c.steps.threads, &c.memory, 1);
    if (!with->json)
      printf(
          "machine   %s; %d threads; %s\nmedians of %d times %d steps of decoding; MB are of keys and values\n\n"
          "%7s %7s %24s %10s %10s %10s %10s %9s %7s\n",
          c.machine.cpu, el_threads_count(c.steps.threads), c.steps.kernels->name, with->repeat, with->ntg, "batch",
          "context", "tokens/s", "ms a step", "attention", "MB a step", "GB/s", "memory's", "share");
  }
  for (size_t k = 0; code < 0 && k < with->n_contexts; k++)
    for (size_t i = 0; code < 0 && i < with->n_npl; i++)
      if (!report(&c, with->npl[i], with->contexts[k])) code = el_cli_no_memory();
  if (code < 0) code = print_end(&c);
  free(path);
  el_cli_steps_close(&c.steps);
  free(c.memory.data);
  json_decref(c.results);
  return code;
}
