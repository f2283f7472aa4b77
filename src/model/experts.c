/* Mixtures of experts: each row goes to the few experts for which a router gives it the highest
 * scores.
 *   logits = Wr h + br ; the n_used largest ; weights = softmax over those
 *   y = sum of weight_e * (Wdown_e act(Wgate_e h, Wup_e h)), the best expert first
 *
 * A row and one of its experts form a pair. After sorting by expert, the pairs of an expert are
 * consecutive columns, so each matrix is read once a step for all rows that go there. A row's
 * result does not depend on other rows: a column of a product does not, and the sum over experts
 * has a fixed order.
 *
 * Adapters of experts work as those of other layers (apply.h), with pairs in the place of rows.
 * Within an expert, pairs are in the order of rows, so those with the same adapter are adjacent. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/select.h"
#include "model/step.h"

el_status el_mixture_new(const el_model *m, int max_rows, el_mixture *out, el_error *err) {
  const el_hparams *h = &m->h;
  if (!h->n_experts) return EL_OK;
  const size_t n = (size_t)max_rows * (size_t)h->n_experts_used;
  el_mixture x = {.expert = calloc(n, sizeof *x.expert),
                  .weight = calloc(n, sizeof *x.weight),
                  .place = calloc(n, sizeof *x.place),
                  .pair = calloc(n, sizeof *x.pair),
                  .begin = calloc((size_t)h->n_experts + 1, sizeof *x.begin),
                  .groups.at = calloc(n, sizeof *x.groups.at),
                  .gate_up = malloc(n * 2 * (size_t)h->n_ff_expert * sizeof *x.gate_up),
                  .out = malloc(n * (size_t)h->n_embd * sizeof *x.out)};
  el_status status = EL_OK;
  if (!x.expert || !x.weight || !x.place || !x.pair || !x.begin || !x.groups.at || !x.gate_up || !x.out)
    status = el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for the experts of %d rows", max_rows);
  if (!status) status = el_act_new(&x.h, h->n_embd, (int)n, err);
  if (!status) status = el_act_new(&x.ff, h->n_ff_expert, (int)n, err);
  if (!status) status = el_apply_new(m->kernels, m->sites, (int)n, 1, &x.lora, err);
  *out = x;
  if (status) el_mixture_free(out);
  return status;
}

void el_mixture_free(el_mixture *x) {
  free(x->expert);
  free(x->weight);
  free(x->place);
  free(x->pair);
  free(x->begin);
  free(x->groups.at);
  free(x->gate_up);
  free(x->out);
  el_act_free(&x->h);
  el_act_free(&x->ff);
  el_apply_free(&x->lora);
  *x = (el_mixture){0};
}

/* ------------------------------------------------------------------- route */

/* The router's scores for a row, [n_experts]. own: the adapter's bias that replaces the base's, or
 * NULL. */
static void score_experts(const el_kernels *k, const el_hparams *h, const el_experts *e, const float *row,
                          const el_low_rank *low, const el_lora_adjust *own, float *scores) {
  const float *bias = own ? NULL : e->router_bias;
  for (int i = 0; i < h->n_experts; i++)
    scores[i] = el_dot_16(e->router + (size_t)i * (size_t)h->n_embd, row, h->n_embd) + (bias ? bias[i] : 0);
  if (low && low->b) k->gemm(low->b, 0, low->b->n_tiles, low->h, 0, 1, scores, 0, true, NULL);
  if (!own) return;
  bias = own->bias ? own->bias : e->router_bias;
  for (int i = 0; own->factor && i < h->n_experts; i++) scores[i] *= own->factor[i];
  for (int i = 0; bias && i < h->n_experts; i++) scores[i] += bias[i];
}

/* Chooses the experts of one row, the best first; of equal ones the first. */
static void choose_experts(const el_hparams *h, const float *scores, int *expert, float *weight) {
  int n = 0;
  for (int i = 0; i < h->n_experts; i++) {
    const float logit = scores[i];
    int at = n;
    /* A logit that is NaN comes last, and is chosen only if there are too few others. */
    while (at > 0 && (logit > weight[at - 1] || (isnan(weight[at - 1]) && !isnan(logit)))) at--;
    if (at == h->n_experts_used) continue;
    const int last = n < h->n_experts_used ? n++ : n - 1;
    memmove(weight + at + 1, weight + at, (size_t)(last - at) * sizeof *weight);
    memmove(expert + at + 1, expert + at, (size_t)(last - at) * sizeof *expert);
    weight[at] = logit;
    expert[at] = i;
  }
  const float top = weight[0];
  float sum = 0;
  for (int i = 0; i < n; i++) sum += weight[i] = (float)exp((double)weight[i] - (double)top);
  for (int i = 0; i < n; i++) weight[i] /= sum;
}

