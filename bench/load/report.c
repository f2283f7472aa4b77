#include "bench/load/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/figures.h"
#include "bench/measure/machine.h"

/* ---- the table */

static void print_load_asked(const el_load_run *r) {
  const el_load_options *o = r->options;
  const el_load_spec *s = &r->spec;
  if (o->clients)
    printf("load        closed loop, %d client%s", o->clients, o->clients == 1 ? "" : "s");
  else
    printf("load        open loop, %zu arrivals", r->trace.n);
  if (o->replay)
    printf(" of %s at %g times its speed", o->replay, (double)o->speed);
  else if (!o->clients)
    printf(": %g a second, cv %g", s->rate, s->cv);
  if (!o->replay)
    printf("; %d-%d tokens in, %d-%d out; seed %llu", s->in_min, s->in_max, s->out_min, s->out_max,
           (unsigned long long)o->seed);
  printf("\nadapters    ");
  if (o->automatic)
    puts("chosen by the server");
  else if (!r->names.n)
    puts("none");
  else if (o->own_adapter)
    printf("%zu, each client its own\n", r->names.n);
  else if (o->replay)
    printf("%zu, as recorded\n", r->names.n);
  else
    printf("%zu, power law with alpha %g\n", r->names.n, s->alpha);
}

static void print_spread(const char *title, const el_load_spread *s, double unit) {
  printf("%-24s", title);
  if (!s->n) {
    puts("          -");
    return;
  }
  const double values[] = {s->mean, s->p50, s->p90, s->p99, s->max};
  for (int i = 0; i < 5; i++) printf(" %10.*f", unit > 1 ? 1 : 3, values[i] * unit);
  putchar('\n');
}

void el_load_print_summary(const el_load_summary *s, double slo_first) {
  printf("throughput  %.3f requests/s, %.1f tokens/s in, %.1f tokens/s out\n\n", s->requests_per_second,
         s->tokens_in_per_second, s->tokens_out_per_second);
  printf("%-24s %10s %10s %10s %10s %10s\n", "", "mean", "p50", "p90", "p99", "max");
  print_spread("latency, s", &s->latency, 1);
  print_spread("first text, s", &s->first, 1);
  print_spread("between texts, ms", &s->gap, 1e3);
  print_spread("a token of a request, ms", &s->per_token, 1e3);
  print_spread("sent late, ms", &s->late, 1e3);
  printf("\nSLO         ");
  if (s->slo_of)
    printf("%.1f%% (%zu of %zu) with the first text within %g s\n", 100 * (double)s->slo_met / (double)s->slo_of,
           s->slo_met, s->slo_of, slo_first);
  else
    puts("no request");
}

static void print_errors(const el_load_run *r, const el_load_summary *s) {
  printf("errors      ");
  if (!s->errors) puts("none");
  bool first = true;
  for (int end = EL_LOAD_STATUS; end < EL_LOAD_CUT; end++) {
    if (!r->log.ends[end]) continue;
    printf("%s%zu %s (the first: %s)\n", first ? "" : "            ", r->log.ends[end], el_load_end_name(end),
           r->log.why[end]);
    first = false;
  }
}

static void print_server(const el_load_run *r) {
  double hits = r->after.hits - r->before.hits, misses = r->after.misses - r->before.misses;
  if (!r->before.told || !r->after.told)
    puts("cache       not told by the server");
  else if (hits + misses <= 0)
    puts("cache       not asked for an adapter");
  else
    printf("cache       %.1f%% hits (%.0f of %.0f), %.0f evictions\n", 100 * hits / (hits + misses), hits,
           hits + misses, r->after.evictions - r->before.evictions);
  if (!r->n_samples) return;
  const el_load_sample *first = r->samples, *last = r->samples + r->n_samples - 1;
  uint64_t most = 0;
  for (size_t i = 0; i < r->n_samples; i++)
    if (r->samples[i].process.resident_bytes > most) most = r->samples[i].process.resident_bytes;
  printf("server      %.1f MB at first, %.1f MB at most, %.1f MB at last", (double)first->process.resident_bytes / 1e6,
         (double)most / 1e6, (double)last->process.resident_bytes / 1e6);
  if (last->at > first->at)
    printf("; %.2f cores", (last->process.cpu_seconds - first->process.cpu_seconds) / (last->at - first->at));
  putchar('\n');
}

static void print_load_table(const el_load_run *r, const el_load_summary *s) {
  const el_load_options *o = r->options;
  char cpu[128];
  el_bench_cpu_name(cpu, sizeof cpu);
  printf("machine     %s", cpu);
  if (r->load >= 0) printf("; load %.1f at the start", r->load);
  putchar('\n');
  printf("server      %s, %s, prompts of %s\n", o->url_text, o->api_text, r->ask.words ? "words" : "token ids");
  print_load_asked(r);
  printf("requests    %zu sent, %zu done, %zu failed", s->n, s->done, s->errors);
  if (r->signal) printf("; ended early, %zu cut off", s->cut);
  printf("; %.1f s\n", s->seconds);
  if (s->other_lengths) printf("            %zu of them with other lengths than asked for\n", s->other_lengths);
  if (s->uncounted) printf("            %zu of them without a count of tokens: texts are counted\n", s->uncounted);
  el_load_print_summary(s, (double)o->slo_first);
  print_errors(r, s);
  print_server(r);
  if (!r->energy.kind)
    puts("energy      not available");
  else
    printf("energy      %.1f J (%s), %.2f J a request\n", r->energy.joules, r->energy.kind,
           s->done ? r->energy.joules / (double)s->done : 0);
  printf("generator   %.1f%% of a core, %llu connections\n", s->seconds > 0 ? 100 * r->cpu_seconds / s->seconds : 0,
         (unsigned long long)r->connections);
}

/* ---- the file */

static json_t *make_json(const el_load_run *r, const el_load_summary *s) {
  double *gaps = malloc((r->log.n_gaps + 1) * sizeof *gaps);
  if (!gaps) return NULL;
  for (size_t i = 0; i < r->log.n_gaps; i++) gaps[i] = r->log.gaps[i];
  el_sort_figures(gaps, r->log.n_gaps);
  json_t *report = el_load_report_json(r, s, gaps);
  free(gaps);
  return report;
}

static int write_json(const el_load_run *r, const el_load_summary *s) {
  const char *path = r->options->json;
  bool standard = strcmp(path, "-") == 0;
  json_t *report = make_json(r, s);
  if (!report) return el_cli_no_memory();
  FILE *f = standard ? stdout : fopen(path, "we");
  bool ok = f && json_dumpf(report, f, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 && fputc('\n', f) != EOF;
  int why = errno;
  if (f && !standard && fclose(f) != 0) {
    ok = false;
    why = errno;
  }
  json_decref(report);
  if (!ok && !standard) {
    el_cli_error("%s: %s", path, strerror(why));
    return EL_EXIT_FAILED;
  }
  return EL_EXIT_OK;
}

int el_load_report(const el_load_run *r) {
  el_load_summary s;
  if (!el_load_summarize(&r->log, r->seconds, (double)r->options->slo_first, &s)) return el_cli_no_memory();
  bool standard = r->options->json && strcmp(r->options->json, "-") == 0;
  if (!standard) print_load_table(r, &s);
  int code = r->options->json ? write_json(r, &s) : EL_EXIT_OK;
  if (!code && r->signal) code = EL_EXIT_SIGNAL_BASE + r->signal;
  if (!code && !s.done) {
    el_cli_error("no request was answered");
    code = EL_EXIT_FAILED;
  }
  return el_cli_end(code);
}
