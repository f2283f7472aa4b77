/* The GGUF reader: real files are read as they are, and nothing that a file says is believed. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "bytes.h"
#include "format/gguf.h"

/* --- a small file: one key of each kind, two tensors */

enum { N_KV = 16, DATA = 32 /* alignment */ };

static void put_kvs(el_buf *b) {
  put_kv_str(b, "general.architecture", "llama");
  put_kv(b, "k.u8", EL_GGUF_U8), put_uint(b, 200, 1);
  put_kv(b, "k.i8", EL_GGUF_I8), put_uint(b, 0xff, 1);
  put_kv(b, "k.u16", EL_GGUF_U16), put_uint(b, 65535, 2);
  put_kv(b, "k.i16", EL_GGUF_I16), put_uint(b, 0x8000, 2);
  put_kv(b, "k.u32", EL_GGUF_U32), put_u32(b, UINT32_MAX);
  put_kv(b, "k.i32", EL_GGUF_I32), put_u32(b, (uint32_t)-7);
  put_kv(b, "k.f32", EL_GGUF_F32), put_f32(b, 1.5f);
  put_kv(b, "k.true", EL_GGUF_BOOL), put_uint(b, 1, 1);
  put_kv(b, "k.u64", EL_GGUF_U64), put_u64(b, UINT64_MAX);
  put_kv(b, "k.i64", EL_GGUF_I64), put_u64(b, (uint64_t)INT64_MIN);
  put_kv(b, "k.f64", EL_GGUF_F64), put_u64(b, 0x400921fb54442d18);
  put_kv(b, "k.nan", EL_GGUF_F32), put_u32(b, 0x7fc00000);
  put_kv(b, "k.ints", EL_GGUF_ARRAY), put_u32(b, EL_GGUF_I16), put_u64(b, 3);
  put_uint(b, 1, 2), put_uint(b, 0xfffe, 2), put_uint(b, 3, 2);
  put_kv(b, "k.words", EL_GGUF_ARRAY), put_u32(b, EL_GGUF_STRING), put_u64(b, 3);
  put_str(b, "one"), put_str(b, ""),
      put_str(b,
              "thr\xc3\xa9"
              "e");
  put_kv(b, "k.none", EL_GGUF_ARRAY), put_u32(b, EL_GGUF_STRING), put_u64(b, 0);
}

static el_buf small_file(void) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 2, N_KV);
  put_kvs(&b);
  put_tensor(&b, "a.weight", 2, (uint64_t[]){4, 2}, EL_TYPE_F32, 0);
  put_tensor(&b, "b.weight", 1, (uint64_t[]){32}, EL_TYPE_Q8_0, 32);
  put_padding(&b, DATA);
  for (int i = 0; i < 8; i++) put_f32(&b, (float)i);
  put_uint(&b, 0x3c00, 2);
  for (int i = 0; i < 32; i++) put_uint(&b, (uint64_t)i, 1);
  return b;
}

static el_status open_buf(const el_buf *b, el_gguf **g, el_error *e) {
  return el_gguf_open_memory(b->data, b->len, "test.gguf", g, e);
}

static uint64_t walk_keys(const el_gguf *g) {
  uint64_t sum = 0;
  for (size_t i = 0; i < el_gguf_n_kv(g); i++) {
    const el_gguf_kv *kv = el_gguf_kv_at(g, i);
    for (uint64_t j = 0; j < kv->n; j++) {
      if (kv->item_type == EL_GGUF_STRING)
        for (size_t k = 0; k < kv->strings[j].len; k++) sum += (unsigned char)kv->strings[j].data[k];
      else
        sum += (uint64_t)el_gguf_kv_int(kv, j) + (el_gguf_kv_num(kv, j) > 0);
    }
  }
  return sum;
}

/* Reads all that a reader hands out, as a sanitizer's errand. */
static uint64_t walk(const el_gguf *g) {
  uint64_t sum = walk_keys(g);
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) {
    const el_tensor *t = el_gguf_tensor_at(g, i);
    unsigned char *buffer = malloc(t->n_bytes);
    const unsigned char *data;
    el_error e;
    if (el_gguf_read(g, t, 0, t->n_bytes, buffer, &data, &e)) fail_msg("%s", e.message);
    for (size_t k = 0; k < t->n_bytes; k++) sum += data[k];
    free(buffer);
  }
  return sum;
}

