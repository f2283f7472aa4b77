/* edgelora-bench batch --profile: steps of the model alone, without queue and sampling. So each step is of one kind: a
 * piece of one prompt, or one row for each sequence behind a whole prompt. What this machine multiplies and reads at
 * most is measured in the same minute and printed beside them. */
#include <stdio.h>

#include "bench/batch/alone.h"

typedef struct tally {
  double seconds, parts[EL_N_WORKS];
  int steps, rows;
} tally;

static void time_step(el_batch_alone *p, int n_rows, tally *t) {
  el_step_profile(p->steps.step, t->parts);
  t->seconds += el_bench_steps_run(&p->steps, n_rows);
  t->steps++;
  t->rows += n_rows;
}

static void time_prompts(el_batch_alone *p, int npl, tally *t) {
  const int npp = p->asked->npp;
  for (int s = 0; s < npl; s++)
    for (int pos = 0; pos < npp;) {
      int n = 0;
      for (; n < p->step_rows && pos < npp; n++, pos++)
        p->steps.rows[n] = el_batch_alone_row(p, s, pos, pos + 1 == npp);
      time_step(p, n, t);
    }
}

static void time_decoding(el_batch_alone *p, int npl, tally *t) {
  for (int i = 0; i < p->asked->ntg; i++) {
    for (int s = 0; s < npl; s++) p->steps.rows[s] = el_batch_alone_row(p, s, p->asked->npp + i, true);
    time_step(p, npl, t);
  }
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
  for (int i = 0; i < EL_N_WORKS; i++) {
    if (a->parts[i] + b->parts[i] == 0) continue;
    printf("%-18s%12.3f%7.1f%%%14.3f%7.1f%%\n", el_step_work_name((el_step_work)i), a->parts[i] * a_ms,
           100 * a->parts[i] / a->seconds, b->parts[i] * b_ms, 100 * b->parts[i] / b->seconds);
  }
  printf("%-18s%12.3f%8s%14.3f\n", "all", a->seconds * a_ms, "", b->seconds * b_ms);
}

static json_t *tally_json(const tally *t) {
  json_t *parts = json_object();
  for (int i = 0; parts && i < EL_N_WORKS; i++)
    json_object_set_new(parts, el_step_work_name((el_step_work)i), json_real(t->parts[i]));
  return json_pack("{s:i, s:i, s:f, s:o}", "steps", t->steps, "rows", t->rows, "seconds", t->seconds, "parts", parts);
}

/* Prompts, then decoding. Between them, what the machine reads and multiplies at that moment. */
static bool profile_batch(el_batch_alone *p, int npl) {
  tally prompt = {0}, generated = {0};
  time_prompts(p, npl, &prompt);
  const double read = el_batch_alone_read_now(p);
  time_decoding(p, npl, &generated);
  const el_peak_loop *loop = el_peak_loop_of(p->steps.kernels->name, EL_PEAK_INT8);
  const double peak = loop ? el_bench_compute(p->steps.threads, loop, 1).median : 0;
  const double prompt_speed = prompt.rows / prompt.seconds, speed = generated.rows / generated.seconds,
               gops = prompt_speed * prompt_operations(p->steps.h) * 1e-9,
               bytes = el_batch_alone_kv_bytes(p, npl, p->asked->npp),
               kv_speed = bytes * generated.steps / generated.parts[EL_WORK_ATTENTION] * 1e-9;
  if (p->asked->json) {
    json_t *entry = json_pack("{s:i, s:o, s:o, s:f, s:f, s:f}", "npl", npl, "prompt", tally_json(&prompt), "decode",
                              tally_json(&generated), "prompt_gops", gops, "kv_gb_per_second", kv_speed,
                              "read_gb_per_second", read);
    if (entry && peak > 0) json_object_set_new(entry, "int8_gops", json_real(peak));
    return el_batch_alone_add(p, entry);
  }
  printf("\nbatch %d, prompts of %d tokens, %d rows a step\n", npl, p->asked->npp, p->step_rows);
  print_parts(&prompt, &generated);
  printf("prompt  %.0f tokens/s; linear layers alone are %.0f GOPS", prompt_speed, gops);
  if (peak > 0) printf(", %.0f%% of the int8 peak, %.0f", 100 * gops / peak, peak);
  printf("\ndecode  %.1f tokens/s; attention reads %.1f MB a step at %.1f GB/s, %.0f%% of memory's %.1f\n", speed,
         bytes * 1e-6, kv_speed, 100 * kv_speed / read, read);
  fflush(stdout);
  return true;
}

int el_batch_profile(const el_batch_options *o) {
  el_batch_alone p;
  int code = el_batch_alone_open(&p, o, o->npp + o->ntg + 1);
  if (code < 0) {
    if (!o->json)
      printf("machine   %s; %d threads; %s\n", p.machine.cpu, el_threads_count(p.steps.threads), p.steps.kernels->name);
    tally warm_up = {0}; /* touches every weight */
    time_prompts(&p, 1, &warm_up);
  }
  for (size_t i = 0; code < 0 && i < o->npl.n; i++)
    if (!profile_batch(&p, o->npl.items[i])) code = el_cli_no_memory();
  if (code < 0)
    code = el_batch_alone_end(&p, json_pack("{s:i, s:i, s:i}", "npp", o->npp, "ntg", o->ntg, "step_rows", p.step_rows));
  el_batch_alone_close(&p);
  return code;
}
