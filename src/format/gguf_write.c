#include "format/gguf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "format/gguf.h"

enum { VERSION = 3, ALIGNMENT = 32 };

typedef struct tensor {
  const void *data;
  void *owned; /* NULL: the data belongs to the caller */
  size_t n_bytes;
} tensor;

struct el_gguf_out {
  el_buf kv, infos;
  uint64_t n_kv;
  tensor *tensors;
  size_t n_tensors;
  uint64_t offset; /* of the next tensor */
  bool no_memory;
};

el_gguf_out *el_gguf_out_new(void) {
  return calloc(1, sizeof(el_gguf_out));
}

void el_gguf_out_free(el_gguf_out *o) {
  if (!o) return;
  for (size_t i = 0; i < o->n_tensors; i++) free(o->tensors[i].owned);
  el_buf_free(&o->kv);
  el_buf_free(&o->infos);
  free(o->tensors);
  free(o);
}

static void put_header_bytes(el_gguf_out *o, el_buf *b, const void *data, size_t n) {
  if (!el_buf_append(b, data, n)) o->no_memory = true;
}

static void put_uint(el_gguf_out *o, el_buf *b, uint64_t v, int bytes) {
  unsigned char le[8];
  for (int i = 0; i < bytes; i++) le[i] = (unsigned char)(v >> (8 * i));
  put_header_bytes(o, b, le, (size_t)bytes);
}

static void put_str(el_gguf_out *o, el_buf *b, const char *s) {
  size_t n = strlen(s);
  put_uint(o, b, n, 8);
  put_header_bytes(o, b, s, n);
}

static void put_key(el_gguf_out *o, const char *key, el_gguf_type type) {
  put_str(o, &o->kv, key);
  put_uint(o, &o->kv, type, 4);
  o->n_kv++;
}

static void put_array(el_gguf_out *o, const char *key, el_gguf_type type, size_t n) {
  put_key(o, key, EL_GGUF_ARRAY);
  put_uint(o, &o->kv, type, 4);
  put_uint(o, &o->kv, n, 8);
}

void el_gguf_out_str(el_gguf_out *o, const char *key, const char *value) {
  if (!o) return;
  put_key(o, key, EL_GGUF_STRING);
  put_str(o, &o->kv, value);
}

void el_gguf_out_u32(el_gguf_out *o, const char *key, uint32_t value) {
  if (!o) return;
  put_key(o, key, EL_GGUF_U32);
  put_uint(o, &o->kv, value, 4);
}

void el_gguf_out_u64(el_gguf_out *o, const char *key, uint64_t value) {
  if (!o) return;
  put_key(o, key, EL_GGUF_U64);
  put_uint(o, &o->kv, value, 8);
}

void el_gguf_out_f32(el_gguf_out *o, const char *key, float value) {
  if (!o) return;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  put_key(o, key, EL_GGUF_F32);
  put_uint(o, &o->kv, bits, 4);
}

void el_gguf_out_strs(el_gguf_out *o, const char *key, const char *const *values, size_t n) {
  if (!o) return;
  put_array(o, key, EL_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) put_str(o, &o->kv, values[i]);
}

void el_gguf_out_u32s(el_gguf_out *o, const char *key, const uint32_t *values, size_t n) {
  if (!o) return;
  put_array(o, key, EL_GGUF_U32, n);
  for (size_t i = 0; i < n; i++) put_uint(o, &o->kv, values[i], 4);
}

/* Writes the description of a tensor; rows 0: it is a vector. */
static void put_tensor(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, el_type type, tensor t) {
  tensor *grown = realloc(o->tensors, (o->n_tensors + 1) * sizeof *grown);
  if (!grown) {
    o->no_memory = true;
    free(t.owned);
    return;
  }
  o->tensors = grown;
  o->tensors[o->n_tensors++] = t;
  put_str(o, &o->infos, name);
  put_uint(o, &o->infos, rows ? 2 : 1, 4);
  put_uint(o, &o->infos, (uint64_t)cols, 8);
  if (rows) put_uint(o, &o->infos, (uint64_t)rows, 8);
  put_uint(o, &o->infos, type, 4);
  put_uint(o, &o->infos, o->offset, 8);
  o->offset += (t.n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t n_values(int64_t rows, int64_t cols) {
  return (size_t)(rows ? rows : 1) * (size_t)cols;
}

void el_gguf_out_f32_tensor(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, const float *data) {
  if (!o) return;
  put_tensor(o, name, rows, cols, EL_TYPE_F32, (tensor){.data = data, .n_bytes = n_values(rows, cols) * sizeof *data});
}

void el_gguf_out_f16_tensor(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, const float *data) {
  if (!o) return;
  size_t n = n_values(rows, cols), width = (size_t)cols;
  uint16_t *half = malloc(n * sizeof *half);
  if (!half) {
    o->no_memory = true;
    return;
  }
  for (size_t at = 0; at < n; at += width) el_f32_to_f16_n(data + at, half + at, (int)cols);
  put_tensor(o, name, rows, cols, EL_TYPE_F16, (tensor){.data = half, .owned = half, .n_bytes = n * sizeof *half});
}

/* --- the file */

static bool write_padding(int fd, size_t n) {
  static const char zeros[ALIGNMENT];
  return el_write_all(fd, zeros, -n & (ALIGNMENT - 1));
}

static bool write_gguf_file(const el_gguf_out *o, int fd, const el_buf *header) {
  if (!el_write_all(fd, header->data, header->len) || !write_padding(fd, header->len)) return false;
  for (size_t i = 0; i < o->n_tensors; i++)
    if (!el_write_all(fd, o->tensors[i].data, o->tensors[i].n_bytes) || !write_padding(fd, o->tensors[i].n_bytes))
      return false;
  return fsync(fd) == 0;
}

static bool make_header(const el_gguf_out *o, el_buf *header) {
  el_gguf_out h = {0};
  put_header_bytes(&h, header, "GGUF", 4);
  put_uint(&h, header, VERSION, 4);
  put_uint(&h, header, o->n_tensors, 8);
  put_uint(&h, header, o->n_kv, 8);
  if (o->kv.len) put_header_bytes(&h, header, o->kv.data, o->kv.len);
  if (o->infos.len) put_header_bytes(&h, header, o->infos.data, o->infos.len);
  return !h.no_memory;
}

el_status el_gguf_out_save(const el_gguf_out *o, const char *path, el_error *err) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory"
#endif
  el_buf header = {0}, temporary = {0};
  el_status status = EL_OK;
  int fd = -1;
  if (!o || o->no_memory || !make_header(o, &header) || !el_buf_printf(&temporary, "%s.XXXXXX", path)) {
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "no memory to write it");
    goto end;
  }
  if ((fd = mkostemp(temporary.data, O_CLOEXEC)) < 0) {
    status = el_fail_about(err, EL_ERR_IO, temporary.data, "%s", strerror(errno));
    goto end;
  }
  /* mkostemp gives the file to the owner alone; it shall be as readable as other files of this
   * program. */
  mode_t mask = umask(0);
  umask(mask);
  bool written = write_gguf_file(o, fd, &header) && fchmod(fd, 0666 & ~mask) == 0;
  int why = errno;
  if (close(fd) != 0 && written) {
    written = false;
    why = errno;
  }
  if (written && rename(temporary.data, path) != 0) {
    written = false;
    why = errno;
  }
  if (!written) {
    unlink(temporary.data);
    status = el_fail_about(err, EL_ERR_IO, path, "%s", strerror(why));
  }
end:
  el_buf_free(&header);
  el_buf_free(&temporary);
  return status;
}