/* Opens; on success reads everything, on failure there is a message. Returns whether it opened. */
static bool survives(const unsigned char *data, size_t n) {
  el_gguf *g = NULL;
  el_error e = {0};
  el_status status = el_gguf_open_memory(data, n, "test.gguf", &g, &e);
  if (status) {
    assert_int_equal(e.code, status);
    assert_true(strlen(e.message) > strlen("test.gguf: "));
    assert_null(g);
    return false;
  }
  walk(g);
  el_gguf_close(g);
  return true;
}

static void refuses(el_buf *b, el_status status, const char *message) {
  el_gguf *g = NULL;
  el_error e = {0};
  unsigned char *data = exact(b, b->len);
  el_status got = el_gguf_open_memory(data, b->len, "test.gguf", &g, &e);
  if (got == EL_OK) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
  assert_contains(e.message, "test.gguf");
  assert_int_equal(got, status);
  free(data);
  el_buf_free(b);
}

/* --- what is well-formed */

static void every_kind_of_value_is_read(void **state) {
  el_buf b = small_file();
  el_gguf *g = NULL;
  el_error e;
  if (open_buf(&b, &g, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_gguf_version(g), 3);
  assert_int_equal(el_gguf_n_kv(g), N_KV);
  int64_t v;
  static const struct {
    const char *key;
    int64_t value;
  } ints[] = {{"k.u8", 200},         {"k.i8", -1},  {"k.u16", 65535},    {"k.i16", -32768},
              {"k.u32", UINT32_MAX}, {"k.i32", -7}, {"k.i64", INT64_MIN}};
  for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
    assert_int_equal(el_gguf_i64(g, ints[i].key, INT64_MIN, INT64_MAX, &v, &e), EL_OK);
    assert_int_equal(v, ints[i].value);
  }
  double d;
  assert_int_equal(el_gguf_f64(g, "k.f32", &d, &e), EL_OK);
  assert_true(d == 1.5);
  assert_int_equal(el_gguf_f64(g, "k.f64", &d, &e), EL_OK);
  assert_true(d == 3.141592653589793);
  assert_int_equal(el_gguf_f64(g, "k.u64", &d, &e), EL_OK);
  assert_true(d == 0x1p64);
  assert_int_equal(el_gguf_f64(g, "k.i8", &d, &e), EL_OK);
  assert_true(d == -1);
  bool yes = false;
  assert_int_equal(el_gguf_bool(g, "k.true", &yes, &e), EL_OK);
  assert_true(yes);
  el_str s;
  assert_int_equal(el_gguf_str(g, "general.architecture", &s, &e), EL_OK);
  assert_true(el_str_eq(s, "llama"));
  const el_gguf_kv *kv = el_gguf_find(g, "k.ints");
  assert_non_null(kv);
  assert_int_equal(kv->n, 3);
  assert_int_equal(el_gguf_kv_int(kv, 1), -2);
  kv = el_gguf_find(g, "k.words");
  assert_int_equal(kv->n, 3);
  assert_true(el_str_eq(kv->strings[0], "one"));
  assert_true(el_str_eq(kv->strings[1], ""));
  assert_true(el_str_eq(kv->strings[2],
                        "thr\xc3\xa9"
                        "e"));
  assert_int_equal(el_gguf_find(g, "k.none")->n, 0);
  assert_null(el_gguf_find(g, "k"));
  assert_null(el_gguf_find(g, ""));
  const el_tensor *t = el_gguf_tensor(g, "a.weight");
  assert_non_null(t);
  assert_int_equal(t->n_dims, 2);
  assert_int_equal(t->ne[0], 4);
  assert_int_equal(t->ne[1], 2);
  assert_int_equal(t->ne[2], 1);
  assert_int_equal(t->n_bytes, 32);
  t = el_gguf_tensor(g, "b.weight");
  assert_int_equal(t->n_bytes, 34);
  float out[32];
  el_dequantize(t->type, t->data, out, 32);
  assert_true(out[31] == 31.0f);
  assert_null(el_gguf_tensor(g, "c.weight"));
  el_gguf_close(g);
  el_buf_free(&b);
}

