/* The journal of router profile: what a run finds again, and what it refuses. */
#include "bytes.h"
#include "cli/profile_journal.h"

typedef struct seen {
  el_buf text; /* "row name score answer|" */
  bool refuse;
} seen;

static bool see(void *user, const el_journal_answer *a) {
  seen *s = user;
  assert_true(el_buf_printf(&s->text, "%llu %s %g ", (unsigned long long)a->row, a->name, a->score));
  put(&s->text, a->answer.data, a->answer.len);
  put(&s->text, "|", 1);
  return !s->refuse;
}

typedef struct place {
  char dir[64], path[96];
} place;

static place new_place(void) {
  place p;
  make_dir(p.dir);
  snprintf(p.path, sizeof p.path, "%s/t.csv.part", p.dir);
  return p;
}

static el_status open_with(const place *p, const char *scorer, bool restart, seen *s, el_journal *j, el_error *err) {
  el_setup setup = {0};
  assert_true(el_setup_add(&setup, "model", "%s", "tiny") && el_setup_add(&setup, "--scorer", "%s", scorer));
  el_status status = el_journal_open(p->path, &setup, restart, see, s, j, err);
  el_setup_free(&setup);
  return status;
}

static void add(el_journal *j, uint64_t row, const char *name, double score, const char *answer) {
  const el_journal_answer a = {row, name, score, {answer, strlen(answer)}};
  el_error err;
  assert_int_equal(el_journal_add(j, &a, &err), EL_OK);
}

/* A journal with two answers, closed. */
static place written(void) {
  place p = new_place();
  seen s = {0};
  el_journal j;
  el_error err;
  assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_OK);
  assert_int_equal(s.text.len, 0);
  add(&j, 0, "base", 1, "line\n\"two\"\x01");
  add(&j, 7, "t/sql", 1.0 / 3, "\xe2\x82\xac");
  el_journal_close(&j, false);
  return p;
}

static const char both[] = "0 base 1 line\n\"two\"\x01|7 t/sql 0.333333 \xe2\x82\xac|";

static void answers_are_found_again_as_they_were(void **state) {
  place p = written();
  seen s = {0};
  el_journal j;
  el_error err;
  assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_OK);
  assert_string_equal(s.text.data, both);
  el_journal_close(&j, true);
  assert_int_not_equal(access(p.path, F_OK), 0);
  el_buf_free(&s.text);
  remove_tree(p.dir);
}

/* Wherever a kill cuts the file, what is whole before the cut counts, and what is added later stands on a new line. */
static void a_line_that_was_cut_is_dropped_wherever_the_cut_is(void **state) {
  place p = written();
  FILE *f = fopen(p.path, "rb");
  char whole[1024];
  assert_non_null(f);
  size_t n = fread(whole, 1, sizeof whole, f), cuts = 0;
  fclose(f);
  for (size_t cut = 0; cut <= n; cut++) {
    seen s = {0};
    el_journal j;
    el_error err;
    write_file(p.dir, "t.csv.part", whole, cut);
    assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_OK);
    size_t len = s.text.len;
    assert_memory_equal(s.text.data ? s.text.data : "", both, len);
    assert_true(len == 0 || len == strlen(both) || s.text.data[len - 1] == '|');
    cuts += len < strlen(both);
    add(&j, 9, "x", 0, "added");
    el_journal_close(&j, false);
    s.text.len = 0;
    assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_OK);
    assert_int_equal(s.text.len, len + strlen("9 x 0 added|"));
    assert_string_equal(s.text.data + len, "9 x 0 added|");
    el_journal_close(&j, false);
    el_buf_free(&s.text);
  }
  assert_true(cuts > 50);
  remove_tree(p.dir);
}

