#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "adapter/lora_halves.h"
#include "base/error.h"
#include "base/priority.h"

bool el_lora_skip_number(el_str *s, int end, int *out) {
  size_t n = 0;
  int v = 0;
  while (n < s->len && n < 5 && s->data[n] >= '0' && s->data[n] <= '9') v = v * 10 + (s->data[n++] - '0');
  if (n == 0 || (n > 1 && s->data[0] == '0') || v >= end) return false;
  *out = v;
  s->data += n;
  s->len -= n;
  return true;
}

/* Reads n values that are `step` values apart. */
static void read_apart(el_type type, const unsigned char *from, size_t step, size_t n, float *out) {
  enum { CHUNK = 64 };
  unsigned char values[CHUNK * 4];
  const size_t value = el_lora_value_bytes(type);
  for (size_t i = 0; i < n; i += CHUNK) {
    const size_t m = n - i < CHUNK ? n - i : CHUNK;
    const unsigned char *at = from + i * step * value;
    for (size_t k = 0; value == 2 && k < m; k++) memcpy(values + 2 * k, at + 2 * k * step, 2);
    for (size_t k = 0; value == 4 && k < m; k++) memcpy(values + 4 * k, at + 4 * k * step, 4);
    el_dequantize(type, values, out + i, (int64_t)m);
  }
}

void el_lora_matrix_read(const el_lora_matrix *m, int rows, int cols, float *out) {
  const size_t value = el_lora_value_bytes(m->type), n = (size_t)rows * (size_t)cols;
  const unsigned char *data = m->data;
  if (m->col_step == 1 && m->row_step == (size_t)cols) {
    el_dequantize(m->type, data, out, (int64_t)n);
    return;
  }
  for (size_t i = 0; i < (size_t)rows; i++) {
    const unsigned char *row = data + value * i * m->row_step;
    float *to = out + i * (size_t)cols;
    if (m->col_step == 1)
      el_dequantize(m->type, row, to, cols);
    else
      read_apart(m->type, row, m->col_step, (size_t)cols, to);
  }
}

static const char *show_matrix(const el_lora_half *p, char name[EL_SHOW]) {
  return el_str_show(p->name, name, EL_SHOW);
}

static int compare_matrices(const void *x, const void *y) {
  const el_lora_half *a = x, *b = y;
  if (a->layer != b->layer) return a->layer - b->layer;
  if (a->site != b->site) return a->site - b->site;
  if (a->expert != b->expert) return a->expert - b->expert;
  return (int)a->is_b - (int)b->is_b;
}

/* Whether the half has as many experts as the site. */
static el_status check_experts(const el_lora_file *f, const el_lora_half *p, el_error *err) {
  char name[EL_SHOW];
  const bool of_experts = f->sites && el_sites_of_expert(f->sites, p->site);
  const int n = f->sites ? f->sites->n_experts : EL_MAX_EXPERTS;
  if (p->of_all && f->sites && !of_experts)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s is of %" PRId64 " experts, which the matrix in the base model has not",
                         show_matrix(p, name), p->count);
  if (p->of_all && (f->sites ? p->count != n : p->count < 1 || p->count > n))
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s is of %" PRId64 " experts, expected %s%d",
                         show_matrix(p, name), p->count, f->sites ? "" : "1 to ", n);
  if (of_experts && p->expert >= n)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s: the base model has %d experts, from 0",
                         show_matrix(p, name), n);
  return EL_OK;
}

static el_status check_matrix_shape(const el_lora_file *f, const el_lora_half *p, el_error *err) {
  char name[EL_SHOW];
  if (p->rank < 1 || p->rank > EL_MAX_RANK)
    return el_fail_about(err, p->rank < 1 ? EL_ERR_FORMAT : EL_ERR_UNSUPPORTED, f->weights_path,
                         "tensor %s: rank %" PRId64 ", supported are 1 to %d", show_matrix(p, name), p->rank,
                         EL_MAX_RANK);
  const int place = f->sites && p->layer == EL_LORA_MODEL ? f->sites->n_layers : p->layer;
  if (f->sites && p->layer != EL_LORA_MODEL && p->layer >= f->sites->n_layers)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s: the base model has %d layers, from 0",
                         show_matrix(p, name), f->sites->n_layers);
  int64_t rows = p->is_b ? p->rows : p->rank, cols = p->is_b ? p->rank : p->cols;
  const el_site_dims dims = f->sites ? el_sites_dims(f->sites, place, p->site) : (el_site_dims){0};
  if (f->sites && !dims.out && place == f->sites->n_layers)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "tensor %s: the base's vocabulary is not known",
                         show_matrix(p, name));
  if (f->sites && !dims.out)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s: layer %d of the base model has no such matrix", show_matrix(p, name), p->layer);
  if (f->sites && p->is_b) rows = f->n_vocab && p->layer == EL_LORA_MODEL ? f->n_vocab : dims.out;
  if (f->sites && !p->is_b) cols = dims.in;
  if (p->rows != rows || p->cols != cols || rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s is %" PRId64 " x %" PRId64 ", expected %" PRId64 " x %" PRId64 " (%s)",
                         show_matrix(p, name), p->rows, p->cols, rows, cols,
                         p->is_b ? "outputs x rank" : "rank x inputs");
  return check_experts(f, p, err);
}

