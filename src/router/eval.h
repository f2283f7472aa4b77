/* How good a router's decisions are on a profiling table, compared with simpler rules. */
#ifndef EL_ROUTER_EVAL_H
#define EL_ROUTER_EVAL_H

#include <jansson.h>

#include "base/buf.h"
#include "base/text.h"
#include "router/table.h"

enum { EL_EVAL_TOP = 5, EL_EVAL_BINS = 10 };

/* A mean and half its 95% interval (normal approximation). */
typedef struct el_eval_mean {
  double mean, half;
} el_eval_mean;

typedef struct el_eval_row {
  const char *name;                      /* of a task, or of a candidate */
  size_t n;                              /* prompts of the task; or prompts for which the candidate was chosen */
  double chosen, random, single, oracle; /* task */
  double score, expected;                /* candidate: mean score, mean expected score, on all prompts */
} el_eval_row;

typedef struct el_eval {
  size_t n;
  int n_candidates;
  el_eval_mean chosen, gain;       /* gain: chosen minus best single, prompt by prompt */
  double random, oracle, per_task; /* per_task: the best candidate of each task, if the task were known; -1: no tasks */
  double single;                   /* the candidate with the best mean score, known only in hindsight */
  const char *single_name;
  double learnt_single; /* the candidate that was best in training; -1: not known */
  const char *learnt_name;
  double recall[EL_EVAL_TOP]; /* [k - 1]: share of prompts where one of the k best predictions has the best score */
  double ece, brier;          /* of all predicted scores; ece: expected calibration error with bins of equal width */
  el_eval_row *tasks, *candidates;
  size_t n_tasks;
} el_eval;

/* p: [n_rows, n] predicted scores of the candidates in columns[0 .. n - 1] of the table. learnt: the
 * index of the one that was best in training; -1: not known. The table must outlive *out. */
el_status el_eval_run(const el_table *t, const int *columns, int n, const float *p, int learnt, el_eval *out,
                      el_error *err);
void el_eval_free(el_eval *e);

bool el_eval_print(const el_eval *e, el_buf *out); /* false: out of memory */
json_t *el_eval_json(const el_eval *e);            /* NULL: out of memory */

#endif
