/* edgelora-bench batch --profile: steps of the model alone, without queue and sampling, so that each of them is of one
 * kind: a piece of one prompt, or one row for each sequence with a whole prompt behind it. Beside them, from the same
 * minute, what this machine multiplies and reads at most. */
#include "bench/batch/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/measure/limits.h"
#include "bench/measure/steps.h"

typedef struct tally {
  double seconds, parts[EL_N_PARTS];
  int steps, rows;
} tally;

typedef struct profile {
  const el_cli_profile *with;
  el_cli_machine machine;
  el_cli_steps steps;
  int step_rows;
  el_cli_memory memory;
  el_cli_read way;
  json_t *results;
} profile;

static el_status open_profile(profile *p, const char *path, el_error *err) {
  const el_cli_profile *w = p->with;
  const int ctx = w->npp + w->ntg + 1;
  p->step_rows = w->common->options.step_rows > w->max_npl ? w->common->options.step_rows : w->max_npl;
  const el_cli_steps_setup setup = {.options = &w->common->options,
                                    .cores = p->machine.cores,
                                    .n_sequences = w->max_npl,
                                    .ctx = ctx,
                                    .step_rows = p->step_rows,
                                    .max_logits = w->max_npl,
                                    .ranks = w->ranks,
                                    .n_ranks = w->n_ranks,
                                    .n_adapters = w->n_adapters};
  el_status status = el_cli_steps_open(&p->steps, path, &setup, err);
  if (status) return status;
  const int n_threads = el_threads_count(p->steps.threads);
  if (el_cli_memory_new(&p->memory, p->steps.threads, el_cli_memory_part(&p->machine, 0, n_threads))) return EL_OK;
  return el_fail(err, EL_ERR_NO_MEMORY, "not enough memory to measure how fast it is read");
}

static void close_profile(profile *p) {
  el_cli_steps_close(&p->steps);
  free(p->memory.data);
  json_decref(p->results);
}

static el_row row_of(profile *p, int sequence, int pos, bool wants_logits) {
  const int n = p->steps.n_adapters;
  return el_cli_steps_row(&p->steps, sequence, pos, n ? p->steps.adapters[sequence % n] : NULL, wants_logits);
}

static void step(profile *p, int n_rows, tally *t) {
  el_step_profile(p->steps.step, t->parts);
  t->seconds += el_cli_steps_run(&p->steps, n_rows);
  t->steps++;
  t->rows += n_rows;
}

static void prompts(profile *p, int npl, tally *t) {
  const int npp = p->with->npp;
  for (int s = 0; s < npl; s++)
    for (int pos = 0; pos < npp;) {
      int n = 0;
      for (; n < p->step_rows && pos < npp; n++, pos++) p->steps.rows[n] = row_of(p, s, pos, pos + 1 == npp);
      step(p, n, t);
    }
}

static void decode(profile *p, int npl, tally *t) {
  for (int i = 0; i < p->with->ntg; i++) {
    for (int s = 0; s < npl; s++) p->steps.rows[s] = row_of(p, s, p->with->npp + i, true);
    step(p, npl, t);
  }
}

/* Keys and values that a decode step reads, on average. */
static double kv_bytes(const profile *p, int npl) {
  const double positions = p->with->npp + (p->with->ntg + 1) / 2.0;
  return npl * positions * (double)(el_kv_page_bytes(p->steps.h, p->steps.kv_type) / EL_PAGE_TOKENS);
}

/* Operations of the linear layers for one token of a prompt, without the vocabulary; of the last layer keys and values
 * alone, since a prompt's last token is the only one that goes on there. */
static double prompt_operations(const el_hparams *h) {
  const double q = (double)h->head_dim * h->n_head, kv = (double)h->head_dim * h->n_head_kv;
  return (h->n_layers - 1) * (4.0 * h->n_embd * (q + kv) + 6.0 * h->n_embd * h->n_ff) + 4.0 * h->n_embd * kv;
}

static void print_parts(const tally *a, const tally *b) {
  const double a_ms = 1e3 / a->steps, b_ms = 1e3 / b->steps;
  printf("%-18s%12s%8s%14s%8s\n", "ms a step", "prompt", "", "decode", "");
  for (int i = 0; i < EL_N_PARTS; i++) {
    if (a->parts[i] + b->parts[i] == 0) continue;
    printf("%-18s%12.3f%7.1f%%%14.3f%7.1f%%\n", el_part_name((el_part)i), a->parts[i] * a_ms,
           100 * a->parts[i] / a->seconds, b->parts[i] * b_ms, 100 * b->parts[i] / b->seconds);
  }
  printf("%-18s%12.3f%8s%14.3f\n", "all", a->seconds * a_ms, "", b->seconds * b_ms);
}