static void typed_access_says_what_is_wrong(void **state) {
  el_buf b = small_file();
  el_gguf *g = NULL;
  el_error e;
  int64_t v = 42;
  double d = 42;
  bool yes;
  el_str s;
  assert_int_equal(open_buf(&b, &g, &e), EL_OK);
  assert_int_equal(el_gguf_i64(g, "absent", 0, 1, &v, &e), EL_ERR_NOT_FOUND);
  assert_contains(e.message, "absent");
  assert_int_equal(el_gguf_i64(g, "absent", 0, 1, &v, NULL), EL_ERR_NOT_FOUND);
  assert_int_equal(el_gguf_i64(g, "k.u8", 0, 199, &v, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "test.gguf: k.u8 is 200, expected 0 to 199");
  assert_int_equal(el_gguf_i64(g, "k.u64", 0, INT64_MAX, &v, &e), EL_ERR_FORMAT);
  assert_int_equal(el_gguf_i64(g, "k.f32", 0, 5, &v, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "k.f32 is of type f32, expected an integer");
  assert_int_equal(el_gguf_i64(g, "k.ints", 0, 5, &v, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "array of i16");
  assert_int_equal(el_gguf_f64(g, "k.nan", &d, &e), EL_ERR_FORMAT);
  assert_int_equal(el_gguf_f64(g, "general.architecture", &d, &e), EL_ERR_FORMAT);
  assert_int_equal(el_gguf_bool(g, "k.u8", &yes, &e), EL_ERR_FORMAT);
  assert_int_equal(el_gguf_str(g, "k.words", &s, &e), EL_ERR_FORMAT);
  assert_int_equal(v, 42); /* outputs are untouched on failure */
  assert_true(d == 42);
  el_gguf_close(g);
  el_buf_free(&b);
}

static void version_2_is_read(void **state) {
  el_buf b = small_file();
  b.data[4] = 2;
  assert_true(survives((unsigned char *)b.data, b.len));
  el_buf_free(&b);
}

static void files_of_the_gguf_package_are_read(void **state) {
  static const struct {
    const char *name;
    el_type type;
  } files[] = {{"f32", EL_TYPE_F32},   {"f16", EL_TYPE_F16},   {"bf16", EL_TYPE_BF16}, {"q4_0", EL_TYPE_Q4_0},
               {"q4_1", EL_TYPE_Q4_1}, {"q5_0", EL_TYPE_Q5_0}, {"q5_1", EL_TYPE_Q5_1}, {"q8_0", EL_TYPE_Q8_0},
               {"q2_k", EL_TYPE_Q2_K}, {"q3_k", EL_TYPE_Q3_K}, {"q4_k", EL_TYPE_Q4_K}, {"q5_k", EL_TYPE_Q5_K},
               {"q6_k", EL_TYPE_Q6_K}};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    char path[512];
    el_gguf *g = NULL;
    el_error e;
    snprintf(path, sizeof path, "%s/golden/tiny/%s.gguf", getenv("EL_TEST_DATA"), files[i].name);
    if (el_gguf_open(path, &g, &e)) fail_msg("%s", e.message);
    assert_string_equal(el_gguf_path(g), path);
    const el_tensor *t = el_gguf_tensor(g, "blk.0.ffn_down.weight");
    assert_non_null(t);
    assert_int_equal(t->type, files[i].type);
    int64_t width, ffn;
    assert_int_equal(el_gguf_i64(g, "llama.embedding_length", 1, 1 << 20, &width, &e), EL_OK);
    assert_int_equal(el_gguf_i64(g, "llama.feed_forward_length", 1, 1 << 20, &ffn, &e), EL_OK);
    assert_int_equal(t->ne[0], ffn);
    assert_int_equal(t->ne[1], width);
    const el_gguf_kv *tokens = el_gguf_find(g, "tokenizer.ggml.tokens");
    assert_non_null(tokens);
    assert_true(tokens->n > 256);
    walk(g);
    el_gguf_close(g);
  }
}

/* What is read of a file by parts is what is there when all of it is in memory. */
static void a_file_and_its_bytes_in_memory_are_the_same(void **state) {
  char path[512];
  el_gguf *g = NULL, *m = NULL;
  el_file f;
  el_error e;
  snprintf(path, sizeof path, "%s/golden/tiny/f32.gguf", getenv("EL_TEST_DATA"));
  if (el_gguf_open(path, &g, &e)) fail_msg("%s", e.message);
  if (el_file_read(path, SIZE_MAX, &f, &e)) fail_msg("%s", e.message);
  if (el_gguf_open_memory(f.data, f.size, path, &m, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_gguf_file_size(g), el_gguf_file_size(m));
  assert_int_equal(el_gguf_n_tensors(g), el_gguf_n_tensors(m));
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) {
    const el_tensor *t = el_gguf_tensor_at(g, i), *u = el_gguf_tensor_at(m, i);
    const unsigned char *a, *b;
    unsigned char buffer[64];
    assert_null(t->data);
    assert_int_equal(t->offset, u->offset);
    for (size_t at = 0, n; at < t->n_bytes; at += n) { /* in parts that fit nothing */
      n = t->n_bytes - at < 61 ? t->n_bytes - at : 61;
      if (el_gguf_read(g, t, at, n, buffer, &a, &e) || el_gguf_read(m, u, at, n, NULL, &b, &e))
        fail_msg("%s", e.message);
      assert_memory_equal(a, b, n);
    }
  }
  assert_true(walk(g) == walk(m));
  el_gguf_close(g);
  el_gguf_close(m);
  el_file_close(&f);
}

/* The system ends a process that touches a mapping of what is gone. */
static void a_file_that_is_truncated_or_written_to_while_it_is_read_is_an_error(void **state) {
  char dir[64], path[128];
  el_buf b = small_file();
  el_gguf *g = NULL;
  el_error e;
  make_dir(dir);
  write_file(dir, "t.gguf", b.data, b.len);
  snprintf(path, sizeof path, "%s/t.gguf", dir);
  if (el_gguf_open(path, &g, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_gguf_unchanged(g, &e), EL_OK);
  const el_tensor *t = el_gguf_tensor_at(g, el_gguf_n_tensors(g) - 1);
  unsigned char buffer[64];
  const unsigned char *data;
  assert_true(t->n_bytes <= sizeof buffer);
  assert_int_equal(truncate(path, (off_t)t->offset + 1), 0);
  assert_int_equal(el_gguf_read(g, t, 0, t->n_bytes, buffer, &data, &e), EL_ERR_IO);
  assert_contains(e.message, "truncated while it was read");
  assert_int_equal(el_gguf_unchanged(g, &e), EL_ERR_IO);
  assert_int_equal(truncate(path, 8), 0); /* and what is left of it */
  walk_keys(g);
  el_gguf_close(g);
  write_file(dir, "t.gguf", b.data, b.len);
  if (el_gguf_open(path, &g, &e)) fail_msg("%s", e.message);
  struct timespec later[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
  assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
  assert_int_equal(el_gguf_unchanged(g, &e), EL_ERR_IO);
  assert_contains(e.message, "was written to while it was read");
  el_gguf_close(g);
  remove_tree(dir);
  el_buf_free(&b);
}

static void alignment_of_the_file_is_honoured(void **state) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 2, 1);
  put_kv_u32(&b, "general.alignment", 64);
  put_tensor(&b, "a", 1, (uint64_t[]){1}, EL_TYPE_F32, 0);
  put_tensor(&b, "b", 1, (uint64_t[]){1}, EL_TYPE_F32, 64);
  put_padding(&b, 64);
  put_f32(&b, 1);
  put_padding(&b, 64);
  put_f32(&b, 2);
  el_gguf *g = NULL;
  el_error e;
  if (open_buf(&b, &g, &e)) fail_msg("%s", e.message);
  float f;
  memcpy(&f, el_gguf_tensor(g, "b")->data, 4);
  assert_true(f == 2);
  el_gguf_close(g);
  el_buf_free(&b);
}

static void a_file_without_tensors_needs_no_padding(void **state) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 1);
  put_kv_u32(&b, "k", 1);
  assert_true(survives((unsigned char *)b.data, b.len));
  el_buf_free(&b);
}

