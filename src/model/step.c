/* The workspace of a forward step, and how one is run. step.h lists where the rest is. */
#include "model/step.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "kernels/select.h"
#include "tokenizer/extension.h"

void el_step_done(el_step *s, el_step_work work, int ith) {
  if (!s->profile || ith != 0) return;
  double now = el_seconds();
  s->profile[work] += now - s->mark;
  s->mark = now;
}

const char *el_step_work_name(el_step_work work) {
  static const char *const names[] = {"embedding",        "norms",    "q, k, v",    "rotate",   "attention",
                                      "attention output", "gate, up", "activation", "ffn down", "experts",
                                      "output",           "LoRA: A",  "waiting"};
  return names[work];
}

void el_step_profile(el_step *s, double *seconds) {
  s->profile = seconds;
}

el_status el_step_taps(el_step *s, const int *layers, int n_taps, el_error *err) {
  int n_layers = s->m->h.n_layers;
  if (n_taps < 1 || n_taps > EL_MAX_TAPS)
    return el_fail(err, EL_ERR_INVALID, "taps: %d, there may be 1 to %d", n_taps, EL_MAX_TAPS);
  for (int i = 0; i < n_taps; i++)
    if (layers[i] < 0 || layers[i] > n_layers || (i > 0 && layers[i] <= layers[i - 1]))
      return el_fail(err, EL_ERR_INVALID, "taps: layer %d: they must ascend, from 0 to %d", layers[i], n_layers);
  if (!layers[n_taps - 1]) return el_fail(err, EL_ERR_INVALID, "taps: the last is the embedding, no layer is left");
  memcpy(s->taps, layers, sizeof *layers * (size_t)n_taps);
  s->n_taps = n_taps;
  return EL_OK;
}

const float *el_step_run(el_step *s, const el_row *rows, int n_rows) {
  assert(n_rows >= 1 && n_rows <= s->max_rows);
  s->rows = rows;
  el_step_view(s, n_rows);
  for (int l = 0; l < s->m->h.n_layers; l++) atomic_store_explicit(&s->attend.next[l], 0, memory_order_relaxed);
  el_step_plan(s);
  if (s->profile) s->mark = el_seconds();
  el_threads_run_phases(s->threads, s->n_phases, el_step_forward, s);
  el_step_done(s, EL_WORK_WAIT, 0);
  return s->logits;
}

size_t el_step_logits_stride(const el_step *s) {
  return s->logits_stride;
}

static float *new_floats(size_t n) {
  void *p = NULL;
  return posix_memalign(&p, 64, (n * sizeof(float) + 63) / 64 * 64) ? NULL : p;
}

/* Whether some product leaves its result for an addition of its own. */
static bool needs_y(const el_step *s) {
  for (int i = 0; i < s->n_stages; i++)
    for (int k = s->stages[i].op; s->stages[i].kind == EL_STAGE_ROWS && k < s->stages[i].op + s->stages[i].n_ops; k++)
      if (el_op_at(s, k)->kind == EL_OP_ADD) return true;
  return false;
}

/* The widths of the widest layer. */
typedef struct widths {
  size_t qkv, att, ff;
  int head_dim;
} widths;

static widths find_widths(const el_hparams *h) {
  widths w = {.ff = EL_GROUP}; /* a model may have experts and no other feed-forward */
  if ((size_t)h->n_layer_input > w.ff) w.ff = (size_t)h->n_layer_input;
  for (int l = 0; l < h->n_layers; l++) {
    const el_layer_dims d = el_hparams_layer(h, l);
    const size_t att = (size_t)(d.n_head * d.head_dim);
    if (el_qkv_width(d) > w.qkv) w.qkv = el_qkv_width(d);
    if (att > w.att) w.att = att;
    if ((size_t)d.n_ff > w.ff) w.ff = (size_t)d.n_ff;
    if (d.head_dim > w.head_dim) w.head_dim = d.head_dim;
  }
  return w;
}