static json_t *tally_json(const tally *t) {
  json_t *parts = json_object();
  for (int i = 0; parts && i < EL_N_PARTS; i++)
    json_object_set_new(parts, el_part_name((el_part)i), json_real(t->parts[i]));
  return json_pack("{s:i, s:i, s:f, s:o}", "steps", t->steps, "rows", t->rows, "seconds", t->seconds, "parts", parts);
}

static bool measure(profile *p, int npl) {
  tally prompt = {0}, generated = {0};
  prompts(p, npl, &prompt);
  const double read = el_cli_bench_read_again(p->steps.threads, &p->memory, &p->way, 1).median;
  decode(p, npl, &generated);
  const el_peak_loop *loop = el_peak_loop_of(p->steps.kernels->name, EL_PEAK_INT8);
  const double peak = loop ? el_cli_bench_compute(p->steps.threads, loop, 1).median : 0;
  const double prompt_speed = prompt.rows / prompt.seconds, speed = generated.rows / generated.seconds,
               gops = prompt_speed * prompt_operations(p->steps.h) * 1e-9, bytes = kv_bytes(p, npl),
               kv_speed = bytes * generated.steps / generated.parts[EL_PART_ATTENTION] * 1e-9;
  if (p->with->json) {
    json_t *entry = json_pack("{s:i, s:o, s:o, s:f, s:f, s:f}", "npl", npl, "prompt", tally_json(&prompt), "decode",
                              tally_json(&generated), "prompt_gops", gops, "kv_gb_per_second", kv_speed,
                              "read_gb_per_second", read);
    if (entry && peak > 0) json_object_set_new(entry, "int8_gops", json_real(peak));
    return entry && json_array_append_new(p->results, entry) == 0;
  }
  printf("\nbatch %d, prompts of %d tokens, %d rows a step\n", npl, p->with->npp, p->step_rows);
  print_parts(&prompt, &generated);
  printf("prompt  %.0f tokens/s; linear layers alone are %.0f GOPS", prompt_speed, gops);
  if (peak > 0) printf(", %.0f%% of the int8 peak, %.0f", 100 * gops / peak, peak);
  printf("\ndecode  %.1f tokens/s; attention reads %.1f MB a step at %.1f GB/s, %.0f%% of memory's %.1f\n", speed,
         bytes * 1e-6, kv_speed, 100 * kv_speed / read, read);
  fflush(stdout);
  return true;
}

static int print_end(const profile *p) {
  if (!p->with->json) return el_cli_end(EL_EXIT_OK);
  json_t *report = json_pack("{s:o, s:s, s:i, s:i, s:i, s:i, s:O}", "machine", el_cli_machine_json(&p->machine), "isa",
                             p->steps.kernels->name, "threads", el_threads_count(p->steps.threads), "npp", p->with->npp,
                             "ntg", p->with->ntg, "step_rows", p->step_rows, "results", p->results);
  return el_cli_print_json(report);
}

int el_cli_profile_run(const el_cli_profile *with) {
  profile p = {.with = with, .machine = el_cli_machine_get(), .results = json_array()};
  char *path = el_cli_model_path(with->common->model);
  int code = -1;
  el_error err;
  if (!path) code = EL_EXIT_FAILED;
  if (code < 0 && open_profile(&p, path, &err)) code = el_cli_failed(&err);
  if (code < 0 && !p.results) code = el_cli_no_memory();
  if (code < 0) {
    if (!with->json)
      printf("machine   %s; %d threads; %s\n", p.machine.cpu, el_threads_count(p.steps.threads), p.steps.kernels->name);
    p.way = el_cli_bench_read(p.steps.threads, &p.memory, 1);
    tally warm_up = {0}; /* touches every weight */
    prompts(&p, 1, &warm_up);
  }
  for (size_t i = 0; code < 0 && i < with->n_npl; i++)
    if (!measure(&p, with->npl[i])) code = el_cli_no_memory();
  if (code < 0) code = print_end(&p);
  free(path);
  close_profile(&p);
  return code;
}
