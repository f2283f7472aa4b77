/* JSON while allocations fail: nothing comes of it, and nothing worse. Without the guard jansson reads beyond
 * the end of a string whose buffer could not grow, when there is memory for the string. */
#include "base/json_guard.h"
#include "bytes.h"

/* Which allocations of the project's code fail, jansson's among them: all after the first `left`, or (`once`) the one
 * after them, or those of at least `from` bytes; below `until`, which what is set aside is not. */
static int left;
static bool once;
static size_t from, until;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n) {
  if (n < until && (n >= from || (once ? left-- == 0 : left-- <= 0))) return NULL;
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

/* Every allocation of them fails once. */
static void texts_and_copies_are_whole_or_are_not_there(void **state) {
  json_t *whole =
      json_pack("{s:s, s:[i,f,n], s:{s:s, s:b}, s:s}", "type", "function", "list", 1, 0.5, "function", "name", "look",
                "strict", 1, "text", "as long as the buffer has to grow for it, and then some");
  char *text = json_dumps(whole, JSON_COMPACT);
  assert_non_null(text);
  json_t *(*const copies[])(const json_t *) = {el_json_copy, el_json_deep_copy};
  from = SIZE_MAX;
  once = true;
  for (int n = 0, refused = 1; refused; n++) {
    left = n, until = SIZE_MAX;
    char *t = el_json_dumps(whole, JSON_COMPACT);
    refused = left < 0;
    until = 0;
    assert_int_equal(!t, refused);
    assert_true(!t || !strcmp(t, text));
    free(t);
    assert_true(refused || n > 1);
  }
  for (size_t i = 0; i < 2; i++)
    for (int n = 0, refused = 1; refused; n++) {
      left = n, until = SIZE_MAX;
      json_t *copy = copies[i](whole);
      refused = left < 0;
      until = 0;
      assert_int_equal(!copy, refused);
      assert_true(!copy || json_equal(copy, whole));
      json_decref(copy);
      assert_true(refused || n > 1);
    }
  once = false;
  free(text);
  json_decref(whole);
}

int main(void) {
  json_set_alloc_funcs(el_json_malloc, el_json_free);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_may_run_out_anywhere),
      cmocka_unit_test(what_is_wrong_is_said_where_it_is),
      cmocka_unit_test(texts_and_copies_are_whole_or_are_not_there),
  };
  return cmocka_run_group_tests_name("json_guard", tests, NULL, NULL);
}
