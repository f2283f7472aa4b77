/* The report's parts: axes, distributions, what becomes of hostile names, and which runs belong together. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "bench/report/report.h"
#include "bench/report/svg.h"
#include "bench/report/table.h"
#include "bench/report/ticks.h"

#define assert_near(value, expected, slack) assert_true(fabs((value) - (expected)) <= (slack))

/* ---- ticks */

static void labels_of(const el_ticks *t, char *out, size_t size) {
  *out = 0;
  for (int i = 0; i < t->n; i++) {
    char label[32];
    el_ticks_label(t, t->at[i], label, sizeof label);
    size_t len = strlen(out);
    snprintf(out + len, size - len, "%s%s", i ? " " : "", label);
  }
}

static void linear_ticks_are_round_and_cover_the_data(void **state) {
  static const struct {
    double low, high;
    int most;
    const char *labels;
  } cases[] = {
      {0, 1, 6, "0.0 0.2 0.4 0.6 0.8 1.0"},
      {0, 100, 6, "0 20 40 60 80 100"},
      {0, 300, 6, "0 100 200 300"},
      {0, 300, 7, "0 50 100 150 200 250 300"},
      {0.31, 0.36, 6, "0.31 0.32 0.33 0.34 0.35 0.36"},
      {-3, 7, 6, "-5 0 5 10"}, /* by twos there would be seven */
      {-3, 7, 7, "-4 -2 0 2 4 6 8"},
      {0, 1234567, 6, "0 500,000 1,000,000 1,500,000"},
      {0, 0.000012, 4, "0 5e-06 1e-05 1.5e-05"},
      {5, 5, 6, "2 4 6 8"},
      {7, 1, 6, "0 2 4 6 8"},
      {0, 0, 6, "0.0 0.2 0.4 0.6 0.8 1.0"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char labels[200];
    el_ticks t = el_ticks_linear(cases[i].low, cases[i].high, cases[i].most);
    labels_of(&t, labels, sizeof labels);
    assert_string_equal(labels, cases[i].labels);
  }
}

static void logarithmic_ticks_are_round_and_cover_the_data(void **state) {
  static const struct {
    double low, high;
    int most;
    const char *labels;
  } cases[] = {
      {20, 2000, 7, "20 50 100 200 500 1,000 2,000"},
      {20, 2000, 6, "100 1,000"},
      {0.03, 40, 6, "0.1 1 10"},
      {1, 1, 6, "0.5 1 2"},
      {1e-9, 1e9, 6, "1e-09 1e-05 0.1 1000 1e+07"},
      {0, 10, 12, "0.00001 0.0001 0.001 0.01 0.1 1 10"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char labels[200];
    el_ticks t = el_ticks_log(cases[i].low, cases[i].high, cases[i].most);
    labels_of(&t, labels, sizeof labels);
    assert_string_equal(labels, cases[i].labels);
  }
}

static void check_ticks(const el_ticks *t, double low, double high, int most) {
  assert_in_range(t->n, 2, most);
  for (int i = 0; i < t->n; i++) {
    assert_true(isfinite(t->at[i]));
    if (i) assert_true(t->at[i] > t->at[i - 1]);
  }
  double slack = 1e-6 * fmax(fabs(low), fabs(high));
  assert_true(t->low <= low + slack && t->high >= high - slack);
  assert_true(t->low <= t->at[0] && t->high >= t->at[t->n - 1]);
}

static void any_two_numbers_have_ticks(void **state) {
  uint64_t rng = 7;
  for (int i = 0; i < 200000; i++) {
    double ends[2];
    for (int k = 0; k < 2; k++) {
      uint64_t bits = el_mix64(rng += EL_GOLDEN_GAMMA);
      /* Of all sizes within what measurements can be, and near each other from time to time. */
      double size = pow(10, (double)(bits % 50) - 25) * (1 + (double)(bits >> 40) * 0x1p-24);
      ends[k] = k && bits % 7 == 0 ? ends[0] * (1 + size * 1e-12) : bits % 3 ? size : -size;
      if (!(fabs(ends[k]) < 1e29)) ends[k] = 1;
    }
    int most = 3 + i % (EL_TICKS_MAX - 2);
    double low = fmin(ends[0], ends[1]), high = fmax(ends[0], ends[1]);
    el_ticks t = el_ticks_linear(ends[0], ends[1], most);
    check_ticks(&t, low, high, most);
    if (low <= 0) continue;
    t = el_ticks_log(ends[0], ends[1], most);
    check_ticks(&t, low, high, most);
  }
  static const double odd[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1e308, -1e308, 5e-324};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
      el_ticks linear = el_ticks_linear(odd[i], odd[k], 6), log = el_ticks_log(odd[i], odd[k], 6);
      assert_in_range(linear.n, 2, 6);
      assert_in_range(log.n, 2, 6);
      for (int j = 0; j < linear.n; j++) assert_true(isfinite(linear.at[j]));
      for (int j = 0; j < log.n; j++) assert_true(isfinite(log.at[j]) && log.at[j] > 0);
    }
  }
}

