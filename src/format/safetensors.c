#include "format/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json_guard.h"
#include "format/index.h"

enum {
  PREFIX = 8, /* bytes of the header's length */
  /* bytes: an adapter on all layers of a 405B model has a header of 300 KB. The reference
   * implementation allows 100 MB, but parsed JSON takes about 20 times its text: this limit bounds
   * what a hostile header can allocate at about 200 MB. */
  MAX_HEADER = 8 << 20,
  MAX_DIMS = sizeof((el_st_tensor){0}.shape) / sizeof((el_st_tensor){0}.shape[0])
};
static const char METADATA[] = "__metadata__";

struct el_safetensors {
  char *path;
  size_t size;               /* of the file, bytes */
  const unsigned char *data; /* the whole file; NULL: only its header was read */
  json_t *header;            /* names, dtypes and metadata point into it */
  json_t *metadata;          /* owned by `header`; NULL: none */
  size_t n;
  el_st_tensor *tensors;
  el_index_entry *index;
};

/* Bits of an item; 0: an unknown dtype, whose length cannot be checked. */
static int dtype_bits(const char *name) {
  static const struct {
    const char *name;
    int bits;
  } known[] = {{"F32", 32}, {"F16", 16},    {"BF16", 16},   {"F64", 64},    {"BOOL", 8}, {"U8", 8},
               {"I8", 8},   {"U16", 16},    {"I16", 16},    {"U32", 32},    {"I32", 32}, {"U64", 64},
               {"I64", 64}, {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"C64", 64}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (!strcmp(known[i].name, name)) return known[i].bits;
  return 0;
}

static el_st_dtype dtype_of(const char *name) {
  if (!strcmp(name, "F32")) return EL_ST_F32;
  if (!strcmp(name, "F16")) return EL_ST_F16;
  return strcmp(name, "BF16") ? EL_ST_OTHER : EL_ST_BF16;
}

static el_status read_tensor_entry(el_safetensors *s, const char *key, json_t *info, size_t data_size, el_st_tensor *t,
                                   el_error *err) {
  char name[EL_SHOW], type[EL_SHOW];
  el_str_show(el_str_of(key), name, sizeof name);
  json_t *dtype = json_object_get(info, "dtype"), *shape = json_object_get(info, "shape"),
         *offsets = json_object_get(info, "data_offsets");
  if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets))
    return el_fail_about(err, EL_ERR_FORMAT, s->path,
                         "tensor %s lacks one of dtype (a string), shape and data_offsets (arrays)", name);
  if (json_array_size(shape) > MAX_DIMS)
    return el_fail_about(err, EL_ERR_FORMAT, s->path, "tensor %s has %zu dimensions, the limit is %d", name,
                         json_array_size(shape), (int)MAX_DIMS);
  *t = (el_st_tensor){.name = key, .dtype_name = json_string_value(dtype), .n_dims = (int)json_array_size(shape)};
  t->dtype = dtype_of(t->dtype_name);
  int64_t n = 1;
  for (int d = 0; d < t->n_dims; d++) {
    json_t *size = json_array_get(shape, (size_t)d);
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        __builtin_mul_overflow(n, json_integer_value(size), &n))
      return el_fail_about(err, EL_ERR_FORMAT, s->path, "tensor %s: dimension %d of its shape is not a size", name, d);
    t->shape[d] = json_integer_value(size);
  }
  json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
    return el_fail_about(err, EL_ERR_FORMAT, s->path, "tensor %s: data_offsets are not two integers", name);
  int64_t b = json_integer_value(begin), e = json_integer_value(end);
  if (b < 0 || e < b)
    return el_fail_about(err, EL_ERR_FORMAT, s->path, "tensor %s: data_offsets [%" PRId64 ", %" PRId64 "] are no range",
                         name, b, e);
  if ((uint64_t)e > data_size)
    return el_fail_about(err, EL_ERR_FORMAT, s->path,
                         "truncated: tensor %s ends at byte %" PRId64 " of the data, the file has %zu", name, e,
                         data_size);
  int bits = dtype_bits(t->dtype_name);
  int64_t n_bits;
  if (bits && (__builtin_mul_overflow(n, bits, &n_bits) || n_bits / 8 != e - b))
    return el_fail_about(err, EL_ERR_FORMAT, s->path,
                         "tensor %s: its shape needs %" PRId64 " values of %s, it has %" PRId64 " bytes", name, n,
                         el_str_show(el_str_of(t->dtype_name), type, sizeof type), e - b);
  t->offset = s->size - data_size + (size_t)b;
  t->data = s->data ? s->data + t->offset : NULL;
  t->n_bytes = (size_t)(e - b);
  return EL_OK;
}

