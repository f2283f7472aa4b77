/* The workload of edgelora-bench load: the moments that it promises, the same for the same seed, and traces that come
 * back. */
#include <math.h>

#include "bench/load/summary.h"
#include "bench/load/trace.h"
#include "bytes.h"

static void ok(el_status status, const el_error *err) {
  if (status) fail_msg("%s", err->message);
}

/* ---- drawing */

static const el_load_spec spec = {.n_adapters = 50,
                                  .without = EL_LOAD_BASE,
                                  .alpha = 1,
                                  .rate = 0.5,
                                  .cv = 1.5,
                                  .in_min = 8,
                                  .in_max = 128,
                                  .out_min = 8,
                                  .out_max = 256,
                                  .seed = 1};

static el_load_workload begin(const el_load_spec *s) {
  el_load_workload w;
  el_error err;
  ok(el_load_workload_init(&w, s, &err), &err);
  return w;
}

/* Mean and coefficient of variation of n gaps. */
static void gaps(double rate, double cv, int n, double *mean, double *variation) {
  el_load_spec s = spec;
  s.rate = rate;
  s.cv = cv;
  el_load_workload w = begin(&s);
  double sum = 0, squares = 0, last = 0;
  for (int i = 0; i < n; i++) {
    double at = el_load_workload_next(&w).at, gap = at - last;
    assert_true(gap >= 0);
    last = at;
    sum += gap;
    squares += gap * gap;
  }
  *mean = sum / n;
  *variation = sqrt(squares / n - *mean * *mean) / *mean;
  el_load_workload_free(&w);
}

static void gaps_have_the_rate_and_the_variation_that_are_asked_for(void **state) {
  static const double cvs[] = {0, 0.2, 0.5, 1, 1.5, 2, 4};
  for (size_t i = 0; i < sizeof cvs / sizeof *cvs; i++) {
    double mean, variation;
    gaps(0.5, cvs[i], 400000, &mean, &variation);
    /* The mean's standard error is cv / sqrt(n) of it: 0.6% at cv 4. */
    if (fabs(mean - 2) > 2 * (0.002 + 0.006 * cvs[i]) || fabs(variation - cvs[i]) > 0.002 + 0.02 * cvs[i])
      fail_msg("cv %g: mean %g, variation %g", cvs[i], mean, variation);
  }
}

/* With cv 1 gaps are exponential: shares below some bounds, which moments alone do not tell. */
static void gaps_with_variation_one_are_those_of_a_poisson_process(void **state) {
  el_load_random r = el_load_random_new(3, 1);
  enum { N = 200000 };
  int below[3] = {0};
  static const double bounds[3] = {0.1, 0.7, 2.3};
  for (int i = 0; i < N; i++) {
    double x = el_load_gamma(&r, 1);
    for (int k = 0; k < 3; k++) below[k] += x < bounds[k];
  }
  for (int k = 0; k < 3; k++) assert_true(fabs(below[k] / (double)N - (1 - exp(-bounds[k]))) < 0.005);
}

static void adapters_follow_the_power_law(void **state) {
  static const double alphas[] = {0, 0.5, 1, 2};
  for (size_t a = 0; a < 4; a++) {
    enum { N = 400000 };
    el_load_spec s = spec;
    s.alpha = alphas[a];
    el_load_workload w = begin(&s);
    int counts[50] = {0};
    double sum = 0;
    for (int i = 0; i < 50; i++) sum += pow(i + 1, -s.alpha);
    for (int i = 0; i < N; i++) counts[el_load_workload_next(&w).adapter]++;
    for (int i = 0; i < 50; i++) {
      double p = pow(i + 1, -s.alpha) / sum, error = sqrt(p * (1 - p) / N);
      assert_true(fabs(counts[i] / (double)N - p) < 5 * error);
    }
    el_load_workload_free(&w);
  }
}

static void lengths_are_uniform_and_reach_both_ends(void **state) {
  el_load_workload w = begin(&spec);
  enum { N = 200000 };
  int in[129] = {0}, out[257] = {0};
  for (int i = 0; i < N; i++) {
    el_load_item item = el_load_workload_next(&w);
    assert_in_range(item.n_in, 8, 128);
    assert_in_range(item.n_out, 8, 256);
    in[item.n_in]++;
    out[item.n_out]++;
  }
  for (int n = 8; n <= 128; n++) assert_true(fabs(in[n] / (double)N - 1.0 / 121) < 0.002);
  for (int n = 8; n <= 256; n++) assert_true(fabs(out[n] / (double)N - 1.0 / 249) < 0.002);
  el_load_workload_free(&w);
}

