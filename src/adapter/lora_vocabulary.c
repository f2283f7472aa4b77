/* A vocabulary that an adapter has resized: which size it has, and whether everything that this
 * needs is there.
 *
 * PEFT then saves the embedding and the output as whole matrices, whatever else was trained of
 * them. It also saves what they were before training, and some of it twice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_halves.h"
#include "base/buf.h"
#include "base/error.h"
#include "tokenizer/extension.h"

/* -------------------------------------------------------------- copies in a file */

static const el_st_tensor *find_vocabulary_tensor(const el_lora_file *f, const char *name) {
  const el_st_tensor *t = f->safetensors ? el_safetensors_find(f->safetensors, name) : NULL;
  for (size_t i = 0; i < f->n_shards && !t; i++) t = el_safetensors_find(f->shards[i].safetensors, name);
  return t;
}

/* Finds the tensor whose name is that of t without the components from `part` to the last. *of:
 * whether t's name has them. */
static el_status find_without(const el_lora_file *f, const el_st_tensor *t, const char *part, const el_st_tensor **out,
                              el_error *err) {
  el_buf name = {0};
  const char *at = strstr(t->name, part), *last = strrchr(t->name, '.');
  *out = NULL;
  if (!at || last < at) return EL_OK;
  if (!el_buf_append(&name, t->name, (size_t)(at - t->name)) || !el_buf_append(&name, last, strlen(last) + 1))
    return el_buf_free(&name), el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  *out = find_vocabulary_tensor(f, name.data);
  el_buf_free(&name);
  return EL_OK;
}

static bool is_vocabulary_tensor(const el_st_tensor *t) {
  return strstr(t->name, "embed_tokens") || strstr(t->name, "lm_head");
}

static bool same_shape(const el_st_tensor *a, const el_st_tensor *b) {
  return a->dtype == b->dtype && a->n_dims == 2 && b->n_dims == 2 && a->shape[0] == b->shape[0] &&
         a->shape[1] == b->shape[1];
}

static bool same_tensor(const el_lora_file *f, const el_st_tensor *a, const el_st_tensor *b) {
  const size_t value = a->dtype == EL_ST_F32 ? 4 : 2;
  const bool known = a->dtype == EL_ST_F32 || a->dtype == EL_ST_F16 || a->dtype == EL_ST_BF16;
  if (!known || !same_shape(a, b)) return false;
  return f->header_only || !memcmp(a->data, b->data, (size_t)a->shape[0] * (size_t)a->shape[1] * value);
}

el_status el_lora_peft_is_copy(const el_lora_file *f, const el_st_tensor *t, bool *is, el_error *err) {
  const el_st_tensor *other;
  *is = false;
  if (!is_vocabulary_tensor(t)) return EL_OK;
  /* Of a module that was trained as a whole: what it was before, and a second copy. */
  el_status status = find_without(f, t, ".original_module", &other, err);
  *is = other;
  if (status || *is) return status;
  status = find_without(f, t, ".modules_to_save", &other, err);
  *is = other && same_tensor(f, t, other);
  if (status || *is) return status;
  /* Beside a pair or rows of tokens: the base's matrix, which is served already if it has the
   * base's size. */
  el_str s = el_str_of(t->name);
  if (!el_str_chop(&s, ".base_layer.weight")) return EL_OK;
  const el_site_dims dims = f->sites ? f->sites->output : (el_site_dims){0};
  *is = !dims.out || (t->n_dims == 2 && t->shape[0] == dims.out && t->shape[1] == dims.in);
  return EL_OK;
}

/* ------------------------------------------------------------------- its size */

typedef struct found {
  int64_t rows;
  el_str name; /* the name of the tensor that has this many rows */
} found;

/* Adds a tensor with a row for each token: all of them must have the same number of rows. */
static el_status add_vocabulary_tensor(const el_lora_file *f, found *v, int64_t rows, el_str name, el_error *err) {
  char shown[EL_SHOW], other[EL_SHOW];
  if (v->name.len && rows != v->rows)
    return el_fail_about(
        err, EL_ERR_FORMAT, f->weights_path, "tensor %s is of %" PRId64 " tokens, and tensor %s of %" PRId64,
        el_str_show(name, shown, sizeof shown), rows, el_str_show(v->name, other, sizeof other), v->rows);
  *v = (found){rows, name};
  return EL_OK;
}

static const el_lora_extra *find_extra_of_kind(const el_lora_file *f, el_lora_kind kind) {
  for (size_t i = 0; i < f->n_extras; i++)
    if (f->extras[i].kind == kind) return &f->extras[i];
  return NULL;
}

