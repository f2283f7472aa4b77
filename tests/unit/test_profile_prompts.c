/* Prompts from JSONL and CSV, and CSV there and back. */
#include "base/csv.h"
#include "bytes.h"
#include "cli/profile_prompts.h"

static el_status parse(const char *text, size_t len, el_prompts *out, el_error *err) {
  el_buf b = {0};
  put(&b, text, len);
  unsigned char *copy = exact(&b, len);
  el_status status = el_prompts_parse("p", (const char *)copy, len, out, err);
  free(copy);
  el_buf_free(&b);
  return status;
}

static el_prompts good(const char *text) {
  el_prompts p = {0};
  el_error err = {0};
  if (parse(text, strlen(text), &p, &err)) fail_msg("%s: %s", text, err.message);
  return p;
}

static void refused(const char *text, size_t len, const char *said) {
  el_prompts p = {0};
  el_error err = {0};
  if (!parse(text, len, &p, &err)) fail_msg("taken: %s", text);
  assert_contains(err.message, said);
  assert_null(p.items);
}
#define REFUSED(text, said) refused(text, sizeof(text) - 1, said)

static void both_formats_say_the_same(void **state) {
  static const char *const files[] = {
      "{\"prompt\":\"one, two\",\"task\":\"t\",\"expected\":\"yes\",\"scorer\":\"f1\",\"other\":[1]}\r\n"
      "\n"
      "{\"prompt\":\"multi\\nline \\\"q\\\"\"}\n"
      "{\"prompt\":\"last\",\"completion\":\" x\",\"task\":null}",
      "\xef\xbb\xbftask,prompt,completion,other,scorer\n"
      "t,\"one, two\",yes,,f1\r\n"
      "\n"
      ",\"multi\nline \"\"q\"\"\",,,\n"
      ",last,\" x\",o,"};
  for (int i = 0; i < 2; i++) {
    el_prompts p = good(files[i]);
    assert_int_equal(p.n, 3);
    assert_true(p.has_tasks);
    assert_string_equal(p.items[0].text, "one, two");
    assert_string_equal(p.items[0].task, "t");
    assert_int_equal(p.items[0].n_expected, 1);
    assert_string_equal(p.items[0].expected[0], "yes");
    assert_true(p.items[0].own_scorer && p.items[0].scorer == EL_SCORER_F1);
    assert_string_equal(p.items[1].text, "multi\nline \"q\"");
    assert_null(p.items[1].task);
    assert_int_equal(p.items[1].n_expected, 0);
    assert_false(p.items[1].own_scorer);
    assert_string_equal(p.items[2].expected[0], " x");
    assert_int_equal(p.items[0].line, i == 0 ? 1 : 2);
    assert_int_equal(p.items[1].line, i == 0 ? 3 : 4);
    assert_int_equal(p.items[2].line, i == 0 ? 4 : 6);
    el_prompts_free(&p);
  }
}

static void several_expected_answers_and_an_empty_one_are_kept(void **state) {
  el_prompts p = good("{\"prompt\":\"a\",\"expected\":[\"x\",\"\",\"z\"]}\n{\"prompt\":\"b\",\"expected\":\"\"}");
  assert_int_equal(p.items[0].n_expected, 3);
  assert_string_equal(p.items[0].expected[1], "");
  assert_int_equal(p.items[1].n_expected, 1);
  assert_false(p.has_tasks);
  el_prompts_free(&p);
}

static void another_file_has_another_hash(void **state) {
  el_prompts a = good("{\"prompt\":\"a\"}"), b = good("{\"prompt\":\"a\"}\n"), c = good("{\"prompt\":\"a\"}");
  assert_true(a.hash != b.hash);
  assert_true(a.hash == c.hash);
  el_prompts_free(&a);
  el_prompts_free(&b);
  el_prompts_free(&c);
}