static void route_rows(el_step *s, const el_stage *st, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_row_range rows = el_rows_of(s, st);
  const el_act in = el_input_at(s, st, EL_FROM_H);
  const el_row_view *v = el_view_of(s, st);
  const el_lora_groups *groups = &v->groups;
  const el_low_rank *low = el_apply_low(&s->lora, groups, 0);
  const int site = el_op_at(s, st->op)->site;
  _Static_assert(EL_MAX_EXPERTS <= EL_ATTN_TILE * EL_ATTN_BLOCK, "scores do not fit el_attn_scratch");
  float *scores = s->scratch[turn.ith];
  int begin, end;
  el_share_rows(s, st, turn, &begin, &end);
  if (low) {
    el_apply_h(&s->lora, groups, st->layer, s->m->sites->site[site].input, &in, begin, end);
    el_step_done(s, EL_WORK_LORA_A, turn.ith);
  }
  for (int r = begin; r < end; r++) {
    const size_t pair = (size_t)(r - rows.first) * (size_t)h->n_experts_used;
    score_experts(s->m->kernels, h, el_weights_at(s, st->op)->experts, in.f + (size_t)r * (size_t)h->n_embd,
                  low ? &low[r] : NULL, el_own_adjust(s, v, r, st->layer, site), scores);
    choose_experts(h, scores, s->mixture.expert + pair, s->mixture.weight + pair);
  }
}

/* Counts, then places. One thread does it: this takes less time than waiting for others. */
static void sort_expert_pairs(el_step *s, int n_pairs) {
  el_mixture *x = &s->mixture;
  const int n = s->m->h.n_experts;
  memset(x->begin, 0, sizeof *x->begin * (size_t)(n + 1));
  for (int i = 0; i < n_pairs; i++) x->begin[x->expert[i] + 1]++;
  for (int e = 0; e < n; e++) x->begin[e + 1] += x->begin[e];
  for (int i = 0; i < n_pairs; i++) {
    const int at = x->begin[x->expert[i]]++;
    x->place[i] = at;
    x->pair[at] = i;
  }
  for (int e = n; e > 0; e--) x->begin[e] = x->begin[e - 1];
  x->begin[0] = 0;
}

bool el_experts_adapted(const el_step *s, const el_stage *st) {
  const el_lora_groups *groups = &el_view_of(s, st)->groups;
  for (int g = 0; g < groups->n; g++) {
    const el_adapter *a = groups->at[g].adapter;
    if (a->experts && a->experts[st->layer].a) return true;
    if (a->more && a->more->expert_adjust && a->more->expert_adjust[st->layer]) return true;
  }
  return false;
}

/* Groups consecutive sorted pairs with the same expert and adapter. */
static void group_pairs(el_step *s, const el_stage *st, int n_pairs) {
  el_mixture *x = &s->mixture;
  const el_row_view *v = el_view_of(s, st);
  const int first = el_rows_of(s, st).first, n_used = s->m->h.n_experts_used, input = s->m->sites->n_inputs;
  x->groups.n = 0;
  if (el_experts_adapted(s, st))
    for (int i = 0; i < n_pairs; i++)
      el_lora_groups_add(&x->groups, i, s->rows[v->rows[first + x->pair[i] / n_used]].adapter, x->expert[x->pair[i]]);
  for (int k = 0; k < EL_N_EXPERT_INPUTS; k++) x->low[k] = el_apply_has(&x->lora, &x->groups, st->layer, input + k);
  x->own = false;
  for (int g = 0; g < x->groups.n; g++)
    for (int site = 0; site < EL_N_EXPERT_SITES; site++)
      x->own = x->own || el_own_expert(&x->groups.at[g], st->layer, site);
}

/* ---------------------------------------------------------------- products */

static void gather_pairs(el_step *s, const el_stage *st, int n_pairs, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_row_range rows = el_rows_of(s, st);
  const el_act in = el_input_at(s, st, EL_FROM_H);
  el_act out = el_act_shaped(&s->mixture.h, h->n_embd, n_pairs);
  int begin, end;
  el_share(n_pairs, 1, turn.rank, turn.size, &begin, &end);
  for (int i = begin; i < end; i++) {
    const int row = rows.first + s->mixture.pair[i] / h->n_experts_used;
    const float *x = in.f + (size_t)row * (size_t)h->n_embd;
    memcpy(out.f + (size_t)i * (size_t)h->n_embd, x, sizeof *x * (size_t)h->n_embd);
    s->m->kernels->quantize(x, 0, out.n_groups, 1.0f, &out, i);
  }
  if (!s->mixture.low[0]) return;
  el_step_done(s, EL_WORK_EXPERTS, turn.ith);
  el_apply_h(&s->mixture.lora, &s->mixture.groups, st->layer, s->m->sites->n_inputs, &out, begin, end);
  el_step_done(s, EL_WORK_LORA_A, turn.ith);
}

