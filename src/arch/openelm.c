/* OpenELM (arXiv 2404.14619): layers grow from the first to the last, in heads and in feed-forward
 * width. Heads of q and k are normed, rotation pairs halves, and q, k and v are one matrix. Hugging
 * Face's gate and up are one module (proj_1). */
#include "arch/arch.h"

enum { QKV, O, GATE, UP, DOWN, N_SITES };

static const el_site sites[N_SITES] = {
    {.name = "attn_qkv", .peft = "attn.qkv_proj", .input = 0, .to = EL_TO_QKV},
    {.name = "attn_output", .peft = "attn.out_proj", .input = 1, .from = EL_FROM_ATT, .to = EL_TO_Y},
    {.name = "ffn_gate", .peft = "ffn.proj_1", .input = 2, .to = EL_TO_GATE},
    {.name = "ffn_up", .peft = "ffn.proj_1", .input = 2, .to = EL_TO_UP},
    {.name = "ffn_down", .peft = "ffn.proj_2", .input = 3, .from = EL_FROM_FF, .to = EL_TO_Y}};

static void read_openelm_keys(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  h->rope[0].halves = true;
}

static void emit_openelm_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, QKV, QKV);
  el_emit_qk_norms(p, EL_OP_HEAD_NORM);
  el_emit_attention(p, h);
  el_emit_linear(p, O, O);
  el_emit_add(p, NULL, 1);
  el_emit(p, EL_OP_NORM, "ffn_norm");
  el_emit_gated(p, GATE, UP, DOWN, EL_ACT_SILU);
  el_emit_add(p, NULL, 1);
}

static const el_norm_name norms[4] = {{"attn_norm", "attn_norm"},
                                      {"ffn_norm", "ffn_norm"},
                                      {"attn_q_norm", "attn.q_norm"},
                                      {"attn_k_norm", "attn.k_norm"}};

const el_arch el_arch_openelm = {.name = "openelm",
                                 .site = sites,
                                 .n_sites = N_SITES,
                                 .norm = norms,
                                 .n_norms = 4,
                                 .read = read_openelm_keys,
                                 .layer = emit_openelm_layer};
