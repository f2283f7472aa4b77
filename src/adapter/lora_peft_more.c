/* PEFT's tensors that are not a half of a pair on a linear layer. Names are in plain form: see
 * peft_keys.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_halves.h"
#include "adapter/lora_modules.h"
#include "adapter/peft_config.h"
#include "adapter/peft_keys.h"
#include "arch/arch.h"
#include "base/error.h"

/* Whether a module's name is `last`, preceded only by the names of what a text model is in. */
static bool is_of_model(el_str module, const char *last) {
  static const char *const before[] = {
      "", "model.", "language_model.", "language_model.model.", "model.language_model.", "text_model.", "transformer."};
  if (!el_str_chop(&module, last)) return false;
  for (size_t i = 0; i < sizeof before / sizeof *before; i++)
    if (el_str_eq(module, before[i])) return true;
  return false;
}

static bool is_embedding(el_str module) {
  return is_of_model(module, "embed_tokens") || is_of_model(module, "token_embeddings");
}

/* The rest of a key that names the embedding or the output, without PEFT's wrappers. */
static el_str unwrap_module(el_str module) {
  el_str inside = module;
  el_str_chop(&inside, ".base_layer");
  el_str_chop(&inside, ".token_adapter");
  return is_embedding(inside) || el_lora_peft_is_output(inside) ? inside : module;
}

bool el_lora_peft_is_output(el_str module) {
  return is_of_model(module, "lm_head");
}

/* Finds the sites of a linear layer, including a router's and one expert's. 0: there is none, or it
 * has the matrices of all experts: PEFT and mlx-lm train nothing but pairs on those. */
static int find_linear(el_lora_file *f, el_str module, el_lora_extra *e) {
  e->layer = EL_LORA_MODEL;
  if (el_lora_peft_is_output(module)) return (e->site = el_lora_output(f, module, &e->layer)) >= 0;
  el_lora_module m;
  if (!el_peft_skip_layer(&module, &e->layer) || !el_lora_module_find(f, module, &m)) return 0;
  e->site = m.first;
  e->expert = m.expert;
  return m.parameters || m.stacked ? 0 : m.n;
}

/* Finds a norm's weights, or a whole matrix. */
static int find_whole(el_lora_file *f, el_str module, el_lora_extra *e) {
  el_str inside = module, end = module;
  e->layer = EL_LORA_MODEL;
  if (el_lora_peft_is_output(module)) return e->kind = EL_LORA_OUTPUT, 1;
  if (is_embedding(module)) return e->kind = EL_LORA_EMBEDDING, 1;
  e->kind = EL_LORA_NORM;
  if (is_of_model(module, "norm")) return e->add_one = f->sites && f->sites->arch->norms_add_one, 1;
  if (!el_peft_skip_layer(&inside, &e->layer) || !el_str_chop(&end, "norm")) return 0;
  if (!f->sites)
    return e->site = (int)f->n_extras, 1; /* without a base nobody knows which norms
                                           * there are */
  const el_arch *arch = f->sites->arch;
  e->add_one = arch->norms_add_one;
  for (e->site = 0; e->site < arch->n_norms; e->site++)
    if (el_str_eq(inside, arch->norm[e->site].peft)) return 1;
  return 0;
}

/* Finds out what a key means; *module becomes the module's name. Returns the number of sites that
 * share the tensor, with the first in e->site; 0: it is no extra. */
