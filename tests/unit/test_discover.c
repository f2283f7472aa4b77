/* The adapters of a directory: what an operator put there, by name, in order, and nothing else. */
#include "adapter/discover.h"
#include "bytes.h"

static void make_folder(const char *dir, const char *name, bool with_config) {
  char path[256];
  assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
  assert_int_equal(mkdir(path, 0700), 0);
  if (!with_config) return;
  write_file(path, "adapter_config.json", "{}", 2);
  write_file(path, "adapter_model.safetensors", "", 0);
}

static void folders_and_gguf_files_are_found_in_order(void **state) {
  char dir[64], path[128];
  el_found f;
  el_error e;
  make_dir(dir);
  make_folder(dir, "sql", true);
  make_folder(dir, "json", true);
  make_folder(dir, "notes", false);
  make_folder(dir, ".git", true);
  make_folder(dir, "x.gguf", false); /* a folder is no file */
  make_folder(dir, "nested", false);
  make_folder(dir, "nested/deep", true);
  make_folder(dir, "nested/deep/deeper", true);
  make_folder(dir, "coming", false);
  snprintf(path, sizeof path, "%s/coming", dir);
  write_file(path, "adapter_config.json", "{}", 2); /* its weights are not there yet */
  write_file(dir, "haiku.gguf", "", 0);
  write_file(dir, ".gguf", "", 0);
  write_file(dir, ".hidden.gguf", "", 0);
  write_file(dir, "README.md", "", 0);
  write_file(dir, "adapter_config.json", "", 0);
  snprintf(path, sizeof path, "%s/linked", dir);
  assert_int_equal(symlink("sql", path), 0);
  snprintf(path, sizeof path, "%s/dangling.gguf", dir);
  assert_int_equal(symlink("nowhere", path), 0);
  snprintf(path, sizeof path, "%s/loop", dir);
  assert_int_equal(symlink("loop", path), 0);
  snprintf(path, sizeof path, "%s/pipe.gguf", dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  if (el_adapter_discover(dir, &f, &e)) fail_msg("%s", e.message);
  static const char *const names[] = {"haiku", "json", "linked", "nested/deep", "sql"}, *const entries[] = {
                                                                                            "haiku.gguf", "json",
                                                                                            "linked", "nested/deep",
                                                                                            "sql"};
  assert_int_equal(f.n, 5);
  assert_int_equal(f.n_folders, 4); /* notes, x.gguf, nested, and one that is not an adapter yet */
  for (size_t i = 0; i < f.n; i++) {
    assert_string_equal(f.items[i].name, names[i]);
    snprintf(path, sizeof path, "%s/%s", dir, entries[i]);
    assert_string_equal(f.items[i].path, path);
    assert_int_equal(f.items[i].status, EL_OK);
    assert_null(f.items[i].problem);
  }
  el_found_free(&f);
  remove_tree(dir);
}

static void names_that_cannot_be_used_are_reported(void **state) {
  char dir[64];
  el_found f;
  el_error e;
  make_dir(dir);
  make_folder(dir, "bell\a", true);
  make_folder(dir, "not-utf8-\xff", true);
  make_folder(dir, "twice", true);
  write_file(dir, "twice.gguf", "", 0);
  if (el_adapter_discover(dir, &f, &e)) fail_msg("%s", e.message);
  assert_int_equal(f.n, 4);
  assert_int_equal(f.items[0].status, EL_ERR_INVALID);
  assert_contains(f.items[0].problem, "bell\\x07: holds a control character");
  assert_int_equal(f.items[1].status, EL_ERR_INVALID);
  assert_contains(f.items[1].problem, "not-utf8-\\xff: is not UTF-8");
  assert_int_equal(f.items[2].status, EL_OK);
  assert_int_equal(f.items[3].status, EL_ERR_EXISTS);
  assert_contains(f.items[3].problem, "has the same name");
  el_found_free(&f);
  remove_tree(dir);
}

static void an_empty_directory_has_none_and_a_missing_one_is_an_error(void **state) {
  char dir[64];
  el_found f;
  el_error e;
  make_dir(dir);
  assert_int_equal(el_adapter_discover(dir, &f, &e), EL_OK);
  assert_int_equal(f.n, 0);
  el_found_free(&f);
  remove_tree(dir);
  assert_int_equal(el_adapter_discover(dir, &f, &e), EL_ERR_IO);
  assert_contains(e.message, dir);
}

static void names_are_checked(void **state) {
  el_error e;
  char name[300];
  static const char *const good[] = {"a", "SQL 2", "org/model:v1", "h\xc3\xa9", "\xf0\x9f\x90\x88", "..", "-rf"};
  static const char *const bad[] = {"",     "a\n",  "\x1b[0m",      "\x7f",    "\xc2\x85",
                                    "\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) assert_int_equal(el_adapter_name_check(good[i], &e), EL_OK);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal(el_adapter_name_check(bad[i], &e), EL_ERR_INVALID);
  memset(name, 'a', sizeof name);
  name[255] = 0;
  assert_int_equal(el_adapter_name_check(name, &e), EL_OK);
  name[255] = 'a', name[256] = 0;
  assert_int_equal(el_adapter_name_check(name, &e), EL_ERR_INVALID);
  assert_contains(e.message, "256 bytes, the limit is 255");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folders_and_gguf_files_are_found_in_order),
      cmocka_unit_test(names_that_cannot_be_used_are_reported),
      cmocka_unit_test(an_empty_directory_has_none_and_a_missing_one_is_an_error),
      cmocka_unit_test(names_are_checked),
  };
  return cmocka_run_group_tests_name("discover", tests, NULL, NULL);
}