/* --- what is not */

static void every_truncation_is_refused(void **state) {
  el_buf b = small_file();
  for (size_t n = 0; n < b.len; n++) {
    unsigned char *data = exact(&b, n);
    if (survives(data, n)) fail_msg("the first %zu of %zu bytes opened", n, b.len);
    free(data);
  }
  el_buf_free(&b);
}

static void every_flipped_bit_is_survived(void **state) {
  el_buf b = small_file();
  unsigned char *data = exact(&b, b.len);
  for (size_t i = 0; i < b.len; i++) {
    for (int bit = 0; bit < 8; bit++) {
      data[i] ^= (unsigned char)(1 << bit);
      survives(data, b.len);
      data[i] ^= (unsigned char)(1 << bit);
    }
    unsigned char old = data[i];
    data[i] = 0xff;
    survives(data, b.len);
    data[i] = old;
  }
  assert_true(survives(data, b.len));
  free(data);
  el_buf_free(&b);
}

static void other_formats_are_named(void **state) {
  el_buf b = {0};
  refuses(&b, EL_ERR_FORMAT, "not a GGUF file");
  put(&b, "GGML", 4);
  put_zeros(&b, 100);
  refuses(&b, EL_ERR_FORMAT, "not a GGUF file");
  put_gguf_header(&b, 1, 0, 0);
  refuses(&b, EL_ERR_UNSUPPORTED, "version 1; supported are 2 and 3");
  put_gguf_header(&b, 4, 0, 0);
  refuses(&b, EL_ERR_UNSUPPORTED, "version 4");
  put_gguf_header(&b, 3u << 24, 0, 0);
  refuses(&b, EL_ERR_UNSUPPORTED, "big-endian");
}

