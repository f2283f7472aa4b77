/* Checks what a file has besides pairs, against the base and against the pairs. */
#include <inttypes.h>
#include <stdlib.h>

#include "adapter/lora_halves.h"
#include "arch/arch.h"
#include "base/error.h"

static int compare_extras(const void *x, const void *y) {
  const el_lora_extra *a = x, *b = y;
  if (a->kind != b->kind) return (int)a->kind - (int)b->kind;
  if (a->layer != b->layer) return a->layer - b->layer;
  return a->site != b->site ? a->site - b->site : a->expert - b->expert;
}

/* The size that an extra must have; 0: any. */
typedef struct shape {
  int64_t rows, cols;
} shape;

static shape shape_of(const el_lora_file *f, const el_lora_extra *e) {
  const el_sites *s = f->sites;
  const int64_t vocab = f->n_vocab ? f->n_vocab : s->output.out, embd = s->output.in;
  switch (e->kind) {
    case EL_LORA_MAGNITUDE:
    case EL_LORA_BIAS:
    case EL_LORA_ADDED_BIAS:
      return (shape){el_sites_dims(s, e->layer == EL_LORA_MODEL ? s->n_layers : e->layer, e->site).out, 1};
    case EL_LORA_NORM: return (shape){e->layer == EL_LORA_MODEL ? embd : el_sites_norm(s, e->layer, e->site), 1};
    case EL_LORA_EMBEDDING_MAGNITUDE: return (shape){embd, 1};
    case EL_LORA_EMBEDDING_LENGTH: return (shape){vocab, 1};
    case EL_LORA_EMBEDDING_A: return e->transposed ? (shape){vocab, 0} : (shape){0, vocab};
    case EL_LORA_EMBEDDING_B: return e->transposed ? (shape){0, embd} : (shape){embd, 0};
    case EL_LORA_EMBEDDING:
    case EL_LORA_OUTPUT: return (shape){vocab, embd};
    case EL_LORA_TOKENS: return (shape){(int64_t)f->n_tokens, embd};
    case EL_LORA_OUTPUT_TOKENS: return (shape){(int64_t)f->n_output_tokens, embd};
  }
  return (shape){0};
}

static bool is_vocabulary_extra(const el_lora_extra *e) {
  return e->kind == EL_LORA_EMBEDDING || e->kind == EL_LORA_OUTPUT || e->kind == EL_LORA_EMBEDDING_A ||
         e->kind == EL_LORA_EMBEDDING_LENGTH;
}

static el_status check_extra(const el_lora_file *f, const el_lora_extra *e, el_error *err) {
  char name[EL_SHOW];
  el_str_show(e->name, name, sizeof name);
  if (f->sites && e->layer != EL_LORA_MODEL && e->layer >= f->sites->n_layers)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s: the base model has %d layers, from 0", name,
                         f->sites->n_layers);
  if (f->sites && e->expert && e->expert >= f->sites->n_experts)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s: the base model has %d experts, from 0", name,
                         f->sites->n_experts);
  if (f->sites && !f->sites->output.out &&
      (is_vocabulary_extra(e) || e->kind >= EL_LORA_TOKENS || e->kind == EL_LORA_EMBEDDING_MAGNITUDE ||
       e->kind == EL_LORA_EMBEDDING_B))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: the base's vocabulary is not known",
                         name);
  const shape s = f->sites ? shape_of(f, e) : (shape){0};
  if (f->sites && el_lora_is_vector(e->kind) && !s.rows)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s: layer %d of the base model has nothing of the kind", name, e->layer);
  const bool fits = (!s.rows || e->rows == s.rows) && (!s.cols || e->cols == s.cols);
  if (!fits || e->rows < 1 || e->cols < 1 || e->rows > INT32_MAX || e->cols > INT32_MAX)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s is %" PRId64 " x %" PRId64 ", expected %" PRId64 " x %" PRId64 " (0: any)", name,
                         e->rows, e->cols, s.rows, s.cols);
  const int64_t values = el_lora_is_vector(e->kind) ? (e->rows - 1) * (int64_t)e->step + 1 : e->rows * e->cols;
  if (!f->header_only && !el_lora_all_finite(e->type, e->data, values))
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s has values that are not finite (NaN or infinity)", name);
  return EL_OK;
}

static const el_lora_extra *find_extra_at(const el_lora_file *f, el_lora_kind kind, int layer, int site, int expert) {
  const el_lora_extra key = {.kind = kind, .layer = layer, .site = site, .expert = expert};
  return f->n_extras ? bsearch(&key, f->extras, f->n_extras, sizeof key, compare_extras) : NULL;
}

/* The layer of a pair, numbered as for extras. */
static int layer_of(const el_lora_file *f, const el_lora_pair *p) {
  return f->sites && p->layer == f->sites->n_layers ? EL_LORA_MODEL : p->layer;
}

typedef struct place {
  const el_lora_file *file;
  const el_lora_extra *e;
} place;

static int compare_place_to_pair(const void *key, const void *pair) {
  const place *k = key;
  const el_lora_pair *p = pair;
  const int layer = layer_of(k->file, p);
  if (k->e->layer != layer) return k->e->layer - layer;
  return k->e->site != p->site ? k->e->site - p->site : k->e->expert - p->expert;
}

