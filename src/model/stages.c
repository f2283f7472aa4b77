/* Turns operations into stages: operations of a layer that need no barrier between them become one
 * stage.
 *   - Additions and norms of rows are one stage, which ends in the input of the next products.
 *   - Products that read one input are one stage. After it,
 *       what is added to x unchanged is added by the product;
 *       the activation of gate and up is done by the thread that computed them.
 *   - Norms of heads, rotation and storing are one stage. */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/step.h"

enum { N_EXPERT_STAGES = EL_STAGE_COMBINE - EL_STAGE_ROUTE + 1 };

typedef struct maker {
  const el_model *m;
  el_stage *stages;
  int n;
} maker;

static el_stage *add_stage(maker *k, el_stage_kind kind, int op, int n_ops) {
  el_stage *st = &k->stages[k->n++];
  *st = (el_stage){.kind = kind,
                   .layer = k->m->program.ops[op].layer,
                   .op = op,
                   .n_ops = n_ops,
                   .input = -1,
                   .next_linear = -1,
                   .norm = -1,
                   .act = -1};
  return st;
}

static bool is_of_rows(const el_op *op) {
  return op->kind == EL_OP_NORM || op->kind == EL_OP_ADD || op->kind == EL_OP_SCALE;
}

static bool is_of_heads(const el_op *op) {
  return op->kind == EL_OP_HEAD_NORM || op->kind == EL_OP_WIDE_NORM || op->kind == EL_OP_ROTATE ||
         op->kind == EL_OP_COPY_KEYS || op->kind == EL_OP_STORE;
}

static const el_site *site_of(const maker *k, int op) {
  return &k->m->sites->site[k->m->program.ops[op].site];
}

/* How many products from `op` on read the same input. */
static int count_linear(const maker *k, int op, int end) {
  int n = 1;
  while (op + n < end && k->m->program.ops[op + n].kind == EL_OP_LINEAR &&
         site_of(k, op + n)->input == site_of(k, op)->input)
    n++;
  return n;
}

/* Whether an addition takes its operand unchanged: the stage that makes the operand then adds
 * it. */
static bool adds_unchanged(const el_op *ops, int behind, int end) {
  return behind < end && ops[behind].kind == EL_OP_ADD && !ops[behind].tensor && ops[behind].scale == 1;
}

/* Returns the number of operations that it used. */
static int add_linear(maker *k, int op, int end) {
  const el_op *ops = k->m->program.ops;
  const int n = count_linear(k, op, end), behind = op + n;
  const el_stage *before = k->n ? &k->stages[k->n - 1] : NULL;
  const bool made =
      before && before->kind == EL_STAGE_ROWS && before->layer == ops[op].layer && site_of(k, op)->from == EL_FROM_H;
  const int norm = made && before->n_ops == 1 && ops[before->op].tensor ? before->op : -1;
  if (made) k->stages[k->n - 1].input = site_of(k, op)->input;
  el_stage *st = add_stage(k, EL_STAGE_LINEAR, op, n);
  st->input = site_of(k, op)->input;
  st->norm = norm;
  if (adds_unchanged(ops, behind, end)) {
    st->add = true;
    return n + 1;
  }
  if (behind < end && ops[behind].kind == EL_OP_ACTIVATE && n == 2 && site_of(k, op)->to == EL_TO_GATE &&
      site_of(k, op + 1)->to == EL_TO_UP) {
    st->act = behind;
    return n + 1;
  }
  return n;
}

static int add_expert_stages(maker *k, int op, int end) {
  for (int kind = EL_STAGE_ROUTE; kind <= EL_STAGE_COMBINE; kind++) add_stage(k, (el_stage_kind)kind, op, 1);
  if (k->m->program.ops[op].more || !adds_unchanged(k->m->program.ops, op + 1, end)) return 1;
  k->stages[k->n - 1].add = true;
  return 2;
}

static void add_layer(maker *k, int begin, int end) {
  const el_op *ops = k->m->program.ops;
  for (int i = begin, n; i < end; i += n) {
    n = 1;
    if (is_of_rows(&ops[i])) {
      while (i + n < end && is_of_rows(&ops[i + n])) n++;
      add_stage(k, EL_STAGE_ROWS, i, n);
    } else if (is_of_heads(&ops[i])) {
      while (i + n < end && is_of_heads(&ops[i + n])) n++;
      add_stage(k, EL_STAGE_HEADS, i, n);
    } else if (ops[i].kind == EL_OP_LINEAR) {
      n = add_linear(k, i, end);
    } else if (ops[i].kind == EL_OP_EXPERTS) {
      n = add_expert_stages(k, i, end);
    } else if (ops[i].kind == EL_OP_GATE_INPUT) {
      add_stage(k, EL_STAGE_GATE, i, 1);
    } else if (ops[i].kind == EL_OP_ATTEND) {
      add_stage(k, EL_STAGE_ATTEND, i, 1);
    } else {
      assert(ops[i].kind == EL_OP_ACTIVATE);
      add_stage(k, EL_STAGE_ACTIVATE, i, 1)->act = i;
    }
  }
}

static bool stores_kv(const el_model *m, const el_stage *st) {
  for (int i = st->op; st->kind == EL_STAGE_HEADS && i < st->op + st->n_ops; i++)
    if (m->program.ops[i].kind == EL_OP_STORE) return true;
  return false;
}

el_status el_stages_new(const el_model *m, el_stage **out, int *n, el_error *err) {
  maker k = {.m = m, .stages = calloc((size_t)m->program.n * N_EXPERT_STAGES + 1, sizeof *k.stages)};
  if (!k.stages) return el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory");
  for (int l = 0; l < m->h.n_layers; l++) add_layer(&k, m->program.begin[l], m->program.begin[l + 1]);
  int next = -1;
  bool narrowed = true;
  for (int i = k.n - 1; i >= 0; i--) {
    el_stage *st = &k.stages[i];
    if (stores_kv(m, st)) narrowed = false;
    st->narrowed = narrowed;
    st->next_linear = next;
    if (st->kind == EL_STAGE_LINEAR) next = i;
  }
  *out = k.stages;
  *n = k.n;
  return EL_OK;
}
