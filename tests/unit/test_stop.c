/* Text that is given out: whole characters, nothing of a stop string, nothing lost. */
#include "bytes.h"
#include "engine/stop.h"

/* Pushes `text` in pieces of `piece` bytes; returns all that was given out. */
static char *run(const char *text, size_t len, size_t piece, const char *const *strings, size_t n,
                 const char **matched) {
  el_stop s = {.strings = strings, .n = n};
  el_buf out = {0};
  for (size_t i = 0; i < len && !s.matched; i += piece) {
    assert_true(el_stop_push(&s, text + i, len - i < piece ? len - i : piece, false));
    put(&out, s.text.data, s.n_certain);
    el_stop_taken(&s);
  }
  assert_true(el_stop_push(&s, NULL, 0, true));
  put(&out, s.text.data ? s.text.data : "", s.n_certain);
  el_stop_taken(&s);
  assert_int_equal(s.text.len, 0);
  *matched = s.matched;
  el_stop_free(&s);
  put(&out, "", 1);
  return out.data;
}

static void expect(const char *text, const char *const *strings, size_t n, const char *out, const char *stop) {
  for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
    const char *matched;
    char *got = run(text, strlen(text), piece, strings, n, &matched);
    assert_string_equal(got, out);
    if (stop)
      assert_string_equal(matched, stop);
    else
      assert_null(matched);
    free(got);
  }
}
#define EXPECT(text, out, stop, ...)                                    \
  do {                                                                  \
    const char *const strings[] = {__VA_ARGS__};                        \
    expect(text, strings, sizeof strings / sizeof *strings, out, stop); \
  } while (0)

static void text_ends_before_the_stop_string_however_it_is_cut(void **state) {
  EXPECT("one two three", "one ", "two", "two");
  EXPECT("two", "", "two", "two");
  EXPECT("one two", "one ", "two", "two");
  EXPECT("aab", "a", "ab", "ab");
  EXPECT("aaab", "", "aaab", "aaab");
  EXPECT("xaaaab", "xa", "aaab", "aaab");
  EXPECT("abababac", "aba", "babac", "babac");
  EXPECT("line\n\nnext", "line", "\n\n", "\n\n");
  EXPECT("caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 ", "\xe2\x82\xac", "\xe2\x82\xac");
}

static void text_that_only_begins_like_one_is_given_out(void **state) {
  EXPECT("one tw", "one tw", NULL, "two");
  EXPECT("tw tw tow", "tw tw tow", NULL, "two");
  EXPECT("aaaa", "aaaa", NULL, "aaaab");
  EXPECT("", "", NULL, "x");
}

static void of_several_the_first_that_is_complete_counts(void **state) {
  EXPECT("one two three", "one ", "two", "three", "two");
  EXPECT("abcd", "a", "bc", "abcd", "bc");
  EXPECT("abcd", "", "abc", "bc", "abc"); /* both end at c */
  EXPECT("abcd", "", "abc", "abc", "bc");
  EXPECT("ab", "", "a", "ab", "a");
}

static void what_cannot_become_a_stop_string_is_not_held_back(void **state) {
  const char *const strings[] = {"STOP"};
  el_stop s = {.strings = strings, .n = 1};
  assert_true(el_stop_push(&s, "go S", 4, false));
  assert_int_equal(s.n_certain, 3);
  el_stop_taken(&s);
  assert_true(el_stop_push(&s, "TO", 2, false));
  assert_int_equal(s.n_certain, 0);
  assert_true(el_stop_push(&s, "S", 1, false)); /* STOS: the last S may begin it */
  assert_int_equal(s.n_certain, 3);
  assert_memory_equal(s.text.data, "STO", 3);
  el_stop_free(&s);
}

static void characters_are_never_split(void **state) {
  static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
  el_stop s = {0};
  size_t given = 0;
  for (size_t i = 0; i < sizeof text - 1; i++) {
    assert_true(el_stop_push(&s, text + i, 1, false));
    for (size_t at = 0; at < s.n_certain;) {
      int n = el_utf8_length(s.text.data + at, s.n_certain - at);
      assert_true(n > 0);
      at += (size_t)n;
    }
    given += s.n_certain;
    el_stop_taken(&s);
  }
  assert_int_equal(given, sizeof text - 1);
  el_stop_free(&s);
}

static void bytes_that_are_no_character_are_replaced(void **state) {
  EXPECT(
      "a\xff"
      "b",
      "a\xef\xbf\xbd"
      "b",
      NULL, "x");
  EXPECT("a\xe2\x82", "a\xef\xbf\xbd", NULL, "x"); /* an unfinished one at the end */
}

static void nothing_is_added_after_a_match(void **state) {
  const char *const strings[] = {"x"};
  el_stop s = {.strings = strings, .n = 1};
  assert_true(el_stop_push(&s, "ax", 2, false));
  el_stop_taken(&s);
  assert_true(el_stop_push(&s, "more", 4, false));
  assert_true(el_stop_push(&s, NULL, 0, true));
  assert_int_equal(s.n_certain, 0);
  assert_int_equal(s.text.len, 0);
  el_stop_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_ends_before_the_stop_string_however_it_is_cut),
      cmocka_unit_test(text_that_only_begins_like_one_is_given_out),
      cmocka_unit_test(of_several_the_first_that_is_complete_counts),
      cmocka_unit_test(what_cannot_become_a_stop_string_is_not_held_back),
      cmocka_unit_test(characters_are_never_split),
      cmocka_unit_test(bytes_that_are_no_character_are_replaced),
      cmocka_unit_test(nothing_is_added_after_a_match),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
