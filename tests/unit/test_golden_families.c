/* Each model family's forward pass against llama.cpp and against its formula: tests/golden/families, made by
 * tools/golden/families.py.
 *
 * Each case holds 64 tokens and the logits after each of them: exact (the formula in float64, on dequantised weights)
 * and llama.cpp's, as it multiplies with activations of 8 bits. With packed weights we have to be as near to exact as
 * llama.cpp is; with all weights expanded to F16, where no activation is quantised, much nearer: that is what tells a
 * part left out from noise, as tools/golden/families.py has checked that each part moves the logits by more. */
#include "golden_answers.h"

/* The cases that the engine runs, by name; a family that is implemented gets its lines here. */
static const char *const runs[] = {
    "llama3",       "llama-linear", "llama-yarn",    "llama-longrope", "llama-longrope-long",
    "llama-biases", "qwen2",        "qwen2-lora",    "qwen3",          "gemma3",
    "gemma3-lora",  "gemma2",       "mistral3",      "phi3",           "phi3-long",
    "phi3-lora",    "granite",      "smollm3",       "smollm3-lora",   "olmo2",
    "olmo3",        "openelm",      "openelm-lora",  "qwen3moe",       "granitemoe",
    "gpt-oss",      "gemma4",       "qwen3moe-lora", "gpt-oss-lora",   "granitemoe-lora"};

static bool is_run(const char *name) {
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
    if (!strcmp(runs[i], name)) return true;
  return false;
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
