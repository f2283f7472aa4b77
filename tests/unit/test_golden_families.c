/* Each model family's forward pass against llama.cpp and against its formula: tests/golden/families, made by
 * tools/golden/families.py.
 *
 * Each case holds 64 tokens and the logits after each of them: exact (the formula in float64, on dequantised weights)
 * and llama.cpp's, as it multiplies with activations of 8 bits. With packed weights we have to be as near to exact as
 * llama.cpp is; with all weights expanded to F16, where no activation is quantised, much nearer: that is what tells a
 * part left out from noise, as tools/golden/families.py has checked that each part moves the logits by more. */
#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "fixture.h"

/* The cases that the engine runs, by name; a family that is implemented gets its lines here. */
static const char *const runs[] = {
    "llama3",       "llama-linear", "llama-yarn",   "llama-longrope", "llama-longrope-long",
    "llama-biases", "qwen2",        "qwen2-lora",   "qwen3",          "gemma3",
    "gemma3-lora",  "gemma2",       "mistral3",     "phi3",           "phi3-long",
    "phi3-lora",    "granite",      "smollm3",      "smollm3-lora",   "olmo2",
    "olmo3",        "openelm",      "openelm-lora", "qwen3moe",       "granitemoe",
    "gpt-oss",      "gemma4"};

enum { POSITIONS = 64, MAX_CTX = 512, PAGES = MAX_CTX / EL_PAGE_TOKENS, MAX_VOCAB = 512 };

/* F16 keeps 11 bits of weights, keys and values: root mean square and largest distance from exact, in units of the
 * logits' deviation. What families.py lets pass as visible moves them by 0.03 and more. */
static const double F16_RMS = 0.005, F16_MAX = 0.05;

/* Steps of one chunk each, of odd sizes: positions meet earlier ones of their own chunk, of the one before, and of
 * pages long full. */
static const int chunks[] = {1, 2, 13, 16, 5, 26, 1};

static bool is_run(const char *name) {
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
    if (!strcmp(runs[i], name)) return true;
  return false;
}

static void golden_path(char *out, size_t n, const char *name) {
  char in_golden[256];
  snprintf(in_golden, sizeof in_golden, "golden/%s", name);
  test_path(out, n, in_golden);
}

typedef struct answers {
  int ids[POSITIONS], n_vocab;
  double std;
  float *exact, *peer, *got; /* [POSITIONS, n_vocab] */
} answers;

static answers answers_read(const json_t *c) {
  answers a = {.n_vocab = (int)json_integer_value(json_object_get(c, "vocab")),
               .std = json_number_value(json_object_get(c, "std"))};
  const json_t *ids = json_object_get(c, "ids");
  assert_true(a.n_vocab > 0 && a.n_vocab <= MAX_VOCAB && a.std > 0);
  assert_int_equal(json_array_size(ids), POSITIONS);
  for (size_t i = 0; i < POSITIONS; i++) a.ids[i] = (int)json_integer_value(json_array_get(ids, i));
  size_t n = (size_t)POSITIONS * (size_t)a.n_vocab;
  int16_t *codes = malloc(n * sizeof *codes); /* exact */
  int8_t *above = malloc(n);                  /* llama.cpp's less exact */
  float *all = malloc(3 * n * sizeof *all);
  assert_true(codes && above && all);
  char path[512];
  golden_path(path, sizeof path, json_string_value(json_object_get(c, "logits")));
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  assert_true(fread(codes, sizeof *codes, n, f) == n && fread(above, 1, n, f) == n && fgetc(f) == EOF);
  fclose(f);
  double step = json_number_value(json_object_get(c, "step")),
         peer_step = json_number_value(json_object_get(c, "peer_step"));
  for (size_t i = 0; i < n; i++) {
    all[i] = (float)(codes[i] * step);
    all[n + i] = (float)(codes[i] * step + above[i] * peer_step);
  }
  free(codes);
  free(above);
  a.exact = all;
  a.peer = all + n;
  a.got = all + 2 * n;
  return a;
}

/* Feeds the tokens, in chunks or in one step, and keeps the logits after each. */
static void feed(fixture *f, answers *a, bool in_chunks, const el_adapter *adapter) {
  uint32_t pages[PAGES];
  for (uint32_t i = 0; i < PAGES; i++) pages[i] = (i * 5 + 3) % PAGES;
  for (int pos = 0, k = 0, n; pos < POSITIONS; pos += n, k++) {
    el_row rows[POSITIONS];
    n = in_chunks ? chunks[k] : POSITIONS;
    for (int i = 0; i < n; i++)
      rows[i] =
          (el_row){.token = a->ids[pos + i], .pos = pos + i, .pages = pages, .adapter = adapter, .wants_logits = true};
    memcpy(a->got + (size_t)pos * (size_t)a->n_vocab, el_step_run(f->step, rows, n),
           sizeof(float) * (size_t)n * (size_t)a->n_vocab);
  }
}

typedef struct gap {
  double rms, max; /* in units of the logits' deviation */
} gap;

