#include "router/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/router.h"

/* Sums of a set of prompts. */
typedef struct sums {
  size_t n;
  double chosen, square, gain, gain_square, random, oracle;
  double *score; /* [n_candidates] */
} sums;

typedef struct evaluation {
  const el_table *t;
  const int *columns;
  int n;
  const float *p;
  el_eval *out;
  size_t *task_of; /* [n_rows]; NULL: no tasks */
  float *y;        /* [n_rows, n] */
  size_t *choice;  /* [n_rows] */
  double bin_p[EL_EVAL_BINS], bin_y[EL_EVAL_BINS], bin_n[EL_EVAL_BINS];
} evaluation;

static int compare_task_rows(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Finds the names of tasks, in order, and the task of each row. */
static bool find_tasks(evaluation *e) {
  const el_table *t = e->t;
  if (!t->tasks) return true;
  char **sorted = malloc(t->n_rows * sizeof *sorted);
  e->task_of = malloc(t->n_rows * sizeof *e->task_of);
  e->out->tasks = calloc(t->n_rows, sizeof *e->out->tasks);
  size_t n = 0;
  if (sorted && e->task_of && e->out->tasks) {
    memcpy(sorted, t->tasks, t->n_rows * sizeof *sorted);
    qsort(sorted, t->n_rows, sizeof *sorted, compare_task_rows);
    for (size_t i = 0; i < t->n_rows; i++)
      if (i == 0 || strcmp(sorted[i], sorted[n - 1])) sorted[n++] = sorted[i];
    for (size_t i = 0; i < n; i++) e->out->tasks[i].name = sorted[i];
    for (size_t i = 0; i < t->n_rows; i++)
      e->task_of[i] = (size_t)((char **)bsearch(&t->tasks[i], sorted, n, sizeof *sorted, compare_task_rows) - sorted);
  }
  bool ok = sorted && e->task_of && e->out->tasks;
  e->out->n_tasks = n;
  free(sorted);
  return ok;
}

static size_t argmax(const double *x, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

static double largest(const float *x, int n) {
  float best = x[0];
  for (int i = 1; i < n; i++) best = x[i] > best ? x[i] : best;
  return (double)best;
}

static el_eval_mean mean_of(double sum, double square, size_t n) {
  double m = sum / (double)n, variance = fmax(0, square / (double)n - m * m);
  return (el_eval_mean){m, n > 1 ? 1.96 * sqrt(variance / (double)(n - 1)) : 0};
}

/* Evaluates a row: the candidates with the best predictions, whether the best one is among them, and the errors of the
 * scores. */
static void evaluate_row(evaluation *e, size_t i) {
  const float *p = e->p + i * (size_t)e->n;
  float *y = e->y + i * (size_t)e->n;
  size_t top[EL_EVAL_TOP], k = (size_t)e->n < EL_EVAL_TOP ? (size_t)e->n : EL_EVAL_TOP;
  for (int c = 0; c < e->n; c++) y[c] = e->t->scores[i * (size_t)e->t->n_columns + (size_t)e->columns[c]];
  el_router_top(p, (size_t)e->n, k, top);
  e->choice[i] = top[0];
  double best = largest(y, e->n);
  bool found = false;
  for (size_t j = 0; j < EL_EVAL_TOP; j++) {
    found = found || j >= k || (double)y[top[j]] >= best;
    e->out->recall[j] += found;
  }
  for (int c = 0; c < e->n; c++) {
    int bin = (int)(p[c] * EL_EVAL_BINS);
    bin = bin < 0 ? 0 : bin >= EL_EVAL_BINS ? EL_EVAL_BINS - 1 : bin;
    e->bin_n[bin]++;
    e->bin_p[bin] += (double)p[c];
    e->bin_y[bin] += (double)y[c];
    e->out->brier += ((double)p[c] - (double)y[c]) * ((double)p[c] - (double)y[c]);
  }
}

static void add_row_to_sums(const evaluation *e, size_t i, int single, sums *s) {
  const float *y = e->y + i * (size_t)e->n;
  double chosen = (double)y[e->choice[i]], gain = chosen - (double)y[single];
  s->n++;
  s->chosen += chosen;
  s->square += chosen * chosen;
  s->gain += gain;
  s->gain_square += gain * gain;
  s->oracle += largest(y, e->n);
  for (int c = 0; c < e->n; c++) {
    s->random += (double)y[c] / e->n;
    s->score[c] += (double)y[c];
  }
}

/* The sums of the columns over all rows, or over the rows of one task. */
static void column_sums(const evaluation *e, const size_t *task, double *sum) {
  memset(sum, 0, (size_t)e->n * sizeof *sum);
  for (size_t i = 0; i < e->t->n_rows; i++)
    for (int c = 0; c < e->n && (!task || e->task_of[i] == *task); c++)
      sum[c] += (double)e->y[i * (size_t)e->n + (size_t)c];
}

static void sum_up_evaluation(evaluation *e, int learnt, double *memory) {
  el_eval *o = e->out;
  const size_t n = e->t->n_rows, columns = (size_t)e->n;
  double *totals = memory, pairs = (double)n * e->n;
  sums all = {.score = memory + columns};
  for (size_t i = 0; i < n; i++) evaluate_row(e, i);
  column_sums(e, NULL, totals);
  const size_t single = argmax(totals, columns);
  memset(all.score, 0, columns * sizeof *all.score);
  for (size_t i = 0; i < n; i++) add_row_to_sums(e, i, (int)single, &all);
  o->chosen = mean_of(all.chosen, all.square, n);
  o->gain = mean_of(all.gain, all.gain_square, n);
  o->random = all.random / (double)n;
  o->oracle = all.oracle / (double)n;
  o->single = totals[single] / (double)n;
  o->single_name = e->t->names[e->columns[single]];
  o->learnt_single = learnt < 0 ? -1 : totals[learnt] / (double)n;
  o->learnt_name = learnt < 0 ? NULL : e->t->names[e->columns[learnt]];
  for (int k = 0; k < EL_EVAL_TOP; k++) o->recall[k] /= (double)n;
  o->brier /= pairs;
  for (int b = 0; b < EL_EVAL_BINS; b++) o->ece += fabs(e->bin_p[b] - e->bin_y[b]) / pairs;
  for (size_t c = 0; c < columns; c++) {
    el_eval_row *row = &o->candidates[c];
    row->name = e->t->names[e->columns[c]];
    row->score = totals[c] / (double)n;
    for (size_t i = 0; i < n; i++) {
      row->n += e->choice[i] == c;
      row->expected += (double)e->p[i * columns + c] / (double)n;
    }
  }
  o->per_task = o->n_tasks ? 0 : -1;
  for (size_t t = 0; t < o->n_tasks; t++) {
    sums s = {.score = memory + columns};
    memset(s.score, 0, columns * sizeof *s.score);
    for (size_t i = 0; i < n; i++)
      if (e->task_of[i] == t) add_row_to_sums(e, i, (int)single, &s);
    o->per_task += s.score[argmax(s.score, columns)] / (double)n;
    el_eval_row *row = &o->tasks[t];
    row->n = s.n;
    row->chosen = s.chosen / (double)s.n;
    row->random = s.random / (double)s.n;
    row->single = s.score[single] / (double)s.n;
    row->oracle = s.oracle / (double)s.n;
  }
}

el_status el_eval_run(const el_table *t, const int *columns, int n, const float *p, int learnt, el_eval *out,
                      el_error *err) {
  evaluation e = {.t = t, .columns = columns, .n = n, .p = p, .out = out};
  *out = (el_eval){.n = t->n_rows, .n_candidates = n};
  e.y = malloc(t->n_rows * (size_t)n * sizeof *e.y);
  e.choice = malloc(t->n_rows * sizeof *e.choice);
  out->candidates = calloc((size_t)n, sizeof *out->candidates);
  double *memory = malloc(2 * (size_t)n * sizeof *memory);
  bool ok = e.y && e.choice && out->candidates && memory && find_tasks(&e);
  if (ok) sum_up_evaluation(&e, learnt, memory);
  free(e.y);
  free(e.choice);
  free(e.task_of);
  free(memory);
  if (ok) return EL_OK;
  el_eval_free(out);
  return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory to evaluate %zu rows", t->path, t->n_rows);
}

void el_eval_free(el_eval *e) {
  free(e->tasks);
  free(e->candidates);
  *e = (el_eval){0};
}

/* ------------------------------------------------------------------- reports */

static bool print_name(el_buf *out, const char *name) {
  char shown[EL_SHOW];
  return el_buf_printf(out, "  %-24s", el_str_show((el_str){name, strlen(name)}, shown, sizeof shown));
}

bool el_eval_print(const el_eval *e, el_buf *out) {
  char shown[EL_SHOW];
  bool ok = el_buf_printf(out, "chosen %.3f ± %.3f\n", e->chosen.mean, e->chosen.half) &&
            el_buf_printf(out,
                          "  mean score of the chosen candidate on %zu prompts, and half its 95%% interval\n"
                          "random        %.3f\nbest single   %.3f  %s, in hindsight\n",
                          e->n, e->random, e->single,
                          el_str_show((el_str){e->single_name, strlen(e->single_name)}, shown, sizeof shown));
  if (e->learnt_name)
    ok = ok &&
         el_buf_printf(out, "best learnt   %.3f  %s, the best single one where the router learnt\n", e->learnt_single,
                       el_str_show((el_str){e->learnt_name, strlen(e->learnt_name)}, shown, sizeof shown));
  if (e->per_task >= 0) ok = ok && el_buf_printf(out, "best per task %.3f  told the task, in hindsight\n", e->per_task);
  ok = ok && el_buf_printf(out, "oracle        %.3f\ngain          %+.3f ± %.3f  chosen less best single\n", e->oracle,
                           e->gain.mean, e->gain.half);
  ok = ok && el_buf_printf(out, "top-k recall ");
  for (int k = 0; k < EL_EVAL_TOP && k < e->n_candidates; k++)
    ok = ok && el_buf_printf(out, " %d: %.3f", k + 1, e->recall[k]);
  ok = ok && el_buf_printf(out, "\ncalibration   ECE %.3f, Brier score %.3f\n\n  %-24s%8s%9s%10s\n", e->ece, e->brier,
                           "candidate", "chosen", "score", "expected");
  for (int i = 0; i < e->n_candidates; i++) {
    const el_eval_row *r = &e->candidates[i];
    ok = ok && print_name(out, r->name) && el_buf_printf(out, "%8zu%9.3f%10.3f\n", r->n, r->score, r->expected);
  }
  if (e->n_tasks == 0) return ok;
  ok = ok && el_buf_printf(out, "\n  %-24s%8s%9s%10s%13s%9s\n", "task", "prompts", "chosen", "random", "best single",
                           "oracle");
  for (size_t i = 0; i < e->n_tasks; i++) {
    const el_eval_row *r = &e->tasks[i];
    ok = ok && print_name(out, r->name) &&
         el_buf_printf(out, "%8zu%9.3f%10.3f%13.3f%9.3f\n", r->n, r->chosen, r->random, r->single, r->oracle);
  }
  return ok;
}

static json_t *mean_json(const el_eval_mean *m) {
  return json_pack("{s:f, s:f}", "mean", m->mean, "half_interval_95", m->half);
}

json_t *el_eval_json(const el_eval *e) {
  json_t *recall = json_array(), *tasks = json_array(), *candidates = json_array();
  for (int k = 0; k < EL_EVAL_TOP && k < e->n_candidates; k++) json_array_append_new(recall, json_real(e->recall[k]));
  for (size_t i = 0; i < e->n_tasks; i++) {
    const el_eval_row *r = &e->tasks[i];
    json_array_append_new(
        tasks, json_pack("{s:s, s:I, s:f, s:f, s:f, s:f}", "task", r->name, "prompts", (json_int_t)r->n, "chosen",
                         r->chosen, "random", r->random, "best_single", r->single, "oracle", r->oracle));
  }
  for (int i = 0; i < e->n_candidates; i++) {
    const el_eval_row *r = &e->candidates[i];
    json_array_append_new(candidates, json_pack("{s:s, s:I, s:f, s:f}", "name", r->name, "chosen", (json_int_t)r->n,
                                                "score", r->score, "expected", r->expected));
  }
  json_t *single = json_pack("{s:s, s:f}", "name", e->single_name, "score", e->single);
  json_t *learnt =
      e->learnt_name ? json_pack("{s:s, s:f}", "name", e->learnt_name, "score", e->learnt_single) : json_null();
  json_t *per_task = e->per_task >= 0 ? json_real(e->per_task) : json_null();
  return json_pack("{s:I, s:o, s:f, s:o, s:o, s:o, s:f, s:o, s:o, s:f, s:f, s:o, s:o}", "prompts", (json_int_t)e->n,
                   "chosen", mean_json(&e->chosen), "random", e->random, "best_single", single, "best_learnt", learnt,
                   "best_per_task", per_task, "oracle", e->oracle, "gain", mean_json(&e->gain), "top_k_recall", recall,
                   "ece", e->ece, "brier", e->brier, "candidates", candidates, "tasks", tasks);
}
