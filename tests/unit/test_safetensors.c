/* The safetensors reader: well-formed files are read as they are, and nothing that a header says is believed. */
#include "bytes.h"
#include "format/safetensors.h"

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"\xc3\xa9\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[30,38]},"
    "\"c\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[24,30]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[38,38]},"
    "\"one\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[38,46]},"
    "\"odd\":{\"dtype\":\"X3\",\"shape\":[5],\"data_offsets\":[46,49]}}   ";
static const unsigned char data[49] = {1, 2, 3};

static el_buf small_file(void) {
  el_buf b = {0};
  put_safetensors(&b, header, data, sizeof data);
  return b;
}

static bool survives(const unsigned char *bytes, size_t n) {
  el_safetensors *s = NULL;
  el_error e = {0};
  el_status status = el_safetensors_open_memory(bytes, n, "test", &s, &e);
  if (status) {
    assert_int_equal(e.code, status);
    assert_true(strlen(e.message) > strlen("test: "));
    assert_null(s);
    return false;
  }
  volatile unsigned sum = 0;
  for (size_t i = 0; i < el_safetensors_n(s); i++) {
    const el_st_tensor *t = el_safetensors_at(s, i);
    assert_ptr_equal(el_safetensors_find(s, t->name), t);
    for (size_t k = 0; k < t->n_bytes; k++) sum = sum + t->data[k];
  }
  el_safetensors_close(s);
  return true;
}

static void refuses_bytes(el_buf *b, const char *message) {
  el_safetensors *s = NULL;
  el_error e = {0};
  unsigned char *bytes = exact(b, b->len);
  el_status status = el_safetensors_open_memory(bytes, b->len, "test", &s, &e);
  if (status == EL_OK) fail_msg("opened, expected: %s", message);
  assert_int_equal(status, EL_ERR_FORMAT);
  assert_contains(e.message, "test: ");
  assert_contains(e.message, message);
  free(bytes);
  el_buf_free(b);
}

static void refuses(const char *text, size_t n_data, const char *message) {
  el_buf b = {0};
  put_u64(&b, strlen(text));
  put(&b, text, strlen(text));
  put_zeros(&b, n_data);
  refuses_bytes(&b, message);
}

static void count_metadata(void *arg, const char *key, const char *value) {
  int *seen = arg;
  *seen += !strcmp(key, "format") && !strcmp(value, "pt");
  *seen += !strcmp(key, "note") && !strcmp(value, "\xc3\xa9") ? 10 : 0;
}

