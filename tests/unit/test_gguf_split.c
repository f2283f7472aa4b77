/* Models in several files, links to them and folders of them: any part opens all, and nothing that parts say of each
 * other is believed. */
#include <unistd.h>

#include "bytes.h"

enum { PARTS = 3, WIDTH = 8, DATA = 32 };

/* A part: what it says, and its tensors, each WIDTH floats of one value. */
typedef struct part {
  int64_t no, count, n_tensors; /* below 0: the key is left out */
  const char *arch;             /* general.architecture; NULL: left out */
  const char *tensors[3];
  float values[3];
  uint32_t alignment; /* 0: left out */
} part;

static const part good[PARTS] = {
    {0, 3, 4, "llama", {"a", "b"}, {1, 2}, 0}, {1, 3, 4, NULL, {"c"}, {3}, 64}, {2, 3, 4, NULL, {"d"}, {4}, 0}};

static void put_part(const char *dir, const char *name, const part *p) {
  el_buf b = {0};
  uint64_t n_tensors = 0,
           n_kv = (uint64_t)((p->no >= 0) + (p->count >= 0) + (p->n_tensors >= 0) + !!p->arch + (p->alignment > 0)),
           step = p->alignment > DATA ? p->alignment : DATA;
  while (n_tensors < 3 && p->tensors[n_tensors]) n_tensors++;
  put_gguf_header(&b, 3, n_tensors, n_kv);
  if (p->arch) put_kv_str(&b, "general.architecture", p->arch);
  if (p->alignment) put_kv_u32(&b, "general.alignment", p->alignment);
  if (p->no >= 0) put_kv(&b, "split.no", EL_GGUF_U16), put_uint(&b, (uint64_t)p->no, 2);
  if (p->count >= 0) put_kv(&b, "split.count", EL_GGUF_U16), put_uint(&b, (uint64_t)p->count, 2);
  if (p->n_tensors >= 0) put_kv(&b, "split.tensors.count", EL_GGUF_I32), put_u32(&b, (uint32_t)p->n_tensors);
  for (uint64_t i = 0; i < n_tensors; i++) put_tensor(&b, p->tensors[i], 1, (uint64_t[]){WIDTH}, EL_TYPE_F32, i * step);
  for (uint64_t i = 0; i < n_tensors; i++) {
    put_padding(&b, step);
    for (int k = 0; k < WIDTH; k++) put_f32(&b, p->values[i]);
  }
  write_file(dir, name, b.data, b.len);
  el_buf_free(&b);
}

static void put_parts(const char *dir, const part *parts) {
  for (int i = 0; i < PARTS; i++) {
    char name[64];
    snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", i + 1, PARTS);
    put_part(dir, name, &parts[i]);
  }
}

static const char *in(const char *dir, const char *name) {
  static char path[512];
  assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
  return path;
}

/* All four tensors, with the values that their own file has. */
static void check_whole(const el_gguf *g) {
  static const char *const names[] = {"a", "b", "c", "d"};
  static const int parts[] = {0, 0, 1, 2};
  el_error e;
  el_str arch;
  assert_int_equal(el_gguf_n_files(g), PARTS);
  assert_int_equal(el_gguf_n_tensors(g), 4);
  assert_int_equal(el_gguf_str(g, "general.architecture", &arch, &e), EL_OK);
  assert_true(el_str_eq(arch, "llama"));
  for (int i = 0; i < 4; i++) {
    const el_tensor *t = el_gguf_tensor(g, names[i]);
    float v[WIDTH];
    const unsigned char *data;
    assert_non_null(t);
    assert_ptr_equal(t, el_gguf_tensor_at(g, (size_t)i));
    assert_int_equal(t->part, parts[i]);
    el_gguf_will_read(g, t, 0, 1 << 25);
    if (el_gguf_read(g, t, 0, sizeof v, v, &data, &e)) fail_msg("%s", e.message);
    for (int k = 0; k < WIDTH; k++) assert_true(v[k] == (float)(i + 1));
  }
  assert_int_equal(el_gguf_unchanged(g, &e), EL_OK);
}

static void opens(const char *path) {
  el_gguf *g = NULL;
  el_error e;
  if (el_gguf_open(path, &g, &e)) fail_msg("%s", e.message);
  check_whole(g);
  el_gguf_close(g);
}

static void refuses(const char *path, el_status status, const char *message) {
  el_gguf *g = NULL;
  el_error e = {0};
  el_status got = el_gguf_open(path, &g, &e);
  if (got == EL_OK) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
  assert_int_equal(got, status);
  assert_null(g);
}

