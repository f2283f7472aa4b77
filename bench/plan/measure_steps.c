/* What a step costs, part by part.
 *
 * Steps of each kind are timed in rounds, so that a minute in which the machine is slower does not fall on one kind
 * alone; of each kind the median counts. Kinds differ by one thing each, so differences of medians are that thing's
 * cost: the same rows with and without logits, with one adapter and with several, at the beginning of a sequence and
 * far into it. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/measure/figures.h"
#include "bench/measure/machine.h"
#include "bench/measure/steps.h"
#include "bench/plan/measure.h"

enum {
  SEQUENCES = 16,
  CONTEXT = 256,
  MAX_ADAPTERS = 16,
  ROUNDS = 5,
  TIMES = 2, /* a kind in a round, after a step that is not counted */
  MAX_KINDS = 4 * EL_COSTS_MAX_ROWS + 4
};

typedef struct kind {
  int rows, adapters;
  bool logits, prompt; /* prompt: all rows are one sequence's */
  int from;            /* the first position */
  double times[ROUNDS * TIMES];
  double positions; /* that attention reads in all */
  double seconds;   /* the median */
} kind;

typedef struct steps {
  const el_plan_measure *with;
  el_bench_steps s;
  kind kinds[MAX_KINDS];
  int n_kinds;
} steps;

static kind *add_kind(steps *t, kind k) {
  t->kinds[t->n_kinds] = k;
  return &t->kinds[t->n_kinds++];
}

/* Rows of one sequence follow each other, and rows of one adapter are together. */
static void fill_kind(steps *t, kind *k) {
  int next[SEQUENCES];
  for (int i = 0; i < SEQUENCES; i++) next[i] = k->from;
  k->positions = 0;
  for (int i = 0; i < k->rows; i++) {
    int adapter = k->adapters ? (int)((long)i * k->adapters / k->rows) : 0;
    int sequence = k->prompt ? 0 : k->adapters > 1 ? adapter % SEQUENCES : i % SEQUENCES;
    int pos = next[sequence]++;
    k->positions += pos + 1;
    t->s.rows[i] = el_bench_steps_row(&t->s, sequence, pos, k->adapters ? t->s.adapters[adapter] : NULL, k->logits);
  }
}

static void run_rounds(steps *t) {
  for (int round = 0; round < ROUNDS; round++) {
    el_plan_say(t->with, "steps, round", round + 1, ROUNDS);
    for (int i = 0; i < t->n_kinds; i++) {
      kind *k = &t->kinds[i];
      fill_kind(t, k);
      el_bench_steps_run(&t->s, k->rows);
      for (int n = 0; n < TIMES; n++) k->times[round * TIMES + n] = el_bench_steps_run(&t->s, k->rows);
    }
  }
  for (int i = 0; i < t->n_kinds; i++) t->kinds[i].seconds = el_bench_spread(t->kinds[i].times, ROUNDS * TIMES).median;
}

static double above_zero(double x) {
  return x > 0 ? x : 0;
}

/* Seconds a position, from two kinds that differ in nothing else. */
static double slope_of(const kind *near, const kind *far) {
  return above_zero((far->seconds - near->seconds) / (far->positions - near->positions));
}

/* Numbers of rows: powers of two and what is in the middle of two of them, up to a step's. */
static int row_counts(int step_rows, int *out) {
  int n = 0;
  for (int r = 1; r < step_rows && n + 3 < EL_COSTS_MAX_ROWS; r *= 2) {
    out[n++] = r;
    if (r >= 8 && r / 2 * 3 < step_rows) out[n++] = r / 2 * 3;
  }
  out[n++] = step_rows;
  return n;
}

static void measure_kinds(steps *t, el_costs *out) {
  const el_engine_options *o = &t->with->common->options;
  int counts[EL_COSTS_MAX_ROWS], n = row_counts(o->step_rows, counts);
  kind *base[EL_COSTS_MAX_ROWS], *logits[EL_COSTS_MAX_ROWS], *one[EL_COSTS_MAX_ROWS], *more[EL_COSTS_MAX_ROWS];
  for (int i = 0; i < n; i++) {
    int r = counts[i], adapters = r < t->s.n_adapters ? r : t->s.n_adapters;
    base[i] = add_kind(t, (kind){.rows = r});
    logits[i] = add_kind(t, (kind){.rows = r, .logits = true});
    one[i] = add_kind(t, (kind){.rows = r, .adapters = 1});
    more[i] = adapters > 1 ? add_kind(t, (kind){.rows = r, .adapters = adapters}) : NULL;
  }
  int chunk = o->step_rows < CONTEXT / 4 ? o->step_rows : CONTEXT / 4, wide = o->step_rows < 16 ? o->step_rows : 16;
  kind *decode_near = add_kind(t, (kind){.rows = wide}),
       *decode_far = add_kind(t, (kind){.rows = wide, .from = CONTEXT - 16}),
       *prompt_near = add_kind(t, (kind){.rows = chunk, .prompt = true}),
       *prompt_far = add_kind(t, (kind){.rows = chunk, .prompt = true, .from = CONTEXT - chunk});
  run_rounds(t);
  out->decode_position = slope_of(decode_near, decode_far);
  out->prompt_position = slope_of(prompt_near, prompt_far);
  for (int i = 0; i < n; i++) {
    double at_zero = base[i]->seconds - base[i]->positions * out->decode_position;
    out->rows[i] =
        (el_cost_row){.rows = counts[i],
                      .base = at_zero > 0 ? at_zero : base[i]->seconds,
                      .logits = above_zero(logits[i]->seconds - base[i]->seconds),
                      .adapter = above_zero(one[i]->seconds - base[i]->seconds),
                      .more = more[i] ? above_zero((more[i]->seconds - one[i]->seconds) / (more[i]->adapters - 1)) : 0};
  }
  if (n > 1) out->rows[0].more = out->rows[1].more; /* one row has no second adapter */
  out->n_rows = n;
}

int el_plan_measure_steps(const el_plan_measure *m, el_costs *out) {
  const el_engine_options *o = &m->common->options;
  steps *t = calloc(1, sizeof *t);
  char *path = el_cli_model_path(m->common->model);
  int code = !path ? EL_EXIT_USAGE : t ? -1 : el_cli_no_memory();
  el_error err;
  const el_bench_steps_setup setup = {.options = o,
                                      .cores = el_bench_machine_get().cores,
                                      .n_sequences = SEQUENCES,
                                      .ctx = o->step_rows > CONTEXT ? o->step_rows : CONTEXT,
                                      .step_rows = o->step_rows,
                                      .max_logits = o->step_rows,
                                      .ranks = &m->rank,
                                      .n_ranks = 1,
                                      .n_adapters = o->step_rows < MAX_ADAPTERS ? o->step_rows : MAX_ADAPTERS};
  if (code < 0) {
    t->with = m;
    if (el_bench_steps_open(&t->s, path, &setup, &err)) code = el_cli_failed(&err);
  }
  if (code < 0) {
    measure_kinds(t, out);
    out->shape = *t->s.h;
    out->kv = el_kv_shape_of(t->s.h, t->s.kv_type);
    out->shape.layers = NULL; /* the model's: it is closed soon */
    out->weight_bytes = el_model_weight_bytes(t->s.model);
    out->threads = el_threads_count(t->s.threads);
    snprintf(out->isa, sizeof out->isa, "%s", t->s.kernels->name);
  }
  if (t) el_bench_steps_close(&t->s);
  free(t);
  free(path);
  return code;
}