static void the_same_seed_is_the_same_load(void **state) {
  el_load_workload a = begin(&spec), b = begin(&spec);
  el_load_spec other = spec;
  other.seed = 2;
  el_load_workload c = begin(&other);
  bool differs = false;
  for (int i = 0; i < 1000; i++) {
    el_load_item x = el_load_workload_next(&a), y = el_load_workload_next(&b), z = el_load_workload_next(&c);
    assert_true(x.at == y.at && x.adapter == y.adapter && x.n_in == y.n_in && x.n_out == y.n_out);
    differs |= x.at != z.at;
  }
  assert_true(differs);
  el_load_workload_free(&a);
  el_load_workload_free(&b);
  el_load_workload_free(&c);
}

/* What an experiment over alpha compares are the same arrivals. */
static void another_alpha_changes_the_adapters_alone(void **state) {
  el_load_spec steep = spec;
  steep.alpha = 2;
  steep.n_adapters = 1000;
  el_load_workload a = begin(&spec), b = begin(&steep);
  for (int i = 0; i < 1000; i++) {
    el_load_item x = el_load_workload_next(&a), y = el_load_workload_next(&b);
    assert_true(x.at == y.at && x.n_in == y.n_in && x.n_out == y.n_out);
  }
  el_load_workload_free(&a);
  el_load_workload_free(&b);
}

/* ---- traces */

static el_status read_text(const char *text, el_load_trace *t, el_error *err) {
  FILE *f = fmemopen((void *)text, strlen(text), "r");
  assert_non_null(f);
  el_status status = el_load_trace_read(f, "t", t, err);
  fclose(f);
  return status;
}

static void expect_error(const char *text, const char *message) {
  el_load_trace t;
  el_error err;
  assert_int_not_equal(read_text(text, &t, &err), EL_OK);
  if (!strstr(err.message, message)) fail_msg("'%s' has no '%s'", err.message, message);
  assert_int_equal(t.n, 0);
}

static void a_saved_trace_comes_back_as_it_was(void **state) {
  el_load_trace t = {0}, back;
  el_error err;
  el_load_workload w = begin(&spec);
  for (int i = 0; i < 50; i++) {
    char name[32];
    int len = snprintf(name, sizeof name, "law/\xc3\xa4 \"%d\"", i);
    assert_true(el_load_names_add(&t.names, name, (size_t)len));
  }
  for (int i = 0; i < 2000; i++) {
    el_load_item item = el_load_workload_next(&w);
    if (i % 10 == 0) item.adapter = i % 20 ? EL_LOAD_AUTO : EL_LOAD_BASE;
    assert_true(el_load_trace_add(&t, &item));
  }
  FILE *f = tmpfile();
  assert_non_null(f);
  ok(el_load_trace_write(&t, f, &err), &err);
  rewind(f);
  ok(el_load_trace_read(f, "t", &back, &err), &err);
  assert_int_equal(back.n, t.n);
  for (size_t i = 0; i < t.n; i++) {
    const el_load_item *x = &t.items[i], *y = &back.items[i];
    assert_true(x->at == y->at && x->n_in == y->n_in && x->n_out == y->n_out);
    if (x->adapter < 0)
      assert_int_equal(y->adapter, x->adapter);
    else
      assert_string_equal(back.names.items[y->adapter], t.names.items[x->adapter]);
  }
  fclose(f);
  el_load_trace_free(&t);
  el_load_trace_free(&back);
  el_load_workload_free(&w);
}

#define HEAD "{\"schema\": \"edgelora-trace/1\"}\n"

