/* Scores of answers, and commands that score. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>

#include "base/clock.h"
#include "bytes.h"
#include "cli/scorers.h"

static el_scoring scoring(const char *answer, const char *const *expected, size_t n) {
  return (el_scoring){.prompt = "a \"prompt\"\n",
                      .adapter = "sql",
                      .expected = expected,
                      .n_expected = n,
                      .answer = {answer, strlen(answer)}};
}

static double scored(el_scorer_kind kind, const char *answer, const char *expected) {
  double score = -1;
  el_error err;
  el_scoring s = scoring(answer, &expected, 1);
  assert_int_equal(el_score(kind, &s, &score, &err), EL_OK);
  return score;
}

static void near_to(double got, double want) {
  if (!(fabs(got - want) < 1e-12)) fail_msg("%.17g is not %.17g", got, want);
}

static void exact_is_equality_less_white_space_at_the_ends(void **state) {
  near_to(scored(EL_SCORER_EXACT, " ls -l\r\n", "\tls -l"), 1);
  near_to(scored(EL_SCORER_EXACT, "ls  -l", "ls -l"), 0);
  near_to(scored(EL_SCORER_EXACT, "LS -l", "ls -l"), 0);
  near_to(scored(EL_SCORER_EXACT, "ls -l", "ls"), 0);
  near_to(scored(EL_SCORER_EXACT, " ", ""), 1);
}

static void contains_finds_the_expected_text_anywhere(void **state) {
  near_to(scored(EL_SCORER_CONTAINS, "It is Paris, I think.", " Paris\n"), 1);
  near_to(scored(EL_SCORER_CONTAINS, "It is paris.", "Paris"), 0);
  near_to(scored(EL_SCORER_CONTAINS, "Par", "Paris"), 0);
  near_to(scored(EL_SCORER_CONTAINS, "", "Paris"), 0);
}

static void json_compares_values_not_text(void **state) {
  near_to(scored(EL_SCORER_JSON, "{\"b\": [1, 2.0], \"a\": null}", "{\"a\":null,\"b\":[1.0,2]}"), 1);
  near_to(scored(EL_SCORER_JSON, "[2, 1]", "[1, 2]"), 0);
  near_to(scored(EL_SCORER_JSON, "{\"a\": 1}", "{\"a\": 1, \"b\": 2}"), 0);
  near_to(scored(EL_SCORER_JSON, "{\"a\": 1, \"b\": 2}", "{\"a\": 1}"), 0);
  near_to(scored(EL_SCORER_JSON, "{\"a\": \"1\"}", "{\"a\": 1}"), 0);
  near_to(scored(EL_SCORER_JSON, "true", "true"), 1);
  near_to(scored(EL_SCORER_JSON, "{\"a\": 1} indeed", "{\"a\": 1}"), 0);
  near_to(scored(EL_SCORER_JSON, "{\"a\": 1, \"a\": 1}", "{\"a\": 1}"), 0);
  near_to(scored(EL_SCORER_JSON, "", "\"\""), 0);
  assert_true(el_score_is_json("[]", 2));
  assert_false(el_score_is_json("[", 1));
}

static void f1_counts_words_in_common_as_squad_does(void **state) {
  near_to(scored(EL_SCORER_F1, "The cat sat.", "a cat, sat"), 1);
  near_to(scored(EL_SCORER_F1, "cat dog", "cat"), 2.0 / 3);             /* precision 1/2, recall 1 */
  near_to(scored(EL_SCORER_F1, "cat cat dog", "cat cat cat"), 4.0 / 6); /* two of three on both sides */
  near_to(scored(EL_SCORER_F1, "x-y", "xy"), 1);                        /* punctuation goes, it does not part words */
  near_to(scored(EL_SCORER_F1, "dog", "cat"), 0);
  near_to(scored(EL_SCORER_F1, "the", ""), 1); /* nothing is left of either */
  near_to(scored(EL_SCORER_F1, "", "cat"), 0);
  near_to(scored(EL_SCORER_F1, "\xc3\x89t\xc3\xa9", "\xc3\x89t\xc3\xa9!"), 1);
}

static void the_best_of_several_expected_answers_counts(void **state) {
  const char *const expected[] = {"no", "yes", "maybe"};
  el_scoring s = scoring("yes", expected, 3);
  double score;
  el_error err;
  assert_int_equal(el_score(EL_SCORER_EXACT, &s, &score, &err), EL_OK);
  near_to(score, 1);
  s = scoring("never", expected, 3);
  assert_int_equal(el_score(EL_SCORER_EXACT, &s, &score, &err), EL_OK);
  near_to(score, 0);
}

static el_status by_command(const char *line, int timeout_ms, double *score, el_error *err) {
  const char *const expected[] = {"one", "two"};
  el_scoring s = scoring("an answer", expected, 2);
  const el_score_command c = {.line = line, .timeout_ms = timeout_ms, .stop_fd = -1};
  return el_score_by_command(&c, &s, score, err);
}

static void a_command_reads_the_case_and_prints_the_score(void **state) {
  double score = -1;
  el_error err = {0};
  assert_int_equal(
      by_command("grep -qxF '{\"prompt\":\"a \\\"prompt\\\"\\n\",\"expected\":[\"one\",\"two\"],\"answer\":"
                 "\"an answer\",\"adapter\":\"sql\"}' && echo ' 0.25 '",
                 5000, &score, &err),
      EL_OK);
  near_to(score, 0.25);
}

