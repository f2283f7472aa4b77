/* GGUF LoRA files, as llama.cpp writes and reads them: the base's tensor names followed by .lora_a
 * and .lora_b. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_modules.h"
#include "arch/arch.h"
#include "base/error.h"

/* Parses blk.N.SITE.weight.lora_a and output.weight.lora_a. *n_sites is 2 where gate and up of
 * experts lie one below the other; p is then the first of them. */
static bool parse_gguf_name(el_lora_file *f, el_str s, el_lora_half *p, int *n_sites) {
  *n_sites = 1;
  if (el_str_chop(&s, ".weight.lora_b"))
    p->is_b = true;
  else if (!el_str_chop(&s, ".weight.lora_a"))
    return false;
  if (el_str_eq(s, "output")) return (p->site = el_lora_output(f, s, &p->layer)) >= 0;
  if (!el_str_skip(&s, "blk.") || !el_lora_skip_layer(&s, &p->layer) || !el_str_skip(&s, ".")) return false;
  p->site = f->sites ? el_sites_find(f->sites, s) : el_lora_module_number(f, s);
  if (f->sites && f->sites->n_experts && el_str_eq(s, "ffn_gate_up_exps")) {
    p->site = f->sites->n_sites;
    *n_sites = 2;
  }
  return p->site >= 0;
}

/* Parses token_embd.weight.lora_a ([n_vocab, rank] in such files), its lora_b, and norms as weights
 * of their own, which llama.cpp leaves out. False: it is none of these. */
static bool parse_extra(const el_lora_file *f, const el_tensor *t, double alpha, el_lora_extra *e) {
  el_str s = t->name, end = s;
  *e = (el_lora_extra){.layer = EL_LORA_MODEL,
                       .type = t->type,
                       .rows = t->ne[1],
                       .cols = t->ne[0],
                       .data = t->data,
                       .step = 1,
                       .name = t->name};
  if (el_str_eq(s, "token_embd.weight.lora_a")) {
    e->kind = EL_LORA_EMBEDDING_A;
    return e->transposed = true;
  }
  e->kind = EL_LORA_EMBEDDING_B;
  e->scale = alpha != 0 ? (float)(alpha / (double)t->ne[0]) : 1;
  if (el_str_eq(s, "token_embd.weight.lora_b")) return true;
  if (!el_str_chop(&end, "norm.weight")) return false;
  e->kind = EL_LORA_NORM;
  e->rows = t->ne[0];
  e->cols = t->ne[1];
  if (el_str_eq(s, "output_norm.weight")) return true;
  if (!el_str_skip(&s, "blk.") || !el_lora_skip_layer(&s, &e->layer) || !el_str_skip(&s, ".")) return false;
  el_str_chop(&s, ".weight");
  if (!f->sites)
    return e->site = (int)f->n_extras, true; /* without a base nobody knows which norms
                                              * there are */
  for (e->site = 0; e->site < f->sites->arch->n_norms; e->site++)
    if (el_str_eq(s, f->sites->arch->norm[e->site].name)) return true;
  return false;
}

/* A router may carry an adapter: src/router writes its own tensors into the same file, with names
 * that begin so. */
static bool is_routers(el_str name) {
  return el_str_skip(&name, "router.");
}

/* Checks that a key exists and has this value. */
static el_status require_key(const el_gguf *g, const char *key, const char *wanted, const char *hint, el_error *err) {
  el_str s;
  char shown[EL_SHOW];
  el_status status = el_gguf_str(g, key, &s, err);
  if (status == EL_ERR_NOT_FOUND)
    return el_fail_about(err, EL_ERR_FORMAT, el_gguf_path(g), "key %s is missing: %s", key, hint);
  if (status) return status;
  if (el_str_eq(s, wanted)) return EL_OK;
  return el_fail_about(err, EL_ERR_UNSUPPORTED, el_gguf_path(g), "%s is \"%s\", expected \"%s\": %s", key,
                       el_str_show(s, shown, sizeof shown), wanted, hint);
}

static el_status check_adapter_keys(const el_gguf *g, const el_sites *sites, double *alpha, el_error *err) {
  el_status status;
  if ((status = require_key(g, "general.type", "adapter", "this is no adapter file", err))) return status;
  if ((status = require_key(g, "adapter.type", "lora", "only LoRA adapters are supported", err))) return status;
  const char *architecture = el_gguf_find(g, "router.version") ? "edgelora-router" : sites ? sites->arch->name : NULL;
  if (architecture &&
      (status = require_key(g, "general.architecture", architecture, "the adapter is for another architecture", err)))
    return status;
  *alpha = 0;
  status = el_gguf_f64(g, "adapter.lora.alpha", alpha, err);
  return status == EL_ERR_NOT_FOUND ? EL_OK : status;
}

/* Reads the tokens of an activated adapter, from where it begins. Files made from an
 * invocation_string lack the first token of the string. */
