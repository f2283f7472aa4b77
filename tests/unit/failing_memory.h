/* Allocations that fail on purpose. The linker sends those of the project's own code here (failing_memory_dep:
 * -Wl,--wrap); those inside of libraries are theirs. */
#ifndef EL_TESTS_FAILING_MEMORY_H
#define EL_TESTS_FAILING_MEMORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edgelora.h"

static atomic_int allocations_left = INT32_MAX; /* the one after these fails */
static atomic_bool all_after;                   /* and so do all others after it */

static bool fails(void) {
  int before = atomic_fetch_sub(&allocations_left, 1);
  return before == 0 || (before < 0 && atomic_load(&all_after));
}

#define WRAP(result, name, parameters, arguments)    \
  result __real_##name parameters;                   \
  result __wrap_##name parameters;                   \
  result __wrap_##name parameters {                  \
    return fails() ? NULL : __real_##name arguments; \
  }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t m), (n, m))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

static inline void fail_after(int n, bool all) {
  atomic_store(&all_after, all);
  atomic_store(&allocations_left, n);
}

/* Whether an allocation has failed since. */
static inline bool stop_failing(void) {
  int left = atomic_exchange(&allocations_left, INT32_MAX);
  return left < 0;
}

/* Calls fn with 0, 1, 2, ... allocations until it succeeds; before, it must fail with EL_ERR_NO_MEMORY, and at least
 * `at_least` times. */
static inline void every_failure_is_survived(el_status (*fn)(void *arg, el_error *e), void *arg, int at_least) {
  for (int n = 0;; n++) {
    el_error e = {0};
    fail_after(n, true);
    el_status status = fn(arg, &e);
    stop_failing();
    if (status == EL_OK) {
      assert_true(n >= at_least);
      return;
    }
    if (status != EL_ERR_NO_MEMORY) fail_msg("with %d allocations: %s: %s", n, el_status_name(status), e.message);
    assert_int_equal(e.code, status);
    assert_true(strlen(e.message) > 0);
  }
}

#endif
