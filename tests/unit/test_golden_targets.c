/* Adapters that touch more than pairs on linear layers, against PEFT: tests/golden/targets, made by
 * tools/golden/targets.py; and those of mlx-lm, against mlx-lm: tests/golden/targets_mlx, made by
 * tools/golden/targets_mlx.py.
 *
 * Each case holds 64 tokens and the logits after each of them, as that program computes them in float64 from the
 * adapter's own files. As in test_golden_families.c: with all weights expanded to F16 we have to be much nearer than
 * what leaving out the part that a case is about would move; with packed weights, as near as llama.cpp is with the base
 * alone. Where an adapter changes which experts rows go to, rounding of packed weights decides between two that are
 * near a tie, and there is no such check. */
#include "golden_answers.h"

/* With weights as they are packed; the adapter's own are of 8 bits too. */
static const double PACKED_MORE = 1.5, PACKED_RMS = 0.012;

typedef struct cases {
  json_t *j, *list;
} cases;

static cases open_cases(const char *file) {
  char path[512];
  json_error_t e;
  test_path(path, sizeof path, file);
  cases c = {.j = json_load_file(path, 0, &e)};
  if (!c.j) fail_msg("%s: %s", path, e.text);
  c.list = json_object_get(c.j, "cases");
  assert_true(json_array_size(c.list) > 0);
  return c;
}

static const char *text(const json_t *c, const char *key) {
  return json_string_value(json_object_get(c, key));
}

static fixture open_model(const json_t *c, el_weights weights) {
  char path[512];
  golden_path(path, sizeof path, text(c, "model"));
  int ctx = (int)json_integer_value(json_object_get(c, "ctx"));
  assert_true(ctx >= POSITIONS && ctx <= MAX_CTX);
  return fixture_open(path, NULL, weights, 2, POSITIONS, ctx, PAGES);
}

static el_adapter *open_adapter(const fixture *f, const json_t *c, const char *form, el_weights weights) {
  char path[512];
  golden_path(path, sizeof path, text(c, form));
  return fixture_adapter_as(f, path, weights == EL_WEIGHTS_F16 ? EL_LAYOUT_F16 : EL_LAYOUT_Q8);
}

static void check_case(const json_t *c, const char *form, el_weights weights) {
  answers a = answers_read(c);
  fixture f = open_model(c, weights);
  el_adapter *adapter = open_adapter(&f, c, form, weights);
  const double counts = json_number_value(json_object_get(c, "counts")),
               peer = json_number_value(json_object_get(c, "peer"));
  feed(&f, &a, false, adapter);
  gap whole = distance(&a, a.got);
  feed(&f, &a, true, adapter);
  gap ours = distance(&a, a.got);
  printf("%s %s, %s: rms %.5f, max %.4f (in one step %.5f); without it %.3f\n", text(c, "name"), form,
         weights == EL_WEIGHTS_F16 ? "F16" : "packed", ours.rms, ours.max, whole.rms, counts);
  if (weights == EL_WEIGHTS_F16)
    assert_true(ours.rms <= F16_RMS && whole.rms <= F16_RMS && ours.max <= F16_MAX && counts > 5 * F16_RMS);
  else
    assert_true(ours.rms <= PACKED_MORE * peer + PACKED_RMS && whole.rms <= PACKED_MORE * peer + PACKED_RMS);
  el_adapter_free(adapter);
  fixture_close(&f);
  free(a.exact);
}

/* Returns how many cases have the form. */
static size_t check_form(const char *file, const char *form) {
  cases all = open_cases(file);
  json_t *c;
  size_t i, n = 0;
  json_array_foreach(all.list, i, c) {
    if (!json_object_get(c, form)) continue;
    n++;
    check_case(c, form, EL_WEIGHTS_F16);
    if (!json_is_true(json_object_get(c, "routed"))) check_case(c, form, EL_WEIGHTS_KEEP);
  }
  json_decref(all.j);
  return n;
}

static void every_target_gives_pefts_logits(void **state) {
  assert_true(check_form("golden/targets.json", "peft") > 20);
  assert_true(check_form("golden/targets.json", "lora") > 0);
  assert_true(check_form("golden/targets.json", "mlx") > 0);
}

static void every_target_of_mlx_lm_gives_its_logits(void **state) {
  assert_true(check_form("golden/targets_mlx.json", "mlx") >= 10);
}

enum { MAX_MIXED = 24, MAX_LOGITS = 512 };

/* An adapter with tokens of its own reads one of them. */
static el_row row_of(const fixture *f, const answers *a, int pos, const uint32_t *pages, const el_adapter *adapter) {
  el_row row = {.token = a->ids[pos], .pos = pos, .pages = pages, .adapter = adapter, .wants_logits = true};
  const int n = el_row_n_vocab(f->model, &row);
  if (n > f->h->n_vocab && pos != 1) row.token = n - 1;
  return row;
}

