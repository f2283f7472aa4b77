/* Phi 3, 3.5 and 4 (mini, too): llama's layer with q, k and v in one matrix, gate and up in
 * another, and rotation of halves, possibly of only some dimensions of a head. Long contexts have
 * factors of their own for each pair (arXiv 2402.13753). The window in files is not used, as in
 * llama.cpp: it is as long as the context that these models were trained for. */
#include "arch/arch.h"

enum { QKV, O, GATE_UP, DOWN, N_SITES };

static const el_site sites[N_SITES] = {
    {.name = "attn_qkv", .peft = "self_attn.qkv_proj", .input = 0, .to = EL_TO_QKV},
    {.name = "attn_output", .peft = "self_attn.o_proj", .input = 1, .from = EL_FROM_ATT, .to = EL_TO_Y},
    {.name = "ffn_up", .peft = "mlp.gate_up_proj", .input = 2, .to = EL_TO_GATE_UP},
    {.name = "ffn_down", .peft = "mlp.down_proj", .input = 3, .from = EL_FROM_FF, .to = EL_TO_Y}};

static void read_phi3_keys(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  h->rope[0].halves = true;
  h->rope[0].factors = "rope_factors_short.weight";
  h->rope[0].long_factors = "rope_factors_long.weight";
}

static void emit_phi3_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, QKV, QKV);
  el_emit_attention(p, h);
  el_emit_linear(p, O, O);
  el_emit_add(p, NULL, 1);
  el_emit(p, EL_OP_NORM, "ffn_norm");
  el_emit_gated(p, GATE_UP, GATE_UP, DOWN, EL_ACT_SILU);
  el_emit_add(p, NULL, 1);
}

const el_arch el_arch_phi3 = {.name = "phi3",
                              .site = sites,
                              .n_sites = N_SITES,
                              EL_USUAL_NORMS,
                              .read = read_phi3_keys,
                              .layer = emit_phi3_layer};
