/* Parsing JSON while allocations fail: nothing comes of it, and nothing worse. Without the guard jansson reads beyond
 * the end of a string whose buffer could not grow, when there is memory for the string. */
#include "base/json_guard.h"
#include "bytes.h"

/* Which allocations of the project's code fail, jansson's among them: all after the first `left`, or those of at least
 * `from` bytes; below `until`, which what is set aside is not. */
static int left;
static size_t from, until;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
  if (n < until && (n >= from || left-- <= 0)) return NULL;
  return __real_malloc(n);
}

static bool parses(const char *text, size_t len, const json_t *whole, int n, size_t size) {
  json_error_t error;
  bool no_memory;
  left = n, from = size, until = 8 * len;
  json_t *j = el_json_load(text, len, JSON_REJECT_DUPLICATES, &error, &no_memory);
  until = 0;
  assert_int_equal(no_memory, !j);
  assert_true(!j || json_equal(j, whole));
  json_decref(j);
  return j != NULL;
}

static void survives(const char *text, size_t len) {
  json_error_t error;
  json_t *whole = json_loadb(text, len, 0, &error);
  assert_non_null(whole);
  int n = 0;
  while (!parses(text, len, whole, n, SIZE_MAX)) n++;
  assert_true(n > 3);
  size_t size = 1;
  while (!parses(text, len, whole, INT32_MAX, size)) size += 1 + size / 16;
  assert_true(size > 16);
  json_decref(whole);
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
  repeat(&b, "{\"prompt\":\"", 1), repeat(&b, "x", 1100), repeat(&b, "\"}", 1);
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