static int by_range(const void *x, const void *y) {
  const el_st_tensor *a = *(el_st_tensor *const *)x, *b = *(el_st_tensor *const *)y;
  if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
  return (a->n_bytes > b->n_bytes) - (a->n_bytes < b->n_bytes);
}

/* Checks that tensors cover the data exactly: no overlap, no hole, nothing after the last. */
static el_status check_cover(el_safetensors *s, size_t data_size, el_error *err) {
  char name[EL_SHOW];
  size_t at = s->size - data_size;
  el_st_tensor **sorted = malloc((s->n + 1) * sizeof *sorted);
  if (!sorted) return el_fail_about(err, EL_ERR_NO_MEMORY, s->path, "no memory for its header");
  for (size_t i = 0; i < s->n; i++) sorted[i] = &s->tensors[i];
  qsort(sorted, s->n, sizeof *sorted, by_range);
  el_status status = EL_OK;
  for (size_t i = 0; !status && i < s->n; i++) {
    if (sorted[i]->offset != at)
      status = el_fail_about(
          err, EL_ERR_FORMAT, s->path, "tensor %s %s", el_str_show(el_str_of(sorted[i]->name), name, sizeof name),
          sorted[i]->offset < at ? "overlaps another one" : "comes after bytes that belong to no tensor");
    at = sorted[i]->offset + sorted[i]->n_bytes;
  }
  free(sorted);
  if (!status && at != s->size)
    status = el_fail_about(err, EL_ERR_FORMAT, s->path, "%zu bytes at its end belong to no tensor", s->size - at);
  return status;
}

static el_status read_metadata(el_safetensors *s, json_t *metadata, el_error *err) {
  const char *key;
  json_t *value;
  char shown[EL_SHOW];
  if (json_is_null(metadata)) return EL_OK; /* mlx writes null where there is none */
  if (!json_is_object(metadata)) return el_fail_about(err, EL_ERR_FORMAT, s->path, "%s is not an object", METADATA);
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value))
      return el_fail_about(err, EL_ERR_FORMAT, s->path, "%s: the value of %s is not a string", METADATA,
                           el_str_show(el_str_of(key), shown, sizeof shown));
  }
  s->metadata = metadata;
  return EL_OK;
}

/* Reads the header's length from the first bytes of a file. */
static el_status header_length(el_safetensors *s, const unsigned char *prefix, size_t *out, el_error *err) {
  uint64_t len = 0;
  for (int i = 0; i < PREFIX; i++) len |= (uint64_t)prefix[i] << (8 * i);
  if (len > MAX_HEADER)
    return el_fail_about(err, EL_ERR_FORMAT, s->path,
                         "a header of %" PRIu64 " bytes, the limit is %d; is this a safetensors file?", len,
                         MAX_HEADER);
  if (len > s->size - PREFIX)
    return el_fail_about(err, EL_ERR_FORMAT, s->path, "truncated: its header has %" PRIu64 " bytes, the file has %zu",
                         len, s->size - PREFIX);
  *out = (size_t)len;
  return EL_OK;
}

