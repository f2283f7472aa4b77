/* GGUF LoRA files, as llama.cpp writes and reads them: the base's tensor names with .lora_a and .lora_b behind. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_parts.h"
#include "arch/arch.h"
#include "base/error.h"

/* blk.N.SITE.weight.lora_a, output.weight.lora_a */
static bool parse_name(el_lora_file *f, el_str s, el_lora_part *p) {
  if (el_str_chop(&s, ".weight.lora_b"))
    p->is_b = true;
  else if (!el_str_chop(&s, ".weight.lora_a"))
    return false;
  if (el_str_eq(s, "output")) return (p->site = el_lora_output(f, s, &p->layer)) >= 0;
  if (!el_str_skip(&s, "blk.") || !el_lora_skip_layer(&s, &p->layer) || !el_str_skip(&s, ".")) return false;
  p->site = f->sites ? el_sites_find(f->sites, s) : el_lora_module_number(f, s);
  return p->site >= 0;
}

/* A router may carry an adapter: src/router writes its own tensors, whose names begin so, into the same file. */
static bool is_routers(el_str name) {
  return el_str_skip(&name, "router.");
}

/* A key that must be there and have this value. */
static el_status require(const el_gguf *g, const char *key, const char *wanted, const char *hint, el_error *err) {
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

static el_status check_keys(const el_gguf *g, const el_sites *sites, double *alpha, el_error *err) {
  el_status status;
  if ((status = require(g, "general.type", "adapter", "this is no adapter file", err))) return status;
  if ((status = require(g, "adapter.type", "lora", "only LoRA adapters are supported", err))) return status;
  const char *architecture = el_gguf_find(g, "router.version") ? "edgelora-router" : sites ? sites->arch->name : NULL;
  if (architecture &&
      (status = require(g, "general.architecture", architecture, "the adapter is for another architecture", err)))
    return status;
  if (el_gguf_find(g, "adapter.alora.invocation_tokens"))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, el_gguf_path(g),
                         "adapter.alora.invocation_tokens: activated LoRA is not supported");
  *alpha = 0;
  status = el_gguf_f64(g, "adapter.lora.alpha", alpha, err);
  return status == EL_ERR_NOT_FOUND ? EL_OK : status;
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
  if ((status = check_keys(f->gguf, f->sites, &alpha, err))) return status;
  size_t n = el_gguf_n_tensors(f->gguf), rest = el_gguf_file_size(f->gguf);
  if (!(f->parts = calloc(n + 1, sizeof *f->parts))) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const el_tensor *t = el_gguf_tensor_at(f->gguf, i);
    if (is_routers(t->name)) continue;
    rest -= t->n_bytes; /* tensors do not overlap */
    el_lora_part *p = &f->parts[f->n_parts++];
    *p = (el_lora_part){.name = t->name, .type = t->type, .of_all = t->n_dims == 3, .data = t->data};
    el_lora_part_whole(p, t->ne[2], t->ne[1], t->ne[0]);
    el_str_show(t->name, name, sizeof name);
    if (!parse_name(f, t->name, p))
      return el_fail_about(
          err, EL_ERR_UNSUPPORTED, path,
          "tensor %s is no LoRA part of a matrix of the base model's architecture (embedding, norm and bias adapters "
          "are not supported)",
          name);
    if (t->n_dims > 3) return el_fail_about(err, EL_ERR_FORMAT, path, "tensor %s has %d dimensions", name, t->n_dims);
    if (f->sites && el_sites_of_expert(f->sites, p->site))
      p->of_all = true; /* of one expert too */
    else if (f->sites && p->of_all)
      return el_fail_about(err, EL_ERR_FORMAT, path, "tensor %s has 3 dimensions, expected 2", name);
    p->rank = p->is_b ? p->cols : p->rows;
    p->alpha = alpha != 0 ? alpha : (double)p->rank; /* as llama.cpp: without alpha the scale is 1 */
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
