/* The default model's own vocabulary, named by EDGELORA_MODEL. All lines of the corpus, for more pre-tokenizers, are
 * compared by tests/py/test_tokenizer_golden.py. */
#include <jansson.h>
#include <time.h>

#include "vocab_fixture.h"

static el_tokenizer *model;

static int open_model(void **state) {
  const char *path = getenv("EDGELORA_MODEL");
  if (!path) return 0;
  el_error e = {0};
  if (el_tokenizer_open(path, &model, &e)) fail_msg("%s", e.message);
  return 0;
}

static int close_model(void **state) {
  el_tokenizer_close(model);
  return 0;
}

static void need_model(void) {
  if (model) return;
  print_message("EDGELORA_MODEL is not set: skipped\n");
  skip();
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void its_special_tokens_are_known(void **state) {
  need_model();
  assert_int_equal(el_tokenizer_n_vocab(model), 49152);
  assert_int_equal(el_tokenizer_bos(model), 1);
  assert_int_equal(el_tokenizer_eos(model), 2);
  assert_true(el_tokenizer_is_eog(model, 2));
  assert_true(el_tokenizer_is_eog(model, 0)); /* <|endoftext|> */
  assert_false(el_tokenizer_is_eog(model, 1));
  assert_ids(model, "<|im_start|>user\nHello<|im_end|>\n", EL_TOKENIZE_SPECIAL | EL_TOKENIZE_BOS, 1, 4093, 198, 19556,
             2, 198, -1);
}

/* Ids by llama.cpp. Bytes that the vocabulary lacks are left out there too. */
static void ids_are_the_peers(void **state) {
  need_model();
  char path[512];
  snprintf(path, sizeof path, "%s/golden/tokenizer.json", getenv("EL_TEST_DATA"));
  json_error_t why;
  json_t *golden = json_load_file(path, JSON_ALLOW_NUL, &why), *line;
  if (!golden) fail_msg("%s: %s", path, why.text);
  size_t i, compared = 0;
  json_array_foreach(json_object_get(golden, "lines"), i, line) {
    json_t *text = json_object_get(line, "text"), *ids = json_object_get(line, "smollm");
    int32_t want[512];
    size_t n = json_array_size(ids);
    assert_true(text && n <= 512);
    for (size_t k = 0; k < n; k++) want[k] = (int32_t)json_integer_value(json_array_get(ids, k));
    check_ids(model, json_string_value(text), json_string_length(text), EL_TOKENIZE_LOSSY, want, n);
    compared++;
  }
  assert_true(compared >= 100);
  json_decref(golden);
}

static void every_token_comes_back_from_its_bytes(void **state) {
  need_model();
  for (int32_t id = 0; id < el_tokenizer_n_vocab(model); id++) {
    el_str s = el_token_bytes(model, id, true);
    assert_true(s.len > 0);
    assert_round_trip(model, s.data, s.len, EL_TOKENIZE_SPECIAL);
  }
}

/* Not a benchmark: bounds that only something wrong in kind would break, and the figures for a person to read. */
static void opening_and_a_megabyte_of_english_take_moments(void **state) {
  need_model();
  el_tokenizer *again = NULL;
  el_error e = {0};
  double start = seconds();
  assert_int_equal(el_tokenizer_open(getenv("EDGELORA_MODEL"), &again, &e), EL_OK);
  double opened = seconds() - start;
  el_tokenizer_close(again);

  char path[512];
  snprintf(path, sizeof path, "%s/golden/text.txt", getenv("EL_TEST_DATA"));
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  enum { N = 1 << 20 };
  char *text = malloc(N);
  size_t len = 0, n = 0;
  while (len < N) {
    size_t got = fread(text + len, 1, N - len, f);
    if (got == 0) rewind(f);
    len += got;
  }
  fclose(f);
  int32_t *ids = NULL;
  start = seconds();
  assert_int_equal(el_tokenize(model, text, N, EL_TOKENIZE_SPECIAL, &ids, &n, &e), EL_OK);
  double took = seconds() - start;
  print_message("opened in %.1f ms; a megabyte became %zu tokens in %.1f ms\n", 1e3 * opened, n, 1e3 * took);
  assert_true(opened < 2);
  assert_true(took < 5);
  free(ids);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(its_special_tokens_are_known),
      cmocka_unit_test(ids_are_the_peers),
      cmocka_unit_test(every_token_comes_back_from_its_bytes),
      cmocka_unit_test(opening_and_a_megabyte_of_english_take_moments),
  };
  return cmocka_run_group_tests(tests, open_model, close_model);
}
