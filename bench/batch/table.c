#include "bench/batch/table.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench/measure/machine.h"

void el_batch_table_begin(const el_batch_table *t) {
  if (t->asked->json) return;
  char cpu[128];
  double load = 0;
  el_model_info info;
  el_bench_cpu_name(cpu, sizeof cpu);
  el_engine_info(t->engine, &info);
  printf("machine   %s; %d threads; %s", cpu, info.n_threads, info.isa);
  if (getloadavg(&load, 1) == 1) printf("; load %.1f", load);
  putchar('\n');
  printf("model     %s; %.1f M parameters; %.1f MB of packed weights\n", info.name, (double)info.n_params / 1e6,
         (double)info.weight_bytes / 1e6);
  if (t->asked->n_adapters == 0) {
    printf("adapters  none\n");
  } else {
    printf("adapters  %d, random, rank", t->asked->n_adapters);
    for (size_t i = 0; i < t->asked->ranks.n; i++) printf("%s %d", i ? "," : "", t->asked->ranks.items[i]);
    putchar('\n');
  }
  printf("requests  %d prompt tokens, %d generated; temperature %g, top-p %g; median of %d (least-most)\n\n",
         t->asked->npp, t->asked->ntg, (double)t->asked->temperature, (double)t->asked->top_p, t->asked->repeat);
  printf("batch          prompt tokens/s          decode tokens/s   decode a sequence\n");
  fflush(stdout);
}

bool el_batch_table_add(el_batch_table *t, const el_batch_row *row) {
  if (!t->asked->json) {
    const el_bench_figure *p = &row->prompt, *d = &row->decode;
    char prompt[64], decode[64];
    snprintf(prompt, sizeof prompt, "%.1f (%.0f-%.0f)", p->median, p->min, p->max);
    snprintf(decode, sizeof decode, "%.1f (%.0f-%.0f)", d->median, d->min, d->max);
    printf("%5d %24s %24s %19.1f\n", row->npl, prompt, decode, d->median / row->npl);
    fflush(stdout);
    return true;
  }
  if (!t->results) t->results = json_array();
  json_t *entry =
      json_pack("{s:i, s:o, s:o}", "npl", row->npl, "prompt_tokens_per_second", el_bench_figure_json(&row->prompt),
                "decode_tokens_per_second", el_bench_figure_json(&row->decode));
  return t->results && entry && json_array_append_new(t->results, entry) == 0;
}

int el_batch_table_end(const el_batch_table *t) {
  if (!t->asked->json) return el_cli_end(EL_EXIT_OK);
  char cpu[128];
  el_model_info info;
  el_bench_cpu_name(cpu, sizeof cpu);
  el_engine_info(t->engine, &info);
  json_t *ranks = json_array();
  for (size_t i = 0; i < t->asked->ranks.n; i++) json_array_append_new(ranks, json_integer(t->asked->ranks.items[i]));
  json_t *report = json_pack(
      "{s:{s:s, s:i, s:s}, s:{s:s, s:s, s:I, s:I}, s:{s:i, s:o}, s:i, s:i, s:i, s:f, s:f, s:i, s:O}", "machine", "cpu",
      cpu, "threads", info.n_threads, "isa", info.isa, "model", "name", info.name, "architecture", info.architecture,
      "parameters", (json_int_t)info.n_params, "weight_bytes", (json_int_t)info.weight_bytes, "adapters", "count",
      t->asked->n_adapters, "ranks", ranks, "npp", t->asked->npp, "ntg", t->asked->ntg, "repeat", t->asked->repeat,
      "temperature", (double)t->asked->temperature, "top_p", (double)t->asked->top_p, "step_rows", info.step_rows,
      "results", t->results);
  return el_bench_print_json(report);
}

void el_batch_table_free(el_batch_table *t) {
  json_decref(t->results);
  t->results = NULL;
}
