/* The operations of a model's layers, as its family emits them. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "base/error.h"

const el_norm_name el_usual_norms[4] = {{"attn_norm", "input_layernorm"},
                                        {"ffn_norm", "post_attention_layernorm"},
                                        {"attn_q_norm", "self_attn.q_norm"},
                                        {"attn_k_norm", "self_attn.k_norm"}};
const el_norm_name el_outer_norms[6] = {
    {"attn_norm", "input_layernorm"},          {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"}, {"post_ffw_norm", "post_feedforward_layernorm"},
    {"attn_q_norm", "self_attn.q_norm"},       {"attn_k_norm", "self_attn.k_norm"}};

el_op *el_emit(el_program *p, el_op_kind kind, const char *tensor) {
  if (p->n == p->cap) {
    int cap = p->cap ? 2 * p->cap : 256;
    el_op *ops = realloc(p->ops, sizeof *ops * (size_t)cap);
    if (!ops) {
      p->failed = true;
      return &p->lost;
    }
    p->ops = ops;
    p->cap = cap;
  }
  el_op *op = &p->ops[p->n++];
  *op = (el_op){.kind = kind, .layer = p->layer, .tensor = tensor, .scale = 1};
  return op;
}

void el_emit_linear(el_program *p, int first, int last) {
  for (int i = first; i <= last; i++) el_emit(p, EL_OP_LINEAR, NULL)->site = i;
}

el_op *el_emit_attention(el_program *p, const el_hparams *h) {
  const el_layer_dims d = el_hparams_layer(h, p->layer);
  if (d.rope >= 0) el_emit(p, EL_OP_ROTATE, NULL)->rope = d.rope;
  if (d.kv_layer == p->layer) el_emit(p, EL_OP_STORE, NULL);
  el_op *op = el_emit(p, EL_OP_ATTEND, NULL);
  op->window = d.window;
  op->scale = h->attn_scale > 0 ? h->attn_scale : 1.0f / sqrtf((float)d.head_dim);
  op->cap = h->attn_cap;
  return op;
}

void el_emit_add(el_program *p, const char *tensor, float scale) {
  el_emit(p, EL_OP_ADD, tensor)->scale = scale;
}

void el_emit_qk_norms(el_program *p, el_op_kind kind) {
  el_emit(p, kind, "attn_q_norm")->heads = EL_HEADS_Q;
  el_emit(p, kind, "attn_k_norm")->heads = EL_HEADS_K;
}

void el_emit_gated(el_program *p, int first, int last, int down, el_activation act) {
  el_emit_linear(p, first, last);
  el_emit(p, EL_OP_ACTIVATE, NULL)->act = act;
  el_emit_linear(p, down, down);
}

void el_emit_feed_forward(el_program *p, el_activation act) {
  el_emit_gated(p, EL_SITE_GATE, EL_SITE_UP, EL_SITE_DOWN, act);
}

el_op *el_emit_experts(el_program *p, int router, el_activation act) {
  el_op *op = el_emit(p, EL_OP_EXPERTS, NULL);
  op->site = router;
  op->act = act;
  return op;
}

el_status el_program_new(const el_hparams *h, el_program *out, el_error *err) {
  el_program p = {.begin = calloc((size_t)h->n_layers + 1, sizeof *p.begin)};
  for (p.layer = 0; p.begin && p.layer < h->n_layers; p.layer++) {
    p.begin[p.layer] = p.n;
    h->arch->layer(&p, h, p.layer);
    p.begin[p.layer + 1] = p.n;
  }
  if (!p.begin || p.failed) {
    el_program_free(&p);
    return el_fail(err, EL_ERR_NO_MEMORY, "model: out of memory");
  }
  *out = p;
  return EL_OK;
}

void el_program_free(el_program *p) {
  free(p->ops);
  free(p->begin);
  *p = (el_program){0};
}
