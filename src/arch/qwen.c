/* Qwen 2, 2.5 and 3: llama's layer with rotation of halves. Qwen 2 has biases on q, k and v; Qwen 3
 * norms the heads of q and k before rotation. Qwen 3 MoE has experts. */
#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_SAME)};

static void read_qwen_keys(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  h->rope[0].halves = true;
}

/* Emits the operations up to the norm before the feed-forward. */
static void emit_attention(el_program *p, const el_hparams *h, bool norms_heads) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  if (norms_heads) el_emit_qk_norms(p, EL_OP_HEAD_NORM);
  el_emit_attention(p, h);
  el_emit_linear(p, EL_SITE_O, EL_SITE_O);
  el_emit_add(p, NULL, 1);
  el_emit(p, EL_OP_NORM, "ffn_norm");
}

static void qwen2_layer(el_program *p, const el_hparams *h, int l) {
  emit_attention(p, h, false);
  el_emit_feed_forward(p, EL_ACT_SILU);
  el_emit_add(p, NULL, 1);
}

static void qwen3_layer(el_program *p, const el_hparams *h, int l) {
  emit_attention(p, h, true);
  el_emit_feed_forward(p, EL_ACT_SILU);
  el_emit_add(p, NULL, 1);
}

/* The feed-forward of every layer is a mixture. */
enum { ROUTER = EL_SITE_O + 1, N_MOE_SITES };

static const el_site moe_sites[N_MOE_SITES + EL_N_EXPERT_SITES] = {
    EL_USUAL_ATTENTION_SITES(EL_ROWS_SAME),
    {.name = "ffn_gate_inp", .peft = "mlp.gate", .input = 2, .to = EL_TO_ROUTER},
    {.name = "ffn_gate_exps",
     .peft = "mlp.experts",
     .parameter = "gate_up_proj",
     .input = 3,
     .to = EL_TO_EXPERT_GATE,
     .by_expert = "mlp.experts.*.gate_proj",
     .stack = "mlp.switch_mlp.gate_proj"},
    {.name = "ffn_up_exps",
     .peft = "mlp.experts",
     .parameter = "gate_up_proj",
     .input = 3,
     .to = EL_TO_EXPERT_UP,
     .by_expert = "mlp.experts.*.up_proj",
     .stack = "mlp.switch_mlp.up_proj"},
    {.name = "ffn_down_exps",
     .peft = "mlp.experts",
     .parameter = "down_proj",
     .input = 4,
     .from = EL_FROM_EXPERT,
     .to = EL_TO_EXPERT_Y,
     .by_expert = "mlp.experts.*.down_proj",
     .stack = "mlp.switch_mlp.down_proj"},
};

static void read_qwen3moe(el_keys *k, el_hparams *h) {
  h->rope[0].halves = true;
  el_hparams_experts(k, h, "expert_feed_forward_length");
}

static void qwen3moe_layer(el_program *p, const el_hparams *h, int l) {
  emit_attention(p, h, true);
  el_emit_experts(p, ROUTER, EL_ACT_SILU);
  el_emit_add(p, NULL, 1);
}

const el_arch el_arch_qwen2 = {.name = "qwen2",
                               .site = sites,
                               .n_sites = EL_N_USUAL_SITES,
                               .read = read_qwen_keys,
                               .layer = qwen2_layer,
                               EL_USUAL_NORMS};
const el_arch el_arch_qwen3 = {.name = "qwen3",
                               .site = sites,
                               .n_sites = EL_N_USUAL_SITES,
                               .read = read_qwen_keys,
                               .layer = qwen3_layer,
                               EL_USUAL_NORMS};
const el_arch el_arch_qwen3moe = {.name = "qwen3moe",
                                  .site = moe_sites,
                                  .n_sites = N_MOE_SITES,
                                  EL_USUAL_NORMS,
                                  .read = read_qwen3moe,
                                  .layer = qwen3moe_layer};
