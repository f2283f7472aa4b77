/* Logits and greedy continuations against llama.cpp's, recorded in tests/golden by the scripts in tools/golden.
 *
 * The records hold two runs of llama.cpp: `exact`, with the weights dequantised to F32, and `out`, as users run it,
 * with activations quantised to int8 as ours are. With all weights expanded to F16 our engine has to follow `exact`,
 * word for word but for near ties. With packed weights it has to be as close to `exact` as llama.cpp's own quantised
 * run is, and each greedy choice that differs from that run's has to be a near tie: two runs with int8 activations do
 * not agree better than that with each other. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "fixture.h"

/* The default model; NULL: it is not there, or not wanted, as kernels on a model of hardware take minutes for it. */
static const char *real_model(void) {
  return getenv("EL_TINY_ALONE") ? NULL : getenv("EDGELORA_MODEL");
}

enum { MAX_TOKENS = 512, PAGES = MAX_TOKENS / EL_PAGE_TOKENS };

static json_t *load(const char *name) {
  char path[512];
  test_path(path, sizeof path, name);
  json_error_t e;
  json_t *j = json_load_file(path, 0, &e);
  if (!j) fail_msg("%s: %s", path, e.text);
  return j;
}

static int ints(const json_t *a, int *out) {
  int n = (int)json_array_size(a);
  assert_true(n >= 1 && n <= MAX_TOKENS);
  for (int i = 0; i < n; i++) out[i] = (int)json_integer_value(json_array_get(a, (size_t)i));
  return n;
}

static double number(const json_t *j, const char *key) {
  return json_number_value(json_object_get(j, key));
}

typedef struct tally {
  int cases, same;     /* greedy continuations that equal llama.cpp's to the end */
  double worst_tie;    /* the widest gap between two choices where ours was another, in units of the deviation */
  double ours, theirs; /* sums of mean squared distances to `exact`, in units of the logits' deviation */
} tally;

/* Mean squared distance of `got` from the recorded logits: all of them, [n_vocab], or the best, [[id, logit] ...]. */
static double distance(const float *got, const json_t *exact) {
  double std = number(exact, "std"), sum = 0;
  const json_t *all = json_object_get(exact, "logits"), *list = all ? all : json_object_get(exact, "top");
  size_t n = json_array_size(list);
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(list, i);
    size_t id = all ? i : (size_t)json_integer_value(json_array_get(v, 0));
    double d = (got[id] - json_number_value(all ? v : json_array_get(v, 1))) / std;
    sum += d * d;
  }
  return sum / (double)n;
}

/* The same distance for llama.cpp's own quantised run; for lists only ids that both have count. */
static double peer_distance(const json_t *run, const json_t *exact) {
  double std = number(exact, "std"), sum = 0;
  const json_t *all = json_object_get(exact, "logits");
  size_t n = 0;
  if (all) {
    const json_t *ours = json_object_get(run, "logits");
    for (; n < json_array_size(all); n++) {
      double d = (json_number_value(json_array_get(ours, n)) - json_number_value(json_array_get(all, n))) / std;
      sum += d * d;
    }
    return sum / (double)n;
  }
  const json_t *a = json_object_get(run, "top"), *b = json_object_get(exact, "top");
  for (size_t i = 0; i < json_array_size(a); i++)
    for (size_t k = 0; k < json_array_size(b); k++) {
      const json_t *x = json_array_get(a, i), *y = json_array_get(b, k);
      if (json_integer_value(json_array_get(x, 0)) != json_integer_value(json_array_get(y, 0))) continue;
      double d = (json_number_value(json_array_get(x, 1)) - json_number_value(json_array_get(y, 1))) / std;
      sum += d * d;
      n++;
    }
  return n ? sum / (double)n : 0;
}

/* Feeds the tokens of a recorded run and looks at each choice: what we would have taken there against what it took. */
static void check_case(fixture *f, const json_t *c, bool against_exact, const el_adapter *a, tally *t) {
  const json_t *exact = json_object_get(c, "exact"), *run = against_exact ? exact : c,
               *steps = json_object_get(run, "steps");
  int prompt[MAX_TOKENS], out[MAX_TOKENS], n = ints(json_object_get(c, "ids"), prompt),
                                           n_out = ints(json_object_get(run, "out"), out);
  double std = number(exact, "std");
  uint32_t pages[PAGES];
  for (uint32_t i = 0; i < PAGES; i++) pages[i] = (i * 5 + 3) % PAGES;
  const float *logits = fixture_run(f, prompt, n, 0, pages, a);
  t->ours += distance(logits, exact);
  t->theirs += peer_distance(c, exact);
  bool same = true;
  for (int i = 0; i < n_out; i++) {
    int mine = argmax(logits, f->h->n_vocab);
    if (mine != out[i]) {
      /* its gap between its two best, and ours between our choice and its */
      const json_t *s = json_array_get(steps, (size_t)i);
      double gap = json_number_value(json_array_get(s, 1)) - json_number_value(json_array_get(s, 3));
      t->worst_tie = fmax(t->worst_tie, fmax(gap, logits[mine] - logits[out[i]]) / std);
      same = false;
    }
    if (i + 1 < n_out) logits = fixture_run(f, &out[i], 1, n + i, pages, a);
  }
  t->cases++;
  t->same += same;
}

