/* Profiling tables: both formats give the same table, and what is wrong is said by file, line and column. */
#include "bytes.h"
#include "router/table.h"

static el_table *parse_ok(const char *text) {
  el_table *t = NULL;
  el_error e = {0};
  if (el_table_parse(text, strlen(text), "t.csv", &t, &e)) fail_msg("%s", e.message);
  return t;
}

/* Refused, with all of `parts` in the message (a NULL ends them). */
static void refused_n(const char *text, size_t len, const char *const *parts) {
  el_table *t = NULL;
  el_error e = {0};
  el_buf b = {0};
  put(&b, text, len);
  unsigned char *copy = exact(&b, len); /* where a sanitizer sees one byte too many */
  el_status status = el_table_parse((const char *)copy, len, "t.csv", &t, &e);
  free(copy);
  el_buf_free(&b);
  if (status == EL_OK) fail_msg("was taken: %s", text);
  assert_int_equal(status, EL_ERR_FORMAT);
  assert_null(t);
  assert_contains(e.message, "t.csv");
  for (; *parts; parts++) assert_contains(e.message, *parts);
}
#define REFUSED(text, ...) refused_n(text, strlen(text), (const char *const[]){__VA_ARGS__, NULL})

static void fields_may_hold_anything_in_quotes(void **state) {
  el_table *t = parse_ok(
      "task,prompt,score_a,note,score_base\r\n"
      "x,\"two\nlines, a \"\"word\"\"\",0.25,ignored,1\r\n"
      "\"y\",plain,1e-1,,0");
  assert_int_equal(t->n_rows, 2);
  assert_int_equal(t->n_columns, 2);
  assert_int_equal(t->base, 1);
  assert_string_equal(t->names[0], "a");
  assert_string_equal(t->prompts[0], "two\nlines, a \"word\"");
  assert_string_equal(t->prompts[1], "plain");
  assert_string_equal(t->tasks[1], "y");
  assert_float_equal(t->scores[0], 0.25f, 0);
  assert_float_equal(t->scores[1], 1, 0);
  assert_float_equal(t->scores[2], 0.1f, 0);
  assert_int_equal(t->lines[0], 2);
  assert_int_equal(t->lines[1], 4);
  assert_int_equal(el_table_column(t, "base"), 1);
  assert_int_equal(el_table_column(t, "b"), -1);
  el_table_free(t);
}

static void empty_lines_and_a_byte_order_mark_are_no_rows(void **state) {
  el_table *t = parse_ok("\xef\xbb\xbfprompt,score_a\n\nx,1\n\n");
  assert_int_equal(t->n_rows, 1);
  assert_null(t->tasks);
  assert_int_equal(t->base, -1);
  el_table_free(t);
}

static void json_lines_give_the_same_table(void **state) {
  el_table *t = parse_ok(
      "{\"prompt\": \"a\\nb\", \"task\": \"x\", \"scores\": {\"base\": 1, \"sql\": 0.5}}\r\n\n"
      "{\"score_sql\": 0, \"score_base\": 0.25, \"task\": \"y\", \"prompt\": \"c\", \"more\": [1]}");
  assert_int_equal(t->n_rows, 2);
  assert_int_equal(t->n_columns, 2);
  assert_string_equal(t->prompts[0], "a\nb");
  assert_int_equal(t->base, el_table_column(t, "base"));
  int sql = el_table_column(t, "sql");
  assert_float_equal(t->scores[sql], 0.5f, 0);
  assert_float_equal(t->scores[2 + sql], 0, 0);
  assert_float_equal(t->scores[2 + t->base], 0.25f, 0);
  assert_int_equal(t->lines[1], 3);
  el_table_free(t);
}

static void what_is_wrong_with_csv_is_said(void **state) {
  REFUSED("", "empty");
  REFUSED("prompt,score_a\n", "no rows");
  REFUSED("text,score_a\nx,1\n", "prompt", "missing");
  REFUSED("prompt,task\nx,y\n", "line 1", "score_NAME");
  REFUSED("prompt,score_a,prompt\nx,1,y\n", "prompt", "twice");
  REFUSED("prompt,task,task,score_a\nx,y,z,1\n", "task", "twice");
  REFUSED("prompt,score_a,score_a\nx,1,1\n", "a", "twice");
  REFUSED("prompt,score_\nx,1\n", "score_", "names no candidate");
  REFUSED("prompt,score_a\nx,nan\n", "line 2", "score of a");
  REFUSED("prompt,score_a\nx,inf\n", "line 2", "score of a");
  REFUSED("prompt,score_a\nx,\n", "line 2", "no number");
  REFUSED("prompt,score_a\nx,1 \n", "line 2", "no number");
  REFUSED("prompt,score_a\nx,1\ny,1.01\n", "line 3", "0 to 1");
  REFUSED("prompt,score_a\nx,-0.5\n", "line 2", "0 to 1");
  REFUSED("prompt,score_a\n\"\",1\n", "line 2", "prompt is empty");
  REFUSED("prompt,score_a\nx,1,2\n", "line 2", "3 fields");
  REFUSED("prompt,score_a\n\"a\nb\",1\nx\n", "line 4", "1 fields");
  REFUSED("prompt,score_a\n\"never closed,1\n", "line 2", "column 1", "quote");
  REFUSED("prompt,score_a\n\"closed\"more,1\n", "line 2", "column 1", "closing quote");
  REFUSED("prompt,score_a\nin\"side,1\n", "line 2", "column 1", "quote");
  REFUSED("prompt,score_a\n\xff,1\n", "line 2", "prompt", "UTF-8");
  refused_n("prompt,score_a\na\0b,1\n", 21, (const char *const[]){"line 2", "NUL", NULL});
}

