/* Adapters of PEFT and mlx-lm, once their files are in memory: configuration and tensors become
 * halves. */
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_modules.h"
#include "adapter/peft_keys.h"
#include "base/error.h"

/* Parses MODULE.lora_A.weight, or mlx-lm's MODULE.lora_a. *name becomes the module, which PEFT's
 * patterns are matched with. False: it is none of these. */
static bool parse_peft_name(el_lora_file *f, el_str s, bool mlx, el_lora_half *p, el_str *name, el_lora_module *m) {
  if (!el_str_chop(&s, mlx ? ".lora_a" : ".lora_A.weight") &&
      !(p->is_b = el_str_chop(&s, mlx ? ".lora_b" : ".lora_B.weight")))
    return false;
  *name = s;
  if (!el_lora_peft_is_output(s)) return el_peft_skip_layer(&s, &p->layer) && el_lora_module_find(f, s, m);
  *m = (el_lora_module){.first = el_lora_output(f, s, &p->layer), .n = 1};
  return m->first >= 0;
}

/* What an unknown tensor probably is, for the error message. */
static const char *guess_tensor(const char *name) {
  static const struct {
    const char *part, *what;
  } known[] = {
      {"lora_magnitude", "use_dora is not true, or it is of no linear layer, or of all experts together"},
      {"lora_diag", "KaSA is not supported"},
      {"lora_E", "AdaLoRA is not supported"},
      {"vera_lambda", "VeRA is not supported"},
      {"hada_", "LoHa is not supported"},
      {"lokr_", "LoKr is not supported"},
      {"ia3_", "IA3 is not supported"},
      {"oft_", "OFT is not supported"},
      {"prompt_embeddings", "prompt and prefix tuning are not supported"},
      {"base_layer", "weights of the base model itself: save the adapter with PEFT's save_pretrained"},
      {"vision", "adapters of the part that sees are not supported"},
      {"visual", "adapters of the part that sees are not supported"},
      {"audio", "adapters of the part that hears are not supported"},
      {"lora_B.bias", "lora_bias is not true, or it is of no linear layer, or of all experts together"},
      {"bias", "bias is \"none\", or it is of no linear layer, or of all experts together"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strstr(name, known[i].part)) return known[i].what;
  return "not a LoRA part of a matrix of the base model's architecture";
}

/* Refuses a file that holds more than one adapter, by the names in its keys: nobody knows which was
 * meant. */
static el_status check_adapter(const el_lora_file *f, el_str *first, el_str name, el_error *err) {
  char one[EL_SHOW], other[EL_SHOW];
  if (!name.len || !first->len || !el_str_cmp(*first, name)) {
    if (name.len) *first = name;
    return EL_OK;
  }
  return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path,
                       "holds several adapters, such as %s and %s: save each into a folder of its own",
                       el_str_show(*first, one, sizeof one), el_str_show(name, other, sizeof other));
}

/* Finds the other half of a pair, by the last lora_A or lora_B in the tensor's name. */
static el_status find_half(const el_lora_file *f, const el_st_tensor *t, bool is_b, const el_st_tensor **out,
                           el_error *err) {
  const char letter = is_b ? 'A' : 'B';
  char *name = strdup(t->name), *last = NULL, shown[EL_SHOW];
  if (!name) return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  for (char *at = name; (at = strstr(at, is_b ? ".lora_B" : ".lora_A")); at++) last = at;
  if (last) last[strlen(".lora_")] = letter;
  const el_st_tensor *half = f->safetensors ? el_safetensors_find(f->safetensors, name) : NULL;
  for (size_t i = 0; i < f->n_shards && !half; i++) half = el_safetensors_find(f->shards[i].safetensors, name);
  free(name);
  *out = half;
  if (half && half->n_dims == 2) return EL_OK;
  return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no lora_%c beside it",
                       el_str_show(el_str_of(t->name), shown, sizeof shown), letter);
}

/* Reads shapes in PEFT's order; mlx-lm's matrices are transposed. */
static el_status read_shapes(const el_lora_file *f, const el_st_tensor *t, bool is_b, bool mlx, bool both,
                             el_lora_halves *out, el_error *err) {
  const el_st_tensor *other = t;
  el_status status = both ? find_half(f, t, is_b, &other, err) : EL_OK;
  if (status) return status;
  out->turned = mlx;
  for (int i = 0; i < 2; i++) {
    out->a[i] = (is_b ? other : t)->shape[mlx ? !i : i];
    out->b[i] = (is_b ? t : other)->shape[mlx ? !i : i];
  }
  return EL_OK;
}

/* Belongs to training alone: an average that VeLoRA's backward pass projects with. */
static bool is_of_training(el_str key) {
  return el_str_chop(&key, ".lora_velora_embed");
}

static el_status check_layer(const el_lora_file *f, const el_lora_half *p, int last, el_error *err) {
  char name[EL_SHOW];
  if (!last || !f->sites || p->layer >= f->sites->n_layers - last) return EL_OK;
  return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                       "tensor %s: num_layers is %d, so layers below %d of the base model have no adapters",
                       el_str_show(p->name, name, sizeof name), last, f->sites->n_layers - last);
}

