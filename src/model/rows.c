/* Work on rows: one thread does a row, or a range of its columns. */
#include <math.h>
#include <string.h>

#include "model/step.h"

static float *state_at(const el_step *s, const el_row *row, int tap) {
  return row->states + (size_t)tap * (size_t)s->m->h.n_embd;
}

static void rotate_angles(const el_step *s, const el_row *row, int i, int r) {
  const el_rope *rope = &s->m->h.rope[i];
  const int half = rope->n_rot / 2;
  const bool is_long = s->m->inv_freq[i][1] && s->max_ctx > rope->ctx_original;
  const float *inv_freq = s->m->inv_freq[i][is_long];
  float *cs = s->cos_sin[i] + (size_t)r * (size_t)rope->n_rot;
  for (int k = 0; k < half; k++) {
    const double angle = (double)row->pos * (double)inv_freq[k];
    const double c = cos(angle) * (double)rope->magnitude, n = sin(angle) * (double)rope->magnitude;
    cs[rope->halves ? k : 2 * k] = (float)c;
    cs[rope->halves ? half + k : 2 * k + 1] = (float)n;
  }
}

/* h for the rows of a view, outside of layers: for the embeddings of tokens, and for the output. */
static el_act h_of(const el_step *s, const el_row_view *v) {
  return el_act_shaped(&s->inputs[EL_FROM_H], s->m->h.n_embd, v->n_rows);
}

void el_rows_embed(el_step *s, el_turn turn) {
  const el_hparams *h = &s->m->h;
  el_act act = h_of(s, &s->all);
  int begin, end;
  el_share(s->all.n_rows, 1, turn.rank, turn.size, &begin, &end);
  for (int r = begin; r < end; r++) {
    const el_row *row = &s->rows[r];
    float *x = s->x + (size_t)r * (size_t)h->n_embd;
    /* The embedding is needed for the layers' inputs even where a state replaces it. */
    if (row->layers != EL_ROW_LAST_LAYERS || s->layer_input) {
      el_own_embedding(s, r, x);
      for (int i = 0; h->embed_scale != 1 && i < h->n_embd; i++) x[i] *= h->embed_scale;
    }
    if (s->layer_input) {
      memcpy(act.f + (size_t)r * (size_t)h->n_embd, x, sizeof *x * (size_t)h->n_embd);
      s->m->kernels->quantize(x, 0, act.n_groups, 1.0f, &act, r);
    }
    if (row->layers == EL_ROW_LAST_LAYERS) memcpy(x, state_at(s, row, s->n_taps - 1), sizeof *x * (size_t)h->n_embd);
    for (int i = 0; i < h->n_ropes; i++) rotate_angles(s, row, i, r);
  }
  el_step_done(s, EL_WORK_EMBED, turn.ith);
}

void el_rows_layer_input(el_step *s, el_turn turn) {
  const el_packed *w = &s->m->layer_proj;
  const el_act x = h_of(s, &s->all);
  int begin, end;
  el_share(w->n_tiles, 1, turn.rank, turn.size, &begin, &end);
  s->m->kernels->gemm(w, begin, end, &x, 0, s->all.n_rows, s->layer_input, (size_t)w->rows, false, NULL);
  el_step_done(s, EL_WORK_EMBED, turn.ith);
}

void el_rows_layer_norm(el_step *s, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const int n = h->n_layer_input, all = h->n_layers * n;
  const float of_proj = 1 / sqrtf((float)h->n_embd), of_embd = sqrtf((float)n), of_both = sqrtf(0.5f);
  int begin, end;
  el_share(s->all.n_rows, 1, turn.rank, turn.size, &begin, &end);
  float *embd = s->scratch[turn.ith];
  for (int r = begin; r < end; r++) {
    float *p = s->layer_input + (size_t)r * (size_t)all;
    el_packed_get_row(&s->m->layer_embd, s->rows[r].token, embd);
    for (int i = 0; i < all; i++) p[i] *= of_proj;
    for (int l = 0; l < h->n_layers; l++)
      s->m->kernels->rms_norm(p + l * n, s->m->layer_norm, n, h->rms_eps, p + l * n);
    for (int i = 0; i < all; i++) p[i] = (p[i] + embd[i] * of_embd) * of_both;
  }
  el_step_done(s, EL_WORK_EMBED, turn.ith);
}

void el_rows_gate_input(el_step *s, const el_stage *st, el_turn turn) {
  const int n = s->m->h.n_layer_input;
  const el_row_view *v = el_view_of(s, st);
  el_act out = el_input_at(s, st, EL_FROM_LAYER_INPUT);
  int begin, end;
  el_share_rows(s, st, turn, &begin, &end);
  for (int r = begin; r < end; r++) {
    float *f = out.f + (size_t)r * (size_t)n;
    const float *input =
        s->layer_input + ((size_t)v->rows[r] * (size_t)s->m->h.n_layers + (size_t)st->layer) * (size_t)n;
    el_activate(s->m->kernels, el_op_at(s, st->op)->act, s->gate_up + (size_t)r * (size_t)n, input, n, f);
    s->m->kernels->quantize(f, 0, out.n_groups, 1.0f, &out, r);
  }
  el_step_done(s, EL_WORK_ACTIVATE, turn.ith);
}

