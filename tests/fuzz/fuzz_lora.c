/* LoRA files: whatever opens has pairs and extras that fit the base, with experts or without. The input is a byte of
 * flags, then a GGUF file, or the length of adapter_config.json (2 bytes), the configuration and the safetensors file.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "adapter/lora_halves.h"
#include "arch/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_GGUF = 1, HAS_BASE = 2, HAS_EXPERTS = 4, N_EXPERTS = 3 };

static const el_sites *base_sites(bool has_experts) {
  static el_sites *sites[2];
  el_hparams h = {.arch = el_arch_find(has_experts ? (el_str){"qwen3moe", 8} : (el_str){"llama", 5}),
                  .n_layers = 2,
                  .n_embd = 8,
                  .n_vocab = 10,
                  .n_ff = 12,
                  .n_head = 2,
                  .n_head_kv = 1,
                  .head_dim = 4};
  if (has_experts) h.n_experts = N_EXPERTS, h.n_experts_used = 2, h.n_ff_expert = 6;
  if (!sites[has_experts] && el_sites_new(&h, &sites[has_experts], NULL)) abort();
  return sites[has_experts];
}

static void check(const el_lora_file *f, const el_sites *sites) {
  for (size_t i = 0; i < el_lora_file_n(f); i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    assert(p->rank >= 1 && p->rank <= EL_MAX_RANK && isfinite(p->scale));
    if (!sites) continue;
    assert(p->layer < el_sites_n_places(sites) && p->site < el_sites_all(sites));
    assert(p->layer < sites->n_layers || p->site == EL_SITE_OUTPUT);
    assert(p->expert >= 0 && (p->expert == 0 || el_sites_of_expert(sites, p->site)));
    assert(p->expert < N_EXPERTS);
    const el_site_dims dims = el_sites_dims(sites, p->layer, p->site);
    int64_t in = dims.in, out = dims.out, n = p->rank * (in > out ? in : out);
    float *values = malloc(sizeof(float) * (size_t)n);
    if (!values) abort();
    el_lora_matrix_read(&p->a, p->rank, dims.in, values);
    for (int64_t k = 0; k < p->rank * in; k++) assert(isfinite(values[k]));
    el_lora_matrix_read(&p->b, dims.out, p->rank, values);
    for (int64_t k = 0; k < p->rank * out; k++) assert(isfinite(values[k]));
    free(values);
  }
  for (size_t i = 0; i < el_lora_file_n_extras(f); i++) {
    const el_lora_extra *e = el_lora_file_extra(f, i);
    float *values = malloc(sizeof(float) * (size_t)(e->rows * e->cols));
    if (!values) abort();
    el_dequantize(e->type, e->data, values, e->rows * e->cols);
    for (int64_t k = 0; k < e->rows * e->cols; k++) assert(isfinite(values[k]));
    free(values);
    assert(!i || e[-1].kind <= e->kind);
    if (sites) assert(e->layer == EL_LORA_MODEL || (e->layer >= 0 && e->layer < sites->n_layers));
    for (int64_t k = 0; e->kind == EL_LORA_TOKENS && k < e->rows; k++) assert(el_lora_file_tokens(f)[k] >= 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  uint8_t flags = data[0];
  const el_sites *sites = flags & HAS_BASE ? base_sites(flags & HAS_EXPERTS) : NULL;
  el_lora_file *f = NULL;
  el_error e = {0};
  el_status status;
  if (flags & IS_GGUF) {
    status = el_lora_file_open_memory(NULL, 0, data + 1, size - 1, sites, &f, &e);
  } else {
    size_t rest = size - 3, config = (size_t)data[1] | (size_t)data[2] << 8;
    if (config > rest) config = rest;
    status = el_lora_file_open_memory(data + 3, config, data + 3 + config, rest - config, sites, &f, &e);
  }
  assert(status ? !f && e.message[0] : el_lora_file_n(f) + el_lora_file_n_extras(f) > 0);
  if (!status) check(f, sites);
  el_lora_file_close(f);
  return 0;
}
