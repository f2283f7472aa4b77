/* Training on data whose truth is known. */
#include <math.h>

#include "base/threads.h"
#include "router/bank.h"
#include "router/classifier.h"
#include "router/eval.h"
#include "router/pca.h"
#include "router/train.h"
#include "router_fixture.h"

enum { EMBD = 24, TRADES = 4, COLUMNS = TRADES + 1, BASE = 0 };

typedef struct world {
  el_features features;
  float *x, *y;
  size_t n_train, n_valid;
  el_train_data data;
} world;

static char *const names[COLUMNS] = {"base", "a", "b", "c", "d"};

/* Row i is of trade i % 5 (0: none); the second tap's unit means say which, up to `noise`, all else is noise. */
static world make_world(size_t n_train, size_t n_valid, float noise) {
  world w = {.n_train = n_train, .n_valid = n_valid};
  el_train_features(8, EMBD, 2, 32, &w.features);
  const size_t n = n_train + n_valid, n_in = el_features_n(&w.features);
  uint64_t seed = 42;
  w.x = malloc(n * n_in * sizeof *w.x);
  w.y = calloc(n * COLUMNS, sizeof *w.y);
  for (size_t i = 0; i < n; i++) {
    int trade = (int)(i % COLUMNS);
    for (size_t k = 0; k < n_in; k++) w.x[i * n_in + k] = uniform(&seed);
    for (int p = 0; p < w.features.n_slices; p++)
      if (w.features.taps[w.features.slices[p].tap] == 1 && w.features.slices[p].pooling == EL_POOL_UNIT_MEAN)
        for (int k = 0; k < EMBD; k++) {
          float *at = &w.x[i * n_in + (size_t)p * EMBD + (size_t)k];
          *at = *at * noise + (trade > 0 && k / 6 == trade - 1 ? 1 : 0);
        }
    w.y[i * COLUMNS + (size_t)trade] = 1;
  }
  w.data = (el_train_data){NULL, w.x, w.y, n_train, n_valid, COLUMNS, BASE, names, 1};
  return w;
}

static void free_world(world *w) {
  free(w->x);
  free(w->y);
}

static el_status train(world *w, const el_train_options *o, int n_threads, el_router **r, el_train_report *report,
                       el_error *e) {
  el_threads *threads = NULL;
  w->data.features = &w->features;
  assert_int_equal(el_threads_new(n_threads, NULL, &threads, e), EL_OK);
  el_status status = el_train_router(&w->data, o, threads, r, report, e);
  el_threads_free(threads);
  return status;
}

/* The router's features of a row, out of all that were computed. */
static void pick(const world *w, const el_router *r, size_t row, float *out) {
  for (int p = 0; p < r->features.n_slices; p++)
    for (int q = 0; q < w->features.n_slices; q++)
      if (w->features.taps[w->features.slices[q].tap] == r->features.taps[r->features.slices[p].tap] &&
          w->features.slices[q].pooling == r->features.slices[p].pooling)
        memcpy(out + p * EMBD, w->x + row * el_features_n(&w->features) + (size_t)q * EMBD, EMBD * sizeof *out);
}

static void trades_that_differ_are_learnt_and_the_layer_that_tells_them_is_found(void **state) {
  world w = make_world(400, 100, 0.5f);
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_error e = {0};
  if (train(&w, &o, 2, &r, &report, &e)) fail_msg("%s", e.message);
  const el_train_cell *won = &report.cells[report.won];
  bool has = false;
  for (int i = 0; i < won->n_slices; i++)
    has |= w.features.taps[won->slices[i].tap] == 1 && won->slices[i].pooling == EL_POOL_UNIT_MEAN;
  assert_true(has);
  assert_true(won->explained > 0.8f);
  assert_true(r->facts.chosen > 0.97f && r->facts.random < 0.21f);
  assert_false(report.nothing);
  float features[3 * EMBD], z[EL_ROUTER_MAX_DIM + EMBD], logits[COLUMNS];
  for (size_t i = 400; i < 500; i++) {
    pick(&w, r, i, features);
    el_router_embed(r, features, z);
    el_router_logits(r, z, logits);
    size_t best = 0;
    for (size_t c = 1; c < COLUMNS; c++)
      if (logits[c] > logits[best]) best = c;
    assert_int_equal(best, i % COLUMNS);
  }
  el_train_report_free(&report);
  el_router_free(r);
  free_world(&w);
}

