#include "arch/hparams.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"

/* Writes "supported are a, b and c". */
static void list_families(char *out, size_t size) {
  size_t len = 0;
  for (int i = 0; el_arch_at(i) && len < size; i++) {
    const char *between = !i ? "" : el_arch_at(i + 1) ? ", " : " and ";
    len += (size_t)snprintf(out + len, size - len, "%s%s", between, el_arch_at(i)->name);
  }
}

static el_status find_family(const el_gguf *g, const el_arch **out, el_error *err) {
  char shown[EL_SHOW], names[512];
  el_str name;
  el_status status = el_gguf_str(g, "general.architecture", &name, err);
  if (status) return status;
  *out = el_arch_find(name);
  if (*out) return EL_OK;
  list_families(names, sizeof names);
  return el_fail(err, EL_ERR_UNSUPPORTED, "%s: general.architecture is '%s'; supported are %s", el_gguf_path(g),
                 el_str_show(name, shown, sizeof shown), names);
}

/* Reads the keys as llama.cpp does: a factor without a type means linear scaling. What else YaRN
 * needs is added by families. */
static void read_scaling(el_keys *k, el_rope *r) {
  const el_str type = el_keys_str(k, "rope.scaling.type");
  char shown[EL_SHOW];
  float factor = el_keys_float_or_none(k, "rope.scaling.factor", 1e-6, 1e6, 0);
  /* the key's older name */
  if (factor == 0) factor = el_keys_float_or_none(k, "rope.scale_linear", 1e-6, 1e6, 0);
  r->ctx_original = el_keys_int_or(k, "rope.scaling.original_context_length", 1, EL_MAX_CONTEXT, 0);
  if (!r->ctx_original) r->ctx_original = el_keys_int(k, "context_length", 1, EL_MAX_CONTEXT);
  r->magnitude = el_keys_float_or(k, "rope.scaling.attn_factor", 1e-6, 1e3, 1);
  if (el_str_eq(type, "none")) return;
  if (factor > 0) r->scale = 1.0f / factor;
  if (!type.len || el_str_eq(type, "linear")) return;
  if (el_str_eq(type, "longrope")) {
    r->factors = "rope_factors_short.weight";
    r->long_factors = "rope_factors_long.weight";
    return;
  }
  if (!el_str_eq(type, "yarn")) {
    el_keys_fail(k, EL_ERR_UNSUPPORTED, "rope.scaling.type", " is '%s'; supported are none, linear, yarn and longrope",
                 el_str_show(type, shown, sizeof shown));
    return;
  }
  r->yarn = true;
  r->beta_fast = 32;
  r->beta_slow = 1;
  if (factor > 1) r->magnitude *= 1 + 0.1f * logf(factor);
}

/* The numbers in the file. -1 and 0: it says nothing, or that each token's state is a vector of its
 * own. */
static el_embed read_pooling_key(el_keys *k) {
  static const el_embed of_number[] = {EL_EMBED_NONE, EL_EMBED_MEAN, EL_EMBED_CLS, EL_EMBED_LAST, EL_EMBED_RANK};
  const int number = el_keys_int_or(k, "pooling_type", -1, (int)(sizeof of_number / sizeof *of_number) - 1, 0);
  return number > 0 ? of_number[number] : EL_EMBED_NONE;
}

/* Reads what all families have in common, with rotation as the file says and without windows. */
static void read_common_keys(el_keys *k, el_hparams *h) {
  h->n_layers = el_keys_int(k, "block_count", 1, EL_MAX_LAYERS);
  h->n_embd = el_keys_int(k, "embedding_length", 1, EL_MAX_WIDTH);
  h->ctx_train = el_keys_int(k, "context_length", 1, EL_MAX_CONTEXT);
  h->pooling = read_pooling_key(k);
  if (k->status) return;
  if (!(h->layers = calloc((size_t)h->n_layers, sizeof *h->layers))) {
    k->status = el_fail(k->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(k->g));
    return;
  }
  el_layer_dims *const d = h->layers;
  const size_t each = sizeof *d;
  const int n = h->n_layers;
  if (!el_keys_has(k, "attention.head_count"))
    el_keys_int(k, "attention.head_count", 1, EL_MAX_HEADS); /* reports the missing key */
  if (!el_keys_has(k, "feed_forward_length") && !el_keys_has(k, "expert_feed_forward_length"))
    el_keys_int(k, "feed_forward_length", 1, EL_MAX_WIDTH);
  el_keys_layers(k, "attention.head_count", n, 1, EL_MAX_HEADS, 0, &d->n_head, each);
  el_keys_layers(k, "feed_forward_length", n, 1, EL_MAX_WIDTH, 1, &d->n_ff, each);
  el_keys_layers(k, "attention.head_count_kv", n, 1, EL_MAX_HEADS, 0, &d->n_head_kv, each);
  if (k->status) return;
  if (!el_keys_has(k, "attention.key_length") && h->n_embd % d->n_head)
    el_keys_fail(k, EL_ERR_FORMAT, "embedding_length", " %d is not a multiple of attention.head_count %d", h->n_embd,
                 d->n_head);
  const int head_dim = el_keys_int_or(k, "attention.key_length", 1, EL_MAX_HEAD_DIM, h->n_embd / d->n_head),
            value_dim = el_keys_int_or(k, "attention.value_length", 1, EL_MAX_HEAD_DIM, head_dim);
  h->n_ropes = 1;
  h->rope[0] = (el_rope){.scale = 1, .magnitude = 1};
  h->rope[0].n_rot = el_keys_int_or(k, "rope.dimension_count", 1, EL_MAX_HEAD_DIM, head_dim);
  h->rope[0].base = el_keys_float_or(k, "rope.freq_base", 1e-3, 1e12, 10000.0f);
  h->rms_eps = el_keys_float_or(k, "attention.layer_norm_rms_epsilon", 0, 1, 1e-5f);
  read_scaling(k, &h->rope[0]);
  h->embed_scale = h->residual_scale = h->logit_scale = 1;
  if (head_dim < 1 || head_dim > EL_MAX_HEAD_DIM || head_dim % 2 || value_dim != head_dim ||
      h->rope[0].n_rot > head_dim || h->rope[0].n_rot % 2)
    el_keys_fail(
        k, EL_ERR_UNSUPPORTED, "attention.key_length",
        " %d, value_length %d and rope.dimension_count %d: lengths must be equal, even and at most %d, the last "
        "no larger",
        head_dim, value_dim, h->rope[0].n_rot, EL_MAX_HEAD_DIM);
  for (int l = 0; l < n; l++) {
    if (!d[l].n_head_kv) d[l].n_head_kv = d[l].n_head;
    d[l].head_dim = head_dim;
    d[l].kv_layer = l;
  }
}