static bool are_finite(el_type type, const unsigned char *data, int64_t n) {
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

bool el_lora_all_finite(el_type type, const unsigned char *data, int64_t n) {
  const int64_t bytes = (int64_t)el_lora_value_bytes(type);
  for (int64_t i = 0; i < n; i += EL_BREATH, el_thread_breathe())
    if (!are_finite(type, data + bytes * i, n - i < EL_BREATH ? n - i : EL_BREATH)) return false;
  return true;
}

static bool is_float_type(el_type t) {
  return t == EL_TYPE_F32 || t == EL_TYPE_F16 || t == EL_TYPE_BF16;
}

/* Converts a quantised half to F32 in memory of its own. */
static el_status convert_matrix(el_lora_file *f, el_lora_half *p, el_error *err) {
  char name[EL_SHOW];
  float *values = p->values <= SIZE_MAX / sizeof *values ? malloc(p->values * sizeof *values) : NULL;
  if (!values)
    return el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "tensor %s: no memory for %zu values",
                         show_matrix(p, name), p->values);
  f->owned[f->n_owned++] = values;
  el_dequantize(p->type, p->data, values, (int64_t)p->values);
  p->type = EL_TYPE_F32;
  p->data = (const unsigned char *)values;
  return EL_OK;
}

static el_lora_matrix matrix_of(const el_lora_half *p, int64_t i) {
  const size_t value = el_lora_value_bytes(p->type);
  return (el_lora_matrix){.type = p->type,
                          .data = p->data + value * (p->first + (size_t)i * p->expert_step),
                          .row_step = p->row_step,
                          .col_step = p->col_step};
}

/* Makes a pair of two halves; halves of all experts become as many pairs. */
static el_status make_pair(el_lora_file *f, el_lora_half *a, el_lora_half *b, el_error *err) {
  char name[EL_SHOW], other[EL_SHOW];
  el_status status;
  b->rank = a->rank; /* a file without a rank gets it from A */
  if ((status = check_matrix_shape(f, a, err)) || (status = check_matrix_shape(f, b, err))) return status;
  if (a->of_all != b->of_all || a->count != b->count)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s is of %" PRId64 " experts, tensor %s of %" PRId64, show_matrix(a, name), a->count,
                         show_matrix(b, other), b->count);
  float scale = el_lora_scale(a->alpha, a->rank, a->rslora);
  if (!isfinite(scale)) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "alpha %g is too large", a->alpha);
  if (f->header_only) return EL_OK;
  for (int k = 0; k < 2; k++) {
    el_lora_half *p = k ? b : a;
    if (!is_float_type(p->type) && (status = convert_matrix(f, p, err))) return status;
    if (!el_lora_all_finite(p->type, p->data, (int64_t)p->values))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                           "tensor %s has values that are not finite (NaN or infinity)", show_matrix(p, name));
  }
  const bool of_layer = a->layer != EL_LORA_MODEL;
  if (f->n_vocab && !of_layer) {
    f->output_pair = (el_lora_pair){
        .layer = f->sites->n_layers, .rank = (int)a->rank, .scale = scale, .a = matrix_of(a, 0), .b = matrix_of(b, 0)};
    return EL_OK;
  }
  for (int64_t i = 0; i < a->count; i++)
    f->pairs[f->n_pairs++] = (el_lora_pair){
        .layer = f->sites && !of_layer ? f->sites->n_layers : a->layer,
        .site = a->site,
        .expert = a->of_all ? (int)i : a->expert,
        .rank = (int)a->rank,
        .scale = scale,
        .a = matrix_of(a, i),
        .b = matrix_of(b, i),
        .reorder_b = f->from_peft && f->sites && of_layer && f->sites->site[a->site].rows == EL_ROWS_HALVES};
  return EL_OK;
}

/* Allocates room for the pairs of all halves, which are sorted. Each pair has two halves, so this
 * is at most twice what is needed. */