static el_status read_gguf_invocation(el_lora_file *f, el_error *err) {
  static const char key[] = "adapter.alora.invocation_tokens";
  const char *path = el_gguf_path(f->gguf);
  const el_gguf_kv *kv = el_gguf_find(f->gguf, key);
  int32_t tokens[EL_MAX_INVOCATION];
  if (!kv) return EL_OK;
  if (kv->type != EL_GGUF_ARRAY || (kv->item_type != EL_GGUF_U32 && kv->item_type != EL_GGUF_I32))
    return el_fail_about(err, EL_ERR_FORMAT, path, "%s is not an array of 32-bit integers", key);
  if (kv->n < 1 || kv->n > EL_MAX_INVOCATION)
    return el_fail_about(err, kv->n ? EL_ERR_UNSUPPORTED : EL_ERR_FORMAT, path,
                         "%s has %" PRIu64 " tokens, supported are 1 to %d", key, kv->n, EL_MAX_INVOCATION);
  if (el_gguf_find(f->gguf, "router.version"))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, path, "%s: a router cannot read with an activated adapter", key);
  for (uint64_t i = 0; i < kv->n; i++) {
    int64_t token = el_gguf_kv_int(kv, i);
    if (token < 0 || token > INT32_MAX)
      return el_fail_about(err, EL_ERR_FORMAT, path, "%s[%" PRIu64 "] is %" PRId64 ", which is no token", key, i,
                           token);
    tokens[i] = (int32_t)token;
  }
  el_lora_file_invoke_with(f, tokens, (int)kv->n, 0);
  return EL_OK;
}

el_status el_lora_parse_gguf(el_lora_file *f, const char *path, el_error *err) {
  double alpha = 0;
  char name[EL_SHOW];
  el_status status;
  if (!(f->weights_path = strdup(path))) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  if (!f->header_only && (f->weights.size < 4 || memcmp(f->weights.data, "GGUF", 4)))
    return el_fail_about(err, EL_ERR_FORMAT, path,
                         "neither a GGUF file nor a PEFT folder (which is named as the folder itself)");
  status = f->header_only ? el_gguf_open(path, &f->gguf, err)
                          : el_gguf_open_memory(f->weights.data, f->weights.size, path, &f->gguf, err);
  if (status) return status;
  if ((status = check_adapter_keys(f->gguf, f->sites, &alpha, err))) return status;
  if ((status = read_gguf_invocation(f, err))) return status;
  size_t n = el_gguf_n_tensors(f->gguf), rest = el_gguf_file_size(f->gguf);
  f->halves = calloc(2 * n + 1, sizeof *f->halves);
  f->extras = calloc(n + 1, sizeof *f->extras);
  if (!f->halves || !f->extras) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const el_tensor *t = el_gguf_tensor_at(f->gguf, i);
    if (is_routers(t->name)) continue;
    rest -= t->n_bytes; /* tensors do not overlap */
    if (parse_extra(f, t, alpha, &f->extras[f->n_extras])) {
      const el_lora_extra *e = &f->extras[f->n_extras++];
      if (t->n_dims > 2 || !isfinite(e->scale) ||
          (e->type != EL_TYPE_F32 && e->type != EL_TYPE_F16 && e->type != EL_TYPE_BF16))
        return el_fail_about(err, EL_ERR_UNSUPPORTED, path,
                             "tensor %s: supported are F32, F16 and BF16 of 2 dimensions at most",
                             el_str_show(t->name, name, sizeof name));
      continue;
    }
    el_lora_half *p = &f->halves[f->n_halves++];
    *p = (el_lora_half){.name = t->name, .type = t->type, .of_all = t->n_dims == 3, .data = t->data};
    el_lora_half_whole(p, t->ne[2], t->ne[1], t->ne[0]);
    el_str_show(t->name, name, sizeof name);
    el_lora_module module = {0};
    if (!parse_gguf_name(f, t->name, p, &module.n))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, path,
                           "tensor %s is no LoRA part of a matrix of the base model's architecture", name);
    if (t->n_dims > 3) return el_fail_about(err, EL_ERR_FORMAT, path, "tensor %s has %d dimensions", name, t->n_dims);
    if (f->sites && el_sites_of_expert(f->sites, p->site))
      p->of_all = true; /* of one expert alone, too */
    else if (f->sites && p->of_all)
      return el_fail_about(err, EL_ERR_FORMAT, path, "tensor %s has 3 dimensions, expected 2", name);
    p->rank = p->is_b ? p->cols : p->rows;
    p->alpha = alpha != 0 ? alpha : (double)p->rank; /* as in llama.cpp: without alpha the scale is
                                                      * 1 */
    module.first = p->site;
    if (f->sites && (status = el_lora_module_split(f, &module, false, err))) return status;
  }
  if (rest > EL_LORA_MAX_ELSE)
    return el_fail_about(err, EL_ERR_FORMAT, path, "%zu bytes belong to no LoRA matrix, the limit is %zu", rest,
                         EL_LORA_MAX_ELSE);
  return EL_OK;
}

el_status el_lora_read_gguf(el_lora_file *f, const char *path, el_error *err) {
  el_status status = f->header_only ? EL_OK : el_file_read_into(path, EL_LORA_MAX_WEIGHTS, f->buffer, &f->weights, err);
  return status ? status : el_lora_parse_gguf(f, path, err);
}
