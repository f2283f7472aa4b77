/* The adapters of a directory: what an operator put there, by name, in order, and nothing else. */
#include <fcntl.h>

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
  assert_string_equal(f.items[0].name, "coming");
  assert_contains(f.items[0].problem, "/coming: adapter_config.json has no weights beside it");
  assert_int_equal(f.items[0].status, EL_ERR_UNSUPPORTED);
  static const char *const names[] = {"haiku", "json", "linked", "nested/deep", "sql"}, *const entries[] = {
                                                                                            "haiku.gguf", "json",
                                                                                            "linked", "nested/deep",
                                                                                            "sql"};
  assert_int_equal(f.n, 6);
  assert_int_equal(f.n_folders, 4); /* notes, x.gguf, nested, and one that is not an adapter yet */
  for (size_t i = 0; i < 5; i++) {
    const el_found_adapter *a = &f.items[i + 1];
    assert_string_equal(a->name, names[i]);
    snprintf(path, sizeof path, "%s/%s", dir, entries[i]);
    assert_string_equal(a->path, path);
    assert_int_equal(a->status, EL_OK);
    assert_null(a->problem);
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

static void put_file(const char *dir, const char *folder, const char *file, const char *text) {
  char path[256];
  assert_true(snprintf(path, sizeof path, "%s/%s", dir, folder) < (int)sizeof path);
  mkdir(path, 0700);
  write_file(path, file, text, strlen(text));
}

static void every_folder_that_looks_like_an_adapter_is_found_or_has_its_reason(void **state) {
  static const struct {
    const char *files[3], *problem; /* NULL: it is one */
  } cases[] = {
      {{"adapter_config.json", "adapter_model.safetensors"}, NULL},
      {{"adapter_config.json", "adapter_model.safetensors.index.json"}, NULL},
      {{"adapter_config.json", "adapters.safetensors"}, NULL},
      {{"adapter_config.json", "adapter_model.bin"}, "is a pickle"},
      {{"adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"}, NULL},
      {{"adapter_config.json"}, "has no weights beside it"},
      {{"adapter_config.json", "model.safetensors"}, "has no weights beside it"},
      {{"adapter_model.safetensors"}, "without adapter_config.json"},
      {{"adapter_model.safetensors.index.json"}, "without adapter_config.json"},
      {{"adapters.safetensors"}, "without adapter_config.json"},
      {{"adapter_model.bin"}, "is a pickle"},
  };
  enum { N = sizeof cases / sizeof *cases };
  char dir[64], folder[16];
  el_found f;
  el_error e;
  make_dir(dir);
  for (int i = 0; i < N; i++)
    for (int k = 0; k < 3 && cases[i].files[k]; k++) {
      snprintf(folder, sizeof folder, "%02d", i);
      put_file(dir, folder, cases[i].files[k], "");
      snprintf(folder, sizeof folder, "tenant/%02d", i);
      put_file(dir, "tenant", "README.md", "");
      put_file(dir, folder, cases[i].files[k], "");
    }
  put_file(dir, "model", "config.json", "{}"); /* looks like none */
  put_file(dir, "model", "model.safetensors", "");
  write_file(dir, "alone.safetensors", "", 0);
  if (el_adapter_discover(dir, &f, &e)) fail_msg("%s", e.message);
  assert_int_equal(f.n, 2 * N + 1);
  for (int i = 0; i < 2 * N + 1; i++) {
    const el_found_adapter *a = &f.items[i];
    const char *wanted = i == N ? "a safetensors file alone" : cases[i < N ? i : i - N - 1].problem;
    snprintf(folder, sizeof folder, i < N ? "%02d" : "tenant/%02d", i < N ? i : i - N - 1);
    if (i != N) assert_string_equal(a->name, folder);
    assert_int_equal(a->status, wanted ? EL_ERR_UNSUPPORTED : EL_OK);
    if (!wanted) continue;
    assert_contains(a->problem, wanted);
    assert_null(strstr(a->problem + a->detail, dir)); /* what a tenant may be told */
    assert_contains(a->problem, dir);
  }
  el_found_free(&f);
  remove_tree(dir);
}

static void a_directory_that_is_itself_an_adapter_says_so(void **state) {
  char dir[64], path[80];
  el_found f;
  el_error e;
  make_dir(dir);
  make_folder(dir, "mine", true);
  snprintf(path, sizeof path, "%s/mine//", dir);
  if (el_adapter_discover(path, &f, &e)) fail_msg("%s", e.message);
  assert_true(f.n >= 1);
  bool told = false;
  for (size_t i = 0; i < f.n; i++)
    told = told || (!strcmp(f.items[i].name, "mine") && strstr(f.items[i].problem, "is itself an adapter"));
  assert_true(told);
  el_found_free(&f);
  remove_tree(dir);
}

/* As huggingface_hub lays it out: links to blobs. */
static void put_snapshot(const char *dir, const char *repository, const char *hash, const char *ref) {
  char path[128], to[256];
  snprintf(path, sizeof path, "%.64s/%.60s", dir, repository);
  mkdir(path, 0700);
  put_file(path, "blobs", "one", "{}");
  snprintf(to, sizeof to, "%s/snapshots", path);
  mkdir(to, 0700);
  snprintf(to, sizeof to, "%s/snapshots/%.20s", path, hash);
  assert_int_equal(mkdir(to, 0700), 0);
  static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors"};
  for (int i = 0; i < 2; i++) {
    snprintf(to, sizeof to, "%s/snapshots/%.20s/%s", path, hash, files[i]);
    assert_int_equal(symlink("../../blobs/one", to), 0);
  }
  if (ref) put_file(path, "refs", "main", ref);
}

static void a_hub_cache_gives_its_models_by_their_names(void **state) {
  char dir[64];
  el_found f;
  el_error e;
  make_dir(dir);
  put_snapshot(dir, "models--acme--sql", "aaaa", NULL);
  put_snapshot(dir, "models--acme--sql", "bbbb", "aaaa\n");     /* the ref, not the newest */
  put_snapshot(dir, "models--acme--shell", "cccc", "../../.."); /* no name of a snapshot: the newest */
  put_snapshot(dir, "models--solo", "dddd", "eeee");            /* is not there */
  put_file(dir, "models--acme--coming", "x", "");
  put_file(dir, "models--acme--model", "x", "");
  put_file(dir, "models--acme--model/snapshots", "x", "");
  put_file(dir, "models--acme--gguf", "x", "");
  put_file(dir, "models--acme--gguf/snapshots", "x", "");
  put_file(dir, "models--acme--gguf/snapshots/ffff", "lora.gguf", "");
  put_file(dir, "models--acme--broken", "x", "");
  put_file(dir, "models--acme--broken/snapshots", "x", "");
  put_file(dir, "models--acme--broken/snapshots/ffff", "adapter_config.json", "");
  if (el_adapter_discover(dir, &f, &e)) fail_msg("%s", e.message);
  static const struct {
    const char *name, *path, *problem;
  } wanted[] = {{"acme/broken", "models--acme--broken/snapshots/ffff", "has no weights beside it"},
                {"acme/gguf", "models--acme--gguf/snapshots/ffff", "which may be a model"},
                {"acme/shell", "models--acme--shell/snapshots/cccc", NULL},
                {"acme/sql", "models--acme--sql/snapshots/aaaa", NULL},
                {"solo", "models--solo/snapshots/dddd", NULL}};
  assert_int_equal(f.n, 5);
  for (int i = 0; i < 5; i++) {
    assert_string_equal(f.items[i].name, wanted[i].name);
    assert_contains(f.items[i].path, wanted[i].path);
    assert_int_equal(f.items[i].status, wanted[i].problem ? EL_ERR_UNSUPPORTED : EL_OK);
    if (wanted[i].problem) assert_contains(f.items[i].problem, wanted[i].problem);
  }
  bool watched = false; /* where another snapshot would come */
  for (size_t i = 0; i < f.n_folders; i++) watched = watched || !strcmp(f.folders[i], "models--acme--sql/snapshots");
  assert_true(watched);
  el_found_free(&f);
  remove_tree(dir);
}

static void a_change_of_any_part_of_sharded_weights_is_seen(void **state) {
  char dir[64];
  el_signature before, after;
  el_error e;
  make_dir(dir);
  static const char *const files[] = {"adapter_config.json", "adapter_model.safetensors.index.json",
                                      "adapter_model-00001-of-00002.safetensors",
                                      "adapter_model-00002-of-00002.safetensors"};
  for (int i = 0; i < 4; i++) write_file(dir, files[i], "", 0);
  assert_int_equal(el_signature_read(dir, &before, &e), EL_OK);
  for (int i = 0; i < 4; i++) {
    write_file(dir, files[i], "longer", 6);
    assert_int_equal(el_signature_read(dir, &after, &e), EL_OK);
    assert_false(el_signature_equal(&before, &after));
    before = after;
    assert_int_equal(el_signature_read(dir, &after, &e), EL_OK);
    assert_true(el_signature_equal(&before, &after));
  }
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

static void count_progress(void *user, size_t looked, size_t of) {
  assert_true(looked <= of);
  ++*(int *)user;
}

/* Many questions at once find what one after the other do, each at its place; and whoever waits is told. */
static void a_slow_file_system_gives_the_same_as_a_fast_one(void **state) {
  enum { N = 300 };
  static el_peek fast[N], slow[N];
  static char names[N][16];
  char dir[64];
  int told = 0;
  make_dir(dir);
  for (int i = 0; i < N; i++) {
    snprintf(names[i], sizeof names[i], i % 3 == 2 ? "a%03d.gguf" : "a%03d", i);
    if (i % 3 == 2)
      write_file(dir, names[i], "12345", (size_t)(i % 5));
    else if (i % 7)
      make_folder(dir, names[i], i % 3 == 0); /* others are not there */
    fast[i].entry = slow[i].entry = names[i];
  }
  int fd = open(dir, O_RDONLY | O_DIRECTORY);
  assert_true(fd >= 0);
  el_peek_all(&(el_peeker){0}, fd, fast, N);
  el_peeker peeker = {.slow = true, .progress = count_progress, .user = &told, .told_ns = 1};
  el_peek_all(&peeker, fd, slow, N);
  close(fd);
  int n_adapters = 0;
  for (int i = 0; i < N; i++) {
    assert_int_equal(fast[i].is_adapter, slow[i].is_adapter);
    assert_int_equal(fast[i].is_folder, slow[i].is_folder);
    assert_ptr_equal(fast[i].problem, slow[i].problem);
    assert_true(el_signature_equal(&fast[i].signature, &slow[i].signature));
    n_adapters += slow[i].is_adapter;
  }
  assert_int_equal(n_adapters, 100 + 85); /* files; folders, without every seventh */
  assert_true(told <= 1);
  remove_tree(dir);
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
      cmocka_unit_test(every_folder_that_looks_like_an_adapter_is_found_or_has_its_reason),
      cmocka_unit_test(a_directory_that_is_itself_an_adapter_says_so),
      cmocka_unit_test(a_hub_cache_gives_its_models_by_their_names),
      cmocka_unit_test(a_change_of_any_part_of_sharded_weights_is_seen),
      cmocka_unit_test(an_empty_directory_has_none_and_a_missing_one_is_an_error),
      cmocka_unit_test(a_slow_file_system_gives_the_same_as_a_fast_one),
      cmocka_unit_test(names_are_checked),
  };
  return cmocka_run_group_tests_name("discover", tests, NULL, NULL);
}