void el_experts_low_rank(el_step *s, const el_stage *st, el_turn turn) {
  const int n_pairs = el_rows_of(s, st).n * s->m->h.n_experts_used;
  const el_act ff = el_act_shaped(&s->mixture.ff, s->m->h.n_ff_expert, n_pairs);
  int begin, end;
  el_share(n_pairs, 1, turn.rank, turn.size, &begin, &end);
  if (s->mixture.low[1])
    el_apply_h(&s->mixture.lora, &s->mixture.groups, st->layer, s->m->sites->n_inputs + 1, &ff, begin, end);
  el_step_done(s, EL_WORK_LORA_A, turn.ith);
}

/* The low-rank products of gate (0), up (1) or down (2), for multiply_expert; NULL: no pair has
 * any. */
static const el_low_rank *low_of(const el_mixture *x, int site) {
  const int input = site / 2;
  return x->low[input] ? el_apply_low(&x->lora, &x->groups, site - 2 * input) : NULL;
}

/* The matrix of one expert, which has `rows` rows. */
static el_packed expert_of(const el_packed *all, int e, int rows) {
  el_packed w = *all;
  w.rows = rows;
  w.n_tiles = rows / all->tile;
  w.data += (size_t)e * (size_t)w.n_tiles * all->tile_bytes;
  return w;
}

/* The product of one site (from 0) of one expert: outputs [begin, end), whole tiles, of its
 * pairs. */
typedef struct expert_outputs {
  const el_packed *all; /* the matrices of all experts */
  const float *bias;    /* this expert's; NULL: none */
  int layer, site, expert, rows;
  float *y; /* output of pair 0 */
  size_t ldy;
  int begin, end;
} expert_outputs;

/* The next group of the expert's pairs, from *g on, that has factors or biases for the site. NULL:
 * there is none. */
static const el_lora_adjust *next_own(const el_mixture *m, const expert_outputs *p, int *g) {
  for (; *g < m->groups.n && m->groups.at[*g].expert <= p->expert; ++*g) {
    const el_lora_adjust *own =
        m->groups.at[*g].expert == p->expert ? el_own_expert(&m->groups.at[*g], p->layer, p->site) : NULL;
    if (own) return own;
  }
  return NULL;
}

/* The outputs of these pairs begin without the base's bias. */
static void clear_own(const el_mixture *m, const expert_outputs *p) {
  for (int g = 0; next_own(m, p, &g); g++)
    for (int i = m->groups.at[g].row_begin; i < m->groups.at[g].row_end; i++)
      memset(p->y + (size_t)i * p->ldy + p->begin, 0, sizeof *p->y * (size_t)(p->end - p->begin));
}

/* At the end these pairs get their factor and bias. */
static void finish_own(const el_mixture *m, const expert_outputs *p) {
  const el_lora_adjust *own;
  for (int g = 0; (own = next_own(m, p, &g)); g++) {
    const float *bias = own->bias ? own->bias : p->bias;
    for (int i = m->groups.at[g].row_begin; i < m->groups.at[g].row_end; i++) {
      float *y = p->y + (size_t)i * p->ldy;
      for (int k = p->begin; own->factor && k < p->end; k++) y[k] *= own->factor[k];
      for (int k = p->begin; bias && k < p->end; k++) y[k] += bias[k];
    }
  }
}

/* y = x W^T + bias, plus the low-rank products. */
static void multiply_expert(const el_step *s, const expert_outputs *p, const el_act *x, const el_low_rank *low) {
  const el_mixture *m = &s->mixture;
  const el_packed w = expert_of(p->all, p->expert, p->rows);
  const int first = m->begin[p->expert], last = m->begin[p->expert + 1];
  for (int i = first; p->bias && i < last; i++)
    memcpy(p->y + (size_t)i * p->ldy + p->begin, p->bias + p->begin, sizeof *p->y * (size_t)(p->end - p->begin));
  if (m->own && p->bias) clear_own(m, p);
  el_gemm_lora(s->m->kernels, &w, p->begin / w.tile, p->end / w.tile, x, first, last, p->y, p->ldy, p->bias != NULL,
               low, NULL);
  if (m->own) finish_own(m, p);
}