static void any_part_opens_all(void **state) {
  char dir[64];
  make_dir(dir);
  put_parts(dir, good);
  opens(in(dir, "m-00001-of-00003.gguf"));
  opens(in(dir, "m-00002-of-00003.gguf"));
  opens(in(dir, "m-00003-of-00003.gguf"));
  opens(dir);
  el_gguf *g = NULL;
  el_error e;
  assert_int_equal(el_gguf_open(in(dir, "m-00003-of-00003.gguf"), &g, &e), EL_OK);
  assert_contains(el_gguf_path(g), "/m-00001-of-00003.gguf");
  size_t sum = 0;
  for (int i = 1; i <= PARTS; i++) {
    char name[64];
    struct stat st;
    snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i);
    assert_int_equal(stat(in(dir, name), &st), 0);
    sum += (size_t)st.st_size;
  }
  assert_int_equal(el_gguf_file_size(g), sum);
  /* A change of any part shows. */
  assert_int_equal(truncate(in(dir, "m-00002-of-00003.gguf"), 8), 0);
  assert_int_equal(el_gguf_unchanged(g, &e), EL_ERR_IO);
  assert_contains(e.message, "m-00002-of-00003.gguf");
  float v[WIDTH];
  const unsigned char *data;
  assert_int_equal(el_gguf_read(g, el_gguf_tensor(g, "c"), 0, sizeof v, v, &data, &e), EL_ERR_IO);
  assert_contains(e.message, "m-00002-of-00003.gguf: was truncated");
  assert_int_equal(el_gguf_read(g, el_gguf_tensor(g, "d"), 0, sizeof v, v, &data, &e), EL_OK);
  el_gguf_close(g);
  remove_tree(dir);
}

static void links_are_parts_by_their_own_names(void **state) {
  char dir[64], target[512], link[512];
  make_dir(dir);
  assert_int_equal(mkdir(in(dir, "blobs"), 0700), 0);
  assert_int_equal(mkdir(in(dir, "snapshot"), 0700), 0);
  for (int i = 0; i < PARTS; i++) {
    char name[64];
    snprintf(name, sizeof name, "blobs/%d0a1b2c3", 7 - i);
    put_part(dir, name, &good[i]);
    snprintf(target, sizeof target, "../%s", name);
    snprintf(name, sizeof name, "snapshot/m-%05d-of-%05d.gguf", i + 1, PARTS);
    snprintf(link, sizeof link, "%s", in(dir, name));
    assert_int_equal(symlink(target, link), 0);
  }
  opens(in(dir, "snapshot/m-00001-of-00003.gguf"));
  opens(in(dir, "snapshot/m-00003-of-00003.gguf"));
  opens(in(dir, "snapshot"));
  opens(in(dir, "snapshot/"));
  snprintf(link, sizeof link, "%s", in(dir, "latest")); /* of the folder */
  assert_int_equal(symlink("snapshot", link), 0);
  opens(link);
  refuses(in(dir, "blobs/70a1b2c3"), EL_ERR_FORMAT, "its name does not end in -00001-of-00003.gguf");
  remove_tree(dir);
}

static void parts_that_do_not_belong_together_are_refused(void **state) {
  static const struct {
    int which;
    part is;
    const char *message;
  } cases[] = {
      {1, {1, 4, 4, NULL, {"c"}, {3}, 0}, "m-00002-of-00003.gguf: split.count is 4, expected 3 as in the other parts"},
      {1, {1, 0, 4, NULL, {"c"}, {3}, 0}, "is a whole model, expected part 2 of 3"}, /* a merged file says 0 */
      {1, {-1, -1, -1, NULL, {"c"}, {3}, 0}, "m-00002-of-00003.gguf: is a whole model, expected part 2 of 3"},
      {1, {2, 3, 4, NULL, {"c"}, {3}, 0}, "split.no is 2, expected 1 for part 2 of 3"},
      {2, {1, 3, 4, NULL, {"d"}, {3}, 0}, "m-00003-of-00003.gguf: split.no is 1, expected 2 for part 3 of 3"},
      {1, {3, 3, 4, NULL, {"c"}, {3}, 0}, "split.no is 3, expected 0 to 2"},
      {1, {-1, 3, 4, NULL, {"c"}, {3}, 0}, "split.count is 3, but split.no is missing"},
      {1, {1, 3, -1, NULL, {"c"}, {3}, 0}, "split.count is 3, but split.tensors.count is missing"},
      {1, {1, 3, 5, NULL, {"c"}, {3}, 0}, "split.tensors.count is 5, expected 4 as in the other parts"},
      {1, {1, 3, 4, NULL, {"a"}, {3}, 0}, "tensor a is there twice: in part 1 and in part 2 of 3"},
      {2, {2, 3, 4, NULL, {"c"}, {3}, 0}, "tensor c is there twice: in part 2 and in part 3 of 3"},
      {1, {1, 3, 4, NULL, {NULL}, {0}, 0}, "the 3 parts have 3 tensors together, split.tensors.count is 4"},
      {1, {1, 3, 4, NULL, {"c", "e"}, {3}, 0}, "the 3 parts have 5 tensors together, split.tensors.count is 4"},
      {1, {1, 3, 4, "qwen2", {"c"}, {3}, 0}, "general.architecture is not what it is in"},
      {2, {2, 3, 4, "llam", {"d"}, {3}, 0}, "these are parts of different models"},
      {1, {1, 513, 4, NULL, {"c"}, {3}, 0}, "split.count is 513, expected 0 to 512"},
      {1, {1, 65535, 4, NULL, {"c"}, {3}, 0}, "split.count is 65535, expected 0 to 512"},
      {1, {1, 3, 70000, NULL, {"c"}, {3}, 0}, "split.tensors.count is 70000, expected 0 to 65536"},
  };
  char dir[64], name[64];
  make_dir(dir);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    part parts[PARTS];
    memcpy(parts, good, sizeof parts);
    parts[cases[i].which] = cases[i].is;
    put_parts(dir, parts);
    refuses(in(dir, "m-00001-of-00003.gguf"), EL_ERR_FORMAT, cases[i].message);
    /* By whichever other part: a message, no crash. Those that all agree with each other open. */
    for (int k = 2; k <= PARTS; k++) {
      el_gguf *g = NULL;
      el_error e = {0};
      snprintf(name, sizeof name, "m-%05d-of-00003.gguf", k);
      el_status status = el_gguf_open(in(dir, name), &g, &e);
      if (!status) assert_int_equal(el_gguf_n_files(g), 1);
      if (status) assert_contains(e.message, dir);
      el_gguf_close(g);
    }
  }
  remove_tree(dir);
}

