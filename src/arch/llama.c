/* Llama 2 and 3, Mistral 7B, SmolLM2, TinyLlama: the family that most others are variants of.
 *   h = norm(x) ; x += Wo attention(rotate(Wq h), rotate(Wk h), Wv h)
 *   h = norm(x) ; x += Wdown (silu(Wgate h) * (Wup h))
 *
 * Rotation pairs neighbouring dimensions, so rows of q and k were reordered when a file was
 * converted. */
#include <math.h>

#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_HALVES)};

static void read_llama_keys(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  if (!h->rope[0].factors) h->rope[0].factors = "rope_freqs.weight"; /* Llama 3.1's */
}

/* Emits the operations up to the norm before the feed-forward. */
static void emit_attention_part(el_program *p, const el_hparams *h) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  el_emit_attention(p, h);
  el_emit_linear(p, EL_SITE_O, EL_SITE_O);
  el_emit_add(p, NULL, h->residual_scale);
  el_emit(p, EL_OP_NORM, "ffn_norm");
}

static void emit_llama_layer(el_program *p, const el_hparams *h, int l) {
  emit_attention_part(p, h);
  el_emit_feed_forward(p, EL_ACT_SILU);
  el_emit_add(p, NULL, h->residual_scale);
}

const el_arch el_arch_llama = {.name = "llama",
                               .site = sites,
                               .n_sites = EL_N_USUAL_SITES,
                               EL_USUAL_NORMS,
                               .read = read_llama_keys,
                               .layer = emit_llama_layer};

/* ---------------------------------------------------------------- Mistral 3 */

/* Ministral 3 and Mistral Small 3: llama with YaRN, a magnitude of its own, and q that grows with
 * the position. */
static void read_mistral3(el_keys *k, el_hparams *h) {
  el_rope *r = &h->rope[0];
  read_llama_keys(k, h);
  r->temperature = el_keys_float_or(k, "attention.temperature_scale", 0, 1e3, 0);
  if (!r->yarn) return;
  const float multiplier = el_keys_float_or(k, "rope.scaling.yarn_log_multiplier", 0, 1e3, 0);
  r->beta_fast = el_keys_float_or(k, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, 32);
  r->beta_slow = el_keys_float_or(k, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, 1);
  if (r->scale < 1) r->magnitude /= 1 + 0.1f * multiplier * logf(1 / r->scale);
}

const el_arch el_arch_mistral3 = {.name = "mistral3",
                                  .site = sites,
                                  .n_sites = EL_N_USUAL_SITES,
                                  EL_USUAL_NORMS,
                                  .read = read_mistral3,
                                  .layer = emit_llama_layer};

/* ------------------------------------------------------------------ Granite */

/* IBM Granite 3 and 4, dense: llama with factors for the embedding, for what a layer adds, for
 * scores and logits. */
static void read_scales(el_keys *k, el_hparams *h) {
  const float logits = el_keys_float_or(k, "logit_scale", 1e-6, 1e6, 0);
  if (logits == 0) el_keys_fail(k, EL_ERR_FORMAT, "logit_scale", " is missing");
  h->logit_scale = 1 / logits;
  h->residual_scale = el_keys_float_or(k, "residual_scale", 0, 1e6, 1);
  h->embed_scale = el_keys_float_or(k, "embedding_scale", 0, 1e6, 1);
  h->attn_scale = el_keys_float_or(k, "attention.scale", 0, 1e6, 0);
  if (h->residual_scale == 0) h->residual_scale = 1;
  if (h->embed_scale == 0) h->embed_scale = 1;
}

static void read_granite(el_keys *k, el_hparams *h) {
  read_llama_keys(k, h);
  read_scales(k, h);
  const bool rotates = el_keys_bool_or(k, "rope.scaling.finetuned", true);
  for (int l = 0; l < h->n_layers && !rotates; l++) h->layers[l].rope = -1;
}

