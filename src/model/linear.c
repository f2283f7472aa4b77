/* Products of linear layers: y (+)= x W^T + bias, plus the low-rank products of each row's adapter.
 *
 * Threads own tiles of outputs. Products that read the same input form one list of tiles. An
 * exception is gate and up: a thread computes the same outputs of both, so that it can apply the
 * activation alone. */
#include <assert.h>
#include <string.h>

#include "model/step.h"

typedef struct product {
  const el_packed *w;
  const float *bias;
  float *y; /* first output of row 0 */
  el_row_range rows;
} product;

typedef struct products {
  product items[EL_MAX_SHARED];
  int n;
  size_t ldy;
  el_step_work kind;
} products;

static product product_of(const el_step *s, const el_stage *st, int op, size_t *ldy, el_step_work *kind) {
  const el_layer_dims d = el_dims_at(s, st->layer);
  const el_op_weights *w = el_weights_at(s, op);
  const size_t q = (size_t)(d.n_head * d.head_dim), kv = (size_t)(d.n_head_kv * d.head_dim), ff = (size_t)d.n_ff;
  const el_site *site = &s->m->sites->site[el_op_at(s, op)->site];
  product p = {.w = &w->w, .bias = w->vector, .y = s->qkv, .rows = el_rows_of(s, st)};
  *ldy = el_qkv_width(d);
  *kind = EL_WORK_QKV;
  switch (site->to) {
    case EL_TO_Q: p.rows = el_q_rows_of(s, st); break;
    case EL_TO_K: p.y = s->qkv + q; break;
    case EL_TO_V: p.y = s->qkv + q + kv; break;
    case EL_TO_QKV: break;
    case EL_TO_GATE:
    case EL_TO_GATE_UP:
    case EL_TO_UP:
      p.y = s->gate_up + (site->to == EL_TO_UP ? ff : 0);
      *ldy = 2 * ff;
      *kind = EL_WORK_GATE_UP;
      break;
    case EL_TO_INPUT_GATE:
      p.y = s->gate_up;
      *ldy = (size_t)s->m->h.n_layer_input;
      *kind = EL_WORK_GATE_UP;
      break;
    case EL_TO_Y:
      p.y = st->add ? s->x : s->y;
      *ldy = (size_t)s->m->h.n_embd;
      *kind = site->from == EL_FROM_ATT ? EL_WORK_O : EL_WORK_DOWN;
      break;
    case EL_TO_ROUTER:
    case EL_TO_EXPERT_GATE:
    case EL_TO_EXPERT_UP:
    case EL_TO_EXPERT_Y: assert(!"no linear layer"); break;
  }
  return p;
}

static products products_of(const el_step *s, const el_stage *st) {
  products p = {.n = st->n_ops};
  for (int i = 0; i < p.n; i++) p.items[i] = product_of(s, st, st->op + i, &p.ldy, &p.kind);
  return p;
}

/* A thread's tiles of products [first, end), which take the same rows: their tiles form one range
 * that the threads share. */
static void share_products(const products *p, int first, int end, el_turn turn, int *from, int *to) {
  int total = 0, from_all, to_all, at = 0;
  for (int i = first; i < end && p->items[i].rows.n; i++) total += p->items[i].w->n_tiles;
  el_share(total, 1, turn.rank, turn.size, &from_all, &to_all);
  for (int i = first; i < end; at += p->items[i++].w->n_tiles) {
    const int n = p->items[i].w->n_tiles;
    from[i] = from_all > at ? from_all - at < n ? from_all - at : n : 0;
    to[i] = to_all - at < n ? to_all > at ? to_all - at : 0 : n;
    if (to[i] < from[i]) to[i] = from[i];
  }
}

/* A thread's tiles of each product, [EL_MAX_SHARED]. Products with the same number of rows are
 * shared together. */
static void share_tiles(const el_step *s, const el_stage *st, const products *p, el_turn turn, int *from, int *to) {
  if (st->act >= 0) {
    const int tile = p->items[0].w->tile;
    int begin, end;
    el_share_ff(s, st->layer, turn, &begin, &end);
    from[0] = from[1] = begin / tile;
    to[0] = to[1] = (end + tile - 1) / tile;
    return;
  }
  for (int i = 0, next; i < p->n; i = next) {
    for (next = i + 1; next < p->n && p->items[next].rows.n == p->items[i].rows.n;) next++;
    share_products(p, i, next, turn, from, to);
  }
}

static const unsigned char *weight_tile(const el_packed *w, int tile) {
  return w->data + (size_t)tile * w->tile_bytes;
}

/* The next stage with products after `st`; NULL: there is none, or no row goes on to it. */
static const el_stage *next_stage(const el_step *s, const el_stage *st) {
  const el_stage *next = st->next_linear < 0 ? NULL : &s->stages[st->next_linear];
  return next && el_rows_of(s, next).n ? next : NULL;
}

