/* OLMo 2 and 3: norms come after attention and feed-forward, not before; q and k are normed over
 * all of their heads.
 *   x += norm(Wo attention(rotate(norm(Wq x)), rotate(norm(Wk x)), Wv x))
 *   x += norm(Wdown (silu(Wgate x) * (Wup x)))
 *
 * OLMo 3 has windows, and the rotation of windowed layers is not scaled. */
#include "arch/arch.h"

static const el_site sites[] = {EL_USUAL_SITES(EL_ROWS_SAME)};

static void read_olmo2_keys(el_keys *k, el_hparams *h) {
  el_hparams_refuse_experts(k);
  h->rope[0].halves = true;
  const int window = el_keys_int_or(k, "attention.sliding_window", 0, EL_MAX_CONTEXT, 0);
  if (!window) return;
  h->rope[1] = (el_rope){.n_rot = h->rope[0].n_rot,
                         .halves = true,
                         .base = h->rope[0].base,
                         .scale = 1,
                         .magnitude = 1,
                         .ctx_original = h->rope[0].ctx_original};
  h->n_ropes = 2;
  el_hparams_windows(k, h, window, 4, 1);
}

static void emit_olmo2_layer(el_program *p, const el_hparams *h, int l) {
  el_emit(p, EL_OP_NORM, NULL);
  el_emit_linear(p, EL_SITE_Q, EL_SITE_V);
  el_emit_qk_norms(p, EL_OP_WIDE_NORM);
  el_emit_attention(p, h);
  el_emit_linear(p, EL_SITE_O, EL_SITE_O);
  el_emit_add(p, "post_attention_norm", 1);
  el_emit(p, EL_OP_NORM, NULL);
  el_emit_feed_forward(p, EL_ACT_SILU);
  el_emit_add(p, "post_ffw_norm", 1);
}

const el_arch el_arch_olmo2 = {.name = "olmo2",
                               .site = sites,
                               .n_sites = EL_N_USUAL_SITES,
                               EL_OUTER_NORMS,
                               .read = read_olmo2_keys,
                               .layer = emit_olmo2_layer};
