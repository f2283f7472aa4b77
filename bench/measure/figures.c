#include "bench/measure/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/figures.h"
#include "cli/cli.h"

el_cli_bench_figure el_cli_bench_spread(double *values, int n) {
  el_sort_figures(values, (size_t)n);
  return (el_cli_bench_figure){(values[(n - 1) / 2] + values[n / 2]) / 2, values[0], values[n - 1]};
}

void el_cli_bench_cpu_name(char *out, size_t size) {
  struct utsname system;
  snprintf(out, size, "%s", uname(&system) == 0 ? system.machine : "unknown");
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (!file) return;
  char line[256];
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, "model name", 10) != 0) continue;
    const char *colon = strchr(line, ':');
    if (colon) snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  fclose(file);
}

void el_cli_bench_begin(el_cli_bench_report *r) {
  if (r->json) return;
  char cpu[128];
  double load = 0;
  el_model_info info;
  el_cli_bench_cpu_name(cpu, sizeof cpu);
  el_engine_info(r->engine, &info);
  printf("machine   %s; %d threads; %s", cpu, info.n_threads, info.isa);
  if (getloadavg(&load, 1) == 1) printf("; load %.1f", load);
  putchar('\n');
  printf("model     %s; %.1f M parameters; %.1f MB of packed weights\n", info.name, (double)info.n_params / 1e6,
         (double)info.weight_bytes / 1e6);
  if (r->n_adapters == 0) {
    printf("adapters  none\n");
  } else {
    printf("adapters  %d, random, rank", r->n_adapters);
    for (size_t i = 0; i < r->n_ranks; i++) printf("%s %d", i ? "," : "", r->ranks[i]);
    putchar('\n');
  }
  printf("requests  %d prompt tokens, %d generated; temperature %g, top-p %g; median of %d (least-most)\n\n", r->npp,
         r->ntg, (double)r->temperature, (double)r->top_p, r->repeat);
  printf("batch          prompt tokens/s          decode tokens/s   decode a sequence\n");
  fflush(stdout);
}

json_t *el_cli_bench_figure_json(const el_cli_bench_figure *f) {
  return json_pack("{s:f, s:f, s:f}", "median", f->median, "min", f->min, "max", f->max);
}

bool el_cli_bench_add(el_cli_bench_report *r, const el_cli_bench_row *row) {
  if (!r->json) {
    const el_cli_bench_figure *p = &row->prompt, *d = &row->decode;
    char prompt[64], decode[64];
    snprintf(prompt, sizeof prompt, "%.1f (%.0f-%.0f)", p->median, p->min, p->max);
    snprintf(decode, sizeof decode, "%.1f (%.0f-%.0f)", d->median, d->min, d->max);
    printf("%5d %24s %24s %19.1f\n", row->npl, prompt, decode, d->median / row->npl);
    fflush(stdout);
    return true;
  }
  if (!r->results) r->results = json_array();
  json_t *entry =
      json_pack("{s:i, s:o, s:o}", "npl", row->npl, "prompt_tokens_per_second", el_cli_bench_figure_json(&row->prompt),
                "decode_tokens_per_second", el_cli_bench_figure_json(&row->decode));
  return r->results && entry && json_array_append_new(r->results, entry) == 0;
}

int el_cli_bench_end(el_cli_bench_report *r) {
  if (!r->json) return el_cli_end(EL_EXIT_OK);
  char cpu[128];
  el_model_info info;
  el_cli_bench_cpu_name(cpu, sizeof cpu);
  el_engine_info(r->engine, &info);
  json_t *ranks = json_array();
  for (size_t i = 0; i < r->n_ranks; i++) json_array_append_new(ranks, json_integer(r->ranks[i]));
  json_t *report = json_pack(
      "{s:{s:s, s:i, s:s}, s:{s:s, s:s, s:I, s:I}, s:{s:i, s:o}, s:i, s:i, s:i, s:f, s:f, s:i, s:O}", "machine", "cpu",
      cpu, "threads", info.n_threads, "isa", info.isa, "model", "name", info.name, "architecture", info.architecture,
      "parameters", (json_int_t)info.n_params, "weight_bytes", (json_int_t)info.weight_bytes, "adapters", "count",
      r->n_adapters, "ranks", ranks, "npp", r->npp, "ntg", r->ntg, "repeat", r->repeat, "temperature",
      (double)r->temperature, "top_p", (double)r->top_p, "step_rows", info.step_rows, "results", r->results);
  return el_cli_print_json(report);
}

int el_cli_print_json(json_t *report) {
  char *text = report ? json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
  json_decref(report);
  if (!text) return el_cli_no_memory();
  puts(text);
  free(text);
  return el_cli_end(EL_EXIT_OK);
}

void el_cli_bench_free(el_cli_bench_report *r) {
  json_decref(r->results);
  r->results = NULL;
}
