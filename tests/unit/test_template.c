/* The interpreter of chat templates: what bounds it, what its errors say, and whose a text is. What it makes of
 * templates is compared with Jinja in tests/py/test_template.py. */
#include "failing_memory.h"
#include "template/template.h"

enum { NOW = 1700000000 };

static el_value text_value(const char *s) {
  return (el_value){.type = EL_VALUE_STRING, .string = {s, strlen(s)}};
}

/* `secret` is a message's, source 7; `list` and `dict` hold it. */
static void set(el_rendering *r, void *user) {
  const char *secret = user;
  el_val *dict = el_template_dict(r), *list = el_template_list(r);
  const el_val *s = el_template_string(r, (el_str){secret, strlen(secret)}, 7);
  el_template_set(r, "secret", s);
  el_template_append(r, list, s);
  el_template_append(r, list, s);
  el_template_set(r, "list", list);
  el_template_put(r, dict, "key", 0, s);
  el_template_set(r, "dict", dict);
  const el_value number = {.type = EL_VALUE_INTEGER, .integer = 42}, whole = text_value(secret);
  el_template_set(r, "number", el_template_value(r, &number, 7));
  el_template_set(r, "whole", el_template_value(r, &whole, 7));
  el_template_set(r, "yes", el_template_bool(r, true));
  el_template_set(r, "nothing", el_template_none(r));
}

static el_status render_within(const char *source, const char *secret, const el_template_limits *limits,
                               el_rendered *out, el_error *e) {
  el_template *t = NULL;
  el_status status = el_template_new((el_str){source, strlen(source)}, &t, e);
  if (!status) status = el_template_render(t, set, (void *)secret, NOW, limits, out, e);
  el_template_free(t);
  return status;
}

static void refused_within(const char *source, const el_template_limits *limits, el_status want, const char *part) {
  el_rendered out = {0};
  el_error e = {0};
  assert_int_equal(render_within(source, "x", limits, &out, &e), want);
  assert_null(out.text.data);
  if (!strstr(e.message, part)) fail_msg("'%s' is not in '%s'", part, e.message);
}

static void refused(const char *source, el_status want, const char *part) {
  refused_within(source, NULL, want, part);
}

/* The parts that are not the template's are between brackets. */
static void assert_parts(const char *source, const char *secret, const char *want) {
  el_rendered out = {0};
  el_error e = {0};
  char shown[512] = "";
  size_t n = 0;
  if (render_within(source, secret, NULL, &out, &e)) fail_msg("%s", e.message);
  for (size_t i = 0, p = 0; i <= out.text.len; i++) {
    if (p < out.n_spans && out.spans[p].end == i) shown[n++] = ']', p++;
    if (p < out.n_spans && out.spans[p].begin == i) {
      assert_int_equal(out.spans[p].source, 7);
      shown[n++] = '[';
    }
    if (i < out.text.len) shown[n++] = out.text.data[i];
  }
  shown[n] = 0;
  assert_string_equal(shown, want);
  el_rendered_free(&out);
}

/* --- whose a text is */

static void texts_keep_where_they_come_from(void **state) {
  assert_parts("a{{ secret }}b", "xyz", "a[xyz]b");
  assert_parts("{{ secret }}{{ secret }}", "xy", "[xyxy]");
  assert_parts("{{ 'a' + secret + 'b' }}|{{ 'a' ~ secret ~ 1 }}|{{ secret * 2 }}", "xy", "a[xy]b|a[xy]1|[xyxy]");
  assert_parts("{{ dict.key }}{{ list[0] }}{{ whole }}|{{ number }}{{ number + 1 }}", "x", "[xxx]|[4243]");
}

static void filters_that_cut_and_join_keep_it(void **state) {
  assert_parts("{{ ('( ' + secret + ' )') | trim }}|{{ (' ' + secret + ' ') | trim }}", " x ", "( [ x ] )|[x]");
  assert_parts("{{ ('<' + secret + '>')[1:3] }}|{{ ('<' + secret + '>')[::-1] }}", "abc", "[ab]|>[cba]<");
  assert_parts("{{ ('a,' + secret).split(',') | join('-') }}", "b,c", "a-[b]-[c]");
  assert_parts("{{ ('a-' + secret) | replace('-', secret) }}|{{ secret | replace('b', '+') }}", "abc",
               "a[abcabc]|[a]+[c]");
  assert_parts("{{ secret | upper }}{{ ('x' + secret) | title }}{{ secret | capitalize }}", "ab", "[AB]X[abAb]");
  assert_parts("{{ secret | indent(2) }}", "a\nb", "[a]\n  [b]");
  assert_parts("{{ secret | escape }}|{{ secret | truncate(4) }}|{{ secret | center(14) }}", "<a>456789012",
               "[&lt;a&gt;456789012]|[<]...| [<a>456789012] ");
  assert_parts("{{ '%s:%4s' % (secret, secret) }}|{{ '{:>4}{}'.format(secret, 1) }}", "ab", "[ab]:  [ab]|  [ab]1");
}

