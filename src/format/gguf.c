#include "format/gguf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "format/gguf_private.h"

/* Limits that a file's own size does not imply. They bound what a hostile header can make the
 * program allocate and do, and are far above what models have. */
enum {
  MAX_KV = 65536,              /* models have about 50 */
  MAX_KEY = 65535,             /* bytes; the format's own limit */
  MAX_NAME = 255,              /* bytes of a tensor's name; the format says 64 */
  MAX_STRING = 16 << 20,       /* bytes; a long chat template has 100 KB */
  MAX_ARRAY_STRINGS = 8 << 20, /* in a file: 128 MiB of views; 262144 tokens and their merges are
                                * fewer than 1 million */
  MAX_HEADER = 256 << 20,      /* bytes read of a file for its header; 262144 tokens and their
                                * merges take 20 MB */
  DEFAULT_ALIGNMENT = 32,
  MAX_ALIGNMENT = 65536 /* the largest page size in use */
};
static const int64_t MAX_ELEMENTS = (int64_t)1 << 48; /* values of a tensor: products with a type's
                                                       * size stay within 64 bits */

/* --- reading the header: a cursor that never leaves the file */

typedef struct reader {
  el_gguf *g;
  const unsigned char *data;
  size_t size, at, have; /* have: bytes of the file that are in memory */
  uint64_t array_strings;
  el_error *err;
} reader;

static el_status fail_truncated(reader *r, const char *what, uint64_t need) {
  return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path,
                       "truncated: %s at byte %zu needs %" PRIu64 " bytes, the file has %zu", what, r->at, need,
                       r->size);
}

/* Reads the header up to `end`, which is within the file. */
static el_status fetch_header(reader *r, size_t end) {
  enum { AT_ONCE = 1 << 18 };
  el_gguf *g = r->g;
  if (end <= r->have) return EL_OK;
  if (end > g->n_header)
    return el_fail_about(r->err, EL_ERR_FORMAT, g->path, "its header goes on at byte %zu, the limit is %d", end,
                         MAX_HEADER);
  if (end - r->have < AT_ONCE) end = g->n_header - r->have < AT_ONCE ? g->n_header : r->have + AT_ONCE;
  el_status status = el_source_read(&g->source, g->path, r->have, g->header + r->have, end - r->have, r->err);
  if (!status) r->have = end;
  return status;
}

static el_status read_header_bytes(reader *r, const char *what, uint64_t n, const unsigned char **out) {
  if (n > r->size - r->at) return fail_truncated(r, what, n);
  el_status status = fetch_header(r, r->at + (size_t)n);
  if (status) return status;
  *out = r->data + r->at;
  r->at += (size_t)n;
  return EL_OK;
}

static el_status read_uint(reader *r, const char *what, size_t bytes, uint64_t *out) {
  const unsigned char *p = NULL;
  el_status status = read_header_bytes(r, what, bytes, &p);
  if (!status) *out = el_gguf_load_le(p, bytes);
  return status;
}

static el_status read_str(reader *r, const char *what, uint64_t max, el_str *out) {
  uint64_t len = 0;
  el_status status = read_uint(r, what, 8, &len);
  if (status) return status;
  if (len > max)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path,
                         "%s at byte %zu has a length of %" PRIu64 ", the limit is %" PRIu64, what, r->at - 8, len,
                         max);
  const unsigned char *p = NULL;
  if ((status = read_header_bytes(r, what, len, &p))) return status;
  *out = (el_str){(const char *)p, (size_t)len};
  return EL_OK;
}

static el_status header_no_memory(reader *r) {
  return el_fail_about(r->err, EL_ERR_NO_MEMORY, r->g->path, "no memory for its header");
}