const el_arch el_arch_granite = {.name = "granite",
                                 .site = sites,
                                 .n_sites = EL_N_USUAL_SITES,
                                 EL_USUAL_NORMS,
                                 .read = read_granite,
                                 .layer = emit_llama_layer};

/* Granite's mixtures: experts, and beside them a feed-forward that all tokens use. */
enum { SHARED_GATE = EL_SITE_O + 1, SHARED_UP, SHARED_DOWN, ROUTER, N_MOE_SITES };

static const el_site moe_sites[N_MOE_SITES + EL_N_EXPERT_SITES] = {
    EL_USUAL_ATTENTION_SITES(EL_ROWS_HALVES),
    {.name = "ffn_gate_shexp", .peft = "shared_mlp.input_linear", .input = 2, .to = EL_TO_GATE},
    {.name = "ffn_up_shexp", .peft = "shared_mlp.input_linear", .input = 2, .to = EL_TO_UP},
    {.name = "ffn_down_shexp", .peft = "shared_mlp.output_linear", .input = 3, .from = EL_FROM_FF, .to = EL_TO_Y},
    {.name = "ffn_gate_inp",
     .peft = "block_sparse_moe.router",
     .peft_4 = "block_sparse_moe.router.layer",
     .input = 4,
     .to = EL_TO_ROUTER},
    {.name = "ffn_gate_exps",
     .peft = "block_sparse_moe.experts",
     .peft_4 = "block_sparse_moe.input_linear",
     .parameter = "gate_up_proj",
     .input = 5,
     .to = EL_TO_EXPERT_GATE,
     .stack = "block_sparse_moe.switch_mlp.gate_proj"},
    {.name = "ffn_up_exps",
     .peft = "block_sparse_moe.experts",
     .peft_4 = "block_sparse_moe.input_linear",
     .parameter = "gate_up_proj",
     .input = 5,
     .to = EL_TO_EXPERT_UP,
     .stack = "block_sparse_moe.switch_mlp.up_proj"},
    {.name = "ffn_down_exps",
     .peft = "block_sparse_moe.experts",
     .peft_4 = "block_sparse_moe.output_linear",
     .parameter = "down_proj",
     .input = 6,
     .from = EL_FROM_EXPERT,
     .to = EL_TO_EXPERT_Y,
     .stack = "block_sparse_moe.switch_mlp.down_proj"},
};

static void read_granitemoe(el_keys *k, el_hparams *h) {
  read_scales(k, h);
  el_hparams_experts(k, h, "feed_forward_length");
  const int shared = el_keys_int_or(k, "expert_shared_feed_forward_length", 0, EL_MAX_WIDTH, 0);
  for (int l = 0; l < h->n_layers && !k->status; l++) h->layers[l].n_ff = shared;
}

static void granitemoe_layer(el_program *p, const el_hparams *h, int l) {
  const bool shares = el_hparams_layer(h, l).n_ff > 0;
  emit_attention_part(p, h);
  if (shares) el_emit_gated(p, SHARED_GATE, SHARED_UP, SHARED_DOWN, EL_ACT_SILU);
  el_emit_experts(p, ROUTER, EL_ACT_SILU)->more = shares;
  el_emit_add(p, NULL, h->residual_scale);
}

const el_arch el_arch_granitemoe = {.name = "granitemoe",
                                    .site = moe_sites,
                                    .n_sites = N_MOE_SITES,
                                    EL_USUAL_NORMS,
                                    .read = read_granitemoe,
                                    .layer = granitemoe_layer};

/* ------------------------------------------------------------------ SmolLM3 */

/* SmolLM3: llama in which every fourth layer does not rotate (arXiv 2501.18795 calls this NoPE). */
static void read_smollm3(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  for (int l = 3; l < h->n_layers; l += 4) h->layers[l].rope = -1;
}

const el_arch el_arch_smollm3 = {.name = "smollm3",
                                 .site = sites,
                                 .n_sites = EL_N_USUAL_SITES,
                                 EL_USUAL_NORMS,
                                 .read = read_smollm3,
                                 .layer = emit_llama_layer};
