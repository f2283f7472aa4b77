/* What the kernels' unit tests use of cmocka, for targets whose system libraries are not at hand: a check that does not
 * hold says so and ends the program. */
#ifndef EL_TESTS_CROSS_CMOCKA_H
#define EL_TESTS_CROSS_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define fail_msg(...)                               \
  do {                                              \
    fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
    fprintf(stderr, __VA_ARGS__);                   \
    fputc('\n', stderr);                            \
    exit(1);                                        \
  } while (0)
#define fail() fail_msg("this must not be reached")
#define print_message(...) printf(__VA_ARGS__)
#define assert_true(x)            \
  do {                            \
    if (!(x)) fail_msg("%s", #x); \
  } while (0)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_null(p) assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_string_equal(a, b) assert_true(!strcmp(a, b))
#define assert_memory_equal(a, b, n) assert_true(!memcmp(a, b, n))

struct CMUnitTest {
  const char *name;
  void (*run)(void **state);
};
#define cmocka_unit_test(f) \
  { #f, f }

static inline int el_run_tests(const struct CMUnitTest *tests, size_t n) {
  void *state = NULL;
  for (size_t i = 0; i < n; i++) {
    tests[i].run(&state);
    printf("ok %s\n", tests[i].name);
  }
  return 0;
}
#define cmocka_run_group_tests(tests, setup, teardown) el_run_tests(tests, sizeof(tests) / sizeof *(tests))
#define cmocka_run_group_tests_name(name, tests, setup, teardown) cmocka_run_group_tests(tests, setup, teardown)

#endif