static el_status find_vocabulary_rows(const el_lora_file *f, found *v, el_error *err) {
  el_status status = EL_OK;
  for (size_t i = 0; i < f->n_extras && !status; i++) {
    const el_lora_extra *e = &f->extras[i];
    if (e->kind == EL_LORA_EMBEDDING || e->kind == EL_LORA_OUTPUT)
      status = add_vocabulary_tensor(f, v, e->rows, e->name, err);
    if (e->kind == EL_LORA_EMBEDDING_A)
      status = add_vocabulary_tensor(f, v, e->transposed ? e->rows : e->cols, e->name, err);
  }
  for (size_t i = 0; i < f->n_halves && !status; i++) {
    const el_lora_half *p = &f->halves[i];
    if (p->is_b && p->layer == EL_LORA_MODEL) status = add_vocabulary_tensor(f, v, p->rows, p->name, err);
  }
  return status;
}

/* Rows of tokens beyond the base's last one, where no matrix has them: there must be one for each
 * token. */
static el_status find_rows_of_tokens(const el_lora_file *f, found *v, el_error *err) {
  const el_lora_extra *e = find_extra_of_kind(f, EL_LORA_TOKENS);
  const int32_t n = f->sites->output.out;
  int64_t last = -1, n_behind = 0;
  for (size_t i = 0; i < f->n_tokens; i++) {
    if (f->tokens[i] > last) last = f->tokens[i];
    n_behind += f->tokens[i] >= n;
  }
  if (!e || last < n || v->rows) return EL_OK;
  if (last - n + 1 != n_behind) /* tokens are distinct, which has been checked */
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "trainable_token_indices has %" PRId64 ", the base's vocabulary %d tokens, and %" PRId64
                         " from there on have a row",
                         last, n, n_behind);
  *v = (found){last + 1, e->name};
  return EL_OK;
}

static el_status refuse_vocabulary(const el_lora_file *f, const found *v, const char *what, el_error *err) {
  char name[EL_SHOW];
  return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path,
                       "tensor %s is of a vocabulary of %" PRId64 " tokens, and the base's has %d: %s",
                       el_str_show(v->name, name, sizeof name), v->rows, f->sites->output.out, what);
}

/* Checks what a resized vocabulary needs, as far as the file shows it. */
static el_status check_vocabulary(const el_lora_file *f, const found *v, el_error *err) {
  const int n = f->sites->output.out;
  bool output_pair = false;
  for (size_t i = 0; i < f->n_halves; i++) output_pair = output_pair || f->halves[i].layer == EL_LORA_MODEL;
  char more[96];
  snprintf(more, sizeof more, "an adapter may add %d", EL_MAX_ADDED_TOKENS);
  if (v->rows < 1 || v->rows > (int64_t)n + EL_MAX_ADDED_TOKENS) return refuse_vocabulary(f, v, more, err);
  if (find_extra_of_kind(f, EL_LORA_EMBEDDING_A) && !find_extra_of_kind(f, EL_LORA_EMBEDDING))
    return refuse_vocabulary(f, v, "lora_embedding_A and B alone are no rows for them; save with save_embedding_layers",
                             err);
  if (output_pair && !find_extra_of_kind(f, EL_LORA_OUTPUT))
    return refuse_vocabulary(
        f, v, "lora_A and lora_B of lm_head alone are no rows for them; save with save_embedding_layers", err);
  int64_t n_behind = 0;
  for (size_t i = 0; i < f->n_tokens; i++) n_behind += f->tokens[i] >= n;
  if (v->rows > n && !find_extra_of_kind(f, EL_LORA_EMBEDDING) && n_behind != v->rows - n)
    return refuse_vocabulary(f, v, "there are no rows of embed_tokens for the others", err);
  if (find_extra_of_kind(f, EL_LORA_EMBEDDING_MAGNITUDE) || find_extra_of_kind(f, EL_LORA_EMBEDDING_LENGTH) ||
      (output_pair && f->dora))
    return refuse_vocabulary(f, v, "DoRA on embed_tokens or lm_head of such is not supported", err);
  return EL_OK;
}

el_status el_lora_find_vocabulary(el_lora_file *f, el_error *err) {
  found v = {0};
  if (!f->sites || !f->sites->output.out) return EL_OK; /* no other size is known */
  el_status status = find_vocabulary_rows(f, &v, err);
  if (!status) status = find_rows_of_tokens(f, &v, err);
  if (status || !v.name.len || v.rows == f->sites->output.out) return status;
  if ((status = check_vocabulary(f, &v, err))) return status;
  f->n_vocab = (int)v.rows;
  return EL_OK;
}

int el_lora_file_n_vocab(const el_lora_file *f) {
  return f->n_vocab;
}

const el_lora_pair *el_lora_file_output_pair(const el_lora_file *f) {
  return f->output_pair.rank ? &f->output_pair : NULL;
}

bool el_lora_file_trains_embedding(const el_lora_file *f) {
  return f->trains_embedding;
}

const int32_t *el_lora_file_output_tokens(const el_lora_file *f, size_t *n) {
  *n = f->n_output_tokens;
  return f->output_tokens;
}
