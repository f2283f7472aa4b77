/* LoRA files: whatever opens has pairs that fit the base. The input is a byte of flags, then a GGUF file, or the length
 * of adapter_config.json (2 bytes), the configuration and the safetensors file. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "adapter/lora_parts.h"
#include "arch/arch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_GGUF = 1, HAS_BASE = 2 };

static const el_sites *base_sites(void) {
  static el_sites *sites;
  const el_hparams h = {.arch = el_arch_find((el_str){"llama", 5}),
                        .n_layers = 2,
                        .n_embd = 8,
                        .n_ff = 12,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4};
  if (!sites && el_sites_new(&h, &sites, NULL)) abort();
  return sites;
}

static void check(const el_lora_file *f, bool has_base) {
  for (size_t i = 0; i < el_lora_file_n(f); i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    assert(p->rank >= 1 && p->rank <= EL_LORA_MAX_RANK && isfinite(p->scale));
    if (!has_base) continue;
    assert(p->layer < base_sites()->n_layers && p->site < base_sites()->n_sites);
    const el_site_dims dims = el_sites_dims(base_sites(), p->layer, p->site);
    int64_t in = dims.in, out = dims.out, n = p->rank * (in > out ? in : out);
    float *values = malloc(sizeof(float) * (size_t)n);
    if (!values) abort();
    el_dequantize(p->type, p->a, values, p->rank * in);
    for (int64_t k = 0; k < p->rank * in; k++) assert(isfinite(values[k]));
    el_dequantize(p->type, p->b, values, p->rank * out);
    for (int64_t k = 0; k < p->rank * out; k++) assert(isfinite(values[k]));
    free(values);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  uint8_t flags = data[0];
  bool has_base = flags & HAS_BASE;
  el_lora_file *f = NULL;
  el_error e = {0};
  el_status status;
  if (flags & IS_GGUF) {
    status = el_lora_file_open_memory(NULL, 0, data + 1, size - 1, has_base ? base_sites() : NULL, &f, &e);
  } else {
    size_t rest = size - 3, config = (size_t)data[1] | (size_t)data[2] << 8;
    if (config > rest) config = rest;
    status = el_lora_file_open_memory(data + 3, config, data + 3 + config, rest - config,
                                      has_base ? base_sites() : NULL, &f, &e);
  }
  assert(status ? !f && e.message[0] : el_lora_file_n(f) > 0);
  if (!status) check(f, has_base);
  el_lora_file_close(f);
  return 0;
}
