/* PEFT folders: adapter_config.json and adapter_model.safetensors. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapter/lora_parts.h"
#include "adapter/peft_config.h"
#include "base/buf.h"
#include "base/error.h"

/* What stands before layers.N: of a text model, of the text part of others, of OpenELM. */
static const char *const prefixes[] = {"model.language_model.", "language_model.model.", "model.", "transformer."};

/* The first site of a module, and how many it has: the matrices of its outputs, one below the other. 0: unknown. */
static int find_sites(el_lora_file *f, el_str module, int *first) {
  int n = 0;
  if (!f->sites) return *first = el_lora_module(f, module), *first >= 0;
  for (int i = 0; i < f->sites->n_sites; i++) {
    if (!el_str_eq(module, f->sites->site[i].peft)) continue;
    if (!n++) *first = i;
  }
  return n;
}

/* base_model.model.model.layers.N.MODULE.lora_A[.ADAPTER].weight, of which *name is what PEFT's patterns are matched
 * with: what comes after base_model.model, up to MODULE. Returns the number of sites, from p->site on; 0: it is none of
 * these. */
static int parse_name(el_lora_file *f, el_str s, el_lora_part *p, el_str *name) {
  if (!el_str_chop(&s, ".weight")) return 0;
  /* The adapter's name, if there is one: no dots in it. */
  if (!el_str_chop(&s, ".lora_A") && !(p->is_b = el_str_chop(&s, ".lora_B"))) {
    size_t n = s.len;
    while (n > 0 && s.data[n - 1] != '.') n--;
    if (n == 0) return 0;
    s.len = n - 1;
    if (!el_str_chop(&s, ".lora_A") && !(p->is_b = el_str_chop(&s, ".lora_B"))) return 0;
  }
  el_str_skip(&s, "base_model.model.");
  *name = s;
  if (el_str_eq(s, "lm_head")) return p->site = el_lora_output(f, s, &p->layer), p->site >= 0;
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (el_str_skip(&s, prefixes[i])) break;
  if (!el_str_skip(&s, "layers.") || !el_lora_skip_layer(&s, &p->layer) || !el_str_skip(&s, ".")) return 0;
  return find_sites(f, s, &p->site);
}

/* With the embedding or the head among its targets PEFT saves the base's matrix beside the pair, as it was: the one
 * that is served already. *is: it is that. One of another size is of a vocabulary of the adapter's own. */
static el_status is_of_base(const el_lora_file *f, const el_st_tensor *t, bool *is, el_error *err) {
  el_str s = {t->name, strlen(t->name)};
  char name[EL_SHOW];
  *is = el_str_chop(&s, ".base_layer.weight") && (el_str_chop(&s, "lm_head") || el_str_chop(&s, "embed_tokens"));
  const el_site_dims dims = f->sites ? f->sites->output : (el_site_dims){0};
  if (*is && dims.out && (t->n_dims != 2 || t->shape[0] != dims.out || t->shape[1] != dims.in))
    return el_fail_about(
        err, EL_ERR_UNSUPPORTED, f->weights_path,
        "tensor %s is %lld x %lld, and the base's has %d x %d: vocabularies that an adapter has resized "
        "are not supported",
        el_str_show((el_str){t->name, strlen(t->name)}, name, sizeof name), (long long)t->shape[0],
        (long long)t->shape[1], dims.out, dims.in);
  return EL_OK;
}

/* A module that several sites make up: each has the module's A, and its part of the rows of B. The first one's part is
 * the last of f's. */
static el_status split(el_lora_file *f, int n, el_error *err) {
  char name[EL_SHOW];
  el_lora_part *p = &f->parts[f->n_parts - 1];
  const size_t value = p->type == EL_TYPE_F32 ? 4 : 2;
  if (p->is_b && p->rows % n)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has %lld rows, which %d matrices cannot share",
                         el_str_show(p->name, name, sizeof name), (long long)p->rows, n);
  if (p->is_b) p->rows /= n;
  for (int i = 1; i < n; i++) {
    f->parts[f->n_parts++] = p[i - 1];
    p[i].site++;
    if (p->is_b && p->data) p[i].data += value * (size_t)p->rows * (size_t)p->cols;
  }
  return EL_OK;
}

/* What an unknown tensor probably is, for the message. */
static const char *guess(const char *name) {
  if (strstr(name, "lora_magnitude")) return "DoRA is not supported";
  if (strstr(name, "lora_embedding") || strstr(name, "embed_tokens")) return "embedding adapters are not supported";
  if (strstr(name, "bias")) return "biases are not supported";
  return "not a LoRA part of a matrix of the base model's architecture";
}

/* The most sites that a module of the base has. */
static size_t most_sites(const el_sites *s) {
  size_t most = 1;
  for (int i = 0; s && i < s->n_sites; i++) {
    size_t n = 0;
    for (int k = 0; k < s->n_sites; k++) n += !strcmp(s->site[i].peft, s->site[k].peft);
    if (n > most) most = n;
  }
  return most;
}

static el_status read_parts(el_lora_file *f, const el_peft_config *config, el_error *err) {
  char name[EL_SHOW], type[EL_SHOW];
  size_t n = el_safetensors_n(f->safetensors);
  if (!(f->parts = calloc(most_sites(f->sites) * n + 1, sizeof *f->parts)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  for (size_t i = 0; i < n; i++) {
    const el_st_tensor *t = el_safetensors_at(f->safetensors, i);
    el_str module;
    int n_sites;
    bool of_base;
    el_status status = is_of_base(f, t, &of_base, err);
    if (status) return status;
    if (of_base) continue;
    el_lora_part *p = &f->parts[f->n_parts++];
    *p = (el_lora_part){.name = {t->name, strlen(t->name)}, .data = t->data, .rslora = el_peft_config_rslora(config)};
    el_str_show(p->name, name, sizeof name);
    if (!(n_sites = parse_name(f, p->name, p, &module)))
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
    status = el_peft_config_module(config, module, &rank, &p->alpha, err);
    if (status) return status;
    p->rank = rank;
    if (n_sites > 1 && (status = split(f, n_sites, err))) return status;
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
  if (!status && f->header_only)
    status = el_safetensors_open(f->weights_path, &f->safetensors, err);
  else if (!status)
    status = el_safetensors_open_memory(f->weights.data, f->weights.size, f->weights_path, &f->safetensors, err);
  f->from_peft = true;
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
  if (!status && !f->header_only)
    status = el_file_read_into(f->weights_path, EL_LORA_MAX_WEIGHTS, f->buffer, &f->weights, err);
  if (!status) status = el_lora_parse_peft(f, dir, err);
  free(config);
  free(pickle);
  return status;
}
