/* Llama 2 and 3, Mistral 7B, SmolLM2, TinyLlama: the family that most others are variants of.
 *   h = norm(x) ; x += Wo attention(rotate(Wq h), rotate(Wk h), Wv h)
 *   h = norm(x) ; x += Wdown (silu(Wgate h) * (Wup h))
 * Rotation is of neighbours, so that rows of q and k were reordered when a file was converted. */
#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_HALVES)};

static void read_keys(el_keys *k, el_hparams *h) {
  const int experts = el_keys_int_or(k, "expert_count", 0, 1 << 20, 0);
  if (experts)
    el_keys_fail(k, EL_ERR_UNSUPPORTED, "expert_count", " is %d; mixtures of experts are not supported", experts);
  h->rope[0].factors = "rope_freqs.weight"; /* Llama 3.1's */
}

static void layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V, false);
  el_emit_attention(p, h, 0);
  el_emit_linear(p, EL_SITE_O, EL_SITE_O, false);
  el_emit(p, EL_OP_ADD, NULL);
  el_emit(p, EL_OP_NORM, "ffn_norm");
  el_emit_feed_forward(p, EL_ACT_SILU);
  el_emit(p, EL_OP_ADD, NULL);
}

const el_arch el_arch_llama = {
    .name = "llama", .site = sites, .n_sites = EL_N_USUAL_SITES, .read = read_keys, .layer = layer};
