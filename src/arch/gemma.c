/* Gemma 2, 3 and 4 (text).
 *   x = embedding * sqrt(n_embd)
 *   h = norm(x) ; x += norm(Wo attention(...))                     most layers have a short window
 *   h = norm(x) ; x += norm(Wdown (gelu(Wgate h) * (Wup h)))
 *
 * Gemma 2 caps scores and logits. Gemma 3 norms the heads of q and k, and rotates windowed layers
 * with another base. The file has norms' weights as factors: the 1 that Gemma adds is included. */
#include <math.h>
#include <stdio.h>

#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_SAME)};

static void read_gemma_common(el_keys *k, el_hparams *h, int n_layers_27b) {
  el_hparams_refuse_experts(k);
  h->embed_scale = sqrtf((float)h->n_embd);
  /* The 27B models scale scores by the width that a head would have if heads shared the model's
   * width. */
  if (h->n_layers == n_layers_27b) h->attn_scale = 1.0f / sqrtf((float)h->n_embd / (float)h->layers[0].n_head);
  h->rope[0].halves = true;
}

/* ------------------------------------------------------------------ Gemma 2 */

static void read_gemma2(el_keys *k, el_hparams *h) {
  read_gemma_common(k, h, 46);
  h->attn_cap = el_keys_float_or_none(k, "attn_logit_softcapping", 1e-6, 1e6, 50);
  h->logit_cap = el_keys_float_or_none(k, "final_logit_softcapping", 1e-6, 1e6, 30);
  const int rope = el_hparams_windowed_rope(k, h, 0);
  el_hparams_windows(k, h, el_keys_int_or(k, "attention.sliding_window", 1, EL_MAX_CONTEXT, 4096), 2, rope);
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

const el_arch el_arch_gemma2 = {.name = "gemma2",
                                .site = sites,
                                .n_sites = EL_N_USUAL_SITES,
                                EL_OUTER_NORMS,
                                .norms_add_one = true,
                                .read = read_gemma2,
                                .layer = gemma2_layer};

/* ------------------------------------------------------------------ Gemma 3 */

static void read_gemma3(el_keys *k, el_hparams *h) {
  read_gemma_common(k, h, 62);
  h->logit_cap = el_keys_float_or_none(k, "final_logit_softcapping", 1e-6, 1e6, 0);
  const int window = el_keys_int_or(k, "attention.sliding_window", 0, EL_MAX_CONTEXT, 0);
  if (!window) return;
  const int rope = el_hparams_windowed_rope(k, h, 10000);
  h->rope[rope].scale = 1; /* a file's scaling is for layers without a window */
  el_hparams_windows(k, h, window, 6, rope);
}

static void gemma3_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  el_emit_qk_norms(p, EL_OP_HEAD_NORM);
  emit_rest(p, h);
}

const el_arch el_arch_gemma3 = {.name = "gemma3",
                                .site = sites,
                                .n_sites = EL_N_USUAL_SITES,
                                EL_OUTER_NORMS,
                                .norms_add_one = true,
                                .read = read_gemma3,
                                .layer = gemma3_layer};

/* ------------------------------------------------------------------ Gemma 4 */

/* Gemma 4, dense. Windowed layers have heads of another size. The last layers read the keys and
 * values of the last two layers that have their own. Values are normed too, and may be the keys.
 * Tokens may have an input for each layer. */
enum { INPUT_GATE = EL_N_USUAL_SITES, INPUT_PROJ, N_GEMMA4_SITES };

static const el_site gemma4_sites[N_GEMMA4_SITES] = {
    EL_USUAL_SITES(EL_ROWS_SAME),
    {.name = "inp_gate", .peft = "per_layer_input_gate", .input = 4, .to = EL_TO_INPUT_GATE},
    {.name = "proj", .peft = "per_layer_projection", .input = 5, .from = EL_FROM_LAYER_INPUT, .to = EL_TO_Y}};

static bool has_tensor(const el_keys *k, int layer, const char *name) {
  char full[64];
  snprintf(full, sizeof full, "blk.%d.%s.weight", layer, name);
  return el_gguf_tensor(k->g, full);
}

/* The last `n` layers read what the last windowed and the last full layer before them have
 * stored. */