void el_hparams_windows(el_keys *k, el_hparams *h, int window, int period, int rope) {
  bool *windowed = calloc((size_t)h->n_layers, sizeof *windowed);
  const char *const key = "attention.sliding_window_pattern";
  if (!windowed && !k->status) k->status = el_fail(k->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(k->g));
  if (!el_keys_flags(k, key, h->n_layers, windowed)) {
    period = el_keys_int_or(k, key, 0, EL_MAX_LAYERS, period);
    for (int l = 0; windowed && l < h->n_layers; l++) windowed[l] = !period || l % period < period - 1;
  }
  for (int l = 0; windowed && l < h->n_layers; l++) {
    if (!windowed[l]) continue;
    h->layers[l].window = window;
    h->layers[l].rope = rope;
  }
  free(windowed);
}

int el_hparams_windowed_rope(el_keys *k, el_hparams *h, float fallback) {
  const float base = el_keys_float_or(k, "rope.freq_base_swa", 1e-3, 1e12, fallback);
  if (base == 0) return 0;
  h->rope[1] = h->rope[0];
  h->rope[1].base = base;
  h->n_ropes = 2;
  return 1;
}

void el_hparams_experts(el_keys *k, el_hparams *h, const char *width_key) {
  h->n_experts = el_keys_int(k, "expert_count", 1, EL_MAX_EXPERTS);
  h->n_experts_used = el_keys_int(k, "expert_used_count", 1, EL_MAX_EXPERTS);
  h->n_ff_expert = el_keys_int_or(k, width_key, 1, EL_MAX_WIDTH, 0);
  if (!k->status && !h->n_ff_expert) h->n_ff_expert = h->layers[0].n_ff / h->n_experts_used;
  if (h->n_experts_used > h->n_experts)
    el_keys_fail(k, EL_ERR_FORMAT, "expert_used_count", " %d is more than expert_count %d", h->n_experts_used,
                 h->n_experts);
  if (h->n_ff_expert < 1) el_keys_fail(k, EL_ERR_FORMAT, width_key, " is missing");
}

void el_hparams_refuse_experts(el_keys *k) {
  const int experts = el_keys_int_or(k, "expert_count", 0, 1 << 20, 0);
  if (experts)
    el_keys_fail(k, EL_ERR_UNSUPPORTED, "expert_count", " is %d; this mixture of experts is not supported", experts);
}

/* Checks that the figures, which the family may have changed, fit together. */
static void check_dims(el_keys *k, el_hparams *h) {
  for (int l = 0; l < h->n_layers && !k->status; l++) {
    const el_layer_dims *d = &h->layers[l];
    if (d->n_head % d->n_head_kv)
      el_keys_fail(k, EL_ERR_FORMAT, "attention.head_count", " %d is not a multiple of head_count_kv %d, in layer %d",
                   d->n_head, d->n_head_kv, l);
    /* Heads of another layer's keys and values are used with this layer's number and shape. */
    const el_layer_dims *kv = &h->layers[d->kv_layer];
    if (kv->n_head_kv != d->n_head_kv || kv->head_dim != d->head_dim)
      el_keys_fail(k, EL_ERR_UNSUPPORTED, "attention.head_count_kv",
                   " %d of %d in layer %d, which reads those of layer %d, %d of %d: they must be the same",
                   d->n_head_kv, d->head_dim, l, d->kv_layer, kv->n_head_kv, kv->head_dim);
    /* Rows of a layer's buffers are addressed with int. */
    if ((int64_t)(d->n_head + 2 * d->n_head_kv) * d->head_dim > EL_MAX_WIDTH)
      el_keys_fail(k, EL_ERR_UNSUPPORTED, "attention.head_count", " %d with heads of %d: more than %d values",
                   d->n_head, d->head_dim, EL_MAX_WIDTH);
    if (d->n_ff > h->n_ff) h->n_ff = d->n_ff;
    if (d->n_head > h->n_head) h->n_head = d->n_head;
    if (d->n_head_kv > h->n_head_kv) h->n_head_kv = d->n_head_kv;
    if (d->head_dim > h->head_dim) h->head_dim = d->head_dim;
  }
}

el_status el_hparams_read(const el_gguf *g, el_hparams *out, el_error *err) {
  el_hparams h = {0};
  el_status status = find_family(g, &h.arch, err);
  if (status) return status;
  el_keys k = {.g = g, .arch = h.arch->name, .err = err};
  read_common_keys(&k, &h);
  if (!k.status) h.arch->read(&k, &h);
  if (!k.status) check_dims(&k, &h);
  if (k.status)
    el_hparams_free(&h);
  else
    *out = h;
  return k.status;
}

void el_hparams_free(el_hparams *h) {
  free(h->layers);
  *h = (el_hparams){0};
}
