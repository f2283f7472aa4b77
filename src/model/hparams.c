#include "model/hparams.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

/* Limits far above any model of this architecture; they keep products of two of them inside 64 bits and shapes inside
 * int. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD_DIM = 1024, MAX_CONTEXT = 1 << 24 };

/* An integer that may be absent; `fallback` then. */
static el_status optional_int(const el_gguf *g, const char *key, int64_t min, int64_t max, int64_t fallback, int *out,
                              el_error *err) {
  int64_t v = fallback;
  if (el_gguf_find(g, key)) {
    el_status status = el_gguf_i64(g, key, min, max, &v, err);
    if (status) return status;
  }
  *out = (int)v;
  return EL_OK;
}

static el_status required_int(const el_gguf *g, const char *key, int64_t max, int *out, el_error *err) {
  int64_t v = 0;
  el_status status = el_gguf_i64(g, key, 1, max, &v, err);
  if (!status) *out = (int)v;
  return status;
}

static el_status optional_float(const el_gguf *g, const char *key, float fallback, float *out, el_error *err) {
  double v = fallback;
  if (el_gguf_find(g, key)) {
    el_status status = el_gguf_f64(g, key, &v, err);
    if (status) return status;
    if (!isfinite(v) || v < 0)
      return el_fail(err, EL_ERR_FORMAT, "%s: %s is not a finite positive number", el_gguf_path(g), key);
  }
  *out = (float)v;
  return EL_OK;
}

static el_status read_rope_scaling(const el_gguf *g, el_hparams *h, el_error *err) {
  el_str type = {"none", 4};
  if (el_gguf_find(g, "llama.rope.scaling.type")) {
    el_status status = el_gguf_str(g, "llama.rope.scaling.type", &type, err);
    if (status) return status;
  }
  float factor = 0;
  el_status status = optional_float(g, "llama.rope.scaling.factor", 0, &factor, err);
  if (!status && factor == 0)
    status = optional_float(g, "llama.rope.scale_linear", 0, &factor, err); /* the key's older name */
  if (status) return status;
  h->rope_scale = 1;
  if (el_str_eq(type, "none")) return EL_OK;
  if (!el_str_eq(type, "linear"))
    return el_fail(err, EL_ERR_UNSUPPORTED, "%s: llama.rope.scaling.type is '%.*s'; supported are none and linear",
                   el_gguf_path(g), (int)(type.len < 64 ? type.len : 64), type.data);
  if (factor > 0) h->rope_scale = 1.0f / factor;
  return EL_OK;
}

el_status el_hparams_read(const el_gguf *g, el_hparams *out, el_error *err) {
  const char *path = el_gguf_path(g);
  el_str arch;
  el_status status = el_gguf_str(g, "general.architecture", &arch, err);
  if (status) return status;
  if (!el_str_eq(arch, "llama"))
    return el_fail(err, EL_ERR_UNSUPPORTED, "%s: general.architecture is '%.*s'; supported is llama", path,
                   (int)(arch.len < 64 ? arch.len : 64), arch.data);

  el_hparams h = {0};
  int experts = 0, value_dim = 0, splits = 0;
  if ((status = optional_int(g, "split.count", 0, 1 << 16, 0, &splits, err))) return status;
  if (splits > 1)
    return el_fail(err, EL_ERR_UNSUPPORTED,
                   "%s: split.count is %d; models in several files are not supported, merge them first", path, splits);
  if ((status = required_int(g, "llama.block_count", MAX_LAYERS, &h.n_layers, err)) ||
      (status = required_int(g, "llama.embedding_length", MAX_WIDTH, &h.n_embd, err)) ||
      (status = required_int(g, "llama.feed_forward_length", MAX_WIDTH, &h.n_ff, err)) ||
      (status = required_int(g, "llama.attention.head_count", MAX_HEADS, &h.n_head, err)) ||
      (status = required_int(g, "llama.context_length", MAX_CONTEXT, &h.ctx_train, err)) ||
      (status = optional_int(g, "llama.attention.head_count_kv", 1, MAX_HEADS, h.n_head, &h.n_head_kv, err)) ||
      (status = optional_int(g, "llama.expert_count", 0, 1 << 20, 0, &experts, err)))
    return status;
  if (experts)
    return el_fail(err, EL_ERR_UNSUPPORTED, "%s: llama.expert_count is %d; mixtures of experts are not supported", path,
                   experts);
  if (h.n_head % h.n_head_kv)
    return el_fail(err, EL_ERR_FORMAT, "%s: llama.attention.head_count %d is not a multiple of head_count_kv %d", path,
                   h.n_head, h.n_head_kv);
  if (!el_gguf_find(g, "llama.attention.key_length") && h.n_embd % h.n_head)
    return el_fail(err, EL_ERR_FORMAT, "%s: llama.embedding_length %d is not a multiple of attention.head_count %d",
                   path, h.n_embd, h.n_head);
  if ((status =
           optional_int(g, "llama.attention.key_length", 1, MAX_HEAD_DIM, h.n_embd / h.n_head, &h.head_dim, err)) ||
      (status = optional_int(g, "llama.attention.value_length", 1, MAX_HEAD_DIM, h.head_dim, &value_dim, err)) ||
      (status = optional_int(g, "llama.rope.dimension_count", 1, MAX_HEAD_DIM, h.head_dim, &h.n_rot, err)) ||
      (status = optional_float(g, "llama.rope.freq_base", 10000.0f, &h.rope_base, err)) ||
      (status = optional_float(g, "llama.attention.layer_norm_rms_epsilon", 1e-5f, &h.rms_eps, err)) ||
      (status = read_rope_scaling(g, &h, err)))
    return status;
  if (h.head_dim < 1 || h.head_dim > MAX_HEAD_DIM || h.head_dim % 2 || value_dim != h.head_dim ||
      h.n_rot > h.head_dim || h.n_rot % 2)
    return el_fail(err, EL_ERR_UNSUPPORTED,
                   "%s: key length %d, value length %d and rope.dimension_count %d: lengths must be equal, even and at "
                   "most %d, the last no larger",
                   path, h.head_dim, value_dim, h.n_rot, MAX_HEAD_DIM);
  if (h.rope_base <= 0) return el_fail(err, EL_ERR_FORMAT, "%s: llama.rope.freq_base must be above 0", path);
  *out = h;
  return EL_OK;
}

void el_hparams_shape(const el_hparams *h, el_lora_shape *out) {
  int q = h->n_head * h->head_dim, kv = h->n_head_kv * h->head_dim;
  *out = (el_lora_shape){.n_layers = h->n_layers,
                         .in = {h->n_embd, h->n_embd, h->n_embd, q, h->n_embd, h->n_embd, h->n_ff},
                         .out = {q, kv, kv, h->n_embd, h->n_ff, h->n_ff, h->n_embd},
                         .n_head = h->n_head,
                         .n_head_kv = h->n_head_kv};
}