static void an_adapter_that_was_not_trained_takes_part_by_its_examples(void **state) {
  world w = make_world(400, 100, 0.5f);
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_bank *b = NULL;
  el_error e = {0};
  if (train(&w, &o, 1, &r, &report, &e)) fail_msg("%s", e.message);
  float features[3 * EMBD], z[5 * (EL_TRAIN_DIM + EMBD)], logits[1], base;
  for (int k = 0; k < 5; k++) {
    pick(&w, r, (size_t)(2 + 5 * k), features); /* trade b, under another name */
    el_router_embed(r, features, z + (size_t)k * el_router_vector(r));
  }
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  assert_int_equal(el_bank_put(b, 1, "new", z, 5, NULL, &e), EL_OK);
  int right = 0, n = 0;
  for (size_t i = 400; i < 500; i++) {
    pick(&w, r, i, features);
    el_router_embed(r, features, z);
    el_bank_logits(b, z, logits, &base);
    if (i % COLUMNS != 2 && i % COLUMNS != BASE) continue;
    right += (logits[0] > base) == (i % COLUMNS == 2);
    n++;
  }
  assert_true(right >= n * 9 / 10);
  el_bank_free(b);
  el_train_report_free(&report);
  el_router_free(r);
  free_world(&w);
}

static void same_router(const el_router *a, const el_router *b) {
  assert_int_equal(a->dim, b->dim);
  assert_int_equal(a->features.n_slices, b->features.n_slices);
  const size_t n_in = (size_t)(a->n_classifier_slices * EMBD), dim = (size_t)a->dim;
  assert_memory_equal(a->projection, b->projection, n_in * dim * sizeof(float));
  assert_memory_equal(a->weights, b->weights, COLUMNS * dim * sizeof(float));
  assert_memory_equal(a->bias, b->bias, COLUMNS * sizeof(float));
  assert_float_equal(a->examples.slope, b->examples.slope, 0);
}

static void the_same_data_and_seed_give_the_same_router_with_any_threads(void **state) {
  world w = make_world(120, 40, 2);
  el_train_options o = {.seed = 3};
  el_train_report report[3];
  el_router *r[3] = {0};
  el_error e = {0};
  for (int i = 0; i < 3; i++) {
    o.seed = i == 2 ? 4 : 3;
    if (train(&w, &o, 1 + i % 2, &r[i], &report[i], &e)) fail_msg("%s", e.message);
  }
  same_router(r[0], r[1]);
  assert_memory_equal(report[0].cells, report[1].cells, report[0].n_cells * sizeof *report[0].cells);
  assert_true(memcmp(report[0].cells, report[2].cells, report[0].n_cells * sizeof *report[0].cells)); /* other folds */
  for (int i = 0; i < 3; i++) {
    el_train_report_free(&report[i]);
    el_router_free(r[i]);
  }
  free_world(&w);
}

static void noise_is_not_taken_for_knowledge(void **state) {
  world w = make_world(200, 50, 1);
  uint64_t seed = 5;
  for (size_t i = 0; i < 250 * COLUMNS; i++) w.y[i] = uniform(&seed) > 0 ? 1 : 0; /* nothing foretells them */
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_error e = {0};
  if (train(&w, &o, 2, &r, &report, &e)) fail_msg("%s", e.message);
  assert_true(report.cells[report.won].explained < 0.02f);
  assert_true(report.cells[report.won].l2 >= 1);
  el_train_report_free(&report);
  el_router_free(r);
  free_world(&w);
}