el_status el_lora_peft_type(const el_lora_file *f, const el_st_tensor *t, el_type *out, el_error *err) {
  char name[EL_SHOW], type[EL_SHOW];
  switch (t->dtype) {
    case EL_ST_F32: *out = EL_TYPE_F32; return EL_OK;
    case EL_ST_F16: *out = EL_TYPE_F16; return EL_OK;
    case EL_ST_BF16: *out = EL_TYPE_BF16; return EL_OK;
    default:
      return el_fail_about(
          err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s has type %s; supported are F32, F16 and BF16",
          el_str_show(el_str_of(t->name), name, sizeof name), el_str_show(el_str_of(t->dtype_name), type, sizeof type));
  }
}

static el_status read_peft_matrices(el_lora_file *f, const el_peft_config *config, el_error *err) {
  char name[EL_SHOW];
  const bool mlx = el_peft_config_is_mlx(config);
  size_t n = el_lora_n_tensors(f), room = 1;
  for (size_t i = 0; i < n; i++) room += strlen(el_lora_tensor_at(f, i)->name);
  f->halves = calloc(el_lora_most_sites(f->sites) * n + 1, sizeof *f->halves);
  f->extras = calloc(el_lora_most_sites(f->sites) * n + 2, sizeof *f->extras);
  f->dora = el_peft_config_dora(config);
  f->ties = el_peft_config_ties(config);
  f->trains_embedding = el_peft_config_saves(config, EL_PEFT_SAVED_EMBEDDING);
  char *keys = f->keys = malloc(room);
  if (!f->halves || !f->extras || !f->keys)
    return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  el_str first = {0};
  for (size_t i = 0; i < n; i++) {
    const el_st_tensor *t = el_lora_tensor_at(f, i);
    el_str adapter;
    bool copy;
    const el_str key = el_peft_key(el_str_of(t->name), keys, &adapter);
    keys += key.len;
    el_status status = el_lora_peft_is_copy(f, t, &copy, err);
    if (status) return status;
    if (copy || is_of_training(key)) continue;
    bool taken;
    if ((status = el_lora_peft_extra(f, config, key, t, &taken, err))) return status;
    if (taken) continue;
    el_lora_half *p = &f->halves[f->n_halves++];
    el_lora_module module;
    el_lora_halves halves = {0};
    *p = (el_lora_half){.name = {t->name, strlen(t->name)}, .data = t->data, .rslora = el_peft_config_rslora(config)};
    el_str_show(p->name, name, sizeof name);
    if ((status = check_adapter(f, &first, adapter, err))) return status;
    if (!parse_peft_name(f, key, mlx, p, &halves.name, &module))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: %s", name, guess_tensor(t->name));
    const bool stacked = module.stacked || (!f->sites && mlx && t->n_dims == 3);
    if (t->n_dims != (stacked ? 3 : 2))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has %d dimensions, expected %d", name,
                           t->n_dims, stacked ? 3 : 2);
    if ((status = el_lora_peft_type(f, t, &p->type, err))) return status;
    if ((status = check_layer(f, p, el_peft_config_last_layers(config), err))) return status;
    if (stacked)
      status = el_lora_module_place_stack(f, config, &module, halves.name, t->shape, err);
    else if (!(status = read_shapes(f, t, p->is_b, mlx, module.parameters, &halves, err)))
      status = el_lora_module_place(f, config, &module, &halves, err);
    if (status) return status;
  }
  return el_lora_peft_complete(f, config, err);
}

static el_status read_peft_invocation(el_lora_file *f, const el_peft_config *config, const char *dir, el_error *err) {
  int32_t tokens[EL_MAX_INVOCATION];
  const char *text = el_peft_config_invocation_text(config);
  int n = el_peft_config_invocation(config, tokens);
  if (n) el_lora_file_invoke_with(f, tokens, n, 0);
  if (text && !(f->invocation_text = strdup(text))) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  return EL_OK;
}

el_status el_lora_parse_peft(el_lora_file *f, const char *dir, el_error *err) {
  el_peft_config *config = NULL;
  char *path = el_path_join(dir, "adapter_config.json");
  if (!f->weights_path) f->weights_path = el_path_join(dir, "adapter_model.safetensors");
  el_status status = EL_OK;
  if (!path || !f->weights_path) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!status) status = el_peft_config_parse(f->config.data, f->config.size, path, &config, err);
  if (!status && !(f->base = strdup(el_peft_config_base(config))))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!status) status = read_peft_invocation(f, config, dir, err);
  if (!status && !f->shards && f->header_only)
    status = el_safetensors_open(f->weights_path, &f->safetensors, err);
  else if (!status && !f->shards)
    status = el_safetensors_open_memory(f->weights.data, f->weights.size, f->weights_path, &f->safetensors, err);
  f->from_peft = true;
  f->from_mlx = !status && el_peft_config_is_mlx(config);
  if (!status) status = read_peft_matrices(f, config, err);
  el_peft_config_free(config);
  free(path);
  return status;
}