/* Reads n values of a fixed size; booleans must be 0 or 1. */
static el_status read_kv_values(reader *r, el_gguf_kv *kv, el_gguf_type type, uint64_t n) {
  char key[EL_SHOW];
  size_t size = el_gguf_value_bytes(type);
  if (n > (r->size - r->at) / size)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path,
                         "truncated: %s has %" PRIu64 " values of %zu bytes, %zu bytes are left",
                         el_str_show(kv->key, key, sizeof key), n, size, r->size - r->at);
  el_status status = fetch_header(r, r->at + (size_t)n * size);
  if (status) return status;
  kv->data = r->data + r->at;
  r->at += (size_t)n * size;
  for (uint64_t i = 0; type == EL_GGUF_BOOL && i < n; i++)
    if (kv->data[i] > 1)
      return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "%s is a boolean of value %d",
                           el_str_show(kv->key, key, sizeof key), kv->data[i]);
  return EL_OK;
}

static el_status read_array_strings(reader *r, el_gguf_kv *kv) {
  char key[EL_SHOW];
  /* Each string takes at least 8 bytes of the file, so a false count allocates nothing. */
  if (kv->n > (r->size - r->at) / 8)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path,
                         "%s has %" PRIu64 " strings, more than the file has room for",
                         el_str_show(kv->key, key, sizeof key), kv->n);
  if (kv->n > MAX_ARRAY_STRINGS - r->array_strings)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "%s has %" PRIu64 " strings, the limit of a file is %d",
                         el_str_show(kv->key, key, sizeof key), kv->n, MAX_ARRAY_STRINGS);
  r->array_strings += kv->n;
  kv->data = r->data + r->at;
  if (kv->n == 0) return EL_OK;
  el_str *strings = calloc((size_t)kv->n, sizeof *strings);
  if (!strings) return header_no_memory(r);
  kv->strings = strings;
  for (uint64_t i = 0; i < kv->n; i++) {
    el_status status = read_str(r, "a string of an array", MAX_STRING, &strings[i]);
    if (status) return status;
  }
  return EL_OK;
}

static el_status read_kv(reader *r, size_t i) {
  char shown[EL_SHOW];
  el_gguf_kv *kv = &r->g->kv[i];
  uint64_t type = 0, item = 0;
  el_status status;
  if ((status = read_str(r, "a key", MAX_KEY, &kv->key))) return status;
  el_str_show(kv->key, shown, sizeof shown);
  if (kv->key.len == 0) return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "key %zu is empty", i);
  if ((status = read_uint(r, "a value's type", 4, &type))) return status;
  kv->type = kv->item_type = (el_gguf_type)type;
  kv->n = 1;
  if (el_gguf_value_bytes(type)) return read_kv_values(r, kv, kv->type, 1);
  if (type == EL_GGUF_STRING) {
    if ((status = read_str(r, "a string", MAX_STRING, &r->g->scalars[i]))) return status;
    kv->strings = &r->g->scalars[i];
    kv->data = (const unsigned char *)r->g->scalars[i].data;
    return EL_OK;
  }
  if (type != EL_GGUF_ARRAY)
    return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "%s has the unknown value type %" PRIu64, shown, type);
  if ((status = read_uint(r, "an array's type", 4, &item))) return status;
  if ((status = read_uint(r, "an array's length", 8, &kv->n))) return status;
  kv->item_type = (el_gguf_type)item;
  if (item == EL_GGUF_STRING) return read_array_strings(r, kv);
  if (el_gguf_value_bytes(item)) return read_kv_values(r, kv, kv->item_type, kv->n);
  if (item == EL_GGUF_ARRAY)
    return el_fail_about(r->err, EL_ERR_UNSUPPORTED, r->g->path,
                         "%s is an array of arrays, which edgelora does not read", shown);
  return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "%s is an array of the unknown type %" PRIu64, shown, item);
}

