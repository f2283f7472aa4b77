/* What an error tells whom: the operator all of it, a tenant what names neither a file nor an adapter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static const char *detail(const el_error *err) {
  assert_true(err->detail <= strlen(err->message));
  return err->message + err->detail;
}

static void a_tenant_is_told_neither_paths_nor_names(void **state) {
  el_error err;
  memset(&err, 0xff, sizeof err);
  assert_int_equal(el_fail_about(&err, EL_ERR_FORMAT, "/srv/%s: x/a", "r is %d, supported are 1 to %d", 0, 256),
                   EL_ERR_FORMAT);
  assert_int_equal(err.code, EL_ERR_FORMAT);
  assert_string_equal(err.message, "/srv/%s: x/a: r is 0, supported are 1 to 256");
  assert_string_equal(detail(&err), "r is 0, supported are 1 to 256");
  assert_null(err.field);
  /* What is put before it says where, too. */
  assert_int_equal(el_fail_prefix(&err, "%s", "/srv/%n"), EL_ERR_FORMAT);
  assert_string_equal(err.message, "/srv/%n: /srv/%s: x/a: r is 0, supported are 1 to 256");
  assert_string_equal(detail(&err), "r is 0, supported are 1 to 256");
  assert_int_equal(el_fail_hidden(&err), EL_ERR_FORMAT);
  assert_string_equal(detail(&err), "r is 0, supported are 1 to 256");
}

static void what_names_nothing_is_told_whole_unless_it_is_hidden(void **state) {
  el_error err;
  memset(&err, 0xff, sizeof err);
  el_fail(&err, EL_ERR_INVALID, "%s: is not known", "/srv/a");
  assert_string_equal(detail(&err), err.message);
  el_fail_hidden(&err);
  assert_string_equal(err.message, "/srv/a: is not known");
  assert_string_equal(detail(&err), "");
  el_fail(&err, EL_ERR_INVALID, "is not known");
  el_fail_prefix(&err, "field %d", 1);
  assert_string_equal(err.message, "field 1: is not known");
  assert_string_equal(detail(&err), "is not known");
}

static void a_field_is_named_apart_from_the_text(void **state) {
  el_error err;
  el_fail_field(&err, EL_ERR_INVALID, "candidates", "candidates: %d, the limit is %d", 2, 1);
  assert_string_equal(err.field, "candidates");
  assert_string_equal(detail(&err), "candidates: 2, the limit is 1");
  el_fail(&err, EL_ERR_INVALID, "no");
  assert_null(err.field);
  assert_int_equal(el_fail_field(NULL, EL_ERR_BUSY, "candidates", "none"), EL_ERR_BUSY);
  assert_int_equal(el_fail_about(NULL, EL_ERR_BUSY, "a", "none"), EL_ERR_BUSY);
}

/* A subject that fills the message leaves no detail, and never one that begins inside of it. */
static void a_long_subject_is_not_told_in_part(void **state) {
  static char path[3000];
  el_error err;
  for (size_t len = sizeof err.message - 6; len < sizeof err.message + 6; len++) {
    memset(path, 'p', len);
    path[len] = 0;
    el_fail_about(&err, EL_ERR_IO, path, "secret");
    assert_null(strchr(detail(&err), 'p'));
    el_fail(&err, EL_ERR_IO, "secret");
    el_fail_prefix(&err, "%s", path);
    assert_null(strchr(detail(&err), 'p'));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_tenant_is_told_neither_paths_nor_names),
      cmocka_unit_test(what_names_nothing_is_told_whole_unless_it_is_hidden),
      cmocka_unit_test(a_field_is_named_apart_from_the_text),
      cmocka_unit_test(a_long_subject_is_not_told_in_part),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