/* h = quantise(rms_norm(x)) for one row. */
static void norm_row(el_step *s, const float *weight, el_act *act, int r) {
  const el_kernels *k = s->m->kernels;
  const int n = s->m->h.n_embd;
  float *h = act->f + (size_t)r * (size_t)n;
  const float *x = s->x + (size_t)r * (size_t)n;
  if (weight)
    k->rms_norm(x, weight, n, s->m->h.rms_eps, h);
  else
    memcpy(h, x, sizeof *h * (size_t)n);
  k->quantize(h, 0, act->n_groups, 1.0f, act, r);
}

/* act = quantise(rms_norm(x)) for rows [begin, end); weight NULL: quantise(x). */
static void norm_rows(el_step *s, const float *weight, el_act *act, int begin, int end, int ith) {
  for (int r = begin; r < end; r++) norm_row(s, weight, act, r);
  el_step_done(s, EL_WORK_NORM, ith);
}

const el_act *el_rows_own_norm(el_step *s, const float *weight, int n_rows, int ith) {
  el_act *act = &s->in_own[ith];
  el_act_shape(act, s->m->h.n_embd, n_rows);
  norm_rows(s, weight, act, 0, n_rows, ith);
  return act;
}

/* x += scale * y; y is normed first if there is a vector. */
static void add_residual_row(el_step *s, const el_op *op, const float *weight, int r) {
  const int n = s->m->h.n_embd;
  float *x = s->x + (size_t)r * (size_t)n, *y = s->y + (size_t)r * (size_t)n;
  if (weight) s->m->kernels->rms_norm(y, weight, n, s->m->h.rms_eps, y);
  for (int i = 0; i < n; i++) x[i] += op->scale * y[i];
}

void el_rows_stage(el_step *s, const el_stage *st, el_turn turn) {
  int begin, end;
  el_share_rows(s, st, turn, &begin, &end);
  el_act h = el_input_at(s, st, EL_FROM_H);
  for (int i = st->op; i < st->op + st->n_ops; i++) {
    const el_op *op = el_op_at(s, i);
    const float *weight = el_weights_at(s, i)->vector;
    const el_row_view *v = el_view_of(s, st);
    const size_t n = (size_t)s->m->h.n_embd;
    switch (op->kind) {
      case EL_OP_NORM:
        for (int r = begin; r < end; r++) norm_row(s, el_own_norm(s, i, v, r), &h, r);
        break;
      case EL_OP_ADD:
        for (int r = begin; r < end; r++) add_residual_row(s, op, el_own_norm(s, i, v, r), r);
        break;
      default: /* EL_OP_SCALE */
        for (size_t k = (size_t)begin * n; k < (size_t)end * n; k++) s->x[k] *= *weight;
    }
  }
  el_step_done(s, EL_WORK_NORM, turn.ith);
}

/* From here on the step has the rows of `last` alone. Threads share the columns of x: each moves
 * all rows in order, so none writes what another still reads. */
void el_rows_narrow(el_step *s, el_turn turn) {
  const el_row_view *v = s->last;
  const size_t n = (size_t)s->m->h.n_embd;
  int begin, end;
  el_share((int)n, EL_GROUP, turn.rank, turn.size, &begin, &end);
  for (int i = 0; i < v->n_rows && begin < end; i++) {
    float *to = s->x + (size_t)i * n + begin;
    const float *from = s->x + (size_t)v->rows[i] * n + begin;
    if (to != from) memcpy(to, from, sizeof *to * (size_t)(end - begin));
  }
  el_step_done(s, EL_WORK_ROTATE, turn.ith);
}

void el_rows_tap(el_step *s, int tap, el_turn turn) {
  const el_row_view *v = s->taps[tap] > s->last_kv ? s->last : &s->all;
  const size_t n = (size_t)s->m->h.n_embd;
  int begin, end, first = v->n_rows - v->n_first;
  el_share(v->n_first, 1, turn.rank, turn.size, &begin, &end);
  for (int r = first + begin; r < first + end; r++)
    memcpy(state_at(s, &s->rows[v->rows[r]], tap), s->x + (size_t)r * n, sizeof *s->x * n);
  el_step_done(s, EL_WORK_EMBED, turn.ith);
}

void el_share_ff(const el_step *s, int layer, el_turn turn, int *begin, int *end) {
  el_share(el_dims_at(s, layer).n_ff, EL_GROUP, turn.rank, turn.size, begin, end);
}