static void a_trace_that_is_not_right_is_refused_by_its_line(void **state) {
  expect_error("{\"schema\": \"edgelora-trace/2\"}\n", "line 1: 'schema'");
  expect_error(HEAD, "no request");
  expect_error(HEAD "x\n", "line 2: no JSON object");
  expect_error(HEAD "[]\n", "line 2: no JSON object");
  expect_error(HEAD "{\"at\": -1, \"adapter\": \"a\", \"input\": 1, \"output\": 1}\n", "line 2: 'at'");
  expect_error(HEAD "{\"at\": 1e300, \"adapter\": \"a\", \"input\": 1, \"output\": 1}\n", "line 2: 'at'");
  expect_error(HEAD "{\"at\": 0, \"adapter\": 3, \"input\": 1, \"output\": 1}\n", "line 2: 'adapter'");
  expect_error(HEAD "{\"at\": 0, \"adapter\": \"\", \"input\": 1, \"output\": 1}\n", "line 2: 'adapter'");
  expect_error(HEAD "{\"at\": 0, \"adapter\": null, \"input\": 0, \"output\": 1}\n", "line 2: 'input'");
  expect_error(HEAD "{\"at\": 0, \"adapter\": null, \"input\": 1, \"output\": 99999999999}\n", "line 2: 'input'");
  expect_error(HEAD
               "{\"at\": 2, \"adapter\": null, \"input\": 1, \"output\": 1}\n"
               "{\"at\": 1, \"adapter\": null, \"input\": 1, \"output\": 1}\n",
               "line 3: 'at' is before");
  expect_error("", "no request");
  expect_error("at,input,output\n", "no request");
  expect_error("at,adapter,output\n", "names no column 'input_tokens'");
  expect_error("at,input,output\n1,2\n", "line 2: 2 cells are too few");
  expect_error("at,input,output\nnoon,2,3\n", "line 2: 'noon' is not a time");
  expect_error("at,input,output\n1,many,3\n", "line 2: 'many' is not a number of tokens");
  expect_error("at,input,output\n1,2,-3\n", "line 2: '-3' is not a number of tokens");
  expect_error("at,input,output\n1,\"2,3\n", "line 2: no CSV");
  expect_error("at,adapter,input,output\n1,\xff,2,3\n", "line 2: the adapter's name is not UTF-8");
}

static void a_line_without_end_takes_no_memory(void **state) {
  el_buf text = {0};
  for (int i = 0; i < 70000; i++) put(&text, "1", 1);
  expect_error(text.data, "line 1 is longer than 64 KiB");
  el_buf_free(&text);
}

static void traces_of_others_are_read_by_the_names_of_their_columns(void **state) {
  el_load_trace t;
  el_error err;
  /* Azure's: no adapters, and dates. */
  ok(read_text("TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
               "2023-11-16 18:15:46.6805900,374,44\r\n"
               "2023-11-16 18:15:47.9306550,396,109\r\n"
               "2023-11-17T00:00:00Z,5,6\r\n",
               &t, &err),
     &err);
  assert_int_equal(t.n, 3);
  assert_false(t.has_adapters);
  assert_true(t.items[0].at == 0 && fabs(t.items[1].at - 1.250065) < 1e-6);
  assert_true(fabs(t.items[2].at - (5 * 3600 + 44 * 60 + 13.31941)) < 1e-6);
  assert_int_equal(t.items[1].n_in, 396);
  assert_int_equal(t.items[1].n_out, 109);
  el_load_trace_free(&t);
  /* BurstGPT's: failed requests have no output, and times need not be sorted. */
  ok(read_text("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
               "45,ChatGPT,472,18,490,Conversation log\n"
               "5,\"GPT-4, \"\"turbo\"\"\",10,20,30,x\n"
               "46,ChatGPT,1,0,1,x\n",
               &t, &err),
     &err);
  assert_int_equal(t.n, 2);
  assert_int_equal(t.left_out, 1);
  assert_true(t.has_adapters && t.items[0].at == 0 && t.items[1].at == 40);
  assert_string_equal(t.names.items[t.items[0].adapter], "GPT-4, \"turbo\"");
  assert_string_equal(t.names.items[t.items[1].adapter], "ChatGPT");
  el_load_trace_free(&t);
  /* No names at all. */
  ok(read_text("1.5,a,10,20\n1.5,,30,40\n2.5,auto,1,2", &t, &err), &err);
  assert_int_equal(t.n, 3);
  assert_int_equal(t.items[0].adapter, 0);
  assert_int_equal(t.items[1].adapter, EL_LOAD_BASE);
  assert_int_equal(t.items[1].n_in, 30);
  assert_int_equal(t.items[2].adapter, EL_LOAD_AUTO);
  assert_true(t.items[2].at == 1);
  el_load_trace_free(&t);
}

