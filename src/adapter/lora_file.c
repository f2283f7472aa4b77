#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapter/lora_parts.h"
#include "base/error.h"

bool el_lora_skip_layer(el_str *s, int *layer) {
  size_t n = 0;
  int v = 0;
  while (n < s->len && n < 5 && s->data[n] >= '0' && s->data[n] <= '9') v = v * 10 + (s->data[n++] - '0');
  if (n == 0 || (n > 1 && s->data[0] == '0') || v >= EL_LORA_MAX_LAYERS) return false;
  *layer = v;
  s->data += n;
  s->len -= n;
  return true;
}

static const char *show(const el_lora_part *p, char name[EL_SHOW]) {
  return el_str_show(p->name, name, EL_SHOW);
}

static int by_place(const void *x, const void *y) {
  const el_lora_part *a = x, *b = y;
  if (a->layer != b->layer) return a->layer - b->layer;
  if (a->site != b->site) return a->site - b->site;
  return (int)a->is_b - (int)b->is_b;
}

static el_status check_shape(const el_lora_file *f, const el_lora_part *p, el_error *err) {
  char name[EL_SHOW];
  if (p->rank < 1 || p->rank > EL_LORA_MAX_RANK)
    return el_fail_about(err, p->rank < 1 ? EL_ERR_FORMAT : EL_ERR_UNSUPPORTED, f->weights_path,
                         "tensor %s: rank %" PRId64 ", supported are 1 to %d", show(p, name), p->rank,
                         EL_LORA_MAX_RANK);
  const int place = f->sites && p->layer == EL_LORA_MODEL ? f->sites->n_layers : p->layer;
  if (f->sites && p->layer != EL_LORA_MODEL && p->layer >= f->sites->n_layers)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s: the base model has %d layers, from 0",
                         show(p, name), f->sites->n_layers);
  int64_t rows = p->is_b ? p->rows : p->rank, cols = p->is_b ? p->rank : p->cols;
  const el_site_dims dims = f->sites ? el_sites_dims(f->sites, place, p->site) : (el_site_dims){0};
  if (f->sites && !dims.out && place == f->sites->n_layers)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: the base's vocabulary is not known",
                         show(p, name));
  if (f->sites && !dims.out)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s: layer %d of the base model has no such matrix", show(p, name), p->layer);
  if (f->sites && p->is_b) rows = dims.out;
  if (f->sites && !p->is_b) cols = dims.in;
  if (p->rows != rows || p->cols != cols || rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s is %" PRId64 " x %" PRId64 ", expected %" PRId64 " x %" PRId64 " (%s)",
                         show(p, name), p->rows, p->cols, rows, cols, p->is_b ? "outputs x rank" : "rank x inputs");
  return EL_OK;
}

/* Whether all n values are finite: the exponent is not all ones. */
static bool all_finite(el_type type, const unsigned char *data, int64_t n) {
  uint32_t bad = 0;
  if (type == EL_TYPE_F32) {
    for (int64_t i = 0; i < n; i++) {
      uint32_t v;
      memcpy(&v, data + 4 * i, 4);
      bad |= (v & 0x7f800000) == 0x7f800000;
    }
    return !bad;
  }
  uint16_t exponent = type == EL_TYPE_F16 ? 0x7c00 : 0x7f80;
  for (int64_t i = 0; i < n; i++) {
    uint16_t v;
    memcpy(&v, data + 2 * i, 2);
    bad |= (v & exponent) == exponent;
  }
  return !bad;
}

static bool is_plain(el_type t) {
  return t == EL_TYPE_F32 || t == EL_TYPE_F16 || t == EL_TYPE_BF16;
}