static bool allocate_step(el_step *s, widths w) {
  const el_hparams *h = &s->m->h;
  const size_t rows = (size_t)s->max_rows, nth = (size_t)el_threads_count(s->threads);
  s->max_phases = 2 * s->n_stages + s->n_taps + EL_MAX_TAPS + 5;
  s->x = new_floats(rows * (size_t)h->n_embd);
  if (needs_y(s) && !(s->y = new_floats(rows * (size_t)h->n_embd))) return false;
  const size_t scratch = el_attn_scratch(w.head_dim), layer_input = (size_t)h->n_layers * (size_t)h->n_layer_input;
  if (layer_input && !(s->layer_input = new_floats(rows * layer_input))) return false;
  s->qkv = new_floats(rows * w.qkv);
  /* own.c also keeps rows of x or y in it. */
  s->gate_up = new_floats(rows * (2 * w.ff > (size_t)h->n_embd ? 2 * w.ff : (size_t)h->n_embd));
  /* Adapters may have tokens besides the base's. Memory that nobody has written to takes no
   * room. */
  s->logits = new_floats((size_t)s->max_logits * ((size_t)h->n_vocab + EL_MAX_ADDED_TOKENS + 16));
  s->scratch = calloc(nth, sizeof *s->scratch);
  s->in_own = calloc(nth, sizeof *s->in_own);
  s->phases = calloc((size_t)s->max_phases, sizeof *s->phases);
  if (!s->x || !s->qkv || !s->gate_up || !s->logits || !s->scratch || !s->in_own || !s->phases) return false;
  for (int i = 0; i < h->n_ropes; i++)
    if (!(s->cos_sin[i] = new_floats(rows * (size_t)h->rope[i].n_rot))) return false;
  for (size_t i = 0; i < nth; i++)
    if (!(s->scratch[i] = new_floats(scratch > layer_input ? scratch : layer_input))) return false;
  return el_attend_new(s) && el_row_view_new(&s->all, rows) && el_row_view_new(&s->some, rows);
}

el_status el_step_new(const el_model *m, el_threads *threads, unsigned char *kv, el_kv_type kv_type, int max_rows,
                      int max_logits, int max_ctx, el_step **out, el_error *err) {
  const el_hparams *h = &m->h;
  assert(max_rows >= 1 && max_logits >= 1 && max_ctx >= 1);
  el_step *s = calloc(1, sizeof *s);
  if (s)
    *s = (el_step){.m = m,
                   .threads = threads,
                   .kv = kv,
                   .kv_type = kv_type,
                   .kv_at = calloc((size_t)h->n_layers, sizeof *s->kv_at),
                   .kv_windowed = calloc((size_t)h->n_layers, sizeof *s->kv_windowed),
                   .max_rows = max_rows,
                   .max_logits = max_logits,
                   .max_ctx = max_ctx};
  if (!s || !s->kv_at || !s->kv_windowed) {
    el_step_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory");
  }
  el_step_lay_out_pages(s);
  const int nth = el_threads_count(threads);
  const widths w = find_widths(h);
  el_status status = el_stages_new(m, &s->stages, &s->n_stages, err);
  if (!status && !allocate_step(s, w))
    status = el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for %d rows and a context of %d", max_rows, max_ctx);
  if (!status) status = el_act_new(&s->inputs[EL_FROM_H], h->n_embd, max_rows, err);
  if (!status) status = el_act_new(&s->inputs[EL_FROM_ATT], (int)w.att, max_rows, err);
  if (!status) status = el_act_new(&s->inputs[EL_FROM_FF], (int)w.ff, max_rows, err);
  for (int i = 0; i < nth && !status; i++) status = el_act_new(&s->in_own[i], h->n_embd, EL_FEW_ROWS, err);
  if (!status) status = el_mixture_new(m, max_rows, &s->mixture, err);
  if (!status) status = el_apply_new(m->kernels, m->sites, max_rows, nth, &s->lora, err);
  if (status)
    el_step_free(s);
  else
    *out = s;
  return status;
}

void el_step_free(el_step *s) {
  if (!s) return;
  if (s->scratch)
    for (int i = 0; i < el_threads_count(s->threads); i++) free(s->scratch[i]);
  if (s->in_own)
    for (int i = 0; i < el_threads_count(s->threads); i++) el_act_free(&s->in_own[i]);
  free(s->scratch);
  free(s->in_own);
  free(s->phases);
  free(s->stages);
  free(s->kv_at);
  free(s->kv_windowed);
  el_row_view_free(&s->all);
  el_row_view_free(&s->some);
  free(s->x);
  free(s->y);
  free(s->layer_input);
  free(s->qkv);
  free(s->gate_up);
  free(s->logits);
  for (int i = 0; i < EL_MAX_ROPES; i++) free(s->cos_sin[i]);
  el_attend_free(s);
  for (int i = 0; i <= EL_FROM_FF; i++) el_act_free(&s->inputs[i]);
  el_mixture_free(&s->mixture);
  el_apply_free(&s->lora);
  free(s);
}
