/* Features of many prompts: the same as of each alone, and as the step gives them. */
#include "fixture.h"
#include "router/extractor.h"
#include "tokenizer/tokenizer.h"

enum { PROMPTS = 40, MAX_TOKENS = 48 };

static el_extractor *open_reader(int n_threads) {
  char path[512];
  el_extractor *r = NULL;
  el_error e = {0};
  test_path(path, sizeof path, "golden/tiny/q8_0.gguf");
  const el_extractor_options o = {.model_path = path, .isa = "scalar", .n_threads = n_threads};
  if (el_extractor_open(&o, &r, &e)) fail_msg("%s", e.message);
  return r;
}

static el_features features_of(const el_extractor *r) {
  el_features f = {.n_embd = el_extractor_hparams(r)->n_embd, .n_taps = 2, .taps = {0, 1}, .max_tokens = MAX_TOKENS};
  for (int t = 0; t < 2; t++)
    for (int p = 0; p < EL_N_POOLINGS; p++) f.slices[f.n_slices++] = (el_feature_slice){t, (el_pooling)p};
  return f;
}

/* Of 1 to 120 letters: several share a step, some need two, some are longer than what is read. */
static void make_prompts(char *out[PROMPTS]) {
  for (int i = 0; i < PROMPTS; i++) {
    int n = 1 + i * 3;
    out[i] = calloc((size_t)n + 1, 1);
    assert_non_null(out[i]);
    for (int k = 0; k < n; k++) out[i][k] = (char)('a' + (i * 7 + k * k) % 26);
  }
}

static float *read_all(el_extractor *r, const el_features *f, char *const *prompts, size_t n,
                       el_extractor_progress_fn fn, void *user) {
  float *x = calloc(n * el_features_n(f), sizeof *x);
  el_error e = {0};
  assert_non_null(x);
  if (el_extractor_run(r, f, prompts, n, x, fn, user, NULL, &e)) fail_msg("%s", e.message);
  return x;
}

static void see_progress(void *user, size_t done, size_t total) {
  size_t *last = user;
  assert_true(done >= *last && done <= total);
  *last = done;
}

static void together_or_alone_and_with_any_threads_features_are_the_same(void **state) {
  char *prompts[PROMPTS];
  size_t last = 0;
  make_prompts(prompts);
  el_extractor *one = open_reader(1), *two = open_reader(2);
  el_features f = features_of(one);
  const size_t n_in = el_features_n(&f);
  float *a = read_all(one, &f, prompts, PROMPTS, see_progress, &last),
        *b = read_all(two, &f, prompts, PROMPTS, NULL, NULL);
  assert_memory_equal(a, b, PROMPTS * n_in * sizeof *a);
  assert_int_equal(last, PROMPTS);
  for (int i = 0; i < PROMPTS; i++) {
    float *alone = read_all(one, &f, prompts + i, 1, NULL, NULL);
    assert_memory_equal(alone, a + (size_t)i * n_in, n_in * sizeof *a);
    free(alone);
  }
  for (int i = 0; i < PROMPTS; i++) free(prompts[i]);
  free(a);
  free(b);
  el_extractor_close(one);
  el_extractor_close(two);
}

/* The model without a template reads the text as it stands, from its first token. */
static void features_are_the_steps_states_pooled(void **state) {
  char path[512], *prompt = (char[]){"a sentence that the tiny model reads, and more of it than it may"};
  el_extractor *r = open_reader(1);
  el_features f = features_of(r);
  el_tokenizer *t = NULL;
  el_pooler *p = NULL;
  el_error e = {0};
  int32_t *tokens = NULL;
  size_t n = 0;
  test_path(path, sizeof path, "golden/tiny/q8_0.gguf");
  assert_int_equal(el_tokenizer_open(path, &t, &e), EL_OK);
  assert_int_equal(el_tokenize(t, prompt, strlen(prompt), EL_TOKENIZE_BOS, &tokens, &n, &e), EL_OK);
  if (n > MAX_TOKENS) n = MAX_TOKENS;
  fixture x = fixture_open(path, "scalar", EL_WEIGHTS_KEEP, 1, MAX_TOKENS, MAX_TOKENS, MAX_TOKENS / EL_PAGE_TOKENS);
  const uint32_t pages[MAX_TOKENS / EL_PAGE_TOKENS] = {0, 1, 2};
  const size_t each = 2 * (size_t)f.n_embd;
  float *states = malloc(n * each * sizeof *states), *want = malloc(el_features_n(&f) * sizeof *want);
  el_row rows[MAX_TOKENS] = {0};
  assert_int_equal(el_step_taps(x.step, f.taps, f.n_taps, &e), EL_OK);
  for (size_t i = 0; i < n; i++)
    rows[i] = (el_row){
        .token = tokens[i], .pos = (int)i, .pages = pages, .layers = EL_ROW_FIRST_LAYERS, .states = states + i * each};
  el_step_run(x.step, rows, (int)n);
  assert_int_equal(el_pooler_new(&f, &p, &e), EL_OK);
  for (size_t i = 0; i < n; i++) el_pooler_add(p, states + i * each);
  el_pooler_get(p, want);
  float *got = read_all(r, &f, &prompt, 1, NULL, NULL);
  assert_memory_equal(got, want, el_features_n(&f) * sizeof *want);
  free(got);
  free(want);
  free(states);
  el_pooler_free(p);
  fixture_close(&x);
  free(tokens);
  el_tokenizer_close(t);
  el_extractor_close(r);
}

static void what_lies_beyond_the_limit_does_not_count(void **state) {
  char a[2 * MAX_TOKENS * 8] = "", b[sizeof a] = "", *prompts[2] = {a, b};
  for (size_t i = 0; i + 9 < sizeof a; i++) a[i] = b[i] = (char)('a' + i * i % 26);
  strcat(a, "one end");
  strcat(b, "another");
  el_extractor *r = open_reader(1);
  el_features f = features_of(r);
  float *x = read_all(r, &f, prompts, 2, NULL, NULL);
  assert_memory_equal(x, x + el_features_n(&f), el_features_n(&f) * sizeof *x);
  free(x);
  el_extractor_close(r);
}

static void models_are_told_apart_by_their_fingerprint_and_quantisations_are_not(void **state) {
  static const char *const files[] = {"golden/tiny/q8_0.gguf", "golden/tiny/q4_0.gguf", "golden/tiny/f32.gguf",
                                      "golden/tiny/untied.gguf"};
  uint64_t prints[4];
  for (int i = 0; i < 4; i++) {
    char path[512];
    el_extractor *r = NULL;
    el_error e = {0};
    test_path(path, sizeof path, files[i]);
    const el_extractor_options o = {.model_path = path, .n_threads = 1};
    if (el_extractor_open(&o, &r, &e)) fail_msg("%s", e.message);
    prints[i] = el_extractor_base(r)->fingerprint;
    el_extractor_close(r);
  }
  assert_int_equal(prints[0], prints[1]);
  assert_int_not_equal(prints[0], prints[2]);
  assert_int_not_equal(prints[0], prints[3]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(together_or_alone_and_with_any_threads_features_are_the_same),
      cmocka_unit_test(features_are_the_steps_states_pooled),
      cmocka_unit_test(what_lies_beyond_the_limit_does_not_count),
      cmocka_unit_test(models_are_told_apart_by_their_fingerprint_and_quantisations_are_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