static void a_missing_or_renamed_part_is_named(void **state) {
  char dir[64], to[512];
  make_dir(dir);
  for (int missing = 1; missing <= PARTS; missing++) {
    char gone[64], named[64], message[128];
    put_parts(dir, good);
    snprintf(gone, sizeof gone, "m-%05d-of-00003.gguf", missing);
    assert_int_equal(unlink(in(dir, gone)), 0);
    snprintf(message, sizeof message, "%s: No such file", gone);
    for (int k = 1; k <= PARTS; k++) {
      snprintf(named, sizeof named, "m-%05d-of-00003.gguf", k);
      if (k == missing) continue;
      refuses(in(dir, named), EL_ERR_IO, message);
      snprintf(to, sizeof to, "part %d of 3 of the model", missing);
      refuses(in(dir, named), EL_ERR_IO, to);
    }
  }
  put_parts(dir, good);
  snprintf(to, sizeof to, "%s", in(dir, "m-00002-of-00003.gguf.bak"));
  assert_int_equal(rename(in(dir, "m-00002-of-00003.gguf"), to), 0);
  refuses(to, EL_ERR_FORMAT, "is part 2 of 3, but its name does not end in -00002-of-00003.gguf");
  static const char *const names[] = {"model.gguf",           "m-2-of-3.gguf",         "m-00002-of-00003",
                                      "-of-00003.gguf",       "m-00000-of-00003.gguf", "m-00004-of-00003.gguf",
                                      "m-0000x-of-00003.gguf"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    put_part(dir, names[i], &good[1]);
    refuses(in(dir, names[i]), EL_ERR_FORMAT, "its name does not end in -00002-of-00003.gguf");
    unlink(in(dir, names[i]));
  }
  put_part(dir, "n-00001-of-00003.gguf", &good[1]); /* another's place */
  refuses(in(dir, "n-00001-of-00003.gguf"), EL_ERR_FORMAT, "is part 2 of 3, but its name says 1 of 3");
  put_part(dir, "n-00002-of-00004.gguf", &good[1]);
  refuses(in(dir, "n-00002-of-00004.gguf"), EL_ERR_FORMAT, "is part 2 of 3, but its name says 2 of 4");
  /* A damaged part, and one that is no GGUF at all. */
  put_parts(dir, good);
  assert_int_equal(truncate(in(dir, "m-00003-of-00003.gguf"), 100), 0);
  refuses(in(dir, "m-00001-of-00003.gguf"), EL_ERR_FORMAT, "m-00003-of-00003.gguf: truncated");
  write_file(dir, "m-00003-of-00003.gguf", "hello", 5);
  refuses(in(dir, "m-00001-of-00003.gguf"), EL_ERR_FORMAT, "m-00003-of-00003.gguf: not a GGUF file");
  remove_tree(dir);
}

