/* Answers that are kept: bounded in number and in bytes, and each caller's own. */
#include "bytes.h"
#include "server/answers/stored.h"

static void keep(el_stored *s, const char *id, uint64_t domain, size_t bytes) {
  char *data = calloc(1, bytes + 1);
  memset(data, 'x', bytes);
  const el_buf body = {.data = data, .len = bytes}, items = {.data = "[1,2]", .len = 5};
  el_stored_put(s, id, domain, &body, &items, 2);
  free(data);
}

static bool is_there(el_stored *s, const char *id, uint64_t domain) {
  el_buf out = {0};
  bool found;
  assert_true(el_stored_get(s, id, domain, EL_STORED_BODY, &out, &found));
  el_buf_free(&out);
  return found;
}

static void the_oldest_give_way_when_there_are_too_many(void **state) {
  el_stored s;
  char id[EL_STORED_ID];
  el_stored_init(&s);
  for (int i = 0; i < EL_MAX_STORED + 3; i++) {
    snprintf(id, sizeof id, "resp_%d", i);
    keep(&s, id, 1, 10);
  }
  assert_int_equal(s.n, EL_MAX_STORED);
  assert_false(is_there(&s, "resp_2", 1));
  assert_true(is_there(&s, "resp_3", 1));
  assert_true(is_there(&s, id, 1));
  el_stored_free(&s);
}

static void the_oldest_give_way_when_they_are_too_large(void **state) {
  el_stored s;
  el_stored_init(&s);
  keep(&s, "small", 1, 100);
  keep(&s, "half", 1, EL_MAX_STORED_BYTES / 2);
  assert_true(is_there(&s, "small", 1));
  keep(&s, "more", 1, EL_MAX_STORED_BYTES / 2);
  assert_false(is_there(&s, "half", 1));
  assert_true(is_there(&s, "more", 1));
  assert_true(s.bytes <= EL_MAX_STORED_BYTES);
  /* What is larger than all that is kept drives nothing out. */
  keep(&s, "huge", 1, EL_MAX_STORED_BYTES);
  assert_false(is_there(&s, "huge", 1));
  assert_true(is_there(&s, "more", 1));
  el_stored_free(&s);
}

static void each_caller_has_its_own(void **state) {
  el_stored s;
  el_stored_init(&s);
  keep(&s, "a", 1, 1);
  keep(&s, "b", 2, 1);
  keep(&s, "c", 1, 1);
  assert_false(is_there(&s, "b", 1));
  assert_false(el_stored_delete(&s, "b", 1));
  assert_true(el_stored_delete(&s, "b", 2));
  assert_true(is_there(&s, "a", 1) && is_there(&s, "c", 1) && !is_there(&s, "b", 2));
  assert_true(el_stored_delete(&s, "c", 1) && el_stored_delete(&s, "a", 1));
  assert_true(!s.n && !s.bytes && !s.newest && !s.oldest);
  el_stored_free(&s);
}

static void a_conversation_is_kept_with_what_it_began_with(void **state) {
  el_stored s;
  el_buf out = {0};
  bool found;
  el_stored_init(&s);
  keep(&s, "a", 1, 3);
  assert_true(el_stored_get(&s, "a", 1, EL_STORED_BODY, &out, &found) && found);
  assert_true(el_stored_get(&s, "a", 1, EL_STORED_ITEMS, &out, &found) && found);
  assert_true(el_stored_get(&s, "a", 1, EL_STORED_INPUT, &out, &found) && found);
  assert_string_equal(out.data, "xxx[1,2][1]");
  el_buf_free(&out);
  el_stored_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_oldest_give_way_when_there_are_too_many),
      cmocka_unit_test(the_oldest_give_way_when_they_are_too_large),
      cmocka_unit_test(each_caller_has_its_own),
      cmocka_unit_test(a_conversation_is_kept_with_what_it_began_with),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
