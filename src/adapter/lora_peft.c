/* PEFT folders: adapter_config.json and adapter_model.safetensors. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapter/lora_parts.h"
#include "adapter/peft_config.h"
#include "base/buf.h"
#include "base/error.h"

static const char *const modules[EL_N_LINEAR] = {
    [EL_LIN_Q] = "self_attn.q_proj", [EL_LIN_K] = "self_attn.k_proj", [EL_LIN_V] = "self_attn.v_proj",
    [EL_LIN_O] = "self_attn.o_proj", [EL_LIN_GATE] = "mlp.gate_proj", [EL_LIN_UP] = "mlp.up_proj",
    [EL_LIN_DOWN] = "mlp.down_proj",
};

/* base_model.model.model.layers.N.MODULE.lora_A[.ADAPTER].weight, of which *module is what PEFT's patterns are matched
 * with: what comes after base_model.model, up to MODULE. */
static bool parse_name(el_str s, el_lora_part *p, el_str *module) {
  if (!el_str_chop(&s, ".weight")) return false;
  /* The adapter's name, if there is one: no dots in it. */
  if (!el_str_chop(&s, ".lora_A") && !(p->is_b = el_str_chop(&s, ".lora_B"))) {
    size_t n = s.len;
    while (n > 0 && s.data[n - 1] != '.') n--;
    if (n == 0) return false;
    s.len = n - 1;
    if (!el_str_chop(&s, ".lora_A") && !(p->is_b = el_str_chop(&s, ".lora_B"))) return false;
  }
  el_str_skip(&s, "base_model.model.");
  *module = s;
  el_str_skip(&s, "model.");
  if (!el_str_skip(&s, "layers.") || !el_lora_skip_layer(&s, &p->layer) || !el_str_skip(&s, ".")) return false;
  for (int i = 0; i < EL_N_LINEAR; i++)
    if (el_str_eq(s, modules[i])) {
      p->linear = (el_linear)i;
      return true;
    }
  return false;
}

/* What an unknown tensor probably is, for the message. */
static const char *guess(const char *name) {
  if (strstr(name, "lora_magnitude")) return "DoRA is not supported";
  if (strstr(name, "lora_embedding") || strstr(name, "embed_tokens")) return "embedding adapters are not supported";
  if (strstr(name, "lm_head")) return "adapters of the output head are not supported";
  if (strstr(name, "bias")) return "biases are not supported";
  return "not a LoRA part of an attention or feed-forward matrix of the llama architecture";
}

static el_status read_parts(el_lora_file *f, const el_peft_config *config, el_error *err) {
  char name[EL_SHOW], type[EL_SHOW];
  size_t n = el_safetensors_n(f->safetensors);
  if (!(f->parts = calloc(n + 1, sizeof *f->parts)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const el_st_tensor *t = el_safetensors_at(f->safetensors, i);
    el_lora_part *p = &f->parts[f->n_parts++];
    el_str module;
    *p = (el_lora_part){.name = {t->name, strlen(t->name)}, .data = t->data, .rslora = el_peft_config_rslora(config)};
    el_str_show(p->name, name, sizeof name);
    if (!parse_name(p->name, p, &module))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: %s", name, guess(t->name));
    if (t->n_dims != 2)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has %d dimensions, expected 2", name,
                           t->n_dims);
    p->rows = t->shape[0];
    p->cols = t->shape[1];
    switch (t->dtype) {
      case EL_ST_F32: p->type = EL_TYPE_F32; break;
      case EL_ST_F16: p->type = EL_TYPE_F16; break;
      case EL_ST_BF16: p->type = EL_TYPE_BF16; break;
      default:
        return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path,
                             "tensor %s has type %s; supported are F32, F16 and BF16", name,
                             el_str_show((el_str){t->dtype_name, strlen(t->dtype_name)}, type, sizeof type));
    }
    int rank = 0;
    el_status status = el_peft_config_module(config, module, &rank, &p->alpha, err);
    if (status) return status;
    p->rank = rank;
  }
  return EL_OK;
}

static char *join(const char *dir, const char *file) {
  el_buf b = {0};
  size_t len = strlen(dir);
  if (el_buf_printf(&b, "%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/", file)) return b.data;
  el_buf_free(&b);
  return NULL;
}

el_status el_lora_parse_peft(el_lora_file *f, const char *dir, el_error *err) {
  el_peft_config *config = NULL;
  char *path = join(dir, "adapter_config.json");
  if (!f->weights_path) f->weights_path = join(dir, "adapter_model.safetensors");
  el_status status = EL_OK;
  if (!path || !f->weights_path) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!status) status = el_peft_config_parse(f->config.data, f->config.size, path, &config, err);
  if (!status && !(f->base = strdup(el_peft_config_base(config))))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!status)
    status = el_safetensors_open_memory(f->weights.data, f->weights.size, f->weights_path, &f->safetensors, err);
  f->half_split = true;
  if (!status) status = read_parts(f, config, err);
  el_peft_config_free(config);
  free(path);
  return status;
}

el_status el_lora_read_peft(el_lora_file *f, const char *dir, el_error *err) {
  char *config = join(dir, "adapter_config.json"), *pickle = join(dir, "adapter_model.bin");
  f->weights_path = join(dir, "adapter_model.safetensors");
  el_status status = EL_OK;
  if (!config || !pickle || !f->weights_path) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!status) status = el_file_read(config, EL_LORA_MAX_CONFIG, &f->config, err);
  if (!status && access(f->weights_path, F_OK) != 0 && access(pickle, F_OK) == 0)
    status = el_fail_about(err, EL_ERR_UNSUPPORTED, pickle,
                           "pickled weights are not supported (reading them runs code): convert them to safetensors");
  if (!status) status = el_file_read_into(f->weights_path, EL_LORA_MAX_WEIGHTS, f->buffer, &f->weights, err);
  if (!status) status = el_lora_parse_peft(f, dir, err);
  free(config);
  free(pickle);
  return status;
}