static void a_command_need_not_read_its_input(void **state) {
  double score = -1;
  el_error err = {0};
  for (int i = 0; i < 20; i++) assert_int_equal(by_command("exec <&-; echo 1", 5000, &score, &err), EL_OK);
  near_to(score, 1);
}

/* More than a pipe holds, both ways at once. */
static void a_long_answer_reaches_the_command_whole(void **state) {
  enum { LONG = 1 << 20 };
  char *answer = malloc(LONG + 1);
  assert_non_null(answer);
  memset(answer, 'x', LONG);
  answer[LONG] = 0;
  el_scoring s = scoring(answer, NULL, 0);
  const el_score_command c = {
      .line = "test $(tr -dc x | wc -c) -eq 1048577 && echo 1", .timeout_ms = 20000, .stop_fd = -1};
  double score = -1;
  el_error err = {0};
  if (el_score_by_command(&c, &s, &score, &err)) fail_msg("%s", err.message); /* and the x of "expected" */
  near_to(score, 1);
  free(answer);
}

static void what_a_command_does_wrong_is_said(void **state) {
  static const struct {
    const char *line, *said;
  } cases[] = {
      {"exit 3", "ended with status 3"},
      {"no-such-program-at-all 2>/dev/null", "ended with status 127"},
      {"kill -9 $$", "ended by signal 9"},
      {"echo good", "printed 'good\\n', which is no number"},
      {"echo 1.5", "no number from 0 to 1"},
      {"echo nan", "no number from 0 to 1"},
      {"echo -0.1", "no number from 0 to 1"},
      {"printf '1\\0000'", "no number from 0 to 1"},
      {"true", "printed ''"},
      {"yes", "more than 4096 bytes"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double score = -1;
    el_error err = {0};
    assert_int_not_equal(by_command(cases[i].line, 20000, &score, &err), EL_OK);
    assert_contains(err.message, cases[i].said);
    near_to(score, -1);
  }
}

static void a_command_that_takes_too_long_is_killed_with_what_it_started(void **state) {
  char dir[64], line[256], path[128], byte;
  double score = -1;
  el_error err = {0};
  make_dir(dir);
  snprintf(path, sizeof path, "%s/alive", dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  int alive = open(path, O_RDONLY | O_NONBLOCK);
  assert_true(alive >= 0);
  snprintf(line, sizeof line, "sleep 60 >%s & sleep 60", path);
  double began = el_seconds();
  assert_int_equal(by_command(line, 200, &score, &err), EL_ERR_IO);
  assert_contains(err.message, "longer than 200 ms");
  assert_true(el_seconds() - began < 30);
  /* What is left of them has the pipe open. */
  for (double until = el_seconds() + 30; read(alive, &byte, 1) != 0 && el_seconds() < until;) usleep(1000);
  assert_int_equal(read(alive, &byte, 1), 0);
  close(alive);
  /* One that has closed its output and lives on is too slow as well. */
  assert_int_equal(by_command("echo 1; exec >&-; sleep 60", 200, &score, &err), EL_ERR_IO);
  remove_tree(dir);
}

static void a_command_is_stopped_by_what_stops_the_program(void **state) {
  int fds[2];
  double score;
  el_error err = {0};
  assert_int_equal(pipe(fds), 0);
  assert_int_equal(write(fds[1], "x", 1), 1);
  el_scoring s = scoring("x", NULL, 0);
  const el_score_command c = {.line = "sleep 60; echo 1", .timeout_ms = 60000, .stop_fd = fds[0]};
  double began = el_seconds();
  assert_int_equal(el_score_by_command(&c, &s, &score, &err), EL_ERR_CLOSED);
  assert_true(el_seconds() - began < 30);
  close(fds[0]);
  close(fds[1]);
}

/* Nothing of a call is left behind: no descriptor, no child. */
static void commands_leave_nothing_behind(void **state) {
  double score;
  el_error err;
  int before = dup(0);
  close(before);
  for (int i = 0; i < 20; i++) by_command(i % 2 ? "echo 1" : "exit 1", 5000, &score, &err);
  int after = dup(0);
  close(after);
  assert_int_equal(before, after);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(exact_is_equality_less_white_space_at_the_ends),
      cmocka_unit_test(contains_finds_the_expected_text_anywhere),
      cmocka_unit_test(json_compares_values_not_text),
      cmocka_unit_test(f1_counts_words_in_common_as_squad_does),
      cmocka_unit_test(the_best_of_several_expected_answers_counts),
      cmocka_unit_test(a_command_reads_the_case_and_prints_the_score),
      cmocka_unit_test(a_command_need_not_read_its_input),
      cmocka_unit_test(a_long_answer_reaches_the_command_whole),
      cmocka_unit_test(what_a_command_does_wrong_is_said),
      cmocka_unit_test(a_command_that_takes_too_long_is_killed_with_what_it_started),
      cmocka_unit_test(a_command_is_stopped_by_what_stops_the_program),
      cmocka_unit_test(commands_leave_nothing_behind),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