static void lying_counts_allocate_nothing(void **state) {
  static const uint64_t huge[] = {65537, UINT32_MAX, INT64_MAX, UINT64_MAX, (uint64_t)1 << 61};
  for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
    el_buf b = {0};
    put_gguf_header(&b, 3, 0, huge[i]);
    refuses(&b, EL_ERR_FORMAT, "keys, the limit is 65536");
    put_gguf_header(&b, 3, huge[i], 0);
    refuses(&b, EL_ERR_FORMAT, "tensors, the limit is 65536");
    put_gguf_header(&b, 3, 0, 1);
    put_u64(&b, huge[i]);
    refuses(&b, EL_ERR_FORMAT, i ? "a key at byte 24 has a length of" : "a key");
    put_gguf_header(&b, 3, 0, 1);
    put_kv(&b, "s", EL_GGUF_STRING);
    put_u64(&b, huge[i]);
    refuses(&b, EL_ERR_FORMAT, "a string at byte");
    put_gguf_header(&b, 3, 0, 1);
    put_kv(&b, "s", EL_GGUF_ARRAY);
    put_u32(&b, EL_GGUF_STRING);
    put_u64(&b, huge[i]);
    put_zeros(&b, 64);
    refuses(&b, EL_ERR_FORMAT, "more than the file has room for");
    put_gguf_header(&b, 3, 0, 1);
    put_kv(&b, "s", EL_GGUF_ARRAY);
    put_u32(&b, EL_GGUF_U64);
    put_u64(&b, huge[i]);
    put_zeros(&b, 64);
    refuses(&b, EL_ERR_FORMAT, "64 bytes are left");
  }
  el_buf b = {0};
  put_gguf_header(&b, 3, 65536, 65536);
  refuses(&b, EL_ERR_FORMAT, "truncated");
}

static void keys_are_checked(void **state) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 2);
  put_kv_u32(&b, "twice", 1);
  put_kv_u32(&b, "twice", 2);
  refuses(&b, EL_ERR_FORMAT, "key twice is there twice");
  put_gguf_header(&b, 3, 0, 1);
  put_kv_u32(&b, "", 1);
  refuses(&b, EL_ERR_FORMAT, "is empty");
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b, "k", 13);
  put_u64(&b, 0);
  refuses(&b, EL_ERR_FORMAT, "k has the unknown value type 13");
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b, "k", EL_GGUF_BOOL);
  put_uint(&b, 2, 1);
  refuses(&b, EL_ERR_FORMAT, "k is a boolean of value 2");
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b, "k", EL_GGUF_ARRAY), put_u32(&b, 77), put_u64(&b, 0);
  refuses(&b, EL_ERR_FORMAT, "unknown type 77");
}

static void nested_arrays_are_refused_at_any_depth(void **state) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 1);
  put_str(&b, "deep");
  for (int i = 0; i < 100000; i++) put_u32(&b, EL_GGUF_ARRAY), put_u64(&b, 1);
  refuses(&b, EL_ERR_FORMAT, "deep");
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b, "deep", EL_GGUF_ARRAY);
  for (int i = 0; i < 100000; i++) put_u32(&b, EL_GGUF_ARRAY), put_u64(&b, 1);
  refuses(&b, EL_ERR_UNSUPPORTED, "deep is an array of arrays");
}

