/* Streaming output: whole characters as soon as they are whole, and nothing lost. */
#include "bytes.h"
#include "tokenizer/tokenizer.h"

#define FFFD "\xef\xbf\xbd"

static void take(el_buf *pending, bool flush, el_buf *whole) {
  assert_true(el_utf8_take(pending, flush, whole));
}

/* What comes out of `len` bytes, `step` at a time, with a flush at the end. */
static el_buf stream(const char *s, size_t len, size_t step) {
  el_buf pending = {0}, whole = {0};
  for (size_t i = 0; i < len; i += step) {
    put(&pending, s + i, len - i < step ? len - i : step);
    take(&pending, false, &whole);
    assert_true(pending.len < 4);
  }
  take(&pending, true, &whole);
  assert_int_equal(pending.len, 0);
  el_buf_free(&pending);
  return whole;
}

static void assert_stream(const char *s, size_t len, const char *want, size_t want_len) {
  for (size_t step = 1; step <= len; step++) {
    el_buf got = stream(s, len, step);
    assert_int_equal(got.len, want_len);
    assert_memory_equal(got.data, want, want_len);
    el_buf_free(&got);
  }
}
#define assert_becomes(s, want) assert_stream(s, sizeof(s) - 1, want, sizeof(want) - 1)

static void valid_text_comes_out_as_it_is_however_it_is_cut(void **state) {
  assert_becomes("plain", "plain");
  assert_becomes("z\xc3\xa4hl \xe2\x82\xac 10 \xf0\x9f\x8d\x95\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa!",
                 "z\xc3\xa4hl \xe2\x82\xac 10 \xf0\x9f\x8d\x95\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa!");
  assert_becomes("nul \0 inside", "nul \0 inside");
  assert_becomes("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xe0\xa0\x80\xc2\x80",
                 "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xe0\xa0\x80\xc2\x80");
}

/* One U+FFFD for each maximal subpart: examples of the Unicode standard, section 3.9. */
static void bytes_that_cannot_become_a_character_are_replaced(void **state) {
  assert_becomes("\x80", FFFD);
  assert_becomes("\xff\xfe", FFFD FFFD);
  assert_becomes("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
  assert_becomes("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A");
  assert_becomes("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B");
  assert_becomes("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "A");
}

static void an_unfinished_character_waits_and_is_replaced_by_a_flush(void **state) {
  el_buf pending = {0}, whole = {0};
  put(&pending, "a\xf0\x9f\x8d", 4);
  take(&pending, false, &whole);
  assert_string_equal(whole.data, "a");
  assert_int_equal(pending.len, 3);
  put(&pending, "\x95", 1);
  take(&pending, false, &whole);
  assert_string_equal(whole.data, "a\xf0\x9f\x8d\x95");
  put(&pending, "\xf0\x9f", 2);
  take(&pending, true, &whole);
  assert_string_equal(whole.data, "a\xf0\x9f\x8d\x95" FFFD);
  assert_int_equal(pending.len, 0);
  take(&pending, true, &whole);
  take(&pending, false, &whole);
  assert_string_equal(whole.data, "a\xf0\x9f\x8d\x95" FFFD);
  el_buf_free(&pending);
  el_buf_free(&whole);
}

static void what_comes_out_is_valid_and_does_not_depend_on_the_cuts(void **state) {
  uint32_t seed = 1;
  for (int round = 0; round < 3000; round++) {
    char s[12];
    size_t len = 1 + (size_t)round % sizeof s;
    for (size_t i = 0; i < len; i++) {
      seed = seed * 1664525 + 1013904223;
      static const unsigned char often[] = "\xe2\x82\xac\xf0\x9f\x8d\x95\xc3\xa4\xed\xa0\xf4\x90\xe0\x80";
      s[i] = (char)(seed >> 24 & 1 ? often[(seed >> 16) % (sizeof often - 1)] : seed >> 16);
    }
    el_buf once = stream(s, len, len);
    assert_stream(s, len, once.data, once.len);
    for (size_t i = 0; i < once.len;) {
      int n = el_utf8_length(once.data + i, once.len - i);
      assert_true(n > 0);
      i += (size_t)n;
    }
    el_buf_free(&once);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(valid_text_comes_out_as_it_is_however_it_is_cut),
      cmocka_unit_test(bytes_that_cannot_become_a_character_are_replaced),
      cmocka_unit_test(an_unfinished_character_waits_and_is_replaced_by_a_flush),
      cmocka_unit_test(what_comes_out_is_valid_and_does_not_depend_on_the_cuts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