static const float *bias_of(const float *all, int e, int rows) {
  return all ? all + (size_t)e * (size_t)rows : NULL;
}

static void project_gate_up(el_step *s, const el_stage *st, int n_pairs, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_experts *w = el_weights_at(s, st->op)->experts;
  const el_act in = el_act_shaped(&s->mixture.h, h->n_embd, n_pairs);
  el_act ff = el_act_shaped(&s->mixture.ff, h->n_ff_expert, n_pairs);
  const el_mixture *x = &s->mixture;
  const size_t n = (size_t)h->n_ff_expert;
  int begin, end;
  el_share(h->n_ff_expert, EL_GROUP, turn.rank, turn.size, &begin, &end);
  for (int e = 0; e < h->n_experts && begin < end; e++) {
    if (s->mixture.begin[e] == s->mixture.begin[e + 1]) continue;
    expert_outputs p = {.all = &w->gate,
                        .bias = bias_of(w->gate_bias, e, h->n_ff_expert),
                        .layer = st->layer,
                        .expert = e,
                        .rows = h->n_ff_expert,
                        .y = x->gate_up,
                        .ldy = 2 * n,
                        .begin = begin,
                        .end = end};
    multiply_expert(s, &p, &in, low_of(x, 0));
    p.all = &w->up;
    p.bias = bias_of(w->up_bias, e, h->n_ff_expert);
    p.site = 1;
    p.y += n;
    multiply_expert(s, &p, &in, low_of(x, 1));
  }
  for (int i = 0; i < n_pairs && begin < end; i++) {
    const float *gate = s->mixture.gate_up + (size_t)i * 2 * n;
    float *out = ff.f + (size_t)i * n;
    el_activate(s->m->kernels, el_op_at(s, st->op)->act, gate + begin, gate + n + begin, end - begin, out + begin);
    s->m->kernels->quantize(out, begin / EL_GROUP, (end + EL_GROUP - 1) / EL_GROUP, 1.0f, &ff, i);
  }
}

static void combine_experts(el_step *s, const el_stage *st, int n_pairs, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_mixture *x = &s->mixture;
  const el_experts *w = el_weights_at(s, st->op)->experts;
  const el_row_range rows = el_rows_of(s, st);
  const el_act ff = el_act_shaped(&x->ff, h->n_ff_expert, n_pairs);
  const size_t n = (size_t)h->n_embd;
  int begin, end;
  el_share(h->n_embd, EL_GROUP, turn.rank, turn.size, &begin, &end);
  for (int e = 0; e < h->n_experts && begin < end; e++) {
    if (x->begin[e] == x->begin[e + 1]) continue;
    const expert_outputs p = {.all = &w->down,
                              .bias = bias_of(w->down_bias, e, h->n_embd),
                              .layer = st->layer,
                              .site = 2,
                              .expert = e,
                              .rows = h->n_embd,
                              .y = x->out,
                              .ldy = n,
                              .begin = begin,
                              .end = end};
    multiply_expert(s, &p, &ff, low_of(x, 2));
  }
  for (int r = rows.first; r < rows.first + rows.n && begin < end; r++) {
    const int first = (r - rows.first) * h->n_experts_used;
    float *y = (st->add ? s->x : s->y) + (size_t)r * n;
    if (!st->add && !el_op_at(s, st->op)->more) memset(y + begin, 0, sizeof *y * (size_t)(end - begin));
    for (int k = 0; k < h->n_experts_used; k++) {
      const float *out = x->out + (size_t)x->place[first + k] * n, weight = x->weight[first + k];
      for (int i = begin; i < end; i++) y[i] += weight * out[i];
    }
  }
}

void el_experts_stage(el_step *s, const el_stage *st, el_turn turn) {
  const int n_pairs = el_rows_of(s, st).n * s->m->h.n_experts_used;
  switch (st->kind) {
    case EL_STAGE_ROUTE: route_rows(s, st, turn); break;
    case EL_STAGE_SORT:
      if (turn.rank == 0) {
        sort_expert_pairs(s, n_pairs);
        group_pairs(s, st, n_pairs);
      }
      break;
    case EL_STAGE_GATHER: gather_pairs(s, st, n_pairs, turn); break;
    case EL_STAGE_WIDEN: project_gate_up(s, st, n_pairs, turn); break;
    default: combine_experts(s, st, n_pairs, turn); break;
  }
  el_step_done(s, EL_WORK_EXPERTS, turn.ith);
}
