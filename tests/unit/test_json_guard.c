/* Parsing JSON with each allocation failing in turn, and all after it: nothing comes of it, and nothing worse. Without
 * the guard jansson reads beyond the end of a string that is longer than those before it. */
#include "base/json_guard.h"
#include "bytes.h"
#include "failing_memory.h"

static void survives(const char *text, size_t len) {
  for (int n = 0;; n++) {
    json_error_t error;
    bool no_memory;
    fail_after(n, true);
    json_t *j = el_json_load(text, len, JSON_REJECT_DUPLICATES, &error, &no_memory);
    stop_failing();
    if (j) {
      assert_false(no_memory);
      assert_true(n > 3);
      json_decref(j);
      return;
    }
    if (!no_memory) fail_msg("with %d allocations: %s", n, error.text);
  }
}

static void repeat(el_buf *b, const char *text, int n) {
  for (int i = 0; i < n; i++) put(b, text, strlen(text));
}

static void memory_may_run_out_anywhere(void **state) {
  el_buf b = {0};
  repeat(&b, "{\"prompt\":\"", 1), repeat(&b, "x", 20000), repeat(&b, "\"}", 1);
  survives(b.data, b.len);
  el_buf_free(&b);
  repeat(&b, "[", 1), repeat(&b, "null,", 3000), repeat(&b, "\"", 1), repeat(&b, "\\u00e9", 2000), repeat(&b, "\"]", 1);
  survives(b.data, b.len);
  el_buf_free(&b);
  repeat(&b, "[", 500), repeat(&b, "\"a\"", 1), repeat(&b, ",\"abcdefghijklmnopqrstuvwxyz01234\"", 40),
      repeat(&b, "]", 500);
  survives(b.data, b.len);
  el_buf_free(&b);
  repeat(&b, "{\"\":0", 1);
  for (int i = 0; i < 400; i++) {
    char member[32];
    snprintf(member, sizeof member, ",\"%d\":{}", i);
    repeat(&b, member, 1);
  }
  repeat(&b, "}", 1);
  survives(b.data, b.len);
  el_buf_free(&b);
}

static void what_is_wrong_is_said_where_it_is(void **state) {
  json_error_t error;
  bool no_memory;
  assert_null(el_json_load("[1,\n 2,]", 8, 0, &error, &no_memory));
  assert_false(no_memory);
  assert_int_equal(error.line, 2);
  assert_null(el_json_load("", 0, 0, &error, &no_memory));
  assert_false(no_memory);
  json_t *j = el_json_load("{}x", 2, 0, &error, &no_memory); /* the text ends where it is said to */
  assert_non_null(j);
  json_decref(j);
}

int main(void) {
  json_set_alloc_funcs(el_json_malloc, el_json_free);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_may_run_out_anywhere),
      cmocka_unit_test(what_is_wrong_is_said_where_it_is),
  };
  return cmocka_run_group_tests_name("json_guard", tests, NULL, NULL);
}