static int recognise_extra(el_lora_file *f, const el_peft_config *config, el_str key, el_lora_extra *e,
                           el_str *module) {
  el_str s = key;
  *module = s;
  e->layer = EL_LORA_MODEL;
  const bool mlx = el_peft_config_is_mlx(config);
  if (el_str_chop(&s, mlx ? ".m" : ".lora_magnitude_vector")) {
    const bool of_embedding = is_embedding(s);
    e->kind = !of_embedding ? EL_LORA_MAGNITUDE : mlx ? EL_LORA_EMBEDDING_LENGTH : EL_LORA_EMBEDDING_MAGNITUDE;
    *module = s;
    return !el_peft_config_dora(config) ? 0 : of_embedding ? 1 : find_linear(f, s, e);
  }
  if (el_str_chop(&s, ".lora_B.bias")) {
    e->kind = EL_LORA_ADDED_BIAS;
    return *module = s, el_peft_config_lora_bias(config) ? find_linear(f, s, e) : 0;
  }
  if (el_str_chop(&s, ".bias")) {
    e->kind = EL_LORA_BIAS;
    el_str_chop(&s, ".base_layer");
    return *module = s, el_peft_config_biases(config) ? find_linear(f, s, e) : 0;
  }
  if (mlx && (el_str_chop(&s, ".lora_a") || el_str_chop(&s, ".lora_b"))) {
    e->kind = key.data[key.len - 1] == 'a' ? EL_LORA_EMBEDDING_A : EL_LORA_EMBEDDING_B;
    e->transposed = true;
    return *module = s, is_embedding(s);
  }
  if (el_str_chop(&s, ".lora_embedding_A") || el_str_chop(&s, ".lora_embedding_B")) {
    e->kind = key.data[key.len - 1] == 'A' ? EL_LORA_EMBEDDING_A : EL_LORA_EMBEDDING_B;
    return *module = s, is_embedding(s);
  }
  if (el_str_chop(&s, ".token_adapter.trainable_tokens_delta")) {
    e->kind = el_lora_peft_is_output(s) ? EL_LORA_OUTPUT_TOKENS : EL_LORA_TOKENS;
    return *module = s, e->kind == EL_LORA_OUTPUT_TOKENS || is_embedding(s);
  }
  if (!el_str_chop(&s, ".weight")) return 0;
  s = unwrap_module(s);
  return *module = s, find_whole(f, s, e);
}

static el_status read_extra_shape(const el_lora_file *f, el_lora_extra *e, const el_st_tensor *t, el_error *err) {
  char name[EL_SHOW];
  const int dims = el_lora_is_vector(e->kind) ? 1 : 2;
  if (t->n_dims != dims)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has %d dimensions, expected %d",
                         el_str_show(e->name, name, sizeof name), t->n_dims, dims);
  e->rows = t->shape[0];
  e->cols = dims == 2 ? t->shape[1] : 1;
  return el_lora_peft_type(f, t, &e->type, err);
}

/* Splits what several sites share: each has its share of the values, one behind the other or in
 * turn. */
static el_status split_extra(el_lora_file *f, el_lora_extra *e, int n, el_error *err) {
  char name[EL_SHOW];
  const size_t value = el_lora_value_bytes(e->type);
  if (e->rows % n)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s has %lld values, which %d matrices cannot share",
                         el_str_show(e->name, name, sizeof name), (long long)e->rows, n);
  const bool in_turn = f->sites && f->sites->site[e->site].in_turn;
  e->rows /= n;
  if (in_turn) e->step = (size_t)n;
  for (int i = 1; i < n; i++) {
    e[i] = e[i - 1];
    e[i].site++;
    if (e[i].data) e[i].data += value * (in_turn ? 1 : (size_t)e->rows);
  }
  f->n_extras += (size_t)n - 1;
  return EL_OK;
}

/* Where the output is tied to the embedding, the list is the embedding's. */
static el_status read_output_tokens(el_lora_file *f, const el_peft_config *config, el_str module, el_error *err) {
  static const char embedding[] = "embed_tokens";
  if (f->output_tokens) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "has two tensors of trained tokens");
  if (!el_peft_config_tokens(config, module, &f->output_tokens, &f->n_output_tokens, NULL)) return EL_OK;
  free(f->output_tokens);
  return el_peft_config_tokens(config, (el_str){embedding, sizeof embedding - 1}, &f->output_tokens,
                               &f->n_output_tokens, err);
}