/* A part as F32 in memory of our own: where it is quantised, or its other half has another type. */
static el_status convert(el_lora_file *f, el_lora_part *p, float **owned, el_error *err) {
  char name[EL_SHOW];
  size_t n = (size_t)p->rows * (size_t)p->cols;
  if (n > SIZE_MAX / sizeof(float) || !(*owned = malloc(n * sizeof(float))))
    return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "tensor %s: no memory for %zu values", show(p, name),
                         n);
  el_dequantize(p->type, p->data, *owned, (int64_t)n);
  p->type = EL_TYPE_F32;
  p->data = (const unsigned char *)*owned;
  return EL_OK;
}

static el_status make_pair(el_lora_file *f, el_lora_part *a, el_lora_part *b, el_error *err) {
  char name[EL_SHOW];
  el_status status;
  b->rank = a->rank; /* where the file does not say it, A does */
  if ((status = check_shape(f, a, err)) || (status = check_shape(f, b, err))) return status;
  float scale = (float)(a->alpha / (a->rslora ? sqrt((double)a->rank) : (double)a->rank));
  if (!isfinite(scale)) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "alpha %g is too large", a->alpha);
  if (f->header_only) return EL_OK;
  size_t i = f->n_pairs++;
  if (!is_plain(a->type) || a->type != b->type) {
    if (a->type != EL_TYPE_F32 && (status = convert(f, a, &f->owned[2 * i], err))) return status;
    if (b->type != EL_TYPE_F32 && (status = convert(f, b, &f->owned[2 * i + 1], err))) return status;
  }
  for (int k = 0; k < 2; k++) {
    const el_lora_part *p = k ? b : a;
    if (!all_finite(p->type, p->data, p->rows * p->cols))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                           "tensor %s has values that are not finite (NaN or infinity)", show(p, name));
  }
  const bool of_layer = a->layer != EL_LORA_MODEL;
  f->pairs[i] = (el_lora_pair){
      .layer = f->sites && !of_layer ? f->sites->n_layers : a->layer,
      .site = a->site,
      .rank = (int)a->rank,
      .scale = scale,
      .type = a->type,
      .a = a->data,
      .b = b->data,
      .reorder_b = f->from_peft && f->sites && of_layer && f->sites->site[a->site].rows == EL_ROWS_HALVES};
  return EL_OK;
}

static el_status make_pairs(el_lora_file *f, el_error *err) {
  char name[EL_SHOW], other[EL_SHOW];
  if (f->n_parts == 0) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "holds no LoRA weights");
  qsort(f->parts, f->n_parts, sizeof *f->parts, by_place);
  f->pairs = calloc(f->n_parts, sizeof *f->pairs);
  f->owned = calloc(2 * f->n_parts, sizeof *f->owned);
  if (!f->pairs || !f->owned) return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  for (size_t i = 0; i < f->n_parts; i += 2) {
    el_lora_part *a = &f->parts[i], *b = i + 1 < f->n_parts ? a + 1 : NULL;
    const el_lora_part *same = i > 0 && by_place(a - 1, a) == 0 ? a - 1 : b && by_place(a, b) == 0 ? b : NULL;
    if (same)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensors %s and %s are the same part", show(a, name),
                           show(same, other));
    if (a->is_b || !b || a->layer != b->layer || a->site != b->site)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no lora_%c beside it", show(a, name),
                           a->is_b ? 'A' : 'B');
    el_status status = make_pair(f, a, b, err);
    if (status) return status;
  }
  free(f->parts);
  f->parts = NULL;
  return EL_OK;
}

/* The common end of opening: pairs out of f's parts if `status` is fine so far; takes over f. */
static el_status finish(el_lora_file *f, el_status status, el_lora_file **out, el_error *err) {
  if (!status) status = make_pairs(f, err);
  if (status)
    el_lora_file_close(f);
  else
    *out = f;
  return status;
}

el_status el_lora_file_open(const char *path, const el_sites *sites, el_lora_file **out, el_error *err) {
  return el_lora_file_open_with(path, sites, NULL, out, err);
}

static el_status read_file(el_lora_file *f, const char *path, bool folder, el_error *err) {
  return folder ? el_lora_read_peft(f, path, err) : el_lora_read_gguf(f, path, err);
}

