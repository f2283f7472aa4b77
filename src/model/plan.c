/* The phases of one step: the stages that have rows, and what comes between them. */
#include <assert.h>

#include "model/step.h"

static void add_phase(el_step *s, el_job job, int at) {
  assert(s->n_phases < s->max_phases);
  s->phases[s->n_phases++] = (el_step_phase){job, at, 1};
}

/* Work on rows continues without a barrier from one layer to the next if the rows are the same. */
static bool joins_last_phase(const el_step *s, int at) {
  const el_step_phase *last = &s->phases[s->n_phases - 1];
  const el_stage *st = &s->stages[at];
  if (last->job != EL_JOB_STAGES || last->at + last->n != at || s->stages[at - 1].kind != EL_STAGE_ROWS) return false;
  const el_row_range a = el_rows_of(s, &s->stages[at - 1]), b = el_rows_of(s, st);
  return el_view_of(s, &s->stages[at - 1]) == el_view_of(s, st) && a.first == b.first && a.n == b.n;
}

static void plan_stage(el_step *s, int at) {
  const el_stage *st = &s->stages[at];
  const el_layer_dims d = el_dims_at(s, st->layer);
  switch (st->kind) {
    case EL_STAGE_ROWS:
      if (at + 1 < s->n_stages && st[1].kind == EL_STAGE_LINEAR && st[1].layer == st->layer &&
          el_linear_norms_alone(s, &st[1]))
        return;
      if (joins_last_phase(s, at))
        s->phases[s->n_phases - 1].n++;
      else
        add_phase(s, EL_JOB_STAGES, at);
      return;
    case EL_STAGE_LINEAR:
      if (el_view_of(s, st)->groups.n && s->m->sites->site[el_op_at(s, st->op)->site].from != EL_FROM_H)
        add_phase(s, EL_JOB_LOW_RANK, at);
      break;
    case EL_STAGE_ATTEND:
      add_phase(s, EL_JOB_STAGES, at);
      if (!el_attention_whole_groups(d)) add_phase(s, EL_JOB_QUANTIZE, at);
      return;
    case EL_STAGE_HEADS:
    case EL_STAGE_GATE:
    case EL_STAGE_ACTIVATE:
    case EL_STAGE_ROUTE:
    case EL_STAGE_SORT:
    case EL_STAGE_GATHER:
    case EL_STAGE_WIDEN: break;
    case EL_STAGE_COMBINE:
      if (el_experts_adapted(s, st)) add_phase(s, EL_JOB_EXPERTS_LOW, at);
      break;
  }
  add_phase(s, EL_JOB_STAGES, at);
}

void el_step_plan(el_step *s) {
  int tap = 0, layer = -1;
  s->n_phases = 0;
  el_own_find(s);
  add_phase(s, EL_JOB_EMBED, 0);
  if (s->layer_input) {
    add_phase(s, EL_JOB_LAYER_INPUT, 0);
    add_phase(s, EL_JOB_LAYER_NORM, 0);
  }
  for (int i = 0; i < s->n_stages; i++) {
    const el_stage *st = &s->stages[i];
    if (st->layer != layer) {
      layer = st->layer;
      if (s->all.n_first && tap < s->n_taps && s->taps[tap] == layer) add_phase(s, EL_JOB_TAP, tap++);
    }
    if (st->narrowed && !s->stages[i - 1].narrowed && s->last != &s->all && s->last->n_rows)
      add_phase(s, EL_JOB_NARROW, 0);
    if (el_rows_of(s, st).n) plan_stage(s, i);
  }
  /* a tap after the last layer */
  if (s->all.n_first && tap < s->n_taps) add_phase(s, EL_JOB_TAP, tap);
  if (s->n_hidden || (s->n_logits && el_rows_output_norm_apart(s))) add_phase(s, EL_JOB_OUTPUT_NORM, 0);
  if (s->n_logits) add_phase(s, EL_JOB_OUTPUT, 0);
}

static void run_stage(el_step *s, const el_stage *st, el_turn turn) {
  switch (st->kind) {
    case EL_STAGE_ROWS:
      el_rows_stage(s, st, turn);
      el_linear_low_rank(s, st, turn);
      break;
    case EL_STAGE_LINEAR: el_linear_stage(s, st, turn); break;
    case EL_STAGE_HEADS: el_attention_heads(s, st, turn); break;
    case EL_STAGE_ATTEND: el_attend(s, st, turn); break;
    case EL_STAGE_GATE: el_rows_gate_input(s, st, turn); break;
    case EL_STAGE_ACTIVATE: el_rows_activate(s, st, turn); break;
    case EL_STAGE_ROUTE:
    case EL_STAGE_SORT:
    case EL_STAGE_GATHER:
    case EL_STAGE_WIDEN:
    case EL_STAGE_COMBINE: el_experts_stage(s, st, turn); break;
  }
}

void el_step_forward(void *step, int i, el_turn turn) {
  el_step *s = step;
  const el_step_phase *p = &s->phases[i];
  el_step_done(s, EL_WORK_WAIT, turn.ith);
  switch (p->job) {
    case EL_JOB_EMBED: el_rows_embed(s, turn); break;
    case EL_JOB_LAYER_INPUT: el_rows_layer_input(s, turn); break;
    case EL_JOB_LAYER_NORM: el_rows_layer_norm(s, turn); break;
    case EL_JOB_STAGES:
      for (int k = 0; k < p->n; k++) run_stage(s, &s->stages[p->at + k], turn);
      break;
    case EL_JOB_LOW_RANK: el_linear_low_rank(s, &s->stages[p->at], turn); break;
    case EL_JOB_EXPERTS_LOW: el_experts_low_rank(s, &s->stages[p->at], turn); break;
    case EL_JOB_NARROW: el_rows_narrow(s, turn); break;
    case EL_JOB_QUANTIZE: el_attention_quantize(s, &s->stages[p->at], turn); break;
    case EL_JOB_TAP: el_rows_tap(s, p->at, turn); break;
    case EL_JOB_OUTPUT_NORM: el_rows_output_norm(s, turn); break;
    case EL_JOB_OUTPUT: el_rows_output(s, turn); break;
  }
}
