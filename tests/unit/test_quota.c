/* Limits a minute: whoever waits as long as it is told is let in, and nobody gets more than the limit. Time is what the
 * test says. */
#include "fixture.h"
#include "random_request.h"
#include "server/access/account.h"
#include "server/access/strangers.h"

#define S ((uint64_t)1000000000)

static void a_minutes_limit_can_be_used_at_once_and_then_comes_back_evenly(void **state) {
  el_bucket b = {0};
  uint64_t now = 5 * S;
  for (int i = 0; i < 60; i++) {
    assert_int_equal(el_bucket_level(&b, 60, now), 60 - i);
    assert_int_equal(el_bucket_wait_ns(&b, 60, 1, now), 0);
    el_bucket_take(&b, 60, 1, now);
  }
  assert_int_equal(el_bucket_level(&b, 60, now), 0);
  assert_int_equal(el_bucket_wait_ns(&b, 60, 1, now), S);
  assert_int_equal(el_bucket_wait_ns(&b, 60, 5, now), 5 * S);
  assert_int_equal(el_bucket_reset_ns(&b, now), 60 * S);
  assert_int_equal(el_bucket_level(&b, 60, now + 7 * S), 7);
  assert_int_equal(el_bucket_reset_ns(&b, now + 61 * S), 0);
}

/* Whatever the limit and whatever was asked for. */
static void after_the_time_that_was_told_it_is_let_in_and_not_before(void **state) {
  uint64_t rng = 3;
  for (int round = 0; round < 20000; round++) {
    el_bucket b = {0};
    const int limit = 1 + (int)(next_random(&rng) % (round % 2 ? 100 : EL_MAX_QUOTA));
    uint64_t now = next_random(&rng) % (1000 * S);
    for (int i = 0; i < 5; i++) {
      const uint64_t n = 1 + next_random(&rng) % (uint64_t)(2 * (uint64_t)limit),
                     wait = el_bucket_wait_ns(&b, limit, n, now);
      if (wait) {
        assert_true(el_bucket_wait_ns(&b, limit, n, now + wait - 1) == 1);
        assert_int_equal(el_bucket_wait_ns(&b, limit, n, now + wait), 0);
        assert_true((uint64_t)el_quota_seconds(wait) * S >= wait || wait > 86400 * S);
        now += wait;
      }
      el_bucket_take(&b, limit, n, now);
    }
  }
}

static void what_was_not_used_comes_back(void **state) {
  el_bucket b = {0};
  el_bucket_take(&b, 100, 80, 9 * S);
  el_bucket_give(&b, 100, 80);
  assert_int_equal(el_bucket_level(&b, 100, 9 * S), 100);
  el_bucket_give(&b, 100, 1000000000);
  assert_int_equal(el_bucket_level(&b, 100, 9 * S), 100); /* never more than it holds */
}

static void the_largest_numbers_overflow_nothing(void **state) {
  el_bucket b = {0};
  for (int i = 0; i < 10; i++) el_bucket_take(&b, 1, UINT64_MAX, (uint64_t)1 << 62);
  assert_int_equal(el_bucket_level(&b, 1, (uint64_t)1 << 62), 0);
  el_bucket c = {0};
  for (int i = 0; i < 10; i++) el_bucket_take(&c, 1, UINT64_MAX, S);
  assert_true(el_bucket_wait_ns(&c, 1, 1, S) > 0);
  assert_int_equal(el_bucket_level(&c, EL_MAX_QUOTA, S), 0);
}

static void times_are_written_as_openai_writes_them(void **state) {
  static const struct {
    uint64_t ns;
    const char *text;
  } cases[] = {{0, "0ms"},           {1, "1ms"},           {12000000, "12ms"}, {999999999, "1.0s"},
               {1500000000, "1.5s"}, {7410000000, "7.5s"}, {59 * S, "59.0s"},  {60 * S, "1m0s"},
               {360 * S, "6m0s"},    {60 * S + 1, "1m1s"}, {3725 * S, "62m5s"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[32];
    el_quota_write_time(cases[i].ns, text);
    assert_string_equal(text, cases[i].text);
  }
}

static void a_request_that_is_refused_has_taken_nothing(void **state) {
  const el_quota q = {.rpm = 10, .tpm = 100, .concurrent = 2};
  el_account *a = el_account_new(1);
  el_refusal why;
  assert_true(el_account_enter(a, &q, S, &why));
  assert_true(el_account_take_prompt(a, &q, 90, S, &why));
  assert_true(el_account_enter(a, &q, S, &why));
  assert_false(el_account_take_prompt(a, &q, 20, S, &why));
  assert_int_equal(why.limit, EL_LIMIT_TOKENS);
  assert_int_equal(why.wait_ns, 6 * S);
  assert_int_equal(el_account_allowance(a, &q, S).requests, 9);
  assert_int_equal(el_account_allowance(a, &q, S).tokens, 10);
  assert_false(el_account_enter(a, &q, S, &why)); /* both are there yet */
  assert_int_equal(why.limit, EL_LIMIT_CONCURRENT);
  el_account_leave(a);
  assert_true(el_account_enter(a, &q, S, &why));
  el_account_add(a, &q, 90, 40, S);
  assert_false(el_account_take_prompt(a, &q, 1, S, &why));
  assert_int_equal(why.wait_ns, 18600 * S / 1000); /* 30 below nothing, and one */
  const el_key_usage u = el_account_usage(a);
  assert_int_equal(u.requests, 1);
  assert_int_equal(u.refused[EL_LIMIT_TOKENS], 2);
  assert_int_equal(u.refused[EL_LIMIT_CONCURRENT], 1);
  el_account_release(a);
}

static void strangers_are_counted_by_address_in_a_table_that_does_not_grow(void **state) {
  static el_strangers s;
  unsigned char address[16] = {1, 2, 3}, other[16] = {0};
  for (int i = 0; i < EL_STRANGERS_A_MINUTE; i++) assert_true(el_strangers_allow(&s, address, S));
  assert_false(el_strangers_allow(&s, address, S));
  assert_int_equal(el_strangers_wait_ns(&s, address, S), 2 * S);
  assert_true(el_strangers_allow(&s, address, 3 * S));
  /* Of many other addresses with one try each none takes its place. */
  for (int i = 0; i < 100000; i++) {
    memcpy(other + 4, &i, sizeof i);
    assert_true(el_strangers_allow(&s, other, 3 * S));
  }
  assert_false(el_strangers_allow(&s, address, 3 * S));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_minutes_limit_can_be_used_at_once_and_then_comes_back_evenly),
      cmocka_unit_test(after_the_time_that_was_told_it_is_let_in_and_not_before),
      cmocka_unit_test(what_was_not_used_comes_back),
      cmocka_unit_test(the_largest_numbers_overflow_nothing),
      cmocka_unit_test(times_are_written_as_openai_writes_them),
      cmocka_unit_test(a_request_that_is_refused_has_taken_nothing),
      cmocka_unit_test(strangers_are_counted_by_address_in_a_table_that_does_not_grow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