static void what_cannot_be_learnt_from_is_said(void **state) {
  world w = make_world(50, 10, 1);
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_error e = {0};
  w.data.n_train = 1;
  assert_int_equal(train(&w, &o, 1, &r, &report, &e), EL_ERR_INVALID);
  assert_contains(e.message, "1 rows");
  w.data.n_train = 50;
  w.y[0] = 1;
  w.x[3] = NAN;
  assert_int_equal(train(&w, &o, 1, &r, &report, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "row 1");
  assert_null(r);
  free_world(&w);
}

/* A table of the base alone, or one whose rows are all alike: its prompts are the background, and examples do the rest.
 */
static void rows_that_are_all_alike_train_no_column(void **state) {
  world w = make_world(400, 100, 0.5f);
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_error e = {0};
  for (size_t i = 0; i < 500 * COLUMNS; i++) w.y[i] = i % COLUMNS == BASE;
  if (train(&w, &o, 1, &r, &report, &e)) fail_msg("%s", e.message);
  assert_true(report.nothing);
  assert_int_equal(report.n_cells, 1);
  assert_int_equal(r->n_classifier_slices, 1);
  assert_int_equal(r->example_slice, 0);
  assert_int_equal(r->features.taps[0], 1);
  assert_int_equal(r->examples.n_background, 500 < EL_EXAMPLE_MAX_BACKGROUND ? 500 : EL_EXAMPLE_MAX_BACKGROUND);
  el_train_report_free(&report);
  el_router_free(r);
  free_world(&w);
}

/* One row for all, some constant columns, eight rows: it trains, and every score is a number from 0 to 1. */
static void odd_tables_are_trained_on(void **state) {
  world w = make_world(8, 1, 1);
  el_train_options o = {.seed = 1};
  el_train_report report;
  el_router *r = NULL;
  el_error e = {0};
  const size_t n_in = el_features_n(&w.features);
  for (size_t i = 0; i < 9; i++) {
    for (size_t k = 0; k < n_in; k++)
      w.x[i * n_in + k] = k % 3 == 0 ? 1 : w.x[i * n_in + k]; /* columns that do not vary */
    for (int c = 0; c < COLUMNS; c++) w.y[i * COLUMNS + (size_t)c] = c == 0 ? 1 : c == 1 ? 0 : i % 2 ? 0.5f : 0.25f;
  }
  if (train(&w, &o, 1, &r, &report, &e)) fail_msg("%s", e.message);
  float features[3 * EMBD], z[EL_ROUTER_MAX_DIM + EMBD], logits[COLUMNS];
  for (size_t i = 0; i < 9; i++) {
    pick(&w, r, i, features);
    el_router_embed(r, features, z);
    el_router_logits(r, z, logits);
    for (int c = 0; c < COLUMNS; c++) assert_true(isfinite(logits[c]));
    assert_true(logits[0] > 2 && logits[1] < -2);
  }
  el_train_report_free(&report);
  el_router_free(r);
  w.data.n_columns = 1; /* one candidate: nothing to choose, but it trains */
  w.data.base = -1;
  for (size_t i = 0; i < 9; i++) w.y[i] = i % 2 ? 0.75f : 0.25f;
  r = NULL;
  if (train(&w, &o, 1, &r, &report, &e)) fail_msg("%s", e.message);
  el_train_report_free(&report);
  el_router_free(r);
  free_world(&w);
}

/* ----------------------------------------------------------------- its slices */

static void the_classifier_finds_the_optimum(void **state) {
  enum { N = 60, DIM = 3, C = 2 };
  float z[N * DIM], y[N * C];
  uint32_t rows[N];
  uint64_t seed = 1;
  double variance[DIM] = {0.33, 0.33, 0.33};
  for (int i = 0; i < N; i++) {
    rows[i] = (uint32_t)i;
    for (int k = 0; k < DIM; k++) z[i * DIM + k] = uniform(&seed);
    for (int c = 0; c < C; c++) y[i * C + c] = uniform(&seed) / 2 + 0.5f;
  }
  el_classifier_data d = {DIM, C, z, y, rows, N, variance};
  el_classifier_options o = {0.1, 0.02, 200, NULL};
  el_classifier h;
  el_error e = {0};
  assert_int_equal(el_classifier_new(DIM, C, &h, &e), EL_OK);
  assert_int_equal(el_classifier_fit(&d, &o, &h, &e), EL_OK);
  /* The gradient, by hand. */
  for (int c = 0; c < C; c++)
    for (int k = 0; k <= DIM; k++) {
      double g = 0;
      for (int i = 0; i < N; i++) {
        float p[C];
        el_classifier_predict(&h, z + i * DIM, p);
        g += (double)(p[c] - y[i * C + c]) * (k < DIM ? (double)z[i * DIM + k] : 1) / N;
      }
      if (k < DIM) {
        double a = h.w[c * (DIM + 1) + k], mean = (h.w[k] + h.w[DIM + 1 + k]) / 2;
        g += 0.1 * (a - mean) + 0.02 * mean;
      }
      assert_true(fabs(g) < 1e-3);
    }
  el_classifier_free(&h);
}

static void principal_directions_are_orthonormal_and_in_order(void **state) {
  enum { N = 200, D = 20, K = 5 };
  static const float sizes[K] = {5, 4, 3, 2, 1};
  float x[N * D], mean[D], scale[D], out[K * D];
  uint64_t seed = 1;
  el_error e = {0};
  for (int i = 0; i < N; i++)
    for (int k = 0; k < D; k++) x[i * D + k] = uniform(&seed) * (k < K ? sizes[k] : 0.01f) + 3;
  el_moments(x, N, D, mean, scale);
  for (int k = 0; k < D; k++) {
    assert_true(fabsf(mean[k] - 3) < 1);
    assert_float_equal(scale[k], 1 / (sqrtf(1 / 3.f) * (k < K ? sizes[k] : 0.01f)), scale[k] * 0.2f);
    for (int i = 0; i < N; i++) x[i * D + k] -= mean[k];
  }
  assert_int_equal(el_pca(x, N, D, K, out, &e), EL_OK);
  for (int a = 0; a < K; a++) {
    assert_true(fabsf(out[a * D + a]) > 0.9f);
    for (int b = 0; b < K; b++) {
      float dot = 0;
      for (int k = 0; k < D; k++) dot += out[a * D + k] * out[b * D + k];
      assert_float_equal(dot, a == b, 1e-4f);
    }
  }
  for (int i = 0; i < N; i++)
    for (int k = 2; k < D; k++) x[i * D + k] = x[i * D + k % 2]; /* rank 2: the rest is zeros, not noise */
  assert_int_equal(el_pca(x, N, D, K, out, &e), EL_OK);
  for (int k = 0; k < D; k++) assert_float_equal(out[2 * D + k], 0, 0);
}

static void the_evaluation_counts_right(void **state) {
  static const char text[] =
      "prompt,task,score_a,score_b,score_c\n"
      "p,x,1,0,0\np,x,0,1,0.5\np,y,0,0,1\np,y,0.5,0.5,0.5\n";
  const float p[] = {0.9f, 0.1f, 0.2f, 0.8f, 0.7f, 0.1f, 0.3f, 0.2f, 0.1f, 0.1f, 0.2f, 0.3f};
  el_table *t = NULL;
  el_eval v;
  el_error e = {0};
  const int columns[] = {0, 1, 2};
  assert_int_equal(el_table_parse(text, strlen(text), "t", &t, &e), EL_OK);
  assert_int_equal(el_eval_run(t, columns, 3, p, 1, &v, &e), EL_OK);
  /* chosen: a (1), a (0), a (0), c (0.5) */
  assert_true(fabs(v.chosen.mean - 0.375) < 1e-9);
  assert_true(fabs(v.chosen.half - 1.96 * sqrt((1 + 0.25) / 4 - 0.375 * 0.375) / sqrt(3)) < 1e-9);
  assert_true(fabs(v.random - 5.0 / 12) < 1e-6);
  assert_true(fabs(v.oracle - 3.5 / 4) < 1e-9);
  assert_string_equal(v.single_name, "c");
  assert_true(fabs(v.single - 0.5) < 1e-9);
  assert_string_equal(v.learnt_name, "b");
  assert_true(fabs(v.learnt_single - 1.5 / 4) < 1e-9);
  assert_true(fabs(v.per_task - 2.5 / 4) < 1e-9); /* x: a or b (1 of 2), y: c (1.5 of 2) */
  assert_true(fabs(v.gain.mean + 0.125) < 1e-9);
  assert_true(fabs(v.recall[0] - 0.5) < 1e-9);  /* rows 1 and 4 */
  assert_true(fabs(v.recall[1] - 0.75) < 1e-9); /* row 2's b comes second */
  assert_true(fabs(v.recall[2] - 1) < 1e-9);
  assert_int_equal(v.n_tasks, 2);
  assert_string_equal(v.tasks[1].name, "y");
  assert_true(fabs(v.tasks[1].chosen - 0.25) < 1e-9);
  assert_int_equal(v.candidates[0].n, 3);
  el_buf out = {0};
  assert_true(el_eval_print(&v, &out));
  assert_contains(out.data, "chosen 0.375 ± ");
  el_buf_free(&out);
  json_t *json = el_eval_json(&v);
  assert_non_null(json);
  json_decref(json);
  el_eval_free(&v);
  el_table_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trades_that_differ_are_learnt_and_the_layer_that_tells_them_is_found),
      cmocka_unit_test(an_adapter_that_was_not_trained_takes_part_by_its_examples),
      cmocka_unit_test(the_same_data_and_seed_give_the_same_router_with_any_threads),
      cmocka_unit_test(noise_is_not_taken_for_knowledge),
      cmocka_unit_test(what_cannot_be_learnt_from_is_said),
      cmocka_unit_test(rows_that_are_all_alike_train_no_column),
      cmocka_unit_test(odd_tables_are_trained_on),
      cmocka_unit_test(the_classifier_finds_the_optimum),
      cmocka_unit_test(principal_directions_are_orthonormal_and_in_order),
      cmocka_unit_test(the_evaluation_counts_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
