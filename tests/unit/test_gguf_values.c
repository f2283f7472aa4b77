/* Values of a GGUF that are given once for all layers or for each: every item is checked, and the message finds it. */
#include "bytes.h"

enum { LAYERS = 3 };

static void put_array(el_buf *b, const char *key, uint32_t type, uint64_t n) {
  put_kv(b, key, EL_GGUF_ARRAY), put_u32(b, type), put_u64(b, n);
}

static el_gguf *open_values(el_buf *b) {
  enum { N_KV = 14 };
  el_gguf *g = NULL;
  el_error e;
  put_gguf_header(b, 3, 0, N_KV);
  put_kv_u32(b, "heads", 9);
  put_array(b, "heads.each", EL_GGUF_I32, 3), put_u32(b, 4), put_u32(b, 0), put_u32(b, 8);
  put_array(b, "bytes.each", EL_GGUF_U8, 3), put_uint(b, 1, 1), put_uint(b, 0, 1), put_uint(b, 1, 1);
  put_array(b, "negative.each", EL_GGUF_I32, 3), put_u32(b, 4), put_u32(b, (uint32_t)-1), put_u32(b, 8);
  put_array(b, "huge.each", EL_GGUF_U64, 3), put_u64(b, 1), put_u64(b, 2), put_u64(b, UINT64_MAX);
  put_array(b, "two", EL_GGUF_I32, 2), put_u32(b, 4), put_u32(b, 5);
  put_array(b, "four", EL_GGUF_I32, 4), put_u32(b, 4), put_u32(b, 5), put_u32(b, 4), put_u32(b, 5);
  put_array(b, "none", EL_GGUF_I32, 0);
  put_kv(b, "scale", EL_GGUF_F32), put_f32(b, 0.25f);
  put_array(b, "scale.each", EL_GGUF_F32, 3), put_f32(b, 1), put_f32(b, -0.5f), put_f32(b, 2);
  put_kv(b, "window", EL_GGUF_BOOL), put_uint(b, 1, 1);
  put_array(b, "window.each", EL_GGUF_BOOL, 3), put_uint(b, 1, 1), put_uint(b, 0, 1), put_uint(b, 1, 1);
  put_array(b, "words", EL_GGUF_STRING, 3), put_str(b, "a"), put_str(b, "b"), put_str(b, "c");
  put_kv_str(b, "word", "a");
  if (el_gguf_open_memory(b->data, b->len, "test.gguf", &g, &e)) fail_msg("%s", e.message);
  return g;
}

static void one_value_is_every_layers_and_an_array_has_one_each(void **state) {
  el_buf b = {0};
  el_gguf *g = open_values(&b);
  el_error e;
  int ints[LAYERS];
  bool bools[LAYERS];
  assert_int_equal(el_gguf_ints_by_layer(g, "heads", LAYERS, 1, 9, ints, &e), EL_OK);
  for (int l = 0; l < LAYERS; l++) assert_int_equal(ints[l], 9);
  assert_int_equal(el_gguf_ints_by_layer(g, "heads.each", LAYERS, 0, 8, ints, &e), EL_OK);
  assert_memory_equal(ints, ((int[]){4, 0, 8}), sizeof ints);
  assert_int_equal(el_gguf_ints_by_layer(g, "negative.each", LAYERS, -1, 8, ints, &e), EL_OK);
  assert_memory_equal(ints, ((int[]){4, -1, 8}), sizeof ints);
  assert_int_equal(el_gguf_bools_by_layer(g, "window", LAYERS, bools, &e), EL_OK);
  assert_true(bools[0] && bools[1] && bools[2]);
  assert_int_equal(el_gguf_bools_by_layer(g, "window.each", LAYERS, bools, &e), EL_OK);
  assert_true(bools[0] && !bools[1] && bools[2]);
  assert_int_equal(el_gguf_bools_by_layer(g, "bytes.each", LAYERS, bools, &e), EL_OK); /* 0 and 1 */
  assert_true(bools[0] && !bools[1] && bools[2]);
  el_gguf_close(g);
  el_buf_free(&b);
}

static void values_by_layer_are_checked_one_by_one(void **state) {
  el_buf b = {0};
  el_gguf *g = open_values(&b);
  static const struct {
    const char *key, *message;
  } ints[] = {{"absent", "test.gguf: key absent is missing"},
              {"heads", "test.gguf: heads is 9, expected 1 to 8"},
              {"heads.each", "heads.each[1] is 0, expected 1 to 8"},
              {"negative.each", "negative.each[1] is -1, expected 1 to 8"},
              {"huge.each", "huge.each[2] is above 9223372036854775807, expected 1 to 8"},
              {"two", "two is an array of 2, expected 3: one for each layer"},
              {"four", "four is an array of 4, expected 3"},
              {"none", "none is an array of 0, expected 3"},
              {"scale", "scale is of type f32, expected integers"},
              {"window.each", "window.each is an array of bool, expected integers"},
              {"words", "words is an array of string, expected integers"},
              {"word", "word is of type string, expected integers"}},
    bools[] = {{"heads", "heads is of type u32, expected booleans"}, /* a period, say */
               {"heads.each", "heads.each[0] is 4, expected 0 to 1"},
               {"two", "two is an array of 2, expected 3"},
               {"scale.each", "scale.each is an array of f32, expected booleans"},
               {"words", "words is an array of string, expected booleans"}};
  int v[LAYERS] = {42, 43, 44};
  bool y[LAYERS] = {true, false, true};
  el_error e;
  for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
    el_status status = el_gguf_ints_by_layer(g, ints[i].key, LAYERS, 1, 8, v, &e);
    assert_int_equal(status, i ? EL_ERR_FORMAT : EL_ERR_NOT_FOUND);
    assert_int_equal(el_gguf_optional(status), i ? EL_ERR_FORMAT : EL_OK);
    assert_contains(e.message, ints[i].message);
  }
  for (size_t i = 0; i < sizeof bools / sizeof bools[0]; i++) {
    assert_int_equal(el_gguf_bools_by_layer(g, bools[i].key, LAYERS, y, &e), EL_ERR_FORMAT);
    assert_contains(e.message, bools[i].message);
  }
  /* Outputs are untouched on failure, so that they can hold the default. */
  assert_true(v[0] == 42 && v[1] == 43 && v[2] == 44);
  assert_true(y[0] && !y[1] && y[2]);
  el_gguf_close(g);
  el_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_value_is_every_layers_and_an_array_has_one_each),
      cmocka_unit_test(values_by_layer_are_checked_one_by_one),
  };
  return cmocka_run_group_tests_name("gguf_values", tests, NULL, NULL);
}
