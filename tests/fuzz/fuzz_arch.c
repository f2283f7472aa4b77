/* Hyper-parameters: whatever is read from a file's metadata keeps its limits, and gives sites and operations that fit
 * each other. The input is a GGUF file. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "arch/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rope(const el_rope *r) {
  double frequencies[EL_MAX_HEAD_DIM / 2];
  assert(r->n_rot >= 1 && r->n_rot % 2 == 0 && r->n_rot <= EL_MAX_HEAD_DIM && r->ctx_original >= 1);
  assert(isfinite(r->base) && isfinite(r->scale) && isfinite(r->magnitude) && isfinite(r->temperature));
  el_rope_frequencies(r, NULL, frequencies);
  for (int i = 0; i < r->n_rot / 2; i++) assert(isfinite((float)frequencies[i]));
}

static void check_layer(const el_hparams *h, int l) {
  const el_layer_dims d = el_hparams_layer(h, l);
  assert(d.n_head >= 1 && d.n_head <= h->n_head && d.n_head_kv >= 1 && d.n_head_kv <= h->n_head_kv);
  assert(d.n_head % d.n_head_kv == 0 && d.head_dim >= 2 && d.head_dim % 2 == 0 && d.head_dim <= h->head_dim);
  assert((int64_t)(d.n_head + 2 * d.n_head_kv) * d.head_dim <= EL_MAX_WIDTH);
  assert(d.n_ff >= 0 && d.n_ff <= h->n_ff && h->n_ff <= EL_MAX_WIDTH);
  assert(d.window >= 0 && d.window <= EL_MAX_CONTEXT && d.rope >= -1 && d.rope < h->n_ropes);
  assert(d.rope < 0 || h->rope[d.rope].n_rot <= d.head_dim);
  /* Whoever reads another layer's keys and values finds heads of its own shape there. */
  assert(d.kv_layer >= 0 && d.kv_layer <= l);
  const el_layer_dims kv = el_hparams_layer(h, d.kv_layer);
  assert(kv.kv_layer == d.kv_layer && kv.head_dim == d.head_dim && kv.n_head_kv == d.n_head_kv);
}

static void check(const el_hparams *h) {
  assert(h->n_layers >= 1 && h->n_layers <= EL_MAX_LAYERS && h->n_embd >= 1 && h->n_embd <= EL_MAX_WIDTH);
  assert(h->ctx_train >= 1 && h->ctx_train <= EL_MAX_CONTEXT && h->n_ropes >= 1 && h->n_ropes <= EL_MAX_ROPES);
  assert(isfinite(h->rms_eps) && isfinite(h->embed_scale) && isfinite(h->residual_scale) && isfinite(h->attn_scale));
  assert(isfinite(h->logit_scale));
  /* A value of 0 must not be multiplied by an infinity. */
  assert(h->attn_cap == 0 || (h->attn_cap > 0 && isfinite(2 / h->attn_cap)));
  assert(h->logit_cap == 0 || (h->logit_cap > 0 && isfinite(2 * h->logit_scale / h->logit_cap)));
  for (int i = 0; i < h->n_ropes; i++) check_rope(&h->rope[i]);
  for (int l = 0; l < h->n_layers; l++) check_layer(h, l);
  if (h->n_experts) assert(h->n_experts_used >= 1 && h->n_experts_used <= h->n_experts && h->n_ff_expert >= 1);
}

static void check_program(const el_hparams *h) {
  el_sites *sites;
  el_program p;
  if (el_sites_new(h, &sites, NULL) || el_program_new(h, &p, NULL)) abort();
  for (int l = 0; l < h->n_layers; l++)
    for (int i = p.begin[l]; i < p.begin[l + 1]; i++) {
      const el_op *op = &p.ops[i];
      assert(op->layer == l && isfinite(op->scale) && isfinite(op->cap));
      if (op->kind != EL_OP_LINEAR) continue;
      const el_site_dims dims = el_sites_dims(sites, l, op->site);
      assert(dims.in >= 1 && dims.in <= EL_MAX_WIDTH && dims.out >= 1 && dims.out <= 2 * EL_MAX_WIDTH);
    }
  assert(p.begin[h->n_layers] == p.n);
  el_program_free(&p);
  el_sites_free(sites);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_gguf *g = NULL;
  el_hparams h;
  el_error e = {0};
  if (el_gguf_open_memory(data, size, "fuzz", &g, &e)) return 0;
  if (el_hparams_read(g, &h, &e)) {
    assert(e.message[0]);
  } else {
    check(&h);
    check_program(&h);
    el_hparams_free(&h);
  }
  el_gguf_close(g);
  return 0;
}