/* A file with one or two tensors and `room` bytes of data. */
static el_buf with_tensors(int n, const char *const *names, uint64_t ne0, uint32_t type, const uint64_t *offsets,
                           size_t room) {
  el_buf b = {0};
  put_gguf_header(&b, 3, (uint64_t)n, 0);
  for (int i = 0; i < n; i++) put_tensor(&b, names[i], 1, &ne0, type, offsets[i]);
  put_padding(&b, 32);
  put_zeros(&b, room);
  return b;
}

static void tensors_that_lie_about_their_place_are_refused(void **state) {
  static const char *const ab[] = {"a", "b"}, *const twice[] = {"a", "a"};
  el_buf b = with_tensors(2, ab, 8, EL_TYPE_F32, (uint64_t[]){0, 0}, 64);
  refuses(&b, EL_ERR_FORMAT, "overlap");
  b = with_tensors(2, ab, 9, EL_TYPE_F32, (uint64_t[]){32, 0}, 96);
  refuses(&b, EL_ERR_FORMAT, "tensors b and a overlap");
  b = with_tensors(2, twice, 8, EL_TYPE_F32, (uint64_t[]){0, 32}, 64);
  refuses(&b, EL_ERR_FORMAT, "tensor a is there twice");
  b = with_tensors(1, ab, 8, EL_TYPE_F32, (uint64_t[]){4}, 64);
  refuses(&b, EL_ERR_FORMAT, "offset 4 is not a multiple of the alignment 32");
  b = with_tensors(1, ab, 9, EL_TYPE_F32, (uint64_t[]){32}, 64);
  refuses(&b, EL_ERR_FORMAT, "truncated: tensor a needs 36 bytes at offset 32, the file has 64 bytes of tensors");
  b = with_tensors(1, ab, 8, EL_TYPE_F32, (uint64_t[]){96}, 64);
  refuses(&b, EL_ERR_FORMAT, "truncated: tensor a");
  b = with_tensors(1, ab, 8, EL_TYPE_F32, (uint64_t[]){UINT64_MAX - 31}, 64);
  refuses(&b, EL_ERR_FORMAT, "truncated: tensor a");
  b = with_tensors(2, ab, 8, EL_TYPE_F32, (uint64_t[]){32, 0}, 64); /* any order is fine */
  assert_true(survives((unsigned char *)b.data, b.len));
  el_buf_free(&b);
}

static void impossible_shapes_are_refused(void **state) {
  static const char *const name[] = {"a"};
  el_buf b = with_tensors(1, name, 0, EL_TYPE_F32, (uint64_t[]){0}, 64);
  refuses(&b, EL_ERR_FORMAT, "dimension 0 is 0");
  b = with_tensors(1, name, UINT64_MAX, EL_TYPE_F32, (uint64_t[]){0}, 64);
  refuses(&b, EL_ERR_FORMAT, "dimension 0 is 18446744073709551615");
  b = with_tensors(1, name, 48, EL_TYPE_Q4_0, (uint64_t[]){0}, 64);
  refuses(&b, EL_ERR_FORMAT, "rows of 48 values are no whole blocks of Q4_0, which hold 32");
  b = (el_buf){0};
  put_gguf_header(&b, 3, 1, 0);
  put_tensor(&b, "a", 4, (uint64_t[]){(uint64_t)1 << 32, (uint64_t)1 << 16, (uint64_t)1 << 16, 2}, EL_TYPE_F32, 0);
  put_padding(&b, 32);
  refuses(&b, EL_ERR_FORMAT, "tensor a: dimension 2");
  for (uint32_t n_dims = 0; n_dims <= 5; n_dims += 5) {
    put_gguf_header(&b, 3, 1, 0);
    put_tensor(&b, "a", n_dims, (uint64_t[]){1, 1, 1, 1, 1}, EL_TYPE_F32, 0);
    refuses(&b, EL_ERR_FORMAT, "dimensions, 1 to 4 are possible");
  }
  put_gguf_header(&b, 3, 1, 0);
  put_tensor(&b, "", 1, (uint64_t[]){1}, EL_TYPE_F32, 0);
  refuses(&b, EL_ERR_FORMAT, "has no name");
}