static el_status reserve_pairs(el_lora_file *f, el_error *err) {
  size_t n = 0;
  for (size_t i = 0; i < f->n_halves; i++)
    if (!f->halves[i].is_b)
      n += f->halves[i].count < 1 || f->halves[i].count > EL_MAX_EXPERTS ? 1 : (size_t)f->halves[i].count;
  if (n > EL_LORA_MAX_PAIRS)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "has %zu pairs of matrices, the limit is %d", n,
                         EL_LORA_MAX_PAIRS);
  f->pairs = calloc(n + 1, sizeof *f->pairs);
  f->owned = calloc(f->n_halves, sizeof *f->owned);
  return f->pairs && f->owned ? EL_OK : el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
}

/* The half before `a` if it has the same place; else NULL. */
static const el_lora_half *same_as(const el_lora_file *f, const el_lora_half *a) {
  if (a == f->halves) return NULL;
  const el_lora_half *before = a - 1;
  if (compare_matrices(before, a) == 0) return before;
  return before->of_all && before->layer == a->layer && before->site == a->site ? before : NULL;
}

static el_status make_pairs(el_lora_file *f, el_error *err) {
  char name[EL_SHOW], other[EL_SHOW];
  if (f->n_halves == 0 && f->n_extras == 0)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "holds no LoRA weights");
  qsort(f->halves, f->n_halves, sizeof *f->halves, compare_matrices);
  el_status status = reserve_pairs(f, err);
  for (size_t i = 0; i < f->n_halves && !status; i += 2) {
    el_lora_half *a = &f->halves[i], *b = i + 1 < f->n_halves ? a + 1 : NULL;
    const el_lora_half *same = same_as(f, a);
    if (!same && b && compare_matrices(a, b) == 0) same = b;
    if (same)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensors %s and %s are the same part",
                           show_matrix(a, name), show_matrix(same, other));
    if (a->is_b || !b || a->layer != b->layer || a->site != b->site || a->expert != b->expert)
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has no lora_%c beside it",
                           show_matrix(a, name), a->is_b ? 'A' : 'B');
    status = make_pair(f, a, b, err);
  }
  if (status) return status;
  free(f->halves);
  f->halves = NULL;
  return EL_OK;
}

/* An activated adapter has pairs alone, as in PEFT: everything else would also act on rows before
 * the invocation, or is measured on the whole weight. */
static el_status check_activated(const el_lora_file *f, el_error *err) {
  char name[EL_SHOW];
  if ((!f->invocation.n && !f->invocation_text) || !f->n_extras) return EL_OK;
  return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path,
                       "tensor %s: an activated adapter (aLoRA) has lora_A and lora_B alone",
                       el_str_show(f->extras[0].name, name, sizeof name));
}

/* The common end of opening: makes pairs of f's halves if `status` is EL_OK so far. Takes over
 * f. */
static el_status finish_opening(el_lora_file *f, el_status status, el_lora_file **out, el_error *err) {
  if (!status) status = el_lora_find_vocabulary(f, err);
  if (!status) status = make_pairs(f, err);
  if (!status) status = el_lora_check_extras(f, err);
  if (!status) status = check_activated(f, err);
  if (status)
    el_lora_file_close(f);
  else
    *out = f;
  return status;
}

el_status el_lora_file_open(const char *path, const el_sites *sites, el_lora_file **out, el_error *err) {
  return el_lora_file_open_with(path, sites, NULL, out, err);
}

static el_status read_adapter_file(el_lora_file *f, const char *path, bool folder, el_error *err) {
  return folder ? el_lora_read_peft(f, path, err) : el_lora_read_gguf(f, path, err);
}

/* Checks what can be known of an adapter without reading its weights: header, names and shapes. */
static el_status check_adapter_header(const char *path, bool folder, const el_sites *sites, el_error *err) {
  el_lora_file *f = calloc(1, sizeof *f);
  if (!f) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  f->sites = sites;
  f->header_only = true;
  el_status status = finish_opening(f, read_adapter_file(f, path, folder, err), &f, err);
  if (!status) el_lora_file_close(f);
  return status;
}