static void tensors_and_metadata_are_read(void **state) {
  el_buf b = small_file();
  el_safetensors *s = NULL;
  el_error e;
  if (el_safetensors_open_memory(b.data, b.len, "test", &s, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_safetensors_n(s), 6);
  const el_st_tensor *t = el_safetensors_find(s, "a");
  assert_non_null(t);
  assert_int_equal(t->dtype, EL_ST_F32);
  assert_int_equal(t->n_dims, 2);
  assert_int_equal(t->shape[0], 2);
  assert_int_equal(t->shape[1], 3);
  assert_memory_equal(t->data, data, 24);
  t = el_safetensors_find(s, "c");
  assert_int_equal(t->dtype, EL_ST_F16);
  assert_ptr_equal(t->data, (unsigned char *)b.data + b.len - sizeof data + 24);
  assert_int_equal(el_safetensors_find(s, "b")->dtype, EL_ST_BF16);
  assert_int_equal(el_safetensors_find(s, "none")->n_bytes, 0);
  t = el_safetensors_find(s, "one");
  assert_int_equal(t->dtype, EL_ST_OTHER);
  assert_int_equal(t->n_dims, 0);
  t = el_safetensors_find(s, "odd");
  assert_int_equal(t->dtype, EL_ST_OTHER);
  assert_string_equal(t->dtype_name, "X3");
  assert_null(el_safetensors_find(s, "__metadata__"));
  assert_null(el_safetensors_find(s, ""));
  int seen = 0;
  el_safetensors_metadata(s, count_metadata, &seen);
  assert_int_equal(seen, 11);
  el_safetensors_close(s);
  el_buf_free(&b);
}

static void a_file_is_read_as_memory_is(void **state) {
  el_buf b = small_file();
  el_safetensors *s = NULL;
  el_error e;
  char dir[64], path[128];
  make_dir(dir);
  write_file(dir, "t.safetensors", b.data, b.len);
  snprintf(path, sizeof path, "%s/t.safetensors", dir);
  if (el_safetensors_open(path, &s, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_safetensors_n(s), 6);
  el_safetensors_close(s);
  assert_int_equal(el_safetensors_open(dir, &s, &e), EL_ERR_IO);
  write_file(dir, "t.safetensors", "", 0);
  assert_int_equal(el_safetensors_open(path, &s, &e), EL_ERR_FORMAT);
  remove_tree(dir);
  el_buf_free(&b);
}

static void an_empty_file_of_tensors_is_well_formed(void **state) {
  static const char *const headers[] = {"{}", "{\"__metadata__\":null}"}; /* the second is mlx's */
  for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
    el_buf b = {0};
    put_safetensors(&b, headers[i], "", 0);
    assert_true(survives((unsigned char *)b.data, b.len));
    el_buf_free(&b);
  }
}

static void every_truncation_is_refused(void **state) {
  el_buf b = small_file();
  for (size_t n = 0; n < b.len; n++) {
    unsigned char *bytes = exact(&b, n);
    if (survives(bytes, n)) fail_msg("the first %zu of %zu bytes opened", n, b.len);
    free(bytes);
  }
  el_buf_free(&b);
}

static void every_flipped_bit_is_survived(void **state) {
  el_buf b = small_file();
  unsigned char *bytes = exact(&b, b.len);
  for (size_t i = 0; i < b.len; i++)
    for (int bit = 0; bit < 8; bit++) {
      bytes[i] ^= (unsigned char)(1 << bit);
      survives(bytes, b.len);
      bytes[i] ^= (unsigned char)(1 << bit);
    }
  assert_true(survives(bytes, b.len));
  free(bytes);
  el_buf_free(&b);
}

static void header_lengths_that_lie_are_refused(void **state) {
  static const uint64_t huge[] = {3, 1000, (8 << 20) + 1, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
  for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
    el_buf b = {0};
    put_u64(&b, huge[i]);
    put(&b, "{}", 2);
    refuses_bytes(&b, i < 2 ? "truncated: its header has" : "the limit is 8388608");
  }
}

static void headers_that_are_no_clean_json_are_refused(void **state) {
  refuses("", 0, "not a JSON object");
  refuses("[]", 0, "not a JSON object");
  refuses(" {}", 0, "not a JSON object");
  refuses("{\"a\":", 0, "its header, at byte");
  refuses("{} x", 0, "its header, at byte");
  refuses("{\"a\\u0000b\":1}", 0, "its header, at byte");
  refuses("{\"\xff\":1}", 0, "its header, at byte");
  refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
          "its header, at byte");
  refuses(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
      "offsets\":[1,2]}}",
      2, "duplicate");
  refuses("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "duplicate");
}

static void deep_nesting_is_refused(void **state) {
  el_buf text = {0};
  put(&text, "{\"a\":", 5);
  for (int i = 0; i < 1000000; i++) put(&text, "[", 1);
  refuses(text.data, 0, "depth");
  el_buf_free(&text);
}

static void entries_of_the_wrong_form_are_refused(void **state) {
  refuses("{\"a\":1}", 0, "tensor a lacks");
  refuses("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a lacks");
  refuses("{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a lacks");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, "tensor a lacks");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor a lacks");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "dimension 0");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, "dimension 0");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
          "9 dimensions, the limit is 8");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "not two integers");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "not two integers");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,\"1\"]}}", 1, "not two integers");
  refuses("{\"__metadata__\":1}", 0, "__metadata__ is not an object");
  refuses("{\"__metadata__\":[]}", 0, "__metadata__ is not an object");
  refuses("{\"__metadata__\":{\"a\":1}}", 0, "the value of a is not a string");
}

static void sizes_that_lie_are_refused(void **state) {
  refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
          "needs 2 values of F32, it has 4 bytes");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "dimension 1");
  refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "needs");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1,
          "truncated: tensor a ends at byte 2 of the data, the file has 1");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,0]}}", 2, "are no range");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[-2,0]}}", 2, "are no range");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[9223372036854775805,9223372036854775807]}}", 2,
          "truncated");
}

static void overlaps_and_holes_are_refused(void **state) {
  refuses(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
      "offsets\":[1,3]}}",
      3, "tensor b overlaps another one");
  refuses(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
      "offsets\":[0,2]}}",
      2, "overlaps another one");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3,
          "tensor a comes after bytes that belong to no tensor");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3,
          "1 bytes at its end belong to no tensor");
  refuses("{}", 1, "1 bytes at its end");
}

static void hostile_names_are_escaped_in_messages(void **state) {
  refuses("{\"\\u001b[2J\":1}", 0, "tensor \\x1b[2J lacks");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tensors_and_metadata_are_read),
      cmocka_unit_test(a_file_is_read_as_memory_is),
      cmocka_unit_test(an_empty_file_of_tensors_is_well_formed),
      cmocka_unit_test(every_truncation_is_refused),
      cmocka_unit_test(every_flipped_bit_is_survived),
      cmocka_unit_test(header_lengths_that_lie_are_refused),
      cmocka_unit_test(headers_that_are_no_clean_json_are_refused),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(entries_of_the_wrong_form_are_refused),
      cmocka_unit_test(sizes_that_lie_are_refused),
      cmocka_unit_test(overlaps_and_holes_are_refused),
      cmocka_unit_test(hostile_names_are_escaped_in_messages),
  };
  return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