el_status el_lora_peft_extra(el_lora_file *f, const el_peft_config *config, el_str key, const el_st_tensor *t,
                             bool *taken, el_error *err) {
  el_lora_extra *e = &f->extras[f->n_extras];
  el_str module;
  char name[EL_SHOW];
  *e = (el_lora_extra){.name = {t->name, strlen(t->name)}, .data = t->data, .step = 1};
  const int n = recognise_extra(f, config, key, e, &module);
  *taken = n > 0;
  if (!n) return EL_OK;
  f->n_extras++;
  el_status status = read_extra_shape(f, e, t, err);
  if (status) return status;
  if (el_lora_is_vector(e->kind) && e->kind != EL_LORA_NORM)
    e->reorder = f->sites && e->layer != EL_LORA_MODEL && f->sites->site[e->site].rows == EL_ROWS_HALVES;
  if (e->kind == EL_LORA_ADDED_BIAS || e->kind == EL_LORA_EMBEDDING_B) {
    int rank;
    double alpha;
    if ((status = el_peft_config_module(config, module, &rank, &alpha, err))) return status;
    e->scale = el_lora_scale(alpha, rank, el_peft_config_rslora(config));
    if (!isfinite(e->scale)) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "alpha %g is too large", alpha);
    const int64_t has = e->transposed ? e->rows : e->cols;
    if (e->kind == EL_LORA_EMBEDDING_B && has != rank)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has rank %lld, adapter_config.json says %d",
                           el_str_show(e->name, name, sizeof name), (long long)has, rank);
  }
  if (e->kind == EL_LORA_TOKENS) {
    if (f->tokens) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "has two tensors of trained tokens");
    if ((status = el_peft_config_tokens(config, module, &f->tokens, &f->n_tokens, err))) return status;
  }
  if (e->kind == EL_LORA_OUTPUT_TOKENS && (status = read_output_tokens(f, config, module, err))) return status;
  return n > 1 ? split_extra(f, e, n, err) : EL_OK;
}

static const el_lora_extra *find_kind(const el_lora_file *f, el_lora_kind kind) {
  for (size_t i = 0; i < f->n_extras; i++)
    if (f->extras[i].kind == kind) return &f->extras[i];
  return NULL;
}

/* Adds one half of a pair of the output: all of an extra's matrix. */
static void add_output_half(el_lora_file *f, const el_lora_extra *e, bool is_b, double alpha, int64_t rank) {
  el_lora_half *p = &f->halves[f->n_halves++];
  *p = (el_lora_half){.is_b = is_b, .rank = rank, .alpha = alpha, .type = e->type, .data = e->data, .name = e->name};
  p->site = el_lora_output(f, e->name, &p->layer);
  el_lora_half_whole(p, 1, e->rows, e->cols);
}

/* A tied output of mlx-lm is computed with the embedding, including its pair and lengths: x W^T + s
 * (x b^T) a^T, so lora_b acts as A and lora_a as B. In PEFT they belong to the embedding alone. */
static void tie_output(el_lora_file *f) {
  const el_lora_extra *a = find_kind(f, EL_LORA_EMBEDDING_A), *b = find_kind(f, EL_LORA_EMBEDDING_B),
                      *length = find_kind(f, EL_LORA_EMBEDDING_LENGTH);
  if (!f->from_mlx || !f->sites || !f->sites->tied || !a || !b) return;
  const int64_t rank = b->rows;
  const double alpha = (double)b->scale * (double)rank;
  add_output_half(f, b, false, alpha, rank);
  add_output_half(f, a, true, alpha, rank);
  if (!length) return;
  el_lora_extra *of_output = &f->extras[f->n_extras++];
  *of_output = *length;
  of_output->kind = EL_LORA_MAGNITUDE;
  of_output->site = el_lora_output(f, length->name, &of_output->layer);
}

el_status el_lora_peft_complete(el_lora_file *f, const el_peft_config *config, el_error *err) {
  tie_output(f);
  static const struct {
    el_peft_saved saved;
    el_lora_kind kind;
    const char *what;
  } parts[] = {{EL_PEFT_SAVED_EMBEDDING, EL_LORA_EMBEDDING, "the embedding"},
               {EL_PEFT_SAVED_OUTPUT, EL_LORA_OUTPUT, "the output"},
               {EL_PEFT_SAVED_NORM, EL_LORA_NORM, "norms"}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    bool there = !el_peft_config_saves(config, parts[i].saved);
    for (size_t k = 0; k < f->n_extras && !there; k++) there = f->extras[k].kind == parts[i].kind;
    if (!there)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "modules_to_save has %s, and there is no such tensor",
                           parts[i].what);
  }
  if (el_peft_config_has_tokens(config) && !f->n_tokens && !f->n_output_tokens)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "trainable_token_indices is set, and there is no token_adapter.trainable_tokens_delta");
  return EL_OK;
}
