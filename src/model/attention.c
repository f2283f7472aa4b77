/* Work on the heads of q, k and v, and where their keys and values are in pages. */
#include <math.h>
#include <string.h>

#include "model/step.h"

size_t el_attention_page_offset(const el_step *s, int layer, int head) {
  return s->kv_at[layer] + (size_t)head * el_kv_piece_bytes(s->kv_type, el_dims_at(s, layer).head_dim);
}

const uint32_t *el_attention_pages(const el_step *s, int layer, const el_row *row) {
  return s->kv_windowed[layer] ? row->windowed : row->pages;
}

size_t el_attention_page_bytes(const el_step *s, int layer) {
  return s->page_bytes[s->kv_windowed[layer]];
}

/* A row of q, k and v, and which of its heads to process: [begin, end) of the query heads and of
 * the KV heads. */
typedef struct heads {
  const el_row *row;
  int r; /* the row of the step */
  float *q, *k, *v;
  int q_begin, q_end, kv_begin, kv_end;
} heads;

static void norm_heads(el_step *s, const el_op *op, const float *weight, el_layer_dims d, const heads *at) {
  float *base = op->heads == EL_HEADS_Q ? at->q : op->heads == EL_HEADS_K ? at->k : at->v;
  const int begin = op->heads == EL_HEADS_Q ? at->q_begin : at->kv_begin,
            end = op->heads == EL_HEADS_Q ? at->q_end : at->kv_end;
  const size_t n = (size_t)d.head_dim;
  if (op->kind == EL_OP_WIDE_NORM) {
    const int width = d.head_dim * (op->heads == EL_HEADS_Q ? d.n_head : d.n_head_kv);
    if (begin < end) s->m->kernels->rms_norm(base, weight, width, s->m->h.rms_eps, base);
    return;
  }
  for (int i = begin; i < end; i++)
    s->m->kernels->rms_norm(base + (size_t)i * n, weight, d.head_dim, s->m->h.rms_eps, base + (size_t)i * n);
}

static void rotate_heads(el_step *s, const el_op *op, el_layer_dims d, const heads *at) {
  const el_rope *rope = &s->m->h.rope[op->rope];
  const float *cs = s->cos_sin[op->rope] + (size_t)at->r * (size_t)rope->n_rot;
  void (*turn)(float *x, const float *cos_sin, int n_rot) =
      rope->halves ? s->m->kernels->rope_halves : s->m->kernels->rope;
  for (int i = at->q_begin; i < at->q_end; i++) {
    float *q = at->q + (size_t)i * (size_t)d.head_dim;
    turn(q, cs, rope->n_rot);
    if (rope->temperature == 0) continue;
    const float factor = 1 + rope->temperature * logf((float)(at->row->pos / rope->ctx_original + 1));
    for (int k = 0; k < d.head_dim; k++) q[k] *= factor;
  }
  for (int i = at->kv_begin; i < at->kv_end; i++) turn(at->k + (size_t)i * (size_t)d.head_dim, cs, rope->n_rot);
}

static void store_kv_heads(el_step *s, int layer, el_layer_dims d, const heads *at) {
  unsigned char *page =
      s->kv + el_attention_pages(s, layer, at->row)[at->row->pos / EL_PAGE_TOKENS] * el_attention_page_bytes(s, layer);
  for (int i = at->kv_begin; i < at->kv_end; i++)
    s->m->kernels->kv_write(s->kv_type, page + el_attention_page_offset(s, layer, i), at->row->pos % EL_PAGE_TOKENS,
                            d.head_dim, at->k + (size_t)i * (size_t)d.head_dim, at->v + (size_t)i * (size_t)d.head_dim);
}

static void process_heads(el_step *s, const el_stage *st, el_layer_dims d, const heads *at) {
  for (int i = st->op; i < st->op + st->n_ops; i++) {
    const el_op *op = el_op_at(s, i);
    switch (op->kind) {
      case EL_OP_HEAD_NORM:
      case EL_OP_WIDE_NORM: norm_heads(s, op, el_own_norm(s, i, &s->all, at->r), d, at); break;
      case EL_OP_ROTATE: rotate_heads(s, op, d, at); break;
      case EL_OP_COPY_KEYS:
        memcpy(at->v + (size_t)at->kv_begin * (size_t)d.head_dim, at->k + (size_t)at->kv_begin * (size_t)d.head_dim,
               sizeof *at->v * (size_t)(at->kv_end - at->kv_begin) * (size_t)d.head_dim);
        break;
      default: store_kv_heads(s, st->layer, d, at); break;
    }
  }
}

/* Work is shared by (row, head), or by rows if an operation takes all heads of a row. */
void el_attention_heads(el_step *s, const el_stage *st, el_turn turn) {
  const el_layer_dims d = el_dims_at(s, st->layer);
  const el_row_view *v = el_view_of(s, st);
  const el_row_range rows = el_rows_of(s, st), q = el_q_rows_of(s, st);
  const int n_kv = d.kv_layer == st->layer ? d.n_head_kv : 0;
  bool wide = false;
  for (int i = st->op; i < st->op + st->n_ops; i++) wide = wide || el_op_at(s, i)->kind == EL_OP_WIDE_NORM;
  const int each = wide ? 1 : d.n_head + n_kv;
  int begin, end;
  el_share(rows.n * each, 1, turn.rank, turn.size, &begin, &end);
  for (int u = begin; u < end; u++) {
    const int r = rows.first + u / each, head = u % each;
    float *at = s->qkv + (size_t)r * el_qkv_width(d);
    heads h = {.row = &s->rows[v->rows[r]], .r = v->rows[r], .q = at};
    h.k = at + (size_t)(d.n_head * d.head_dim);
    h.v = h.k + (size_t)(d.n_head_kv * d.head_dim);
    if (wide) {
      h.q_end = d.n_head;
      h.kv_end = n_kv;
    } else if (head < d.n_head) {
      h.q_begin = head;
      h.q_end = head + 1;
    } else {
      h.kv_begin = head - d.n_head;
      h.kv_end = h.kv_begin + 1;
    }
    if (r < q.first || r >= q.first + q.n) h.q_end = h.q_begin;
    process_heads(s, st, d, &h);
  }
  el_step_done(s, EL_WORK_ROTATE, turn.ith);
}

bool el_attention_whole_groups(el_layer_dims d) {
  return d.n_head / d.n_head_kv * d.head_dim % EL_GROUP == 0;
}

void el_attention_quantize(el_step *s, const el_stage *st, el_turn turn) {
  el_act att = el_input_at(s, st, EL_FROM_ATT);
  int begin, end;
  el_share_rows(s, st, turn, &begin, &end);
  for (int r = begin; r < end; r++)
    s->m->kernels->quantize(att.f + (size_t)r * (size_t)att.k, 0, att.n_groups, 1.0f, &att, r);
  el_step_done(s, EL_WORK_ATTENTION, turn.ith);
}