static double rms(double sum, int n) {
  return sqrt(sum / n);
}

static void print_tally(const char *what, const tally *t) {
  printf("%s: %d of %d continuations equal, widest tie %.4f; distance to exact %.4f, llama.cpp's %.4f\n", what, t->same,
         t->cases, t->worst_tie, rms(t->ours, t->cases), rms(t->theirs, t->cases));
  assert_true(t->cases > 0);
}

/* Our distance to exact is llama.cpp's, give or take; `requantised` is what 8-bit weights add where the file has a type
 * with 16 values a scale. A near tie is a gap of at most four deviations of the difference of two logits with that
 * noise. */
static void check_packed(const char *what, const tally *t, double requantised) {
  print_tally(what, t);
  double noise = fmax(rms(t->ours, t->cases), rms(t->theirs, t->cases));
  assert_true(rms(t->ours, t->cases) <= 1.25 * rms(t->theirs, t->cases) + 0.002 + requantised);
  assert_true(t->worst_tie <= 4 * M_SQRT2 * noise);
}

static bool has_16_values_a_scale(const char *type) {
  return !strcmp(type, "Q2_K") || !strcmp(type, "Q3_K") || !strcmp(type, "Q6_K");
}

static void every_tensor_type_agrees_with_llama_cpp(void **state) {
  json_t *j = load("golden/tiny.json"), *m, *c;
  size_t i, k;
  json_array_foreach(json_object_get(j, "models"), i, m) {
    char path[512], name[256];
    const char *file = json_string_value(json_object_get(m, "file"));
    snprintf(name, sizeof name, "golden/%s", file);
    test_path(path, sizeof path, name);
    fixture f = fixture_open(path, NULL, EL_WEIGHTS_KEEP, 2, 256, MAX_TOKENS, PAGES);
    tally t = {0};
    json_array_foreach(json_object_get(m, "cases"), k, c) check_case(&f, c, false, NULL, &t);
    check_packed(file, &t, has_16_values_a_scale(json_string_value(json_object_get(m, "type"))) ? 0.02 : 0);
    fixture_close(&f);
  }
  json_decref(j);
}

static void check_lora(const json_t *m, const char *model_path, const char *key) {
  if (!json_object_get(m, key)) return;
  char path[512], name[256];
  snprintf(name, sizeof name, "golden/%s", json_string_value(json_object_get(m, key)));
  test_path(path, sizeof path, name);
  fixture f = fixture_open(model_path, NULL, EL_WEIGHTS_KEEP, 2, 256, MAX_TOKENS, PAGES);
  el_adapter *a = fixture_adapter(&f, path);
  tally t = {0};
  size_t k;
  json_t *c;
  json_array_foreach(json_object_get(m, "cases"), k, c) check_case(&f, c, false, a, &t);
  check_packed(name, &t, 0);
  el_adapter_free(a);
  fixture_close(&f);
}

static void adapters_agree_with_llama_cpp_as_gguf_and_as_peft(void **state) {
  json_t *j = load("golden/lora.json"), *m;
  size_t i;
  json_array_foreach(json_object_get(j, "models"), i, m) {
    char path[512], name[256];
    const char *file = json_string_value(json_object_get(m, "model"));
    if (strncmp(file, "tiny/", 5)) {
      if (!real_model()) continue;
      snprintf(path, sizeof path, "%s", real_model());
    } else {
      snprintf(name, sizeof name, "golden/%s", file);
      test_path(path, sizeof path, name);
    }
    check_lora(m, path, "lora");
    check_lora(m, path, "peft");
  }
  json_decref(j);
}

static void demo_adapters_agree_with_llama_cpp(void **state) {
  /* In a sanitizer's build it takes a minute, for what other tests run there. */
  if (!real_model() || getenv("ASAN_OPTIONS")) skip();
  json_t *j = load("golden/adapters.json"), *m, *c;
  size_t i, k;
  fixture f = fixture_open(real_model(), NULL, EL_WEIGHTS_KEEP, 2, 256, MAX_TOKENS, PAGES);
  json_array_foreach(json_object_get(j, "adapters"), i, m) {
    char path[512], name[256];
    snprintf(name, sizeof name, "../adapters/%s", json_string_value(json_object_get(m, "adapter")));
    test_path(path, sizeof path, name);
    el_adapter *a = fixture_adapter(&f, path);
    tally t = {0};
    json_array_foreach(json_object_get(m, "cases"), k, c) check_case(&f, c, false, a, &t);
    check_packed(name, &t, 0.01); /* and what 8-bit LoRA weights add */
    el_adapter_free(a);
  }
  assert_true(i >= 5);
  fixture_close(&f);
  json_decref(j);
}

static const el_layout layouts[] = {EL_LAYOUT_F16, EL_LAYOUT_Q8, EL_LAYOUT_Q4};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts, CASES_EACH = 4 };

/* The demo adapters in each layout after some prompts. to_exact: the root mean square; to_f16: the mean of what all
 * logits differ by from those of the first layout; both in units of the logits' deviation. */