/* Whether a row's logits are those that it has alone: as many as its adapter has tokens. */
static void check_row(const fixture *f, const float *logits, int at, const el_row *row, const float *alone) {
  const int n = el_row_n_vocab(f->model, row);
  assert_true(n <= MAX_LOGITS);
  assert_memory_equal(logits + (size_t)at * el_step_logits_stride(f->step), alone, sizeof *alone * (size_t)n);
}

static void keep_rows(const fixture *f, const float *logits, const el_row *rows, int n, float *alone) {
  for (int r = 0; r < n; r++)
    memcpy(alone + (size_t)r * MAX_LOGITS, logits + (size_t)r * el_step_logits_stride(f->step),
           sizeof *alone * (size_t)el_row_n_vocab(f->model, &rows[r]));
}

/* Packs a file's adapters of a model behind the n that are there; how many there are then. */
static int add_adapters(const fixture *f, const char *model, const cases *all, const char *form, el_weights weights,
                        const el_adapter **adapters, int n) {
  size_t i;
  json_t *c;
  json_array_foreach(all->list, i, c) {
    if (strcmp(text(c, "model"), model) != 0) continue;
    assert_true(n < MAX_MIXED);
    adapters[n++] = open_adapter(f, c, form, weights);
  }
  return n;
}

/* All adapters of a model, and the base between them, in the same steps: prompts side by side, then one row of each. */
static void check_mixed(const char *model, const cases *all, const cases *mlx, el_weights weights) {
  const el_adapter *adapters[MAX_MIXED] = {NULL}; /* the first is the base */
  uint32_t pages[MAX_MIXED][2];
  int n = 1;
  size_t i;
  json_t *c, *any = NULL;
  json_array_foreach(all->list, i, c) if (!any && !strcmp(text(c, "model"), model)) any = c;
  assert_non_null(any);
  answers a = answers_read(any);
  char path[512];
  golden_path(path, sizeof path, model);
  fixture f = fixture_open(path, NULL, weights, 2, MAX_MIXED * 3, 64, 2 * MAX_MIXED);
  n = add_adapters(&f, model, all, "peft", weights, adapters, n);
  n = add_adapters(&f, model, mlx, "mlx", weights, adapters, n);
  for (int k = 0; k < n; k++) pages[k][0] = (uint32_t)(2 * k), pages[k][1] = (uint32_t)(2 * k + 1);
  float *alone = malloc(sizeof *alone * MAX_LOGITS * 4 * MAX_MIXED);
  assert_non_null(alone);
  for (int k = 0; k < n; k++) {
    el_row rows[3];
    for (int r = 0; r < 3; r++) rows[r] = row_of(&f, &a, r, pages[k], adapters[k]);
    keep_rows(&f, el_step_run(f.step, rows, 3), rows, 3, alone + (size_t)k * 4 * MAX_LOGITS);
    rows[0] = row_of(&f, &a, 3, pages[k], adapters[k]);
    keep_rows(&f, el_step_run(f.step, rows, 1), rows, 1, alone + ((size_t)k * 4 + 3) * MAX_LOGITS);
  }
  el_row rows[3 * MAX_MIXED];
  for (int k = 0; k < n; k++)
    for (int r = 0; r < 3; r++) rows[3 * k + r] = row_of(&f, &a, r, pages[k], adapters[k]);
  const float *together = el_step_run(f.step, rows, 3 * n);
  for (int k = 0; k < n; k++)
    for (int r = 0; r < 3; r++)
      check_row(&f, together, 3 * k + r, &rows[3 * k + r], alone + (size_t)(4 * k + r) * MAX_LOGITS);
  for (int k = 0; k < n; k++) rows[n - 1 - k] = row_of(&f, &a, 3, pages[k], adapters[k]);
  together = el_step_run(f.step, rows, n);
  for (int k = 0; k < n; k++)
    check_row(&f, together, n - 1 - k, &rows[n - 1 - k], alone + (size_t)(4 * k + 3) * MAX_LOGITS);
  free(alone);
  for (int k = 1; k < n; k++) el_adapter_free((el_adapter *)adapters[k]);
  fixture_close(&f);
  free(a.exact);
}

static void whoever_shares_a_step_the_bits_are_those_alone(void **state) {
  cases all = open_cases("golden/targets.json"), mlx = open_cases("golden/targets_mlx.json");
  static const char *const models[] = {"families/llama3.gguf", "families/llama-biases.gguf", "families/qwen2.gguf",
                                       "families/gemma3.gguf", "families/qwen3moe.gguf",     "families/gpt-oss.gguf"};
  for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
    check_mixed(models[i], &all, &mlx, EL_WEIGHTS_KEEP);
    check_mixed(models[i], &all, &mlx, EL_WEIGHTS_F16);
  }
  json_decref(all.j);
  json_decref(mlx.j);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_target_gives_pefts_logits),
      cmocka_unit_test(every_target_of_mlx_lm_gives_its_logits),
      cmocka_unit_test(whoever_shares_a_step_the_bits_are_those_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
