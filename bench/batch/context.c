/* edgelora-bench batch --context: decode steps behind long contexts, without queue and sampling. To compute such
 * prompts would take minutes. So one prompt of FILLED tokens is computed, and its keys and values are copied over the
 * context. The speed at which this machine reads memory is measured in the same seconds and printed beside each figure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/batch/alone.h"

enum { FILLED = 256 };

/* Medians of the rounds, for one batch size and context. */
typedef struct figures {
  el_bench_figure tokens, attention_ms, kv_gbs, read;
  double step_ms, kv_mb;
} figures;

static int longest_that_fits(const el_batch_options *o) {
  int most = 0;
  for (size_t i = 0; i < o->contexts.n; i++) most = o->contexts.items[i] > most ? o->contexts.items[i] : most;
  return most;
}

static unsigned char *page_at(el_batch_alone *c, int sequence, int i) {
  el_bench_steps *s = &c->steps;
  const size_t page = s->pages[(size_t)sequence * (size_t)s->pages_each + (size_t)i];
  return s->kv + page * el_kv_page_bytes(s->h, s->kv_type);
}

static void fill_contexts(el_batch_alone *c) {
  const int context = longest_that_fits(c->asked), n = context < FILLED ? context : FILLED,
            n_pages = (n + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS;
  for (int pos = 0, k; pos < n; pos += k) {
    for (k = 0; k < c->step_rows && pos + k < n; k++)
      c->steps.rows[k] = el_bench_steps_row(&c->steps, 0, pos + k, NULL, false);
    el_bench_steps_run(&c->steps, k);
  }
  for (int s = 0; s < c->asked->max_npl; s++)
    for (int i = 0; i < c->steps.pages_each; i++)
      if (s > 0 || i >= n_pages)
        memcpy(page_at(c, s, i), page_at(c, 0, i % n_pages), el_kv_page_bytes(c->steps.h, c->steps.kv_type));
}

/* Seconds of --ntg steps, the first not counted; attention's alone in *attention. */
static double time_long_decoding(el_batch_alone *c, int npl, int context, double *attention) {
  double parts[EL_N_WORKS] = {0}, unused[EL_N_WORKS] = {0}, seconds = 0;
  for (int i = -1; i < c->asked->ntg; i++) {
    for (int s = 0; s < npl; s++) c->steps.rows[s] = el_batch_alone_row(c, s, context + (i < 0 ? 0 : i), true);
    el_step_profile(c->steps.step, i < 0 ? unused : parts);
    const double each = el_bench_steps_run(&c->steps, npl);
    seconds += i < 0 ? 0 : each;
  }
  *attention = parts[EL_WORK_ATTENTION];
  return seconds;
}

static bool measure_context(el_batch_alone *c, int npl, int context, figures *f) {
  const int n = c->asked->repeat, ntg = c->asked->ntg;
  double *all = calloc(4 * (size_t)n, sizeof *all), *tokens = all, *ms = all + n, *gbs = all + 2 * n,
         *read = all + 3 * n;
  if (!all) return false;
  const double bytes = el_batch_alone_kv_bytes(c, npl, context);
  for (int i = 0; i < n; i++) {
    double attention;
    read[i] = el_batch_alone_read_now(c);
    tokens[i] = npl * ntg / time_long_decoding(c, npl, context, &attention);
    ms[i] = attention / ntg * 1e3;
    gbs[i] = bytes * ntg / attention * 1e-9;
  }
  *f = (figures){.tokens = el_bench_spread(tokens, n),
                 .attention_ms = el_bench_spread(ms, n),
                 .kv_gbs = el_bench_spread(gbs, n),
                 .read = el_bench_spread(read, n),
                 .kv_mb = bytes * 1e-6};
  f->step_ms = 1e3 * npl / f->tokens.median;
  free(all);
  return true;
}

static bool report_context(el_batch_alone *c, int npl, int context) {
  figures f;
  if (!measure_context(c, npl, context, &f)) return false;
  if (c->asked->json)
    return el_batch_alone_add(
        c, json_pack("{s:i, s:i, s:o, s:o, s:f, s:o, s:o}", "npl", npl, "context", context, "tokens_per_second",
                     el_bench_figure_json(&f.tokens), "attention_ms", el_bench_figure_json(&f.attention_ms), "kv_mb",
                     f.kv_mb, "kv_gb_per_second", el_bench_figure_json(&f.kv_gbs), "read_gb_per_second",
                     el_bench_figure_json(&f.read)));
  char tokens[64];
  snprintf(tokens, sizeof tokens, "%.1f (%.1f-%.1f)", f.tokens.median, f.tokens.min, f.tokens.max);
  printf("%7d %7d %24s %10.2f %10.2f %10.1f %10.1f %9.1f %6.0f%%\n", npl, context, tokens, f.step_ms,
         f.attention_ms.median, f.kv_mb, f.kv_gbs.median, f.read.median, 100 * f.kv_gbs.median / f.read.median);
  fflush(stdout);
  return true;
}

int el_batch_contexts(const el_batch_options *o) {
  el_batch_alone c;
  int code = el_batch_alone_open(&c, o, longest_that_fits(o) + o->ntg);
  if (code < 0) {
    fill_contexts(&c);
    if (!o->json)
      printf(
          "machine   %s; %d threads; %s\nmedians of %d times %d steps of decoding; MB are of keys and values\n\n"
          "%7s %7s %24s %10s %10s %10s %10s %9s %7s\n",
          c.machine.cpu, el_threads_count(c.steps.threads), c.steps.kernels->name, o->repeat, o->ntg, "batch",
          "context", "tokens/s", "ms a step", "attention", "MB a step", "GB/s", "memory's", "share");
  }
  for (size_t k = 0; code < 0 && k < o->contexts.n; k++)
    for (size_t i = 0; code < 0 && i < o->npl.n; i++)
      if (!report_context(&c, o->npl.items[i], o->contexts.items[k])) code = el_cli_no_memory();
  if (code < 0) code = el_batch_alone_end(&c, json_pack("{s:i, s:i}", "ntg", o->ntg, "repeat", o->repeat));
  el_batch_alone_close(&c);
  return code;
}