static void a_part_that_is_all_is_a_model(void **state) {
  char dir[64];
  el_gguf *g = NULL;
  el_error e;
  make_dir(dir);
  static const part whole[] = {{0, 1, 2, "llama", {"a", "b"}, {1, 2}, 0},
                               {-1, 1, -1, "llama", {"a", "b"}, {1, 2}, 0},
                               {2, 0, 2, "llama", {"a", "b"}, {1, 2}, 0}}; /* merged: the last part's number is left */
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
    put_part(dir, "any.gguf", &whole[i]);
    if (el_gguf_open(in(dir, "any.gguf"), &g, &e)) fail_msg("%s", e.message);
    assert_int_equal(el_gguf_n_files(g), 1);
    assert_int_equal(el_gguf_n_tensors(g), 2);
    el_gguf_close(g);
    g = NULL;
  }
  put_part(dir, "any.gguf", &(part){0, 1, 3, "llama", {"a", "b"}, {1, 2}, 0});
  refuses(in(dir, "any.gguf"), EL_ERR_FORMAT, "any.gguf: has 2 tensors, split.tensors.count is 3");
  put_part(dir, "any.gguf", &(part){1, 1, 2, "llama", {"a", "b"}, {1, 2}, 0});
  refuses(in(dir, "any.gguf"), EL_ERR_FORMAT, "split.no is 1, expected 0 to 0");
  remove_tree(dir);
}

/* Adapters and routers are read whole: they are no models. */
static void memory_has_no_other_parts(void **state) {
  char dir[64];
  el_gguf *g = NULL;
  el_error e;
  make_dir(dir);
  put_part(dir, "p", &good[0]);
  unsigned char bytes[2048];
  FILE *f = fopen(in(dir, "p"), "rb");
  size_t n = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  assert_int_equal(el_gguf_open_memory(bytes, n, "adapter.gguf", &g, &e), EL_ERR_UNSUPPORTED);
  assert_contains(e.message, "adapter.gguf: is part 1 of 3");
  assert_null(g);
  remove_tree(dir);
}

static void a_folder_is_the_one_model_in_it(void **state) {
  char dir[64];
  el_gguf *g = NULL;
  el_error e;
  make_dir(dir);
  refuses(dir, EL_ERR_NOT_FOUND, "holds no .gguf file");
  write_file(dir, "README.md", "x", 1);
  write_file(dir, ".hidden.gguf", "x", 1);
  assert_int_equal(mkdir(in(dir, "folder.gguf"), 0700), 0);
  refuses(dir, EL_ERR_NOT_FOUND, "holds no .gguf file");
  part whole = {-1, -1, -1, "llama", {"a"}, {1}, 0};
  put_part(dir, "one.gguf", &whole);
  if (el_gguf_open(dir, &g, &e)) fail_msg("%s", e.message);
  assert_string_equal(el_gguf_path(g), in(dir, "one.gguf"));
  el_gguf_close(g);
  put_part(dir, "m-00002-of-00003.gguf", &good[1]);
  refuses(dir, EL_ERR_INVALID, "holds 2 models, name one of them: m-00002-of-00003.gguf, one.gguf");
  unlink(in(dir, "one.gguf"));
  refuses(dir, EL_ERR_IO, "part 1 of 3 of the model"); /* not all are there */
  for (int i = 0; i < 9; i++) {
    char name[32];
    snprintf(name, sizeof name, "n%d.gguf", i);
    put_part(dir, name, &whole);
  }
  refuses(dir, EL_ERR_INVALID, "m-00002-of-00003.gguf, n0.gguf, n1.gguf, n2.gguf, n3.gguf, n4.gguf and 4 more");
  write_file(dir, "a\x1b[2J.gguf", "x", 1);
  refuses(dir, EL_ERR_INVALID, "a\\x1b[2J.gguf");
  remove_tree(dir);
}

static void the_stem_is_a_models_name(void **state) {
  static const char *const cases[][2] = {{"/x/y/llama.Q4_0.gguf", "llama.Q4_0"},
                                         {"llama-00002-of-00003.gguf", "llama"},
                                         {"a.b/llama-2-of-3.gguf", "llama-2-of-3"},
                                         {"a/-00002-of-00003.gguf", "-00002-of-00003"},
                                         {"a/model", "model"},
                                         {"a/.gguf", ""}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_true(el_str_eq(el_gguf_stem(cases[i][0]), cases[i][1]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_part_opens_all),
      cmocka_unit_test(links_are_parts_by_their_own_names),
      cmocka_unit_test(parts_that_do_not_belong_together_are_refused),
      cmocka_unit_test(a_missing_or_renamed_part_is_named),
      cmocka_unit_test(a_part_that_is_all_is_a_model),
      cmocka_unit_test(memory_has_no_other_parts),
      cmocka_unit_test(a_folder_is_the_one_model_in_it),
      cmocka_unit_test(the_stem_is_a_models_name),
  };
  return cmocka_run_group_tests_name("gguf_split", tests, NULL, NULL);
}