static void share_keys(el_keys *k, el_hparams *h, int n) {
  const int own = h->n_layers - n;
  if (!n) return;
  if (own < 2 || h->layers[own - 1].window || !h->layers[own - 2].window) {
    el_keys_fail(
        k, EL_ERR_UNSUPPORTED, "attention.shared_kv_layers",
        " %d of %d layers: before them sliding_window_pattern must have one with a window and then one without", n,
        h->n_layers);
    return;
  }
  for (int l = own; l < h->n_layers; l++) h->layers[l].kv_layer = h->layers[l].window ? own - 2 : own - 1;
}

static void read_gemma4(el_keys *k, el_hparams *h) {
  read_gemma_common(k, h, 0);
  h->attn_scale = 1;
  h->logit_cap = el_keys_float_or_none(k, "final_logit_softcapping", 1e-6, 1e6, 30);
  h->n_layer_input = el_keys_int(k, "embedding_length_per_layer_input", 0, EL_MAX_WIDTH / h->n_layers);
  const int window = el_keys_int(k, "attention.sliding_window", 1, EL_MAX_CONTEXT),
            head_dim = el_keys_int(k, "attention.key_length_swa", 2, EL_MAX_HEAD_DIM),
            value_dim = el_keys_int_or(k, "attention.value_length_swa", 2, EL_MAX_HEAD_DIM, head_dim);
  const int rope = el_hparams_windowed_rope(k, h, 10000),
            n_rot = el_keys_int_or(k, "rope.dimension_count_swa", 2, EL_MAX_HEAD_DIM, head_dim);
  h->rope[rope].factors = NULL;
  h->rope[rope].scale = 1;
  h->rope[rope].n_rot = n_rot;
  h->rope[0].factors = "rope_freqs.weight";
  if (head_dim != value_dim || head_dim % 2 || n_rot > head_dim || n_rot % 2)
    el_keys_fail(
        k, EL_ERR_UNSUPPORTED, "attention.key_length_swa",
        " %d, value_length_swa %d and rope.dimension_count_swa %d: lengths must be equal and even, the last no "
        "larger",
        head_dim, value_dim, n_rot);
  if (!k->status) el_hparams_windows(k, h, window, 6, rope);
  if (!k->status) share_keys(k, h, el_keys_int_or(k, "attention.shared_kv_layers", 0, h->n_layers - 1, 0));
  for (int l = 0; l < h->n_layers && !k->status; l++) {
    el_layer_dims *d = &h->layers[l];
    if (d->window) d->head_dim = head_dim;
    d->copies_keys = d->kv_layer == l && !has_tensor(k, l, "attn_v");
    d->scales_x = has_tensor(k, l, "layer_output_scale");
  }
}

static void gemma4_layer(el_program *p, const el_hparams *h, int l) {
  const el_layer_dims d = el_hparams_layer(h, l);
  el_emit(p, EL_OP_NORM, "attn_norm");
  el_emit_linear(p, EL_SITE_Q, d.kv_layer != l ? EL_SITE_Q : d.copies_keys ? EL_SITE_K : EL_SITE_V);
  el_emit(p, EL_OP_HEAD_NORM, "attn_q_norm")->heads = EL_HEADS_Q;
  if (d.copies_keys) el_emit(p, EL_OP_COPY_KEYS, NULL);
  if (d.kv_layer == l) {
    el_emit(p, EL_OP_HEAD_NORM, "attn_k_norm")->heads = EL_HEADS_K;
    el_emit(p, EL_OP_HEAD_NORM, NULL)->heads = EL_HEADS_V;
  }
  emit_rest(p, h);
  if (h->n_layer_input) {
    el_emit(p, EL_OP_NORM, NULL);
    el_emit_linear(p, INPUT_GATE, INPUT_GATE);
    el_emit(p, EL_OP_GATE_INPUT, NULL)->act = EL_ACT_GELU_TANH;
    el_emit_linear(p, INPUT_PROJ, INPUT_PROJ);
    el_emit_add(p, "post_norm", 1);
  }
  if (d.scales_x) el_emit(p, EL_OP_SCALE, "layer_output_scale");
}

const el_arch el_arch_gemma4 = {.name = "gemma4",
                                .site = gemma4_sites,
                                .n_sites = N_GEMMA4_SITES,
                                EL_OUTER_NORMS,
                                .read = read_gemma4,
                                .layer = gemma4_layer};