static void places_are_within_the_axis(void **state) {
  el_ticks linear = el_ticks_linear(0, 10, 6), log = el_ticks_log(1, 100, 3);
  assert_near(el_ticks_place(&linear, 2.5), 0.25, 1e-12);
  assert_near(el_ticks_place(&log, 10), 0.5, 1e-12);
  assert_near(el_ticks_place(&log, 0), 0, 0);
  assert_near(el_ticks_place(&linear, 11), 1, 0);
  assert_near(el_ticks_place(&linear, NAN), 0, 0);
}

static void numbers_have_commas_between_thousands(void **state) {
  static const struct {
    double value;
    int decimals;
    const char *text;
  } cases[] = {{0, 0, "0"},          {999, 0, "999"},    {1000, 0, "1,000"},     {1234567.891, 2, "1,234,567.89"},
               {-1234, 0, "-1,234"}, {-0.001, 1, "0.0"}, {999.96, 1, "1,000.0"}, {100000, 0, "100,000"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[64];
    el_number_text(cases[i].value, cases[i].decimals, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
  char small[4];
  el_number_text(1e300, 2, small, sizeof small);
  assert_int_equal(strlen(small), 3);
}

/* ---- values */

static void the_median_of_an_even_count_is_between_the_middle_two(void **state) {
  const double sorted[] = {1, 2, 3, 4};
  assert_near(el_report_median(sorted, 4), 2.5, 0);
  assert_near(el_report_median(sorted, 3), 2, 0);
  assert_true(isnan(el_report_median(sorted, 0)));
}

static void values_are_shown_with_three_digits_and_their_unit(void **state) {
  static const struct {
    el_report_metric m;
    double value;
    const char *text;
  } cases[] = {
      {EL_METRIC_LATENCY_P50, 0.012345, "0.012"},
      {EL_METRIC_LATENCY_P50, 0.0012345, "0.00123"},
      {EL_METRIC_GAP_P50, 0.0012345, "1.23"},
      {EL_METRIC_LATENCY_P50, 1.2345, "1.23"},
      {EL_METRIC_LATENCY_P50, 1234.5, "1,234"},
      {EL_METRIC_LATENCY_P50, 0, "0"},
      {EL_METRIC_SLO, 1, "100%"},
      {EL_METRIC_SLO, 0.9951, "99.5%"},
      {EL_METRIC_SLO, 0.99971, "99.97%"},
      {EL_METRIC_SLO, 0, "0%"},
      {EL_METRIC_MEMORY, 512, "512 B"},
      {EL_METRIC_MEMORY, 1.5 * 1024 * 1024 * 1024, "1.50 GiB"},
      {EL_METRIC_ERRORS, 12345, "12,345"},
      {EL_METRIC_ERRORS, 1.5, "1.5"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[64];
    el_report_metric_text(cases[i].m, cases[i].value, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
}

/* ---- names */

static void check_name(void (*write)(el_text *t, const char *name), const char *name, const char *expected) {
  el_text t = {0};
  el_text_put(&t, "");
  write(&t, name);
  assert_false(t.failed);
  assert_string_equal(t.buf.data, expected);
  el_text_free(&t);
}

static void names_have_no_meaning_in_a_page(void **state) {
  check_name(el_text_xml, "<script>alert('x')&\"", "&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;");
  check_name(el_text_xml, "a\x01\x1b[31m\n", "a\xEF\xBF\xBD\xEF\xBF\xBD[31m\xEF\xBF\xBD");
  check_name(el_text_xml, "\xE2\x80\xAEgpj", "\xEF\xBF\xBDgpj"); /* right-to-left override */
  check_name(el_text_xml, "\xEF\xBF\xBF", "\xEF\xBF\xBD");       /* U+FFFF is no character */
  check_name(el_text_xml, "ü€😀", "ü€😀");
  check_name(el_text_xml, "\xFFz\xC0\xAF", "\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD"); /* no UTF-8, and overlong */
  check_name(el_text_xml, "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");   /* half a surrogate */
  check_name(el_text_xml, "\xF0\x9F", "\xEF\xBF\xBD\xEF\xBF\xBD");                   /* cut */
  check_name(el_text_markdown, "a|b*[x](y)<i>", "a\\|b\\*\\[x\\](y)&lt;i&gt;");
  check_name(el_text_markdown, "line\nbreak",
             "line\xEF\xBF\xBD"
             "break");
}

static void long_names_are_cut(void **state) {
  char name[400], expected[400];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = 0;
  memset(expected, 'x', EL_TEXT_NAME_MAX);
  strcpy(expected + EL_TEXT_NAME_MAX, "…");
  check_name(el_text_xml, name, expected);
}

/* ---- charts */

static el_text draw(const el_svg_line *line) {
  el_text t = {0};
  el_svg_chart chart = {.title = "t",
                        .x_title = "x",
                        .y_title = "y",
                        .x_least = NAN,
                        .x_most = NAN,
                        .y_least = NAN,
                        .y_most = NAN,
                        .x_mark = NAN,
                        .y_mark = NAN,
                        .lines = line,
                        .n_lines = 1};
  el_text_put(&t, "");
  el_svg_chart_draw(&t, &chart, 1);
  assert_false(t.failed);
  return t;
}

static void a_hundred_thousand_points_are_a_small_drawing(void **state) {
  enum { N = 100000 };
  el_svg_point *points = malloc(N * sizeof *points);
  for (int i = 0; i < N; i++) points[i] = (el_svg_point){i, i == N / 2 ? 50 : i % 2, 0, 50};
  for (int shape = EL_SVG_STEPS; shape <= EL_SVG_DOTS; shape++) {
    el_svg_line line = {.name = "n", .shape = (el_svg_shape)shape, .points = points, .n = N};
    el_text t = draw(&line);
    assert_in_range(t.buf.len, 1000, 60000);
    el_text_free(&t);
  }
  free(points);
}

static void what_has_no_points_is_not_drawn(void **state) {
  el_svg_point point = {NAN, 1, 1, 1};
  el_svg_line line = {.name = "n", .points = &point, .n = 1};
  el_text t = draw(&line);
  assert_string_equal(t.buf.data, "");
  el_text_free(&t);
}

static void a_peak_between_pixels_is_not_lost(void **state) {
  el_svg_point points[1000];
  for (int i = 0; i < 1000; i++) points[i] = (el_svg_point){i * 1e-3 + (i > 990) * 1000, i == 500 ? 100 : 0, 0, 0};
  el_svg_line line = {.name = "n", .shape = EL_SVG_STEPS, .points = points, .n = 1000};
  el_text t = draw(&line);
  /* All of the first 990 stand on one pixel, from which the line goes up to the top of the field, 30, and back. */
  assert_non_null(strstr(t.buf.data, " 206V30V206H"));
  el_text_free(&t);
}

/* ---- which runs belong together */

static el_report_run made_run(const char *server, double adapters, double rate, double value) {
  el_report_run run = {.file = strdup("f.json"), .slo = NAN};
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) run.dims[d].number = NAN;
  for (el_report_metric m = 0; m < EL_REPORT_METRICS; m++) run.metrics[m] = NAN;
  char text[32];
  run.dims[EL_DIM_SERVER].text = strdup(server);
  snprintf(text, sizeof text, "%g", adapters);
  run.dims[EL_DIM_ADAPTERS] = (el_report_value){strdup(text), adapters};
  snprintf(text, sizeof text, "%g", rate);
  run.dims[EL_DIM_RATE] = (el_report_value){strdup(text), rate};
  run.metrics[EL_METRIC_REQUEST_RATE] = value;
  return run;
}

static void init(el_report *r, const el_report_run *made, size_t n, const char *group, const char *baseline,
                 el_status expected) {
  el_report_run *runs = malloc(n * sizeof *runs);
  el_error err = {0};
  memcpy(runs, made, n * sizeof *runs);
  assert_int_equal(el_report_init(r, "t", runs, n, group, baseline, &err), expected);
  if (expected) assert_string_not_equal(err.message, "");
}

static void repetitions_become_a_median_with_its_spread(void **state) {
  const el_report_run made[] = {made_run("a", 100, 1, 5), made_run("a", 20, 1, 9), made_run("b", 20, 1, 3),
                                made_run("a", 20, 1, 7),  made_run("a", 20, 1, 8), made_run("b", 100, 1, NAN)};
  el_report r;
  init(&r, made, 6, NULL, NULL, EL_OK);
  assert_int_equal(r.n_series, 2);
  assert_int_equal(r.n_cases, 2);
  assert_int_equal(r.n_rows, 4);
  /* 20 before 100: by number, not by text. */
  const el_report_figure *f = &r.rows[0].figures[EL_METRIC_REQUEST_RATE];
  assert_int_equal(r.rows[0].n_runs, 3);
  assert_near(f->median, 8, 0);
  assert_near(f->low, 7, 0);
  assert_near(f->high, 9, 0);
  assert_int_equal(r.rows[3].figures[EL_METRIC_REQUEST_RATE].n, 0);
  assert_true(r.varies[EL_DIM_ADAPTERS] && !r.varies[EL_DIM_RATE]);
  el_text name = {0};
  el_report_row_name(&r, &r.rows[1], &name);
  assert_string_equal(name.buf.data, "b, 20 adapters");
  el_text_free(&name);
  el_report_free(&r);
}

static void a_baseline_is_put_beside_the_same_workload(void **state) {
  const el_report_run made[] = {made_run("a", 20, 1, 9), made_run("a", 100, 1, 8), made_run("b", 20, 1, 3)};
  el_report r;
  init(&r, made, 3, NULL, "b", EL_OK);
  const el_report_row *base = el_report_base_of(&r, &r.rows[0]);
  assert_ptr_equal(base, &r.rows[1]);
  assert_near(el_report_ratio(&r.rows[0], base, EL_METRIC_REQUEST_RATE), 3, 0);
  r.rows[0].figures[EL_METRIC_LATENCY_P99].median = 2;
  r.rows[1].figures[EL_METRIC_LATENCY_P99].median = 5;
  assert_near(el_report_ratio(&r.rows[0], base, EL_METRIC_LATENCY_P99), 2.5, 0);
  r.rows[0].figures[EL_METRIC_LATENCY_P99].median = 0;
  assert_true(isnan(el_report_ratio(&r.rows[0], base, EL_METRIC_LATENCY_P99)));
  assert_null(el_report_base_of(&r, &r.rows[1]));
  assert_null(el_report_base_of(&r, &r.rows[2])); /* b has no run with 100 adapters */
  el_report_cell cell = el_report_table_cell(&r, &el_report_tables[1], &r.rows[0], EL_METRIC_REQUEST_RATE);
  assert_string_equal(cell.value, "3.00x");
  assert_int_equal(cell.better, 1);
  el_report_free(&r);

  const el_report_run again[] = {made_run("a", 20, 1, 9), made_run("a", 100, 1, 8)};
  init(&r, again, 2, NULL, "a, 100 adapters", EL_OK);
  assert_ptr_equal(el_report_base_of(&r, &r.rows[0]), &r.rows[1]);
  el_report_free(&r);
}

static void unknown_names_are_refused(void **state) {
  const el_report_run made[] = {made_run("a", 20, 1, 9)}, again[] = {made_run("a", 20, 1, 9)};
  el_report r;
  init(&r, made, 1, NULL, "c", EL_ERR_INVALID);
  el_report_free(&r);
  init(&r, again, 1, "colour", NULL, EL_ERR_INVALID);
  el_report_free(&r);
}

static void any_dimension_can_name_the_lines(void **state) {
  const el_report_run made[] = {made_run("a", 20, 1, 9), made_run("a", 20, 2, 8), made_run("b", 20, 2, 3)};
  el_report r;
  init(&r, made, 3, "rate", NULL, EL_OK);
  assert_int_equal(r.n_series, 2);
  assert_int_equal(r.n_cases, 2); /* the servers */
  assert_string_equal(el_report_series_name(&r, 1), "2");
  el_report_free(&r);
}

static void how_servers_spell_their_model_does_not_part_runs(void **state) {
  el_report_run made[] = {made_run("a", 20, 1, 9), made_run("b", 20, 1, 8)};
  made[0].dims[EL_DIM_MODEL].text = strdup("/models/SmolLM2.gguf");
  el_report r;
  init(&r, made, 2, NULL, NULL, EL_OK);
  assert_int_equal(r.n_cases, 1);
  el_report_free(&r);

  /* But two models of one server are two workloads. */
  el_report_run again[] = {made_run("a", 20, 1, 9), made_run("a", 20, 1, 8)};
  again[0].dims[EL_DIM_MODEL].text = strdup("135M");
  again[1].dims[EL_DIM_MODEL].text = strdup("1B");
  init(&r, again, 2, NULL, NULL, EL_OK);
  assert_int_equal(r.n_rows, 2);
  el_report_free(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(linear_ticks_are_round_and_cover_the_data),
      cmocka_unit_test(logarithmic_ticks_are_round_and_cover_the_data),
      cmocka_unit_test(any_two_numbers_have_ticks),
      cmocka_unit_test(places_are_within_the_axis),
      cmocka_unit_test(numbers_have_commas_between_thousands),
      cmocka_unit_test(the_median_of_an_even_count_is_between_the_middle_two),
      cmocka_unit_test(values_are_shown_with_three_digits_and_their_unit),
      cmocka_unit_test(names_have_no_meaning_in_a_page),
      cmocka_unit_test(long_names_are_cut),
      cmocka_unit_test(a_hundred_thousand_points_are_a_small_drawing),
      cmocka_unit_test(what_has_no_points_is_not_drawn),
      cmocka_unit_test(a_peak_between_pixels_is_not_lost),
      cmocka_unit_test(repetitions_become_a_median_with_its_spread),
      cmocka_unit_test(a_baseline_is_put_beside_the_same_workload),
      cmocka_unit_test(unknown_names_are_refused),
      cmocka_unit_test(any_dimension_can_name_the_lines),
      cmocka_unit_test(how_servers_spell_their_model_does_not_part_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