static void names_are_found_after_some_were_let_go(void **state) {
  el_load_names names = {0};
  char name[16];
  for (int i = 0; i < 1000; i++) {
    int len = snprintf(name, sizeof name, "a%05d", i);
    assert_true(el_load_names_add(&names, name, (size_t)len));
  }
  assert_true(el_load_names_add(&names, "a00007", 6));
  for (size_t i = 0; i < 1000; i++) assert_int_equal(el_load_names_find(&names, names.items[i]), i);
  assert_int_equal(el_load_names_find(&names, "b"), names.n);
  el_load_names_keep(&names, 10);
  assert_int_equal(el_load_names_find(&names, "a00009"), 9);
  assert_int_equal(el_load_names_find(&names, "a00010"), 10);
  el_load_names_free(&names);
}

/* ---- figures */

static void percentiles_are_values_that_were_measured(void **state) {
  double values[200];
  for (int i = 0; i < 200; i++) values[i] = 200 - i;
  el_load_spread s = el_load_spread_of(values, 200);
  assert_true(s.n == 200 && s.mean == 100.5 && s.p50 == 100 && s.p90 == 180 && s.p99 == 198 && s.max == 200);
  double one = 3;
  s = el_load_spread_of(&one, 1);
  assert_true(s.p50 == 3 && s.p99 == 3 && s.max == 3);
  assert_int_equal(el_load_spread_of(NULL, 0).n, 0);
}

static size_t add(el_load_log *log, double at) {
  const el_load_item item = {at, 0, 10, 5};
  return el_load_log_begin(log, &item);
}

/* A request that was due at 1, sent at 2 because the generator was late, and answered at 4, took 3 seconds. */
static void latencies_count_from_when_a_request_was_due(void **state) {
  el_load_log log = {0};
  el_load_answer a = {.sent = 102,
                      .first = 103,
                      .last = 104,
                      .done = 104,
                      .texts = 4,
                      .prompt_tokens = 10,
                      .completion_tokens = 5,
                      .cached_tokens = -1,
                      .status = 200};
  el_load_log_end(&log, add(&log, 1), &a, 100, 104);
  el_load_answer failed = {.end = EL_LOAD_STATUS, .sent = 102, .status = 503, .why = "full"};
  el_load_log_end(&log, add(&log, 1.5), &failed, 100, 103);
  el_load_answer cut = {.end = EL_LOAD_CUT, .sent = 103};
  el_load_log_end(&log, add(&log, 3), &cut, 100, 105);
  el_load_summary s;
  assert_true(el_load_summarize(&log, 5, 1.5, &s));
  assert_true(s.n == 3 && s.done == 1 && s.errors == 1 && s.cut == 1);
  assert_true(s.latency.n == 1 && s.latency.max == 3 && s.first.max == 2 && s.late.n == 3 && s.late.max == 1);
  assert_true(fabs(s.per_token.mean - 0.25) < 1e-12);
  assert_true(s.requests_per_second == 0.2 && s.tokens_out_per_second == 1 && s.tokens_in_per_second == 2);
  /* The failed one is not in time, and the one cut off does not count; this one's first text came after 2 s. */
  assert_true(s.slo_of == 2 && s.slo_met == 0);
  assert_true(el_load_summarize(&log, 5, 2, &s));
  assert_true(s.slo_met == 1);
  assert_string_equal(log.why[EL_LOAD_STATUS], "status 503: full");
  el_load_log_free(&log);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gaps_have_the_rate_and_the_variation_that_are_asked_for),
      cmocka_unit_test(gaps_with_variation_one_are_those_of_a_poisson_process),
      cmocka_unit_test(adapters_follow_the_power_law),
      cmocka_unit_test(lengths_are_uniform_and_reach_both_ends),
      cmocka_unit_test(the_same_seed_is_the_same_load),
      cmocka_unit_test(another_alpha_changes_the_adapters_alone),
      cmocka_unit_test(a_saved_trace_comes_back_as_it_was),
      cmocka_unit_test(a_trace_that_is_not_right_is_refused_by_its_line),
      cmocka_unit_test(a_line_without_end_takes_no_memory),
      cmocka_unit_test(traces_of_others_are_read_by_the_names_of_their_columns),
      cmocka_unit_test(names_are_found_after_some_were_let_go),
      cmocka_unit_test(percentiles_are_values_that_were_measured),
      cmocka_unit_test(latencies_count_from_when_a_request_was_due),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