void el_activate(const el_kernels *k, el_activation act, const float *gate, const float *up, int n, float *out) {
  switch (act) {
    case EL_ACT_SILU: k->swiglu(gate, up, n, out); break;
    case EL_ACT_GELU_TANH: k->geglu(gate, up, n, out); break;
    case EL_ACT_GPT_OSS: k->swiglu_clamped(gate, up, n, out); break;
  }
}

/* ff = quantise(act(gate) * up), for a thread's share of the values of all rows. */
void el_rows_activate(el_step *s, const el_stage *st, el_turn turn) {
  const el_kernels *k = s->m->kernels;
  const el_row_range rows = el_rows_of(s, st);
  const int n_ff = el_dims_at(s, st->layer).n_ff;
  el_act ff = el_input_at(s, st, EL_FROM_FF);
  int begin, end;
  el_share_ff(s, st->layer, turn, &begin, &end);
  for (int r = rows.first; r < rows.first + rows.n && begin < end; r++) {
    const float *gate = s->gate_up + (size_t)r * 2 * (size_t)n_ff;
    float *out = ff.f + (size_t)r * (size_t)n_ff;
    el_activate(k, el_op_at(s, st->act)->act, gate + begin, gate + n_ff + begin, end - begin, out + begin);
    k->quantize(out, begin / EL_GROUP, (end + EL_GROUP - 1) / EL_GROUP, 1.0f, &ff, r);
  }
  el_step_done(s, EL_WORK_ACTIVATE, turn.ith);
}

/* ------------------------------------------------------------------ logits */

bool el_rows_output_norm_apart(const el_step *s) {
  return s->n_logits > EL_FEW_ROWS || s->n_hidden || s->own_output || s->own_norms;
}

/* The last norm, of the first rows of `last`. Its result stays in h, where el_step_hidden finds
 * it. */
void el_rows_output_norm(el_step *s, el_turn turn) {
  el_act h = h_of(s, s->last);
  int begin, end;
  el_share(s->n_logits + s->n_hidden, 1, turn.rank, turn.size, &begin, &end);
  for (int r = begin; r < end; r++) norm_row(s, el_own_norm(s, -1, s->last, r), &h, r);
  el_step_done(s, EL_WORK_NORM, turn.ith);
  if (end > s->n_logits) end = s->n_logits;
  if (!s->own_output || begin >= end) return;
  el_apply_h(&s->lora, &s->last->groups, s->m->h.n_layers, 0, &h, begin, end);
  el_step_done(s, EL_WORK_LORA_A, turn.ith);
}

/* A thread's share of the logits of rows [first, last), which all use the matrix w. */
static void put_logits(el_step *s, const el_packed *w, const el_act *x, int first, int last, el_turn turn) {
  const el_model *m = s->m;
  const size_t ldy = s->logits_stride;
  int begin, end;
  el_share(w->n_tiles, 1, turn.rank, turn.size, &begin, &end);
  el_gemm_lora(m->kernels, w, begin, end, x, first, last, s->logits, ldy, false,
               s->own_output ? el_apply_low(&s->lora, &s->last->groups, EL_SITE_OUTPUT) : NULL, NULL);
  const el_own_outputs own = {.v = s->last,
                              .place = m->h.n_layers,
                              .site = EL_SITE_OUTPUT,
                              .rows = {first, last - first},
                              .begin = begin * w->tile,
                              .end = end * w->tile < w->rows ? end * w->tile : w->rows,
                              .y = s->logits,
                              .ldy = ldy};
  if (own.begin >= own.end) return;
  el_own_finish(s, &own);
  for (int r = first; r < last; r++) {
    float *logits = s->logits + (size_t)r * ldy;
    /* Logits of tokens beyond those of the matrix are computed with the last ones. */
    const int end_of_row = own.end == w->rows && s->own_output ? el_own_n_vocab(s, r) : own.end;
    if (s->own_output) el_own_tokens(s, r, x->f + (size_t)r * (size_t)m->h.n_embd, own.begin, end_of_row, logits);
    if (m->h.logit_scale != 1 || m->h.logit_cap > 0)
      m->kernels->cap(logits + own.begin, end_of_row - own.begin, m->h.logit_scale, m->h.logit_cap);
  }
}

const float *el_step_hidden(const el_step *s) {
  return h_of(s, s->last).f + (size_t)s->n_logits * (size_t)s->m->h.n_embd;
}

void el_rows_output(el_step *s, el_turn turn) {
  const el_act h = h_of(s, s->last), *x = &h;
  if (!el_rows_output_norm_apart(s)) x = el_rows_own_norm(s, s->m->output_norm, s->n_logits, turn.ith);
  for (int r = 0, end; r < s->n_logits; r = end) {
    const el_packed *w = el_own_output(s, r);
    for (end = r + 1; end < s->n_logits && el_own_output(s, end) == w;) end++;
    put_logits(s, w, x, r, end, turn);
  }
  el_step_done(s, EL_WORK_OUTPUT, turn.ith);
}
