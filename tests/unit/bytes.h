/* Building files byte by byte, so that a test can lie in any of them. */
#ifndef EL_TESTS_BYTES_H
#define EL_TESTS_BYTES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "edgelora.h"
#include "format/gguf.h"

static inline void put(el_buf *b, const void *data, size_t n) {
  assert_true(el_buf_append(b, data, n));
}

static inline void put_uint(el_buf *b, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) put(b, &(unsigned char){(unsigned char)(v >> (8 * i))}, 1);
}

static inline void put_u32(el_buf *b, uint32_t v) {
  put_uint(b, v, 4);
}
static inline void put_u64(el_buf *b, uint64_t v) {
  put_uint(b, v, 8);
}

static inline void put_f32(el_buf *b, float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  put_u32(b, u);
}

static inline void put_zeros(el_buf *b, size_t n) {
  while (n--) put(b, "", 1);
}

/* GGUF: length and bytes. */
static inline void put_str(el_buf *b, const char *s) {
  put_u64(b, strlen(s));
  put(b, s, strlen(s));
}

static inline void put_gguf_header(el_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv) {
  put(b, "GGUF", 4);
  put_u32(b, version);
  put_u64(b, n_tensors);
  put_u64(b, n_kv);
}

static inline void put_kv(el_buf *b, const char *key, uint32_t type) {
  put_str(b, key);
  put_u32(b, type);
}

static inline void put_kv_str(el_buf *b, const char *key, const char *value) {
  put_kv(b, key, EL_GGUF_STRING);
  put_str(b, value);
}

static inline void put_kv_u32(el_buf *b, const char *key, uint32_t value) {
  put_kv(b, key, EL_GGUF_U32);
  put_u32(b, value);
}

static inline void put_tensor(el_buf *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                              uint64_t offset) {
  put_str(b, name);
  put_u32(b, n_dims);
  for (uint32_t i = 0; i < n_dims; i++) put_u64(b, ne[i]);
  put_u32(b, type);
  put_u64(b, offset);
}

static inline void put_padding(el_buf *b, size_t alignment) {
  while (b->len % alignment) put(b, "", 1);
}

/* safetensors: header and data. */
static inline void put_safetensors(el_buf *b, const char *header, const void *data, size_t n) {
  put_u64(b, strlen(header));
  put(b, header, strlen(header));
  put(b, data, n);
}

/* The bytes in memory of exactly their size, where a sanitizer sees one read too many; the caller frees it. */
static inline unsigned char *exact(const el_buf *b, size_t n) {
  unsigned char *p = malloc(n ? n : 1);
  assert_non_null(p);
  if (n) memcpy(p, b->data, n);
  return p;
}

/* --- files */

/* A fresh directory; path has room for 64 bytes. */
static inline void make_dir(char path[64]) {
  const char *base = getenv("TMPDIR");
  snprintf(path, 64, "%.40s/edgelora-XXXXXX", base && strlen(base) <= 40 ? base : "/tmp");
  assert_non_null(mkdtemp(path));
}

static inline void write_file(const char *dir, const char *name, const void *data, size_t n) {
  char path[512];
  assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  if (n) assert_int_equal(fwrite(data, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

static inline void remove_tree(const char *dir) {
  char command[256];
  snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
  assert_int_equal(system(command), 0);
}

static inline void assert_contains(const char *text, const char *part) {
  if (!strstr(text, part)) fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

#endif