static void another_set_up_is_refused_and_what_differs_is_said(void **state) {
  place p = written();
  seen s = {0};
  el_journal j;
  el_error err = {0};
  assert_int_equal(open_with(&p, "exact", false, &s, &j, &err), EL_ERR_EXISTS);
  assert_contains(err.message, "--scorer was f1, and is exact now; --restart");
  assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_OK); /* and nothing of it is lost */
  assert_string_equal(s.text.data, both);
  el_journal_close(&j, false);
  s.text.len = 0;
  assert_int_equal(open_with(&p, "exact", true, &s, &j, &err), EL_OK);
  assert_int_equal(s.text.len, 0);
  el_journal_close(&j, false);
  assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_ERR_EXISTS);

  el_setup more = {0};
  assert_true(el_setup_add(&more, "model", "tiny") && el_setup_add(&more, "--scorer", "exact") &&
              el_setup_add(&more, "adapter sql", "1"));
  assert_int_equal(el_journal_open(p.path, &more, false, see, &s, &j, &err), EL_ERR_EXISTS);
  assert_contains(err.message, "adapter sql was not there, and is 1 now");
  el_setup_free(&more);
  el_setup fewer = {0};
  assert_true(el_setup_add(&fewer, "model", "tiny"));
  assert_int_equal(el_journal_open(p.path, &fewer, false, see, &s, &j, &err), EL_ERR_EXISTS);
  assert_contains(err.message, "--scorer was exact, and is not there now");
  el_setup_free(&fewer);
  el_buf_free(&s.text);
  remove_tree(p.dir);
}

static void a_file_that_is_no_journal_is_left_alone(void **state) {
  static const char *const files[] = {
      "hello",
      "hello\nworld",
      "[1]\n",
      "{\"model\":\"tiny\",\"--scorer\":\"f1\"}\nworld\n",
      "{\"model\":\"tiny\",\"--scorer\":\"f1\"}\n{\"row\":-1,\"adapter\":\"x\",\"score\":0,"
      "\"answer\":\"\"}\n",
      "{\"model\":\"tiny\",\"--scorer\":\"f1\"}\n{\"row\":1,\"adapter\":\"x\",\"score\":2,"
      "\"answer\":\"\"}\n"};
  place p = new_place();
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    seen s = {0};
    el_journal j;
    el_error err = {0};
    char now[256];
    write_file(p.dir, "t.csv.part", files[i], strlen(files[i]));
    assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_ERR_FORMAT);
    assert_contains(err.message, "t.csv.part");
    FILE *f = fopen(p.path, "rb");
    assert_non_null(f);
    size_t n = fread(now, 1, sizeof now, f);
    fclose(f);
    assert_int_equal(n, strlen(files[i]));
    assert_memory_equal(now, files[i], n);
    el_buf_free(&s.text);
  }
  remove_tree(p.dir);
}

static void an_answer_that_the_run_does_not_know_is_an_error_with_its_line(void **state) {
  place p = written();
  seen s = {.refuse = true};
  el_journal j;
  el_error err = {0};
  assert_int_equal(open_with(&p, "f1", false, &s, &j, &err), EL_ERR_FORMAT);
  assert_contains(err.message, "line 2");
  el_buf_free(&s.text);
  remove_tree(p.dir);
}

static void two_runs_do_not_write_one_journal(void **state) {
  place p = new_place();
  seen s = {0};
  el_journal first, second;
  el_error err = {0};
  assert_int_equal(open_with(&p, "f1", false, &s, &first, &err), EL_OK);
  assert_int_equal(open_with(&p, "f1", true, &s, &second, &err), EL_ERR_BUSY);
  assert_contains(err.message, "another run");
  el_journal_close(&first, false);
  assert_int_equal(open_with(&p, "f1", false, &s, &second, &err), EL_OK);
  el_journal_close(&second, false);
  remove_tree(p.dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers_are_found_again_as_they_were),
      cmocka_unit_test(a_line_that_was_cut_is_dropped_wherever_the_cut_is),
      cmocka_unit_test(another_set_up_is_refused_and_what_differs_is_said),
      cmocka_unit_test(a_file_that_is_no_journal_is_left_alone),
      cmocka_unit_test(an_answer_that_the_run_does_not_know_is_an_error_with_its_line),
      cmocka_unit_test(two_runs_do_not_write_one_journal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