static void values_as_text_keep_it(void **state) {
  assert_parts("{{ dict | tojson }}|{{ list }}", "a\"\n", "{\"key\": \"[a\\\"\\n]\"}|['[a\"\\n]', '[a\"\\n]']");
  assert_parts("{{ number | tojson }}|{{ number | string }}", "", "[42]|[42]");
}

static void blocks_and_macros_keep_it(void **state) {
  assert_parts("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(secret) %}{{ secret }}!{% endcall %}",
               "s", "<[ss]!>");
  assert_parts("{% set b %}({{ secret }}){% endset %}{{ b | upper }}{% filter trim %} {{ secret }}{% endfilter %}", "s",
               "([S])[s]");
  assert_parts("{% for c in secret %}{{ c }},{% endfor %}", "ab", "[a],[b],");
}

/* --- errors */

static void errors_name_the_line(void **state) {
  refused("a\nb\n{{ secret.x.y }}", EL_ERR_INVALID, "line 3: there is no 'x' in the value");
  refused("\n{% if %}", EL_ERR_INVALID, "line 2: expected an expression");
  refused("{% for x in y %}\n\n", EL_ERR_INVALID, "'endfor' is missing for what began in line 1");
  refused("{{ 'abc", EL_ERR_INVALID, "line 1: a string has no end");
  refused("\n{{ 1 +* 2 }}", EL_ERR_INVALID, "line 2");
  refused("{{ }}", EL_ERR_INVALID, "expected an expression");
  refused("{# ", EL_ERR_INVALID, "a comment has no end");
  refused("{% raw %}", EL_ERR_INVALID, "'raw' has no end");
  refused("{{ (1] }}", EL_ERR_INVALID, "a bracket closes");
  refused("{{ \x01 }}", EL_ERR_INVALID, "unexpected character '\\x01'");
  refused("{% break %}", EL_ERR_INVALID, "outside of a loop");
  refused("{% macro m(a, a) %}{% endmacro %}", EL_ERR_INVALID, "two arguments of one name");
  refused("{{ missing() }}", EL_ERR_INVALID, "'missing' is undefined");
  refused("\n\n{{ 1 / 0 }}", EL_ERR_INVALID, "line 3: division by zero");
  refused("{{ 9223372036854775807 + 1 }}", EL_ERR_INVALID, "64 bits");
  refused("{{ list.append(1) }}", EL_ERR_INVALID, "may not change a list");
  refused("{{ secret.__class__ }}", EL_ERR_INVALID, "'__class__' may not be read");
}

static void what_is_not_supported_is_refused_by_name(void **state) {
  refused("{% include 'x' %}", EL_ERR_UNSUPPORTED, "the statement 'include' is not supported");
  refused("{% import 'x' as y %}", EL_ERR_UNSUPPORTED, "'import'");
  refused("{% extends 'x' %}", EL_ERR_UNSUPPORTED, "'extends'");
  refused("{% frobnicate %}", EL_ERR_INVALID, "there is no statement 'frobnicate'");
  refused("{{ 1 | frobnicate }}", EL_ERR_UNSUPPORTED, "line 1: there is no filter 'frobnicate'");
  refused("{{ 1 is frobnicated }}", EL_ERR_UNSUPPORTED, "there is no test 'frobnicated'");
  /* Where nobody comes, nothing is wrong. */
  assert_parts("{% if false %}{{ 1 | frobnicate }}{% endif %}x", "", "x");
}

static void a_template_may_refuse(void **state) {
  refused("{{ raise_exception('no ' ~ secret) }}", EL_ERR_INVALID, "the model's chat template refuses this: no x");
}

static void the_time_is_the_callers(void **state) {
  assert_parts("{{ strftime_now('%Y') }}", "", "2023");
  refused("{{ strftime_now('%1000d') }}", EL_ERR_INVALID, "strftime_now");
}

/* --- limits */