el_status el_lora_file_open_with(const char *path, const el_sites *sites, el_file_buffer *buffer, el_lora_file **out,
                                 el_error *err) {
  struct stat st;
  if (stat(path, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  bool folder = S_ISDIR(st.st_mode);
  if ((folder ? el_lora_weights_size(path) : (size_t)st.st_size) > EL_LORA_HEADER_FIRST) {
    el_status status = check_adapter_header(path, folder, sites, err);
    if (status) return status;
  }
  el_lora_file *f = calloc(1, sizeof *f);
  if (!f) return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  f->buffer = buffer;
  f->sites = sites;
  return finish_opening(f, read_adapter_file(f, path, folder, err), out, err);
}

static bool copy_to_file(const void *data, size_t len, el_file *out) {
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
  if (!f || (config && !copy_to_file(config, config_len, &f->config)) ||
      !copy_to_file(weights, weights_len, &f->weights))
    status = el_fail(err, EL_ERR_NO_MEMORY, "memory: out of memory");
  else
    status = config ? el_lora_parse_peft(f, "memory", err) : el_lora_parse_gguf(f, "memory", err);
  return finish_opening(f, status, out, err);
}

void el_lora_file_close(el_lora_file *f) {
  if (!f) return;
  for (size_t i = 0; i < f->n_owned; i++) free(f->owned[i]);
  free(f->owned);
  free(f->extras);
  free(f->tokens);
  free(f->output_tokens);
  free(f->pairs);
  free(f->halves);
  el_gguf_close(f->gguf);
  el_safetensors_close(f->safetensors);
  el_lora_close_shards(f);
  el_file_close(&f->config);
  el_file_close(&f->weights);
  free(f->weights_path);
  free(f->keys);
  free(f->base);
  free(f->invocation_text);
  free(f);
}

size_t el_lora_file_n(const el_lora_file *f) {
  return f->n_pairs;
}

const el_lora_pair *el_lora_file_at(const el_lora_file *f, size_t i) {
  assert(i < f->n_pairs);
  return &f->pairs[i];
}

/* Where the first component that is a number begins and ends in a name; both are the name's end if
 * there is none. */
static int find_number(el_str name, size_t *begin, size_t *end) {
  for (size_t i = 0; i < name.len; i = *end + 1) {
    int number = 0;
    el_str rest = {name.data + i, name.len - i};
    *begin = i;
    const bool is = el_lora_skip_number(&rest, EL_LORA_MAX_NUMBER, &number);
    *end = (size_t)(rest.data - name.data);
    if (is && (!rest.len || *rest.data == '.')) return number;
    while (*end < name.len && name.data[*end] != '.') ++*end;
  }
  *begin = *end = name.len;
  return 0;
}

int el_lora_number_in(el_str module) {
  size_t begin, end;
  return find_number(module, &begin, &end);
}

/* Whether two names are the same but for an expert's number. */
static bool same_module(el_str a, el_str b) {
  size_t a_begin, a_end, b_begin, b_end;
  find_number(a, &a_begin, &a_end);
  find_number(b, &b_begin, &b_end);
  return !el_str_cmp((el_str){a.data, a_begin}, (el_str){b.data, b_begin}) &&
         !el_str_cmp((el_str){a.data + a_end, a.len - a_end}, (el_str){b.data + b_end, b.len - b_end});
}

int el_lora_module_number(el_lora_file *f, el_str name) {
  int i = 0;
  while (i < f->n_modules && !same_module(f->modules[i], name)) i++;
  if (i < f->n_modules) return i;
  if (i == EL_LORA_MAX_MODULES) return -1;
  f->modules[f->n_modules++] = name;
  return i;
}

int el_lora_output(el_lora_file *f, el_str name, int *layer) {
  *layer = EL_LORA_MODEL;
  return f->sites ? EL_SITE_OUTPUT : el_lora_module_number(f, name);
}

size_t el_lora_file_n_sites(const el_lora_file *f) {
  return (size_t)(f->sites ? el_sites_all(f->sites) : f->n_modules);
}

const char *el_lora_file_site_name(const el_lora_file *f, int site, char name[EL_SHOW]) {
  const char *known = f->sites ? f->sites->site[site].name : NULL;
  const el_str s = known ? el_str_of(known) : f->modules[site];
  size_t begin, end;
  find_number(s, &begin, &end);
  if (begin == end) return el_str_show(s, name, EL_SHOW);
  char before[EL_SHOW], after[EL_SHOW];
  snprintf(name, EL_SHOW, "%s*%s", el_str_show((el_str){s.data, begin}, before, sizeof before),
           el_str_show((el_str){s.data + end, s.len - end}, after, sizeof after));
  return name;
}

const el_invocation *el_lora_file_invocation(const el_lora_file *f) {
  return &f->invocation;
}

const char *el_lora_file_invocation_text(const el_lora_file *f) {
  return f->invocation_text;
}

void el_lora_file_invoke_with(el_lora_file *f, const int32_t *tokens, int n, int n_lead) {
  assert(n >= 1 && n <= EL_MAX_INVOCATION);
  memcpy(f->invocation_tokens, tokens, sizeof *tokens * (size_t)n);
  f->invocation = (el_invocation){f->invocation_tokens, n, n_lead};
}

const char *el_lora_file_base(const el_lora_file *f) {
  return f->base ? f->base : "";
}
