/* Gemma 2 and 3 (text).
 *   x = embedding * sqrt(n_embd)
 *   h = norm(x) ; x += norm(Wo attention(...))                     the window of most layers is short
 *   h = norm(x) ; x += norm(Wdown (gelu(Wgate h) * (Wup h)))
 * Gemma 2 caps scores and logits. Gemma 3 norms the heads of q and k, and rotates layers with a window by a base of
 * their own. Norms' weights are in the file as they are multiplied: the 1 that Gemma adds is in them. */
#include <math.h>

#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_SAME)};

static void read_common(el_keys *k, el_hparams *h, int n_layers_27b) {
  el_hparams_refuse_experts(k);
  h->embed_scale = sqrtf((float)h->n_embd);
  /* The 27B models scale scores by the width of a head as if heads shared the model's width. */
  if (h->n_layers == n_layers_27b) h->attn_scale = 1.0f / sqrtf((float)(h->n_embd / h->layers[0].n_head));
  h->rope[0].halves = true;
}

/* ------------------------------------------------------------------ Gemma 2 */

static void read_gemma2(el_keys *k, el_hparams *h) {
  read_common(k, h, 46);
  h->attn_cap = el_keys_float_or(k, "attn_logit_softcapping", 0, 1e6, 50);
  h->logit_cap = el_keys_float_or(k, "final_logit_softcapping", 0, 1e6, 30);
  h->rope[1] = h->rope[0];
  h->rope[1].base = el_keys_float_or(k, "rope.freq_base_swa", 1e-3, 1e12, h->rope[0].base);
  h->n_ropes = 2;
  el_hparams_windows(k, h, el_keys_int_or(k, "attention.sliding_window", 1, EL_MAX_CONTEXT, 4096), 2, 1);
}

static void emit_rest(el_program *p, const el_hparams *h) {
  el_emit_attention(p, h);
  el_emit_linear(p, EL_SITE_O, EL_SITE_O);
  el_emit_add(p, "post_attention_norm", 1);
  el_emit(p, EL_OP_NORM, "ffn_norm");
  el_emit_feed_forward(p, EL_ACT_GELU_TANH);
  el_emit_add(p, "post_ffw_norm", 1);
}

static void gemma2_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  emit_rest(p, h);
}

const el_arch el_arch_gemma2 = {
    .name = "gemma2", .site = sites, .n_sites = EL_N_USUAL_SITES, .read = read_gemma2, .layer = gemma2_layer};

/* ------------------------------------------------------------------ Gemma 3 */

static void read_gemma3(el_keys *k, el_hparams *h) {
  read_common(k, h, 62);
  h->logit_cap = el_keys_float_or(k, "final_logit_softcapping", 0, 1e6, 0);
  const int window = el_keys_int_or(k, "attention.sliding_window", 0, EL_MAX_CONTEXT, 0);
  if (!window) return;
  h->rope[1] = h->rope[0];
  h->rope[1].base = el_keys_float_or(k, "rope.freq_base_swa", 1e-3, 1e12, 10000);
  h->rope[1].scale = 1; /* a file's scaling is for the layers without a window */
  h->n_ropes = 2;
  el_hparams_windows(k, h, window, 6, 1);
}

static void gemma3_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  el_emit(p, EL_OP_HEAD_NORM, "attn_q_norm")->heads = EL_HEADS_Q;
  el_emit(p, EL_OP_HEAD_NORM, "attn_k_norm")->heads = EL_HEADS_K;
  emit_rest(p, h);
}

const el_arch el_arch_gemma3 = {
    .name = "gemma3", .site = sites, .n_sites = EL_N_USUAL_SITES, .read = read_gemma3, .layer = gemma3_layer};