static void what_is_wrong_is_said_with_its_line(void **state) {
  REFUSED("", "p: there are no prompts in it");
  REFUSED("\n\n", "column prompt is missing");
  REFUSED("prompt,task\n", "p: there are no prompts in it");
  REFUSED("\xef\xbb\xbf", "no prompts");
  REFUSED("{\"prompt\":\"a\"}\n{\"prompt\"", "p: line 2: not JSON");
  REFUSED("{\"prompt\":\"a\"}\n[]", "p: line 2: no JSON object");
  REFUSED("{\"task\":\"a\"}", "line 1: \"prompt\" is missing");
  REFUSED("{\"prompt\":1}", "\"prompt\" is no text");
  REFUSED("{\"prompt\":\"\"}", "the prompt is empty");
  REFUSED("{\"prompt\":\"a\\u0000b\"}", "byte 0x00 at 1 of it is NUL");
  REFUSED("{\"prompt\":\"a\",\"prompt\":\"b\"}", "line 1: not JSON: duplicate");
  REFUSED("{\"prompt\":\"a\",\"task\":1}", "\"task\" is no text");
  REFUSED("{\"prompt\":\"a\",\"expected\":1}", "neither a text nor a list");
  REFUSED("{\"prompt\":\"a\",\"expected\":[]}", "list of expected answers is empty");
  REFUSED("{\"prompt\":\"a\",\"expected\":[1]}", "in the list is no text");
  REFUSED("{\"prompt\":\"a\",\"expected\":\"x\",\"completion\":\"x\"}", "both there");
  REFUSED("{\"prompt\":\"a\",\"expected\":\"x\",\"scorer\":\"best\"}", "no scorer 'best'; there are exact");
  REFUSED("{\"prompt\":\"a\",\"scorer\":\"f1\"}", "a scorer without an expected answer");
  REFUSED("prompt,prompt\na,b\n", "column prompt is there twice");
  REFUSED("prompt,expected,completion\na,b,c\n", "expected and completion are the same");
  REFUSED("question\na\n", "column prompt is missing");
  REFUSED("prompt,task\na\n", "line 2: 1 fields, the first line has 2");
  REFUSED("prompt\n\"a\n", "line 2: column 1 opens a quote");
  REFUSED("prompt\n\"a\"b\n", "goes on after its closing quote");
  REFUSED("prompt\na\"b\n", "has a quote inside");
  REFUSED("prompt\n\xff\n", "byte 0xff at 0 of it is not UTF-8");
  REFUSED("prompt\na\0b\n", "is NUL");
}

static void a_prompt_of_more_than_a_megabyte_is_refused(void **state) {
  el_buf b = {0};
  put(&b, "prompt\n", 7);
  for (int i = 0; i <= EL_MAX_TABLE_PROMPT; i++) put(&b, "x", 1);
  refused(b.data, b.len, "the prompt has 1048577 bytes; the limit is 1048576");
  el_buf_free(&b);
}

static void csv_fields_come_back_as_they_were_written(void **state) {
  static const char *const fields[] = {"",           "plain", "a,b",     "\"",          "say \"x\"",
                                       "two\nlines", "\r\n",  " space ", "\xe2\x82\xac"};
  enum { N = sizeof fields / sizeof *fields };
  el_buf b = {0};
  el_error err;
  bool any;
  for (size_t i = 0; i < N; i++) {
    if (i) put(&b, ",", 1);
    assert_true(el_csv_write(&b, fields[i], strlen(fields[i])));
  }
  el_csv c = el_csv_open("p", b.data, b.len);
  assert_int_equal(el_csv_read(&c, &any, &err), EL_OK);
  assert_true(any);
  assert_int_equal(c.n, N);
  for (size_t i = 0; i < N; i++) assert_true(el_str_eq(el_csv_field(&c, i), fields[i]));
  assert_int_equal(el_csv_read(&c, &any, &err), EL_OK);
  assert_false(any);
  el_csv_free(&c);
  el_buf_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_formats_say_the_same),
      cmocka_unit_test(several_expected_answers_and_an_empty_one_are_kept),
      cmocka_unit_test(another_file_has_another_hash),
      cmocka_unit_test(what_is_wrong_is_said_with_its_line),
      cmocka_unit_test(a_prompt_of_more_than_a_megabyte_is_refused),
      cmocka_unit_test(csv_fields_come_back_as_they_were_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
