/* What a row's adapter has of its own besides low-rank products: factors and biases of outputs,
 * rows or all of the embedding and of the output, and norms.
 *
 * Each row is treated by itself, so its result does not depend on what it shares the step with. If
 * no adapter of a step has such things, the step checks three flags and does nothing else here. */
#include <string.h>

#include "model/step.h"

static const el_adapter_more *more_of(const el_step *s, const el_row_view *v, int r) {
  const el_adapter *a = s->rows[v->rows[r]].adapter;
  return a ? a->more : NULL;
}

static const el_lora_adjust *adjust_of(const el_step *s, const el_adapter_more *more, int place, int site) {
  return more && more->adjust ? &more->adjust[(size_t)place * (size_t)s->m->sites->n_sites + (size_t)site] : NULL;
}

const el_lora_adjust *el_own_adjust(const el_step *s, const el_row_view *v, int r, int place, int site) {
  const el_lora_adjust *a = s->own_adjust ? adjust_of(s, more_of(s, v, r), place, site) : NULL;
  return a && (a->factor || a->bias) ? a : NULL;
}

const el_lora_adjust *el_own_expert(const el_lora_group *g, int layer, int site) {
  const el_adapter_more *more = g->adapter->more;
  const el_lora_adjust *all = more && more->expert_adjust ? more->expert_adjust[layer] : NULL;
  const el_lora_adjust *a = all ? &all[g->expert * EL_N_EXPERT_SITES + site] : NULL;
  return a && (a->factor || a->bias) ? a : NULL;
}

void el_own_find(el_step *s) {
  s->own_output = s->own_norms = s->own_adjust = false;
  int most = s->m->h.n_vocab;
  for (int g = 0; g < s->all.groups.n; g++) {
    const el_adapter_more *more = s->all.groups.at[g].adapter->more;
    if (!more) continue;
    s->own_norms = s->own_norms || more->norms || more->output_norm;
    s->own_adjust = s->own_adjust || more->adjust;
  }
  const el_lora_groups *groups = &s->last->groups;
  for (int g = 0; g < groups->n && groups->at[g].row_begin < s->n_logits; g++) {
    const el_adapter *a = groups->at[g].adapter;
    const bool whole = a->more && (a->more->output.data || a->more->tokens_of_output);
    if (whole || el_adapter_a(a, s->m->h.n_layers, 0)->data) s->own_output = true;
    if (a->more && a->more->n_vocab > most) most = a->more->n_vocab;
  }
  /* Rows of logits have the usual distance, unless the step has an adapter with more tokens than
   * the base. */
  s->logits_stride = most > s->m->h.n_vocab ? ((size_t)most + 15) / 16 * 16 : (size_t)most;
}

/* ------------------------------------------------------------------- norms */

const float *el_own_norm(const el_step *s, int op, const el_row_view *v, int r) {
  const float *base = op < 0 ? s->m->output_norm : el_weights_at(s, op)->vector;
  const el_adapter_more *more = s->own_norms ? more_of(s, v, r) : NULL;
  if (!more) return base;
  if (op < 0) return more->output_norm ? more->output_norm : base;
  const int norm = el_weights_at(s, op)->norm;
  const float *own =
      more->norms && norm >= 0 ? more->norms[el_op_at(s, op)->layer * s->m->h.arch->n_norms + norm] : NULL;
  return own ? own : base;
}

/* ---------------------------------------------------------------- products */

/* What y held before a product is added to it is kept in gate_up, which is free at that time. */
static float *kept_at(const el_step *s, int r) {
  return s->gate_up + (size_t)r * (size_t)s->m->h.n_embd;
}

/* What row r's adapter has, from row p->rows.first on; NULL: nothing. */
static const el_lora_adjust *next_row(const el_step *s, const el_own_outputs *p, int *r) {
  for (; *r < p->rows.first + p->rows.n; ++*r) {
    const el_lora_adjust *a = el_own_adjust(s, p->v, *r, p->place, p->site);
    if (a) return a;
  }
  return NULL;
}

void el_own_keep(const el_step *s, const el_own_outputs *p) {
  if (!s->own_adjust || !p->add) return;
  for (int r = p->rows.first; next_row(s, p, &r); r++)
    memcpy(kept_at(s, r) + p->begin, p->y + (size_t)r * p->ldy + p->begin, sizeof *p->y * (size_t)(p->end - p->begin));
}

void el_own_clear(const el_step *s, const el_own_outputs *p) {
  if (!s->own_adjust || (!p->add && !p->bias)) return;
  for (int r = p->rows.first; next_row(s, p, &r); r++)
    memset(p->y + (size_t)r * p->ldy + p->begin, 0, sizeof *p->y * (size_t)(p->end - p->begin));
}

void el_own_finish(const el_step *s, const el_own_outputs *p) {
  if (!s->own_adjust) return;
  const el_lora_adjust *a;
  for (int r = p->rows.first; (a = next_row(s, p, &r)); r++) {
    float *y = p->y + (size_t)r * p->ldy;
    const float *bias = a->bias ? a->bias : p->bias, *kept = kept_at(s, r);
    for (int i = p->begin; a->factor && i < p->end; i++) y[i] *= a->factor[i];
    for (int i = p->begin; bias && i < p->end; i++) y[i] += bias[i];
    for (int i = p->begin; p->add && i < p->end; i++) y[i] += kept[i];
  }
}

/* ---------------------------------------------------- embedding and output */

/* The first of the adapter's own tokens that is not below `token`. */
static int find_token(const el_adapter_more *more, int token) {
  int begin = 0, end = more->n_tokens;
  while (begin < end) {
    const int middle = begin + (end - begin) / 2;
    if (more->tokens[middle] < token)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

void el_own_embedding(const el_step *s, int r, float *x) {
  const size_t n = (size_t)s->m->h.n_embd;
  const int token = s->rows[r].token;
  const el_adapter_more *more = s->rows[r].adapter ? s->rows[r].adapter->more : NULL;
  const int at = more ? find_token(more, token) : 0;
  if (more && at < more->n_tokens && more->tokens[at] == token)
    memcpy(x, more->token_rows + (size_t)at * n, sizeof *x * n);
  else
    el_packed_get_row(more && more->embedding.data ? &more->embedding : &s->m->tok_embd, token, x);
  if (more && more->embedding_a.data) el_apply_embedding(&s->lora, more, token, r, x);
  for (size_t i = 0; more && more->embedding_factor && i < n; i++) x[i] *= more->embedding_factor[i];
  for (size_t i = 0; more && more->embedding_length && i < n; i++) x[i] *= more->embedding_length[token];
}

int el_own_n_vocab(const el_step *s, int r) {
  const el_adapter_more *more = s->own_output ? more_of(s, s->last, r) : NULL;
  return more ? more->n_vocab : s->m->h.n_vocab;
}

const el_packed *el_own_output(const el_step *s, int r) {
  const el_adapter_more *more = s->own_output ? more_of(s, s->last, r) : NULL;
  return more && more->output.data ? &more->output : &s->m->output;
}

void el_own_tokens(const el_step *s, int r, const float *h, int begin, int end, float *logits) {
  const el_adapter_more *more = more_of(s, s->last, r);
  if (!more || !more->tokens_of_output) return;
  for (int i = find_token(more, begin); i < more->n_tokens && more->tokens[i] < end; i++)
    logits[more->tokens[i]] = el_dot_16(h, more->token_rows + (size_t)i * (size_t)s->m->h.n_embd, s->m->h.n_embd);
}