static void hostile_templates_are_bounded(void **state) {
  static const char LOOPS[] = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
  refused(LOOPS, EL_ERR_INVALID, "limit");
  refused("{% for a in range(100001) %}{% endfor %}", EL_ERR_INVALID, "'range' has more than 100000");
  refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", EL_ERR_INVALID, "goes deeper than");
  refused("{% set n = namespace() %}{% set n.n = n %}{{ n }}", EL_ERR_INVALID, "goes deeper than");
  refused("{{ 'x' * 9000000000 }}", EL_ERR_INVALID, "repeated too often");
  refused("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(90) %}{% set n.s = n.s + n.s %}{% endfor %}",
          EL_ERR_INVALID, "limit");
  refused("{{ '%999999999d' % 1 }}", EL_ERR_INVALID, "more than 10000 characters");
  refused("{{ 'x'.ljust(9999999999) }}", EL_ERR_INVALID, "padded");
  refused_within("{% for i in range(1000) %}0123456789{% endfor %}", &(el_template_limits){.output = 1000},
                 EL_ERR_INVALID, "more than the limit, 1000 bytes");
  refused_within("{{ range(50000) | list | length }}", &(el_template_limits){.memory = 100000}, EL_ERR_INVALID,
                 "more memory than the limit, 100000 bytes");
  refused_within("{% for i in range(100) %}{% endfor %}", &(el_template_limits){.steps = 50}, EL_ERR_INVALID, "steps");
}

static void assert_too_deep(const char *before, const char *middle, const char *after, const char *part) {
  el_buf b = {0};
  for (int i = 0; i < 5000; i++) el_buf_append(&b, before, strlen(before));
  el_buf_append(&b, middle, strlen(middle));
  for (int i = 0; i < 5000; i++) el_buf_append(&b, after, strlen(after));
  refused(b.data, EL_ERR_INVALID, part);
  el_buf_free(&b);
}

static void what_is_nested_too_deep_is_refused(void **state) {
  assert_too_deep("{% if 1 %}", "", "{% endif %}", "nested deeper than 200");
  assert_too_deep("", "{{ 1", "", "expected the end");
  el_buf b = {0};
  el_buf_append(&b, "{{ ", 3);
  for (int i = 0; i < 5000; i++) el_buf_append(&b, "(", 1);
  refused(b.data, EL_ERR_INVALID, "200");
  b.len = 3;
  for (int i = 0; i < 5000; i++) el_buf_append(&b, "not ", 4);
  refused(b.data, EL_ERR_INVALID, "nested deeper than 200");
  b.len = 3;
  for (int i = 0; i < 5000; i++) el_buf_append(&b, "- ", 2);
  refused(b.data, EL_ERR_INVALID, "nested deeper than 200");
  b.len = 3;
  el_buf_append(&b, "secret", 6);
  for (int i = 0; i < 5000; i++) el_buf_append(&b, "|trim", 5);
  el_buf_append(&b, " }}", 3);
  refused(b.data, EL_ERR_INVALID, "goes deeper than");
  el_buf_free(&b);
}

static void set_nested(el_rendering *r, void *user) {
  el_template_set(r, "x", el_template_value(r, user, 1));
}

static void values_that_are_nested_too_deep_are_refused(void **state) {
  enum { DEEP = 5000 };
  static el_value nested[DEEP];
  for (size_t i = 0; i + 1 < DEEP; i++) nested[i] = (el_value){.type = EL_VALUE_ARRAY, .array = {&nested[i + 1], 1}};
  el_template *t = NULL;
  el_error e = {0};
  assert_int_equal(el_template_new((el_str){"{{ x }}", 7}, &t, &e), EL_OK);
  el_rendered out = {0};
  assert_int_equal(el_template_render(t, set_nested, nested, NOW, NULL, &out, &e), EL_ERR_INVALID);
  el_template_free(t);
}

static el_status compile_and_render(void *arg, el_error *e) {
  el_rendered out = {0};
  el_status status = render_within(arg, "text", NULL, &out, e);
  assert_true(status ? out.text.data == NULL : out.text.len > 0);
  el_rendered_free(&out);
  return status;
}

static void every_allocation_may_fail(void **state) {
  every_failure_is_survived(compile_and_render,
                            "{% for i in range(3000) %}{{ [secret, i] | tojson }}{% endfor %}{{ secret * 9000 }}", 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_keep_where_they_come_from),
      cmocka_unit_test(filters_that_cut_and_join_keep_it),
      cmocka_unit_test(values_as_text_keep_it),
      cmocka_unit_test(blocks_and_macros_keep_it),
      cmocka_unit_test(errors_name_the_line),
      cmocka_unit_test(what_is_not_supported_is_refused_by_name),
      cmocka_unit_test(a_template_may_refuse),
      cmocka_unit_test(the_time_is_the_callers),
      cmocka_unit_test(hostile_templates_are_bounded),
      cmocka_unit_test(what_is_nested_too_deep_is_refused),
      cmocka_unit_test(values_that_are_nested_too_deep_are_refused),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