static void unsupported_types_are_named_with_what_is_supported(void **state) {
  static const struct {
    uint32_t type;
    const char *text;
  } types[] = {{15, "15 (Q8_K)"}, {31, "31 (unknown)"}, {43, "43 (unknown)"},
               {26, "26 (I32)"},  {4, "4 (unknown)"},   {UINT32_MAX, "4294967295 (unknown)"}};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    el_buf b = with_tensors(1, (const char *const[]){"blk.0.ffn_up.weight"}, 256, types[i].type, (uint64_t[]){0}, 4096);
    refuses(&b, EL_ERR_UNSUPPORTED, types[i].text);
    b = with_tensors(1, (const char *const[]){"blk.0.ffn_up.weight"}, 256, types[i].type, (uint64_t[]){0}, 4096);
    refuses(&b, EL_ERR_UNSUPPORTED, "tensor blk.0.ffn_up.weight has type");
    b = with_tensors(1, (const char *const[]){"blk.0.ffn_up.weight"}, 256, types[i].type, (uint64_t[]){0}, 4096);
    refuses(&b, EL_ERR_UNSUPPORTED, "Q6_K, IQ2_XXS, ");
  }
}

static void alignment_must_be_a_sane_power_of_two(void **state) {
  static const uint32_t bad[] = {0, 3, 48, 131072, UINT32_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    el_buf b = {0};
    put_gguf_header(&b, 3, 1, 1);
    put_kv_u32(&b, "general.alignment", bad[i]);
    put_tensor(&b, "a", 1, (uint64_t[]){1}, EL_TYPE_F32, 0);
    put_zeros(&b, 4096);
    refuses(&b, EL_ERR_FORMAT, "general.alignment is");
  }
}

/* A message goes to a terminal and to a log: what a file's names hold must not act there. */
static void hostile_names_are_escaped_in_messages(void **state) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b,
         "a\x1b[2J\n\xff\xe2\x80\xae"
         "b\\",
         99);
  put_u64(&b, 0);
  refuses(&b, EL_ERR_FORMAT, "a\\x1b[2J\\n\\xff\\u202eb\\\\ has the unknown value type");
  char key[2000];
  memset(key, 'x', sizeof key);
  key[sizeof key - 1] = 0;
  put_gguf_header(&b, 3, 0, 1);
  put_kv(&b, key, 99);
  refuses(&b, EL_ERR_FORMAT, "xxx... has the unknown value type");
}

static void what_is_no_file_is_refused(void **state) {
  el_gguf *g = NULL;
  el_error e;
  char dir[64], path[128];
  make_dir(dir);
  assert_int_equal(el_gguf_open(dir, &g, &e), EL_ERR_NOT_FOUND);
  assert_contains(e.message, "is a directory");
  assert_int_equal(el_gguf_open("/dev/null", &g, &e), EL_ERR_IO);
  assert_contains(e.message, "not a regular file");
  snprintf(path, sizeof path, "%s/pipe", dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(el_gguf_open(path, &g, &e), EL_ERR_IO); /* and does not wait for a writer */
  snprintf(path, sizeof path, "%s/absent", dir);
  assert_int_equal(el_gguf_open(path, &g, &e), EL_ERR_IO);
  assert_contains(e.message, "No such file");
  write_file(dir, "empty", "", 0);
  snprintf(path, sizeof path, "%s/empty", dir);
  assert_int_equal(el_gguf_open(path, &g, &e), EL_ERR_FORMAT);
  assert_null(g);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_of_value_is_read),
      cmocka_unit_test(typed_access_says_what_is_wrong),
      cmocka_unit_test(version_2_is_read),
      cmocka_unit_test(files_of_the_gguf_package_are_read),
      cmocka_unit_test(a_file_and_its_bytes_in_memory_are_the_same),
      cmocka_unit_test(a_file_that_is_truncated_or_written_to_while_it_is_read_is_an_error),
      cmocka_unit_test(alignment_of_the_file_is_honoured),
      cmocka_unit_test(a_file_without_tensors_needs_no_padding),
      cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(every_flipped_bit_is_survived),
      cmocka_unit_test(other_formats_are_named),
      cmocka_unit_test(lying_counts_allocate_nothing),
      cmocka_unit_test(keys_are_checked),
      cmocka_unit_test(nested_arrays_are_refused_at_any_depth),
      cmocka_unit_test(tensors_that_lie_about_their_place_are_refused),
      cmocka_unit_test(impossible_shapes_are_refused),
      cmocka_unit_test(unsupported_types_are_named_with_what_is_supported),
      cmocka_unit_test(alignment_must_be_a_sane_power_of_two),
      cmocka_unit_test(hostile_names_are_escaped_in_messages),
      cmocka_unit_test(what_is_no_file_is_refused),
  };
  return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
