/* gpt-oss: biases everywhere, windows in every other layer, sinks (arXiv 2309.17453) in attention,
 * and a mixture of experts with a clamped activation. YaRN applies to all layers. */
#include "arch/arch.h"

enum { ROUTER = EL_SITE_O + 1, N_SITES };

/* Experts as separate modules are those that were trained on 4-bit weights. */
static const el_site sites[N_SITES + EL_N_EXPERT_SITES] = {
    EL_USUAL_ATTENTION_SITES(EL_ROWS_SAME),
    {.name = "ffn_gate_inp", .peft = "mlp.router", .input = 2, .to = EL_TO_ROUTER},
    {.name = "ffn_gate_exps",
     .peft = "mlp.experts",
     .parameter = "gate_up_proj",
     .input = 3,
     .to = EL_TO_EXPERT_GATE,
     .in_turn = true,
     .transposed = true,
     .by_expert = "mlp.experts.gate_up_projs.*",
     .stack = "mlp.experts.gate_proj"},
    {.name = "ffn_up_exps",
     .peft = "mlp.experts",
     .parameter = "gate_up_proj",
     .input = 3,
     .to = EL_TO_EXPERT_UP,
     .in_turn = true,
     .transposed = true,
     .by_expert = "mlp.experts.gate_up_projs.*",
     .stack = "mlp.experts.up_proj"},
    {.name = "ffn_down_exps",
     .peft = "mlp.experts",
     .parameter = "down_proj",
     .input = 4,
     .from = EL_FROM_EXPERT,
     .to = EL_TO_EXPERT_Y,
     .transposed = true,
     .by_expert = "mlp.experts.down_projs.*",
     .stack = "mlp.experts.down_proj"},
};

static void read_gpt_oss_keys(el_keys *k, el_hparams *h) {
  h->rope[0].halves = true;
  el_hparams_experts(k, h, "expert_feed_forward_length");
  const int rope = el_hparams_windowed_rope(k, h, 0);
  el_hparams_windows(k, h, el_keys_int(k, "attention.sliding_window", 1, EL_MAX_CONTEXT), 2, rope);
}

static void emit_gpt_oss_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  el_emit_attention(p, h)->tensor = "attn_sinks";
  el_emit_linear(p, EL_SITE_O, EL_SITE_O);
  el_emit_add(p, NULL, 1);
  el_emit(p, EL_OP_NORM, "post_attention_norm"); /* precedes the experts, in spite of its name */
  el_emit_experts(p, ROUTER, EL_ACT_GPT_OSS);
  el_emit_add(p, NULL, 1);
}

static const el_norm_name norms[2] = {{"attn_norm", "input_layernorm"},
                                      {"post_attention_norm", "post_attention_layernorm"}};

const el_arch el_arch_gpt_oss = {.name = "gpt-oss",
                                 .site = sites,
                                 .n_sites = N_SITES,
                                 .norm = norms,
                                 .n_norms = 2,
                                 .read = read_gpt_oss_keys,
                                 .layer = emit_gpt_oss_layer};