/* Names of types that exist but are not supported, for messages only. */
static const char *foreign_type(uint64_t type) {
  static const char *const names[] = {
      [9] = "Q8_1", [15] = "Q8_K", [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64", [28] = "F64"};
  return type < sizeof names / sizeof names[0] && names[type] ? names[type] : "unknown";
}

/* Reads a tensor's entry; its offset in the data section goes to *offset. */
static el_status parse_tensor_info(reader *r, size_t i, uint64_t *offset) {
  const char *path = r->g->path;
  char name[EL_SHOW];
  el_tensor *t = &r->g->tensors[i];
  uint64_t n_dims = 0, type = 0;
  el_status status;
  if ((status = read_str(r, "a tensor's name", MAX_NAME, &t->name))) return status;
  el_str_show(t->name, name, sizeof name);
  if (t->name.len == 0) return el_fail_about(r->err, EL_ERR_FORMAT, path, "tensor %zu has no name", i);
  if ((status = read_uint(r, "a tensor's number of dimensions", 4, &n_dims))) return status;
  if (n_dims < 1 || n_dims > EL_MAX_DIMS)
    return el_fail_about(r->err, EL_ERR_FORMAT, path, "tensor %s has %" PRIu64 " dimensions, 1 to %d are possible",
                         name, n_dims, EL_MAX_DIMS);
  t->n_dims = (int)n_dims;
  int64_t n = 1;
  for (int d = 0; d < EL_MAX_DIMS; d++) {
    uint64_t ne = 1;
    if (d < t->n_dims && (status = read_uint(r, "a tensor's dimension", 8, &ne))) return status;
    if (ne < 1 || ne > (uint64_t)(MAX_ELEMENTS / n))
      return el_fail_about(r->err, EL_ERR_FORMAT, path, "tensor %s: dimension %d is %" PRIu64 ", which is %s", name, d,
                           ne, ne ? "beyond what a tensor can hold" : "no size");
    t->ne[d] = (int64_t)ne;
    n *= t->ne[d];
  }
  if ((status = read_uint(r, "a tensor's type", 4, &type))) return status;
  if ((status = read_uint(r, "a tensor's offset", 8, offset))) return status;
  const el_type_info *info = el_type_get((uint32_t)type);
  if (!info) {
    char known[300];
    return el_fail_about(r->err, EL_ERR_UNSUPPORTED, path, "tensor %s has type %" PRIu64 " (%s); supported are %s",
                         name, type, foreign_type(type), el_type_names(known, sizeof known));
  }
  t->type = (el_type)type;
  if (t->ne[0] % info->block)
    return el_fail_about(r->err, EL_ERR_FORMAT, path,
                         "tensor %s: rows of %" PRId64 " values are no whole blocks of %s, which hold %d", name,
                         t->ne[0], info->name, info->block);
  t->n_bytes = (size_t)(n / info->block) * (size_t)info->block_bytes;
  return EL_OK;
}

static int compare_offsets(const void *a, const void *b) {
  size_t x = (*(el_tensor *const *)a)->offset, y = (*(el_tensor *const *)b)->offset;
  return (x > y) - (x < y);
}

/* Turns offsets into places, once they are known to be aligned, within the file and disjoint. */
static el_status place_tensors(reader *r, const uint64_t *offsets) {
  el_gguf *g = r->g;
  char name[EL_SHOW], other[EL_SHOW];
  if (g->n_tensors == 0) return EL_OK;
  int64_t alignment = DEFAULT_ALIGNMENT;
  el_status status = el_gguf_i64(g, "general.alignment", 1, MAX_ALIGNMENT, &alignment, r->err);
  if (status && status != EL_ERR_NOT_FOUND) return status;
  status = EL_OK;
  if (alignment & (alignment - 1))
    return el_fail_about(r->err, EL_ERR_FORMAT, g->path, "general.alignment is %" PRId64 ", not a power of two",
                         alignment);
  size_t mask = (size_t)alignment - 1;
  if (r->size - r->at < (-r->at & mask)) return fail_truncated(r, "the padding before the tensors", -r->at & mask);
  size_t start = r->at + (-r->at & mask), room = r->size - start;

  el_tensor **sorted = malloc(g->n_tensors * sizeof *sorted);
  if (!sorted) return header_no_memory(r);
  for (size_t i = 0; !status && i < g->n_tensors; i++) {
    el_tensor *t = sorted[i] = &g->tensors[i];
    el_str_show(t->name, name, sizeof name);
    if (offsets[i] & mask)
      status = el_fail_about(r->err, EL_ERR_FORMAT, g->path,
                             "tensor %s: offset %" PRIu64 " is not a multiple of the alignment %" PRId64, name,
                             offsets[i], alignment);
    else if (offsets[i] > room || t->n_bytes > room - (size_t)offsets[i])
      status =
          el_fail_about(r->err, EL_ERR_FORMAT, g->path,
                        "truncated: tensor %s needs %zu bytes at offset %" PRIu64 ", the file has %zu bytes of tensors",
                        name, t->n_bytes, offsets[i], room);
    else {
      t->offset = start + (size_t)offsets[i];
      if (g->in_memory) t->data = r->data + t->offset;
    }
  }
  if (!status) {
    qsort(sorted, g->n_tensors, sizeof *sorted, compare_offsets);
    for (size_t i = 1; !status && i < g->n_tensors; i++) {
      el_tensor *a = sorted[i - 1], *b = sorted[i];
      if (a->n_bytes > b->offset - a->offset)
        status = el_fail_about(r->err, EL_ERR_FORMAT, g->path, "tensors %s and %s overlap",
                               el_str_show(a->name, name, sizeof name), el_str_show(b->name, other, sizeof other));
    }
  }
  free(sorted);
  return status;
}

static el_status build_index(reader *r, const char *what, el_index_entry *entries, size_t n) {
  const el_index_entry *twice = el_index_sort(entries, n);
  char name[EL_SHOW];
  if (!twice) return EL_OK;
  return el_fail_about(r->err, EL_ERR_FORMAT, r->g->path, "%s %s is there twice", what,
                       el_str_show(twice->name, name, sizeof name));
}

static el_status read_header_counts(reader *r) {
  el_gguf *g = r->g;
  const unsigned char *magic;
  uint64_t version = 0, n_tensors = 0, n_kv = 0;
  el_status status = fetch_header(r, r->size < 4 ? r->size : 4);
  if (status) return status;
  if (r->size < 4 || memcmp(r->data, "GGUF", 4))
    return el_fail_about(r->err, EL_ERR_FORMAT, g->path, "not a GGUF file (%zu bytes, no GGUF at its start)", r->size);
  if ((status = read_header_bytes(r, "the magic", 4, &magic))) return status;
  if ((status = read_uint(r, "the version", 4, &version))) return status;
  if (version != 0 && (version & 0xffff) == 0)
    return el_fail_about(r->err, EL_ERR_UNSUPPORTED, g->path,
                         "a big-endian GGUF; only little-endian ones are supported");
  if (version != 2 && version != 3)
    return el_fail_about(r->err, EL_ERR_UNSUPPORTED, g->path, "GGUF version %" PRIu64 "; supported are 2 and 3",
                         version);
  g->version = (uint32_t)version;
  if ((status = read_uint(r, "the number of tensors", 8, &n_tensors))) return status;
  if ((status = read_uint(r, "the number of keys", 8, &n_kv))) return status;
  if (n_tensors > EL_GGUF_MAX_TENSORS)
    return el_fail_about(r->err, EL_ERR_FORMAT, g->path, "%" PRIu64 " tensors, the limit is %d", n_tensors,
                         EL_GGUF_MAX_TENSORS);
  if (n_kv > MAX_KV)
    return el_fail_about(r->err, EL_ERR_FORMAT, g->path, "%" PRIu64 " keys, the limit is %d", n_kv, MAX_KV);
  g->n_tensors = (size_t)n_tensors;
  g->n_kv = (size_t)n_kv;
  return EL_OK;
}

/* Gives back the memory behind a header of n bytes. */
static void release_header_tail(el_gguf *g, size_t n) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (n + page - 1) / page * page;
  if (used >= g->n_header || munmap(g->header + used, g->n_header - used)) return;
  g->n_header = used;
}

/* Parses a header. data: the file, or where its header will be read to. */
static el_status parse_gguf_header(el_gguf *g, const void *data, el_error *err) {
  reader r = {.g = g, .data = data, .size = g->size, .have = g->in_memory ? g->size : 0, .err = err};
  uint64_t *offsets = NULL;
  el_status status = read_header_counts(&r);
  if (status) return status;
  /* One item more than needed, so that a count of 0 is no allocation of 0 bytes, which may return
   * NULL. */
  g->kv = calloc(g->n_kv + 1, sizeof *g->kv);
  g->scalars = calloc(g->n_kv + 1, sizeof *g->scalars);
  g->kv_index = calloc(g->n_kv + 1, sizeof *g->kv_index);
  g->tensors = calloc(g->n_tensors + 1, sizeof *g->tensors);
  g->tensor_index = calloc(g->n_tensors + 1, sizeof *g->tensor_index);
  offsets = calloc(g->n_tensors + 1, sizeof *offsets);
  if (!g->kv || !g->scalars || !g->kv_index || !g->tensors || !g->tensor_index || !offsets)
    status = header_no_memory(&r);

  for (size_t i = 0; !status && i < g->n_kv; i++) {
    status = read_kv(&r, i);
    g->kv_index[i] = (el_index_entry){g->kv[i].key, i};
  }
  if (!status) status = build_index(&r, "key", g->kv_index, g->n_kv);
  for (size_t i = 0; !status && i < g->n_tensors; i++) {
    status = parse_tensor_info(&r, i, &offsets[i]);
    g->tensor_index[i] = (el_index_entry){g->tensors[i].name, i};
  }
  if (!status) status = build_index(&r, "tensor", g->tensor_index, g->n_tensors);
  if (!status) status = place_tensors(&r, offsets);
  free(offsets);
  if (!status && !g->in_memory) release_header_tail(g, r.at);
  return status;
}

static el_status new_gguf(const char *path, el_gguf **out, el_error *err) {
  el_gguf *g = calloc(1, sizeof *g);
  if (!g || !(g->path = strdup(path))) {
    free(g);
    return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  }
  g->source.fd = -1;
  *out = g;
  return EL_OK;
}

/* The length of a header is not known before its end, and views of it must not move. So this
 * reserves addresses for the longest header; they take no memory until they are written to. */
static el_status reserve_header(el_gguf *g, el_error *err) {
  g->size = g->source.size;
  size_t n = g->size < MAX_HEADER ? g->size : MAX_HEADER;
  if (n == 0) return EL_OK;
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return el_fail_about(err, EL_ERR_NO_MEMORY, g->path, "no address space for its header, %zu bytes", n);
  g->header = p;
  g->n_header = n;
  return EL_OK;
}

el_status el_gguf_open_file(const char *path, el_gguf **out, el_error *err) {
  el_gguf *g = NULL;
  el_status status = new_gguf(path, &g, err);
  if (status) return status;
  if ((status = el_source_open(path, &g->source, err)) || (status = reserve_header(g, err)) ||
      (status = parse_gguf_header(g, g->header, err))) {
    el_gguf_close(g);
    return status;
  }
  *out = g;
  return EL_OK;
}

el_status el_gguf_open_memory(const void *data, size_t size, const char *name, el_gguf **out, el_error *err) {
  el_gguf *g = NULL;
  el_status status = new_gguf(name, &g, err);
  if (status) return status;
  g->size = size;
  g->in_memory = true;
  el_gguf_split split;
  status = parse_gguf_header(g, data, err);
  if (!status) status = el_gguf_split_read(g, &split, err);
  if (!status && split.count > 1)
    status = el_fail_about(err, EL_ERR_UNSUPPORTED, name,
                           "is part %d of %d; only a model's files can be opened in parts", split.no + 1, split.count);
  if (status) {
    el_gguf_close(g);
    return status;
  }
  *out = g;
  return EL_OK;
}

void el_gguf_close(el_gguf *g) {
  if (!g) return;
  for (int i = 0; i < g->n_others; i++) el_gguf_close(g->others[i]);
  free(g->others);
  for (size_t i = 0; g->kv && i < g->n_kv; i++)
    if (g->kv[i].type == EL_GGUF_ARRAY) free((void *)g->kv[i].strings);
  free(g->kv);
  free(g->scalars);
  free(g->kv_index);
  free(g->tensors);
  free(g->tensor_index);
  free(g->path);
  if (g->header) munmap(g->header, g->n_header);
  if (g->source.fd >= 0) el_source_close(&g->source);
  free(g);
}

const char *el_gguf_path(const el_gguf *g) {
  return g->path;
}
uint32_t el_gguf_version(const el_gguf *g) {
  return g->version;
}
size_t el_gguf_file_size(const el_gguf *g) {
  size_t n = g->size;
  for (int i = 0; i < g->n_others; i++) n += g->others[i]->size;
  return n;
}
int el_gguf_n_files(const el_gguf *g) {
  return 1 + g->n_others;
}
size_t el_gguf_n_kv(const el_gguf *g) {
  return g->n_kv;
}
size_t el_gguf_n_tensors(const el_gguf *g) {
  return g->n_tensors;
}

const el_gguf_kv *el_gguf_kv_at(const el_gguf *g, size_t i) {
  assert(i < g->n_kv);
  return &g->kv[i];
}

const el_tensor *el_gguf_tensor_at(const el_gguf *g, size_t i) {
  assert(i < g->n_tensors);
  return &g->tensors[i];
}

const el_gguf_kv *el_gguf_find(const el_gguf *g, const char *key) {
  const el_index_entry *e = el_index_find(g->kv_index, g->n_kv, el_str_of(key));
  return e ? &g->kv[e->i] : NULL;
}

const el_tensor *el_gguf_tensor(const el_gguf *g, const char *name) {
  const el_index_entry *e = el_index_find(g->tensor_index, g->n_tensors, el_str_of(name));
  return e ? &g->tensors[e->i] : NULL;
}

static const el_gguf *file_of_part(const el_gguf *g, int part) {
  assert(part >= 0 && part <= g->n_others);
  return part ? g->others[part - 1] : g;
}

el_status el_gguf_read(const el_gguf *g, const el_tensor *t, size_t from, size_t n, void *buffer,
                       const unsigned char **out, el_error *err) {
  assert(from <= t->n_bytes && n <= t->n_bytes - from);
  const el_gguf *file = file_of_part(g, t->part);
  *out = g->in_memory ? t->data + from : buffer;
  return g->in_memory ? EL_OK : el_source_read(&file->source, file->path, t->offset + from, buffer, n, err);
}

void el_gguf_will_read(const el_gguf *g, const el_tensor *t, size_t from, size_t n) {
  size_t at = t->offset + from;
  for (int part = t->part; !g->in_memory && n > 0 && part <= g->n_others; part++) {
    const el_gguf *file = file_of_part(g, part);
    size_t here = at < file->size ? file->size - at : 0;
    if (here > n) here = n;
    el_source_will_read(&file->source, at, here);
    at = at < file->size ? 0 : at - file->size; /* continues in the next file */
    n -= here;
  }
}

el_status el_gguf_unchanged(const el_gguf *g, el_error *err) {
  el_status status = EL_OK;
  for (int part = 0; !g->in_memory && !status && part <= g->n_others; part++) {
    const el_gguf *file = file_of_part(g, part);
    status = el_source_unchanged(&file->source, file->path, err);
  }
  return status;
}