/* What a thread reads first after the weights of a stage. */
static const unsigned char *next_weights(const el_step *s, const el_stage *st, el_turn turn) {
  int from[EL_MAX_SHARED], to[EL_MAX_SHARED];
  const el_stage *next = next_stage(s, st);
  if (!next) {
    el_share(s->m->output.n_tiles, 1, turn.rank, turn.size, &from[0], &to[0]);
    return s->n_logits && to[0] > from[0] ? weight_tile(&s->m->output, from[0]) : NULL;
  }
  const products p = products_of(s, next);
  share_tiles(s, next, &p, turn, from, to);
  for (int i = 0; i < p.n; i++)
    if (to[i] > from[i]) return weight_tile(p.items[i].w, from[i]);
  return NULL;
}

void el_linear_low_rank(el_step *s, const el_stage *st, el_turn turn) {
  const el_lora_groups *groups = &el_view_of(s, st)->groups;
  int begin, end;
  if (!groups->n || st->input < 0) return;
  const el_act x = el_input_at(s, st, s->m->sites->site[s->m->sites->first[st->input]].from);
  el_share_rows(s, st, turn, &begin, &end);
  el_apply_h(&s->lora, groups, st->layer, st->input, &x, begin, end);
  el_step_done(s, EL_WORK_LORA_A, turn.ith);
}

bool el_linear_norms_alone(const el_step *s, const el_stage *st) {
  const el_row_view *v = el_view_of(s, st);
  return st->norm >= 0 && v->n_rows <= EL_FEW_ROWS && !v->groups.n;
}

/* While a thread computes with the base weights it fetches the A matrices that it needs next: they
 * are too small for the hardware to prefetch, and are read only once a step. */
static void fetch_next_a(const el_step *s, const el_stage *st, int visits, el_turn turn, el_fetch *fetch) {
  const el_stage *next = s->all.groups.n ? next_stage(s, st) : NULL;
  int begin, end;
  if (!next) return;
  el_share_rows(s, next, turn, &begin, &end);
  el_apply_fetch(&s->lora, &el_view_of(s, next)->groups, next->layer, next->input, begin, end, turn.ith, visits, fetch);
}

/* y = bias, or y += bias where the product is added, for the outputs of tiles [from, to). */
static void put_bias(const product *p, size_t ldy, bool add, int from, int to) {
  const int begin = from * p->w->tile, end = to * p->w->tile < p->w->rows ? to * p->w->tile : p->w->rows;
  for (int r = p->rows.first; r < p->rows.first + p->rows.n && begin < end; r++) {
    float *y = p->y + (size_t)r * ldy;
    if (add)
      for (int i = begin; i < end; i++) y[i] += p->bias[i];
    else
      memcpy(y + begin, p->bias + begin, sizeof *y * (size_t)(end - begin));
  }
}

void el_linear_stage(el_step *s, const el_stage *st, el_turn turn) {
  const el_row_view *v = el_view_of(s, st);
  const products p = products_of(s, st);
  const el_act input = el_input_at(s, st, s->m->sites->site[el_op_at(s, st->op)->site].from), *x = &input;
  if (el_linear_norms_alone(s, st)) x = el_rows_own_norm(s, el_weights_at(s, st->norm)->vector, v->n_rows, turn.ith);
  int from[EL_MAX_SHARED], to[EL_MAX_SHARED], visits = 0;
  share_tiles(s, st, &p, turn, from, to);
  for (int i = 0; i < p.n; i++)
    visits += (to[i] - from[i]) * p.items[i].w->n_groups * ((p.items[i].rows.n + EL_PANEL - 1) / EL_PANEL);
  el_fetch fetch = {0};
  fetch_next_a(s, st, visits, turn, &fetch);
  const unsigned char *after[EL_MAX_SHARED] = {0}; /* what is read after product i */
  after[p.n - 1] = next_weights(s, st, turn);
  for (int i = p.n - 1; i > 0; i--) after[i - 1] = to[i] > from[i] ? weight_tile(p.items[i].w, from[i]) : after[i];
  const int first_site = s->m->sites->first[st->input];
  for (int i = 0; i < p.n; i++) {
    const product *one = &p.items[i];
    if (from[i] == to[i]) continue;
    fetch.next = after[i];
    const el_own_outputs own = {.v = v,
                                .place = st->layer,
                                .site = el_op_at(s, st->op + i)->site,
                                .rows = one->rows,
                                .begin = from[i] * one->w->tile,
                                .end = to[i] * one->w->tile < one->w->rows ? to[i] * one->w->tile : one->w->rows,
                                .y = one->y,
                                .ldy = p.ldy,
                                .bias = one->bias,
                                .add = st->add};
    el_own_keep(s, &own);
    if (one->bias) put_bias(one, p.ldy, st->add, from[i], to[i]);
    el_own_clear(s, &own);
    el_gemm_lora(s->m->kernels, one->w, from[i], to[i], x, one->rows.first, one->rows.first + one->rows.n, one->y,
                 p.ldy, st->add || one->bias, el_apply_low(&s->lora, &v->groups, own.site - first_site), &fetch);
    el_own_finish(s, &own);
  }
  el_step_done(s, p.kind, turn.ith);
  if (st->act >= 0) el_rows_activate(s, st, turn);
}