static void what_is_wrong_with_json_lines_is_said(void **state) {
  REFUSED("{", "line 1", "not JSON");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": 1}}\n[1]\n", "line 2", "object");
  REFUSED("{\"scores\": {\"a\": 1}}\n", "line 1", "prompt", "missing");
  REFUSED("{\"prompt\": 1, \"scores\": {\"a\": 1}}\n", "line 1", "prompt", "no text");
  REFUSED("{\"prompt\": \"x\"}\n", "line 1", "no scores");
  REFUSED("{\"prompt\": \"x\", \"scores\": [1]}\n", "line 1", "scores");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": \"1\"}}\n", "line 1", "score of a");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": 2}}\n", "line 1", "score of a", "0 to 1");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": 1}, \"score_a\": 0}\n", "line 1", "a", "twice");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": 1}}\n{\"prompt\": \"y\", \"scores\": {\"b\": 1}}\n", "line 2", "b");
  REFUSED("{\"prompt\": \"x\", \"scores\": {\"a\": 1, \"b\": 1}}\n{\"prompt\": \"y\", \"scores\": {\"b\": 1}}\n",
          "line 2", "score of a", "missing");
  REFUSED("{\"prompt\": \"x\", \"task\": \"t\", \"scores\": {\"a\": 1}}\n{\"prompt\": \"y\", \"scores\": {\"a\": 1}}\n",
          "line 2", "task");
  REFUSED("{\"prompt\": \"x\", \"prompt\": \"y\", \"scores\": {\"a\": 1}}\n", "line 1", "not JSON");
  REFUSED("{\"prompt\": \"a\\u0000b\", \"scores\": {\"a\": 1}}\n", "line 1", "NUL");
}

static void a_prompt_of_a_megabyte_is_taken_and_one_byte_more_is_not(void **state) {
  el_buf b = {0};
  el_table *t = NULL;
  el_error e = {0};
  put(&b, "prompt,score_a\n", 15);
  for (int i = 0; i < EL_MAX_TABLE_PROMPT; i++) put(&b, "x", 1);
  put(&b, ",1\n", 3);
  assert_int_equal(el_table_parse(b.data, b.len, "t.csv", &t, &e), EL_OK);
  assert_int_equal(strlen(t->prompts[0]), EL_MAX_TABLE_PROMPT);
  el_table_free(t);
  t = NULL;
  b.len = 15;
  b.data[14] = '\n';
  for (int i = 0; i <= EL_MAX_TABLE_PROMPT; i++) put(&b, "x", 1);
  put(&b, ",1\n", 3);
  assert_int_equal(el_table_parse(b.data, b.len, "t.csv", &t, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "limit is 1048576");
  el_buf_free(&b);
}

static void a_file_is_read_and_one_that_is_missing_is_said(void **state) {
  char dir[64], path[128];
  el_table *t = NULL;
  el_error e = {0};
  make_dir(dir);
  write_file(dir, "t.csv", "prompt,score_a\nx,1\n", 19);
  snprintf(path, sizeof path, "%s/t.csv", dir);
  assert_int_equal(el_table_read(path, &t, &e), EL_OK);
  el_table_free(t);
  snprintf(path, sizeof path, "%s/none.csv", dir);
  assert_int_equal(el_table_read(path, &t, &e), EL_ERR_IO);
  assert_contains(e.message, "none.csv");
  remove_tree(dir);
}

static void every_prefix_of_a_table_opens_or_is_refused(void **state) {
  static const char *const texts[] = {"prompt,task,score_a,score_base\n\"a \"\"b\"\"\nc\",t,0.5,1\r\nd,u,0,0\n",
                                      "{\"prompt\": \"x\", \"task\": \"t\", \"scores\": {\"a\": 1}}\n{\"prompt\": "
                                      "\"y\", \"task\": \"t\", \"score_a\": 0}\n"};
  for (size_t k = 0; k < 2; k++)
    for (size_t n = 0; n <= strlen(texts[k]); n++) {
      el_table *t = NULL;
      el_error e = {0};
      el_buf b = {0};
      put(&b, texts[k], n);
      unsigned char *copy = exact(&b, n);
      el_status status = el_table_parse((const char *)copy, n, "t", &t, &e);
      assert_true(status ? !t && e.message[0] : t->n_rows > 0);
      el_table_free(t);
      free(copy);
      el_buf_free(&b);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_may_hold_anything_in_quotes),
      cmocka_unit_test(empty_lines_and_a_byte_order_mark_are_no_rows),
      cmocka_unit_test(json_lines_give_the_same_table),
      cmocka_unit_test(what_is_wrong_with_csv_is_said),
      cmocka_unit_test(what_is_wrong_with_json_lines_is_said),
      cmocka_unit_test(a_prompt_of_a_megabyte_is_taken_and_one_byte_more_is_not),
      cmocka_unit_test(a_file_is_read_and_one_that_is_missing_is_said),
      cmocka_unit_test(every_prefix_of_a_table_opens_or_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