static el_status check_belongs(const el_lora_file *f, const el_lora_extra *e, el_error *err) {
  char name[EL_SHOW];
  if (f->n_pairs && bsearch(&(place){f, e}, f->pairs, f->n_pairs, sizeof *f->pairs, compare_place_to_pair))
    return EL_OK;
  return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no lora_A and lora_B beside it",
                       el_str_show(e->name, name, sizeof name));
}

static el_status check_embedding_pair(const el_lora_file *f, el_error *err) {
  char name[EL_SHOW];
  const el_lora_kind magnitudes = f->from_mlx ? EL_LORA_EMBEDDING_LENGTH : EL_LORA_EMBEDDING_MAGNITUDE;
  const el_lora_extra *a = find_extra_at(f, EL_LORA_EMBEDDING_A, EL_LORA_MODEL, 0, 0),
                      *b = find_extra_at(f, EL_LORA_EMBEDDING_B, EL_LORA_MODEL, 0, 0), *any = a ? a : b,
                      *magnitude = find_extra_at(f, magnitudes, EL_LORA_MODEL, 0, 0);
  if (magnitude && !any)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no %s beside it",
                         el_str_show(magnitude->name, name, sizeof name),
                         f->from_mlx ? "lora_a and lora_b" : "lora_embedding_A and lora_embedding_B");
  if (!any) return EL_OK;
  el_str_show(any->name, name, sizeof name);
  if (f->dora && !magnitude)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "use_dora is true, and tensor %s has no %s beside it",
                         name, f->from_mlx ? "m" : "lora_magnitude_vector");
  if (!a || !b)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no %s beside it", name,
                         f->from_mlx ? (a ? "lora_b" : "lora_a") : (a ? "lora_embedding_B" : "lora_embedding_A"));
  const int64_t rank = a->transposed ? a->cols : a->rows, other = b->transposed ? b->rows : b->cols;
  if (rank > EL_MAX_RANK)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: rank %" PRId64 ", supported are 1 to %d",
                         name, rank, EL_MAX_RANK);
  if (rank != other)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s has rank %" PRId64 ", and the one beside it %" PRId64, name, rank, other);
  return EL_OK;
}

static int compare_token_ids(const void *x, const void *y) {
  const int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
  return a < b ? -1 : a > b;
}

static el_status check_trained_tokens(const el_lora_file *f, const int32_t *tokens, size_t n, el_error *err) {
  if (!n) return EL_OK;
  int32_t *sorted = malloc(sizeof *sorted * n);
  if (!sorted) return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  for (size_t i = 0; i < n; i++) sorted[i] = tokens[i];
  qsort(sorted, n, sizeof *sorted, compare_token_ids);
  el_status status = EL_OK;
  for (size_t i = 1; i < n && !status; i++)
    if (sorted[i] == sorted[i - 1])
      status = el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "trainable_token_indices has %d twice", sorted[i]);
  const int32_t last = sorted[n - 1], most = !f->sites ? INT32_MAX : f->n_vocab ? f->n_vocab : f->sites->output.out;
  if (!status && last >= most)
    status = el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                           "trainable_token_indices has %d, and the vocabulary %d tokens", last, most);
  free(sorted);
  return status;
}

el_status el_lora_check_extras(el_lora_file *f, el_error *err) {
  char name[EL_SHOW], other[EL_SHOW];
  el_status status;
  if (f->n_extras) qsort(f->extras, f->n_extras, sizeof *f->extras, compare_extras);
  for (size_t i = 0; i < f->n_extras; i++) {
    const el_lora_extra *e = &f->extras[i];
    if ((status = check_extra(f, e, err))) return status;
    if (i > 0 && compare_extras(e - 1, e) == 0)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensors %s and %s are the same part",
                           el_str_show(e[-1].name, name, sizeof name), el_str_show(e->name, other, sizeof other));
    if (f->header_only || (e->kind != EL_LORA_MAGNITUDE && e->kind != EL_LORA_ADDED_BIAS)) continue;
    if ((status = check_belongs(f, e, err))) return status;
  }
  for (size_t i = 0; f->dora && i < f->n_pairs; i++) {
    const el_lora_pair *p = &f->pairs[i];
    if (!find_extra_at(f, EL_LORA_MAGNITUDE, layer_of(f, p), p->site, p->expert))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                           "use_dora is true, and a matrix of layer %d has no lora_magnitude_vector", p->layer);
  }
  if ((status = check_trained_tokens(f, f->tokens, f->n_tokens, err))) return status;
  if ((status = check_trained_tokens(f, f->output_tokens, f->n_output_tokens, err))) return status;
  const el_lora_extra *of_output = find_extra_at(f, EL_LORA_OUTPUT_TOKENS, EL_LORA_MODEL, 0, 0);
  if (of_output && !find_extra_at(f, EL_LORA_OUTPUT, EL_LORA_MODEL, 0, 0) &&
      !find_extra_at(f, EL_LORA_TOKENS, EL_LORA_MODEL, 0, 0))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path,
                         "tensor %s: rows of the output are supported where its matrix is saved beside them",
                         el_str_show(of_output->name, name, sizeof name));
  return check_embedding_pair(f, err);
}

size_t el_lora_file_n_extras(const el_lora_file *f) {
  return f->n_extras;
}

const el_lora_extra *el_lora_file_extra(const el_lora_file *f, size_t i) {
  return &f->extras[i];
}

const int32_t *el_lora_file_tokens(const el_lora_file *f) {
  return f->tokens;
}

bool el_lora_file_ties(const el_lora_file *f) {
  return f->ties;
}