/* text: [len], the header. */
static el_status parse_tensor_entries(el_safetensors *s, const char *text, size_t len, el_error *err) {
  if (len == 0 || text[0] != '{') return el_fail_about(err, EL_ERR_FORMAT, s->path, "its header is not a JSON object");
  json_error_t json_err;
  char shown[EL_SHOW];
  /* The parser refuses what is not UTF-8, NUL in strings, nesting beyond 2048 and integers beyond
   * 64 bits. */
  bool no_memory;
  s->header = el_json_load(text, len, JSON_REJECT_DUPLICATES, &json_err, &no_memory);
  if (!s->header && no_memory) return el_fail_about(err, EL_ERR_NO_MEMORY, s->path, "no memory for its header");
  if (!s->header)
    return el_fail_about(err, EL_ERR_FORMAT, s->path, "its header, at byte %d: %s", json_err.position,
                         el_str_show(el_str_of(json_err.text), shown, sizeof shown));

  size_t data_size = s->size - PREFIX - len;
  size_t n = json_object_size(s->header);
  s->tensors = calloc(n + 1, sizeof *s->tensors);
  s->index = calloc(n + 1, sizeof *s->index);
  if (!s->tensors || !s->index) return el_fail_about(err, EL_ERR_NO_MEMORY, s->path, "no memory for its header");
  const char *key;
  json_t *value;
  json_object_foreach(s->header, key, value) {
    el_status status;
    if (!strcmp(key, METADATA)) {
      if ((status = read_metadata(s, value, err))) return status;
      continue;
    }
    if ((status = read_tensor_entry(s, key, value, data_size, &s->tensors[s->n], err))) return status;
    s->index[s->n] = (el_index_entry){el_str_of(key), s->n};
    s->n++;
  }
  el_index_sort(s->index, s->n); /* there are no duplicates: the parser refuses them */
  return check_cover(s, data_size, err);
}

static el_status new_file(const char *path, size_t size, el_safetensors **out, el_error *err) {
  if (size < PREFIX)
    return el_fail_about(err, EL_ERR_FORMAT, path, "truncated: %zu bytes are no safetensors file", size);
  el_safetensors *s = calloc(1, sizeof *s);
  if (!s || !(s->path = strdup(path))) {
    free(s);
    return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  }
  s->size = size;
  *out = s;
  return EL_OK;
}

static el_status load_safetensors_header(el_safetensors *s, const el_source *source, el_error *err) {
  unsigned char prefix[PREFIX];
  size_t len = 0;
  el_status status = el_source_read(source, s->path, 0, prefix, PREFIX, err);
  if (status || (status = header_length(s, prefix, &len, err))) return status;
  char *text = malloc(len + 1);
  if (!text) return el_fail_about(err, EL_ERR_NO_MEMORY, s->path, "no memory for its header");
  status = el_source_read(source, s->path, PREFIX, text, len, err);
  if (!status) status = parse_tensor_entries(s, text, len, err);
  free(text);
  return status;
}

el_status el_safetensors_open(const char *path, el_safetensors **out, el_error *err) {
  el_source source;
  el_safetensors *s = NULL;
  el_status status = el_source_open(path, &source, err);
  if (status) return status;
  if (!(status = new_file(path, source.size, &s, err))) status = load_safetensors_header(s, &source, err);
  el_source_close(&source);
  if (status)
    el_safetensors_close(s);
  else
    *out = s;
  return status;
}

el_status el_safetensors_open_memory(const void *data, size_t size, const char *name, el_safetensors **out,
                                     el_error *err) {
  el_safetensors *s = NULL;
  size_t len = 0;
  el_status status = new_file(name, size, &s, err);
  if (status) return status;
  s->data = data;
  if ((status = header_length(s, data, &len, err)) ||
      (status = parse_tensor_entries(s, (const char *)data + PREFIX, len, err))) {
    el_safetensors_close(s);
    return status;
  }
  *out = s;
  return EL_OK;
}

void el_safetensors_close(el_safetensors *s) {
  if (!s) return;
  json_decref(s->header);
  free(s->tensors);
  free(s->index);
  free(s->path);
  free(s);
}

size_t el_safetensors_n(const el_safetensors *s) {
  return s->n;
}

const el_st_tensor *el_safetensors_at(const el_safetensors *s, size_t i) {
  assert(i < s->n);
  return &s->tensors[i];
}

const el_st_tensor *el_safetensors_find(const el_safetensors *s, const char *name) {
  const el_index_entry *e = el_index_find(s->index, s->n, el_str_of(name));
  return e ? &s->tensors[e->i] : NULL;
}

void el_safetensors_metadata(const el_safetensors *s, void (*each)(void *arg, const char *key, const char *value),
                             void *arg) {
  const char *key;
  json_t *value;
  json_object_foreach(s->metadata, key, value) each(arg, key, json_string_value(value));
}