/* What can be known of an adapter without reading its weights: what is wrong with its header, names and shapes. */
static el_status judge(const char *path, bool folder, const el_sites *sites, el_error *err) {
  el_lora_file *f = calloc(1, sizeof *f);
  if (!f) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  f->sites = sites;
  f->header_only = true;
  el_status status = finish(f, read_file(f, path, folder, err), &f, err);
  if (!status) el_lora_file_close(f);
  return status;
}

el_status el_lora_file_open_with(const char *path, const el_sites *sites, el_file_buffer *buffer, el_lora_file **out,
                                 el_error *err) {
  struct stat st;
  if (stat(path, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  bool folder = S_ISDIR(st.st_mode);
  if ((folder ? el_lora_weights_size(path) : (size_t)st.st_size) > EL_LORA_HEADER_FIRST) {
    el_status status = judge(path, folder, sites, err);
    if (status) return status;
  }
  el_lora_file *f = calloc(1, sizeof *f);
  if (!f) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  f->buffer = buffer;
  f->sites = sites;
  return finish(f, read_file(f, path, folder, err), out, err);
}

static bool copy(const void *data, size_t len, el_file *out) {
  unsigned char *p = malloc(len ? len : 1);
  if (!p) return false;
  if (len) memcpy(p, data, len);
  *out = (el_file){.data = p, .size = len};
  return true;
}

el_status el_lora_file_open_memory(const void *config, size_t config_len, const void *weights, size_t weights_len,
                                   const el_sites *sites, el_lora_file **out, el_error *err) {
  el_lora_file *f = calloc(1, sizeof *f);
  el_status status;
  if (f) f->sites = sites;
  if (!f || (config && !copy(config, config_len, &f->config)) || !copy(weights, weights_len, &f->weights))
    status = el_fail(err, EL_ERR_NO_MEMORY, "memory: out of memory");
  else
    status = config ? el_lora_parse_peft(f, "memory", err) : el_lora_parse_gguf(f, "memory", err);
  return finish(f, status, out, err);
}

void el_lora_file_close(el_lora_file *f) {
  if (!f) return;
  for (size_t i = 0; f->owned && i < 2 * f->n_pairs; i++) free(f->owned[i]);
  free(f->owned);
  free(f->pairs);
  free(f->parts);
  el_gguf_close(f->gguf);
  el_safetensors_close(f->safetensors);
  el_lora_close_shards(f);
  el_file_close(&f->config);
  el_file_close(&f->weights);
  free(f->weights_path);
  free(f->keys);
  free(f->turned);
  free(f->base);
  free(f);
}

size_t el_lora_file_n(const el_lora_file *f) {
  return f->n_pairs;
}

const el_lora_pair *el_lora_file_at(const el_lora_file *f, size_t i) {
  assert(i < f->n_pairs);
  return &f->pairs[i];
}

int el_lora_module(el_lora_file *f, el_str name) {
  int i = 0;
  while (i < f->n_modules && el_str_cmp(f->modules[i], name)) i++;
  if (i < f->n_modules) return i;
  if (i == EL_LORA_MAX_MODULES) return -1;
  f->modules[f->n_modules++] = name;
  return i;
}

int el_lora_output(el_lora_file *f, el_str name, int *layer) {
  *layer = EL_LORA_MODEL;
  return f->sites ? EL_SITE_OUTPUT : el_lora_module(f, name);
}

size_t el_lora_file_n_sites(const el_lora_file *f) {
  return (size_t)(f->sites ? f->sites->n_sites : f->n_modules);
}

el_str el_lora_file_site_name(const el_lora_file *f, int site) {
  if (!f->sites) return f->modules[site];
  return (el_str){f->sites->site[site].name, strlen(f->sites->site[site].name)};
}

const char *el_lora_file_base(const el_lora_file *f) {
  return f->base ? f->base : "";
}