static void compare_layouts(el_weights weights, double *to_exact, double *to_f16) {
  json_t *j = load("golden/adapters.json"), *m, *c;
  size_t i, k;
  int n_cases = 0;
  fixture f = fixture_open(real_model(), NULL, weights, 2, 256, MAX_TOKENS, PAGES);
  size_t v = (size_t)f.h->n_vocab;
  float *first = malloc(sizeof(float) * v);
  assert_non_null(first);
  uint32_t pages[PAGES];
  for (uint32_t p = 0; p < PAGES; p++) pages[p] = p;
  for (int l = 0; l < N_LAYOUTS; l++) to_exact[l] = to_f16[l] = 0;
  json_array_foreach(json_object_get(j, "adapters"), i, m) {
    char path[512], name[256];
    snprintf(name, sizeof name, "../adapters/%s", json_string_value(json_object_get(m, "adapter")));
    test_path(path, sizeof path, name);
    el_adapter *a[N_LAYOUTS];
    for (int l = 0; l < N_LAYOUTS; l++) a[l] = fixture_adapter_as(&f, path, layouts[l]);
    json_array_foreach(json_object_get(m, "cases"), k, c) {
      if (k == CASES_EACH) break;
      const json_t *exact = json_object_get(c, "exact");
      int prompt[MAX_TOKENS], n = ints(json_object_get(c, "ids"), prompt);
      for (int l = 0; l < N_LAYOUTS; l++) {
        const float *logits = fixture_run(&f, prompt, n, 0, pages, a[l]);
        to_exact[l] += distance(logits, exact);
        if (l == 0) memcpy(first, logits, sizeof(float) * v);
        double sum = 0;
        for (size_t t = 0; t < v; t++) sum += fabs((double)logits[t] - (double)first[t]);
        to_f16[l] += sum / (double)v / number(exact, "std");
      }
      n_cases++;
    }
    for (int l = 0; l < N_LAYOUTS; l++) el_adapter_free(a[l]);
  }
  for (int l = 0; l < N_LAYOUTS; l++) {
    to_exact[l] = rms(to_exact[l], n_cases);
    to_f16[l] /= n_cases;
    printf("adapters as %s, %s base: distance to exact %.4f, mean difference to f16 %.4f\n", el_layout_name(layouts[l]),
           weights == EL_WEIGHTS_F16 ? "F16" : "packed", to_exact[l], to_f16[l]);
  }
  free(first);
  fixture_close(&f);
  json_decref(j);
}

static void adapters_of_more_bits_are_closer_to_exact(void **state) {
  /* In a sanitizer's build it takes minutes. */
  if (!real_model() || getenv("ASAN_OPTIONS")) skip();
  double to_exact[N_LAYOUTS], to_f16[N_LAYOUTS];
  compare_layouts(EL_WEIGHTS_F16, to_exact, to_f16);
  assert_true(to_exact[0] < 0.004 && to_exact[0] < to_exact[1] && to_exact[1] < to_exact[2] && to_exact[2] < 0.05);
  assert_true(0 < to_f16[1] && to_f16[1] < to_f16[2]);
  /* As served, activations of 8 bits make more noise than any of them. */
  compare_layouts(EL_WEIGHTS_KEEP, to_exact, to_f16);
  for (int l = 1; l < N_LAYOUTS; l++) assert_true(to_f16[l] > 0 && to_exact[l] <= 1.25 * to_exact[0] + 0.01);
}

static tally default_model(el_weights weights, bool against_exact) {
  json_t *j = load("golden/greedy.json"), *c;
  size_t i;
  fixture f = fixture_open(real_model(), NULL, weights, 2, 256, MAX_TOKENS, PAGES);
  tally t = {0};
  json_array_foreach(json_object_get(j, "cases"), i, c) check_case(&f, c, against_exact, NULL, &t);
  fixture_close(&f);
  json_decref(j);
  return t;
}

static void the_default_model_agrees_with_llama_cpp(void **state) {
  if (!real_model()) skip();
  tally t = default_model(EL_WEIGHTS_KEEP, false);
  check_packed("default model, packed", &t, 0);
}

static void the_default_model_in_f16_continues_as_llama_cpp_in_f32(void **state) {
  /* In a sanitizer's build it takes minutes, for kernels that other tests run there. */
  if (!real_model() || getenv("ASAN_OPTIONS")) skip();
  tally t = default_model(EL_WEIGHTS_F16, true);
  print_tally("default model, F16 against F32", &t);
  assert_true(t.cases >= 20 && t.same >= 0.9 * t.cases);
  assert_true(t.worst_tie <= 0.01);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_tensor_type_agrees_with_llama_cpp),
      cmocka_unit_test(adapters_agree_with_llama_cpp_as_gguf_and_as_peft),
      cmocka_unit_test(demo_adapters_agree_with_llama_cpp),
      cmocka_unit_test(adapters_of_more_bits_are_closer_to_exact),
      cmocka_unit_test(the_default_model_agrees_with_llama_cpp),
      cmocka_unit_test(the_default_model_in_f16_continues_as_llama_cpp_in_f32),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