static gap distance(const answers *a, const float *x) {
  gap g = {0};
  size_t n = (size_t)POSITIONS * (size_t)a->n_vocab;
  for (size_t i = 0; i < n; i++) {
    double d = fabs((double)x[i] - (double)a->exact[i]) / a->std;
    if (!(d <= g.max)) g.max = d; /* NaN too */
    g.rms += d * d;
  }
  g.rms = sqrt(g.rms / (double)n);
  return g;
}

/* The widest lead, after exact, of the exact best token over ours, in units of the deviation; `same` of them agree. */
static double widest_tie(const answers *a, int *same) {
  double widest = 0;
  *same = 0;
  for (int p = 0; p < POSITIONS; p++) {
    const float *e = a->exact + (size_t)p * (size_t)a->n_vocab;
    int best = argmax(e, a->n_vocab), mine = argmax(a->got + (size_t)p * (size_t)a->n_vocab, a->n_vocab);
    *same += best == mine;
    widest = fmax(widest, (double)(e[best] - e[mine]) / a->std);
  }
  return widest;
}

static void check_one(const json_t *c, answers *a, const char *model, el_weights weights, const char *adapter_key) {
  const char *name = json_string_value(json_object_get(c, "name"));
  int ctx = (int)json_integer_value(json_object_get(c, "ctx")), same = 0;
  assert_true(ctx >= POSITIONS && ctx <= MAX_CTX);
  fixture f = fixture_open(model, NULL, weights, 2, POSITIONS, ctx, PAGES);
  assert_int_equal(f.h->n_vocab, a->n_vocab);
  el_adapter *adapter = NULL;
  if (adapter_key) {
    char path[512];
    golden_path(path, sizeof path, json_string_value(json_object_get(c, adapter_key)));
    adapter = fixture_adapter_as(&f, path, weights == EL_WEIGHTS_F16 ? EL_LAYOUT_F16 : EL_LAYOUT_Q8);
  }
  feed(&f, a, false, adapter);
  gap whole = distance(a, a->got), peer = distance(a, a->peer);
  feed(&f, a, true, adapter);
  gap ours = distance(a, a->got);
  double tie = widest_tie(a, &same);
  printf(
      "%s%s%s, %s: rms %.5f, max %.4f (in one step %.5f), %d of %d best tokens, widest tie %.4f; llama.cpp %.5f, "
      "%.4f\n",
      name, adapter_key ? " " : "", adapter_key ? adapter_key : "", weights == EL_WEIGHTS_F16 ? "F16" : "packed",
      ours.rms, ours.max, whole.rms, same, POSITIONS, tie, peer.rms, peer.max);
  if (weights == EL_WEIGHTS_F16) {
    assert_true(ours.rms <= F16_RMS && whole.rms <= F16_RMS && ours.max <= F16_MAX);
  } else {
    /* As in test_golden.c; the largest of thousands of distances is a few times the mean one for both. */
    double limit = 1.25 * peer.rms + 0.002 + (adapter_key ? 0.01 : 0);
    assert_true(ours.rms <= limit && whole.rms <= limit && ours.max <= 2 * fmax(peer.max, 5 * peer.rms));
    assert_true(tie <= 4 * M_SQRT2 * fmax(ours.rms, peer.rms));
  }
  el_adapter_free(adapter);
  fixture_close(&f);
}

static void check_cases(bool with_adapter) {
  char path[512];
  test_path(path, sizeof path, "golden/families.json");
  json_error_t e;
  json_t *j = json_load_file(path, 0, &e), *c;
  if (!j) fail_msg("%s: %s", path, e.text);
  size_t i, found = 0, wanted = 0;
  json_array_foreach(json_object_get(j, "cases"), i, c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    if (!json_object_get(c, "lora") == with_adapter) continue;
    if (!is_run(name)) {
      printf("%s: not run by the engine yet\n", name);
      continue;
    }
    found++;
    char model[512];
    golden_path(model, sizeof model, json_string_value(json_object_get(c, "model")));
    answers a = answers_read(c);
    static const el_weights kinds[] = {EL_WEIGHTS_F16, EL_WEIGHTS_KEEP};
    for (size_t k = 0; k < 2; k++) {
      static const char *const forms[] = {"lora", "peft", "peft_by_expert"};
      if (!with_adapter) check_one(c, &a, model, kinds[k], NULL);
      for (size_t form = 0; form < sizeof forms / sizeof *forms; form++)
        if (json_object_get(c, forms[form])) check_one(c, &a, model, kinds[k], forms[form]);
    }
    free(a.exact);
  }
  /* A name in the list above that no case has would be a test that cannot fail. */
  for (size_t k = 0; k < sizeof runs / sizeof *runs; k++) wanted += (strstr(runs[k], "-lora") != NULL) == with_adapter;
  assert_int_equal(found, wanted);
  json_decref(j);
}

static void each_family_computes_its_formula(void **state) {
  check_cases(false);
}

static void each_family_applies_adapters_as_gguf_and_as_peft(void **state) {
  check_cases(true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_family_computes_its_formula),
      cmocka_unit_test(each_family_applies_adapters_as_gguf_and_as_peft),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
