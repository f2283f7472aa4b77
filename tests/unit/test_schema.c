/* JSON Schema -> grammar: the official test suite's cases (tools/golden/json_schema.py), and what a constraint promises
 * beyond: an order, white space, messages that say where. */
#include <stdio.h>

#include <jansson.h>

#include "bytes.h"
#include "constraint/schema.h"
#include "failing_memory.h"
#include "grammar_matcher.h"

typedef el_expr (*parse_fn)(el_grammar *g, const char *text, size_t len);

static el_status compile(parse_fn parse, const char *schema, el_grammar **g, el_error *err) {
  assert_int_equal(el_grammar_new(g, err), EL_OK);
  el_expr root = parse(*g, schema, strlen(schema));
  return el_grammar_finish(*g, root, err);
}

/* texts: those that are allowed, NULL, those that are not, NULL. */
static void check(const char *schema, const char *const *texts) {
  el_grammar *g;
  el_error err = {0};
  if (compile(el_schema_parse, schema, &g, &err)) fail_msg("%s: %s", schema, err.message);
  for (int allowed = 1; allowed >= 0; allowed--, texts++) {
    for (; *texts; texts++)
      if (grammar_matches(g, *texts, strlen(*texts)) != allowed)
        fail_msg("%s: %s %s", schema, allowed ? "does not allow" : "allows", *texts);
  }
  el_grammar_free(g);
}
#define CHECK(schema, ...) check(schema, (const char *const[]){__VA_ARGS__, NULL})

static void refuses(const char *schema, el_status code, const char *message) {
  el_grammar *g;
  el_error err = {0};
  assert_int_equal(compile(el_schema_parse, schema, &g, &err), code);
  if (!strstr(err.message, message)) fail_msg("%s: %s", schema, err.message);
  el_grammar_free(g);
}

/* ---------------------------------------------------------------- the official suite */

/* What the suite's groups are refused for: how many cases. A keyword that is no longer refused belongs out of here. */
typedef struct refusal {
  const char *message;
  int n, expected;
} refusal;

static const struct {
  const char *group, *text;
} missed[] = {
    /* Members without a name in the schema may have the same name, so they count as one for minProperties. */
    {"dependencies with escaped characters", "{\"foo\\tbar\": 1, \"a\": 2, \"b\": 3, \"c\": 4}"},
};

static bool is_known_miss(const json_t *group, const char *text) {
  for (size_t i = 0; i < sizeof missed / sizeof *missed; i++)
    if (!strcmp(missed[i].group, json_string_value(json_object_get(group, "name"))) && !strcmp(missed[i].text, text))
      return true;
  return false;
}

typedef struct counts {
  int valid, invalid, refused, missed, formats; /* formats: of the missed */
} counts;

static void run_case(const el_grammar *g, const json_t *group, const json_t *c, bool open, counts *n) {
  bool valid = json_is_true(json_object_get(c, "valid")), any = false;
  const json_t *texts = json_object_get(c, "texts"), *text;
  size_t i;
  json_array_foreach(texts, i, text) {
    bool matches = g && grammar_matches(g, json_string_value(text), json_string_length(text));
    any |= matches;
    if (matches && !valid)
      fail_msg("%s: %s: allows %s", json_string_value(json_object_get(group, "name")),
               json_string_value(json_object_get(group, "schema")), json_string_value(text));
  }
  n->valid += valid && any;
  n->invalid += !valid;
  if (!valid || any) return;
  n->missed++;
  text = json_array_get(texts, 0);
  /* Formats are narrower than their definitions. */
  const char *keyword = json_string_value(json_object_get(group, "keyword"));
  bool format = !strcmp(keyword, "format") || !strncmp(keyword, "optional/format/", 16);
  n->formats += format;
  if (open && !format && !is_known_miss(group, json_string_value(text)))
    fail_msg("%s: %s: does not allow %s", json_string_value(json_object_get(group, "name")),
             json_string_value(json_object_get(group, "schema")), json_string_value(text));
}

/* What the message is about, without where. */
static const char *reason(const char *message) {
  const char *at = strstr(message, ": ");
  return at ? at + 2 : message;
}

static counts run_suite(parse_fn parse, refusal *refusals, size_t n_refusals) {
  char path[512];
  const char *dir = getenv("EL_TEST_DATA");
  snprintf(path, sizeof path, "%s/golden/json_schema.json", dir ? dir : "tests");
  json_error_t why;
  json_t *suite = json_load_file(path, JSON_ALLOW_NUL, &why), *group, *c;
  if (!suite) fail_msg("%s: %s", path, why.text);
  counts n = {0};
  size_t i, k;
  json_array_foreach(json_object_get(suite, "groups"), i, group) {
    el_grammar *g;
    el_error err = {0};
    el_status status = compile(parse, json_string_value(json_object_get(group, "schema")), &g, &err);
    const json_t *cases = json_object_get(group, "cases");
    bool nothing = status && strstr(err.message, "no text is allowed");
    if (status && !nothing) {
      size_t r = 0;
      while (r < n_refusals && !strstr(reason(err.message), refusals[r].message)) r++;
      if (r == n_refusals)
        fail_msg("%s: %s: refused: %s", json_string_value(json_object_get(group, "keyword")),
                 json_string_value(json_object_get(group, "schema")), err.message);
      refusals[r].n += (int)json_array_size(cases);
      n.refused += (int)json_array_size(cases);
    } else {
      json_array_foreach(cases, k, c) run_case(nothing ? NULL : g, group, c, parse == el_schema_parse_open, &n);
    }
    el_grammar_free(g);
  }
  json_decref(suite);
  return n;
}

static void what_the_suite_calls_invalid_is_never_allowed_and_what_is_valid_is(void **state) {
  refusal refusals[] = {
      {"\"unevaluatedProperties\" is not supported", 0, 127},
      {"\"unevaluatedItems\" is not supported", 0, 66},
      {"\"uniqueItems\" is not supported", 0, 82},
      {"\"$dynamicRef\" is not supported", 0, 27},
      {"\"minContains\" is not supported", 0, 8},
      {"\"maxContains\" is not supported", 0, 21},
      {"names what is not in this schema", 0, 73},
      {"\"multipleOf\" is not supported with more than", 0, 2},
      {"\"minProperties\" is supported up to", 0, 4},
      {"names a dialect that is not supported", 0, 5},
  };
  counts n = run_suite(el_schema_parse_open, refusals, sizeof refusals / sizeof *refusals);
  print_message(
      "JSON Schema test suite: %d valid and %d invalid cases as they should be, %d refused by name, %d missed, %d of "
      "them formats\n",
      n.valid, n.invalid, n.refused, n.missed, n.formats);
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    if (refusals[i].n != refusals[i].expected)
      fail_msg("%s: %d cases, %d are expected", refusals[i].message, refusals[i].n, refusals[i].expected);
}

static void closed_objects_allow_nothing_that_is_invalid(void **state) {
  refusal any[] = {{"", 0, 0}};
  counts n = run_suite(el_schema_parse, any, 1);
  assert_true(n.valid > 500 && n.invalid > 700);
}

/* ---------------------------------------------------------------- numbers */

/* Every integer of two digits, against bounds of up to three. */
static void integers_between_bounds_are_those_between(void **state) {
  static const int bounds[] = {-100, -99, -42, -10, -9, -1, 0, 1, 7, 10, 11, 99, 100};
  size_t n = sizeof bounds / sizeof *bounds;
  for (size_t i = 0; i < n * n * 4; i++) {
    int low = bounds[i / 4 % n], high = bounds[i / 4 / n];
    bool above = i & 1, below = i & 2;
    char schema[200], text[16];
    snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"%s\":%d,\"%s\":%d}",
             above ? "exclusiveMinimum" : "minimum", low, below ? "exclusiveMaximum" : "maximum", high);
    el_grammar *g;
    el_error err;
    el_status status = compile(el_schema_parse, schema, &g, &err);
    bool none = low + above > high - below;
    assert_int_equal(status, none ? EL_ERR_INVALID : EL_OK);
    for (int x = -120; x <= 120 && !none; x++) {
      snprintf(text, sizeof text, "%d", x);
      bool in = x >= low + above && x <= high - below;
      if (grammar_matches(g, text, strlen(text)) != in) fail_msg("%s: %s", schema, text);
    }
    el_grammar_free(g);
  }
}

static void multiples_are_multiples(void **state) {
  static const int factors[] = {1, 2, 3, 7, 10, 12, 25, 100};
  for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
    char schema[100], text[16];
    snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"multipleOf\":%d,\"minimum\":-50,\"maximum\":1234}",
             factors[i]);
    el_grammar *g;
    el_error err;
    if (compile(el_schema_parse, schema, &g, &err)) fail_msg("%s: %s", schema, err.message);
    for (int x = -60; x <= 1300; x++) {
      snprintf(text, sizeof text, "%d", x);
      if (grammar_matches(g, text, strlen(text)) != (x % factors[i] == 0 && x >= -50 && x <= 1234))
        fail_msg("%s: %s", schema, text);
    }
    el_grammar_free(g);
  }
  CHECK("{\"type\":\"number\",\"multipleOf\":0.05,\"minimum\":0}", "0", "0.05", "0.1", "12.35", "7", NULL, "0.01",
        "12.351", "-0.05", "0.050");
}

static void fractions_are_compared_digit_by_digit(void **state) {
  CHECK("{\"type\":\"number\",\"minimum\":0.25,\"maximum\":1.5}", "0.25", "0.250", "0.3", "1", "1.0", "1.49999", "1.5",
        NULL, "0.24", "0.2499", "0", "1.51", "1.500001", "2", "-1", "1e0", "00.5");
  CHECK("{\"type\":\"number\",\"exclusiveMinimum\":-2,\"exclusiveMaximum\":-0.5}", "-1", "-1.9999", "-0.51", NULL, "-2",
        "-2.0", "-0.5", "-0.50", "-0.4", "1", "0");
  CHECK("{\"type\":\"number\",\"minimum\":1e20}", "100000000000000000000", "200000000000000000000", NULL,
        "99999999999999999999", "1", "-5");
  CHECK("{\"type\":\"number\",\"exclusiveMinimum\":0}", "0.000001", "1", "12.5", NULL, "0", "0.0", "-1", "-0");
  /* What a double could not tell from the bound is not written. */
  CHECK("{\"type\":\"number\",\"exclusiveMaximum\":1}", "0.99999999999999", NULL, "0.99999999999999999999", "1");
}

/* ---------------------------------------------------------------- strings */

static void lengths_count_characters_however_they_are_written(void **state) {
  CHECK("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"ab\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "\"\\ud83d\\ude00\\n\"", "\"\\u00e9\\\\x\"", NULL, "\"a\"", "\"\\ud83d\\ude00\"", "\"abcd\"", "\"\\ud83dx\"",
        "\"\n\n\"");
}

static void a_pattern_is_searched_for_and_goes_with_a_length(void **state) {
  CHECK("{\"type\":\"string\",\"pattern\":\"b+c\"}", "\"bc\"", "\"abbcd\"", NULL, "\"ac\"", "\"\"");
  CHECK("{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":3,\"minLength\":2}", "\"ab\"", "\"abc\"", NULL,
        "\"a\"", "\"abcd\"", "\"a1\"");
  CHECK("{\"allOf\":[{\"type\":\"string\",\"pattern\":\"^a\"},{\"pattern\":\"z$\"}]}", "\"az\"", "\"a\\nz\"",
        "\"a\\\"z\"", NULL, "\"a\"", "\"z\"", "\"a\nz\"");
  CHECK("{\"type\":\"string\",\"not\":{\"enum\":[\"no\",\"not\"]}}", "\"\"", "\"n\"", "\"none\"", "\"No\"", NULL,
        "\"no\"", "\"not\"", "\"n\\u006f\"");
}

static void formats_allow_what_they_name_alone(void **state) {
  CHECK("{\"type\":\"string\",\"format\":\"date\"}", "\"2024-02-29\"", "\"1999-12-31\"", NULL, "\"2023-02-29\"",
        "\"2023-04-31\"", "\"2023-13-01\"", "\"20230101\"");
  CHECK("{\"type\":\"string\",\"format\":\"uuid\"}", "\"123e4567-e89b-12d3-a456-426614174000\"", NULL, "\"123e4567\"");
  CHECK("{\"type\":\"string\",\"format\":\"ipv4\"}", "\"255.0.10.9\"", NULL, "\"256.1.1.1\"", "\"1.2.3\"",
        "\"01.2.3.4\"");
  CHECK("{\"type\":\"string\",\"format\":\"ipv6\"}", "\"::\"", "\"::1\"", "\"2001:db8::ff00:42:8329\"",
        "\"1:2:3:4:5:6:7:8\"", NULL, "\"1::2::3\"", "\"1:2:3\"", "\"12345::\"");
  /* An unknown one is an annotation. */
  CHECK("{\"type\":\"string\",\"format\":\"colour\"}", "\"blue\"", NULL);
}

/* ---------------------------------------------------------------- objects and arrays */

static void members_come_in_the_order_of_the_schema(void **state) {
  CHECK("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"type\":\"null\"},\"c\":{}},\"required\":[\"b\"]}",
        "{\"b\":null}", "{\"a\": 1, \"b\": null}", "{\n  \"a\": 1,\n  \"b\": null,\n  \"c\": {\"x\": []}\n}", NULL,
        "{}", "{\"b\":null,\"a\":1}", "{\"a\":1}", "{\"b\":null,\"b\":null}", "{,\"b\":null}", "{\"b\":null,}",
        "{\"b\":null,\"d\":1}");
  CHECK("{\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"type\":\"object\"}", "{}", "{\"a\":1}", "{\"b\":1}",
        "{\"c\":1}", "{\"a\":1,\"c\":2}", "{\"b\":1,\"c\":2}", "{\"a\":1,\"b\":2,\"c\":3}", NULL, "{\"c\":1,\"b\":2}",
        "{\"a\":1 \"b\":2}");
}

static void other_members_are_where_the_schema_says_so(void **state) {
  CHECK("{\"type\":\"object\",\"properties\":{\"id\":{}},\"additionalProperties\":{\"type\":\"integer\"}}",
        "{\"id\":\"x\",\"n\":1}", "{\"idx\":1}", "{\"i\":1,\"\":2}", NULL, "{\"n\":\"x\"}", "{\"i\\u0064\":1}",
        "{\"n\":1,\"id\":2}");
  CHECK("{\"type\":\"object\"}", "{}", "{\"a\":{\"b\":[1,2.5e3,\"x\",null,true]}}", NULL, "[]", "{\"a\":01}");
  CHECK("{\"type\":\"object\",\"patternProperties\":{\"^x-\":{\"type\":\"string\"}},\"additionalProperties\":false}",
        "{\"x-a\":\"1\",\"x-\":\"2\"}", "{}", NULL, "{\"a\":\"1\"}", "{\"x-a\":1}");
  CHECK(
      "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]$\"},\"additionalProperties\":{\"type\":\"boolean\"}"
      "}",
      "{\"a\":true,\"c\":false}", NULL, "{\"d\":true}", "{\"aa\":true}");
  CHECK("{\"type\":\"object\",\"propertyNames\":{\"type\":\"integer\"}}", "{}", NULL, "{\"1\":1}");
  CHECK("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"minProperties\":1,\"maxProperties\":2}",
        "{\"a\":1}", "{\"b\":1,\"c\":1}", NULL, "{}", "{\"a\":1,\"b\":2,\"c\":3}");
}

static void different_elements_come_in_the_order_of_their_list(void **state) {
  CHECK(
      "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/"
      "e\"},\"$defs\":{\"e\":{\"enum\":["
      "\"a\",2,\"c\"]}}}",
      "[\"a\"]", "[2]", "[\"a\", \"c\"]", "[\"a\",2,\"c\"]", NULL, "[]", "[2,2]", "[2,\"a\"]", "[\"a\",3]");
  CHECK("{\"type\":\"array\",\"uniqueItems\":true,\"maxItems\":1}", "[]", "[{}]", NULL, "[1,2]");
}

static void white_space_is_a_space_or_a_line_with_its_indentation(void **state) {
  CHECK("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1,2]", "[1, 2]", "[\n  1,\n  2\n]", "[]", "[ 1 ]",
        NULL, "[1,  2]", "[1,\n\n2]", "[1 ,2]", " [1]", "[1] ", "[1,]");
}

static void alternatives_and_references_nest(void **state) {
  CHECK(
      "{\"$ref\":\"#/$defs/"
      "tree\",\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
      "\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/"
      "tree\"}}},\"required\":[\"v\"],\"additionalProperties\":false}}}",
      "{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}", NULL, "{\"kids\":[]}",
      "{\"v\":1,\"kids\":[{}]}");
  CHECK(
      "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},"
      "\"required\":[\"kind\"]},"
      "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"b\"},\"y\":{\"type\":\"string\"}},\"required\":["
      "\"kind\"]}]}",
      "{\"kind\":\"a\",\"x\":1}", "{\"kind\":\"b\",\"y\":\"\"}", NULL, "{\"kind\":\"a\",\"y\":\"\"}",
      "{\"kind\":\"c\"}");
  CHECK("{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", "1", "2.5", "\"x\"", NULL, "3", "1.5");
  CHECK(
      "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},\"if\":{"
      "\"properties\":{\"a\":"
      "{\"const\":1}},\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}}",
      "{\"a\":1,\"b\":2}", "{\"a\":2}", "{}", NULL, "{\"a\":1}");
}

/* ---------------------------------------------------------------- messages */

static void what_is_not_supported_is_named_with_its_place(void **state) {
  refuses("{\"type\":\"object\",\"properties\":{\"a/b\":{\"type\":\"array\",\"uniqueItems\":true}}}",
          EL_ERR_UNSUPPORTED, "JSON schema, #/properties/a~1b: \"uniqueItems\" is not supported");
  refuses("{\"unevaluatedProperties\":false}", EL_ERR_UNSUPPORTED, "JSON schema, #: \"unevaluatedProperties\"");
  refuses("{\"items\":{\"$ref\":\"https://example.com/x.json\"}}", EL_ERR_UNSUPPORTED,
          "JSON schema, #/items: \"$ref\"");
  refuses("{\"$ref\":\"#/nothing\"}", EL_ERR_INVALID, "\"$ref\" names what is not a schema: #/nothing");
  refuses("{\"type\":\"text\"}", EL_ERR_INVALID, "#: \"type\" is not one of JSON's types");
  refuses("{\"minLength\":-1}", EL_ERR_INVALID, "\"minLength\" must be an integer of 0 or more");
  refuses("{\"properties\":{\"a\":3}}", EL_ERR_INVALID, "\"properties/a\" is neither an object nor a boolean");
  refuses("{\"type\":", EL_ERR_INVALID, "JSON schema is not valid JSON: line 1");
  refuses("[]", EL_ERR_INVALID, "neither an object nor a boolean");
  refuses("false", EL_ERR_INVALID, "no text is allowed");
  refuses("{\"type\":\"string\",\"pattern\":\"(\"}", EL_ERR_INVALID, "JSON schema, #: \"pattern\"");
  refuses("{\"$schema\":\"https://example.com/own\"}", EL_ERR_UNSUPPORTED, "\"$schema\"");
}

static void reference_loops_end(void **state) {
  CHECK("{\"$ref\":\"#\"}", "1", NULL);
  CHECK("{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":\"#/$defs/a\"}},\"$ref\":\"#/$defs/a\"}", "{}",
        NULL);
  refuses("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":1}", EL_ERR_INVALID, "no text is allowed");
}

static char *repeated(const char *open, const char *inner, const char *close, int n) {
  el_buf b = {0};
  for (int i = 0; i < n; i++) put(&b, open, strlen(open));
  put(&b, inner, strlen(inner));
  for (int i = 0; i < n; i++) put(&b, close, strlen(close));
  return b.data;
}

static void schemas_that_would_take_forever_are_refused(void **state) {
  char *wide = repeated("{\"anyOf\":[{\"minLength\":1},{\"minimum\":1},{\"minItems\":1}]},", "{}", "", 40);
  el_buf b = {0};
  assert_true(el_buf_printf(&b, "{\"allOf\":[%s]}", wide));
  refuses(b.data, EL_ERR_TOO_LONG, "more than");
  el_buf_free(&b);
  free(wide);
  char *deep = repeated("{\"items\":", "{}", "}", 2000);
  el_grammar *g;
  el_error err;
  assert_int_equal(compile(el_schema_parse, deep, &g, &err), EL_OK);
  el_grammar_free(g);
  free(deep);
  refuses("{\"type\":\"string\",\"minLength\":4000000000}", EL_ERR_TOO_LONG, "minLength");
  refuses("{\"type\":\"string\",\"pattern\":\"^(a|b)*a(a|b){20}$\",\"minLength\":1}", EL_ERR_UNSUPPORTED, "states");
}

static el_status build(void *schema, el_error *err) {
  el_grammar *g = NULL;
  el_status status = el_grammar_new(&g, err);
  if (!status) status = el_grammar_finish(g, el_schema_parse(g, schema, strlen(schema)), err);
  el_grammar_free(g);
  return status;
}

static void out_of_memory_anywhere_is_an_error(void **state) {
  static char schema[] =
      "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":5},\"b\":"
      "{\"oneOf\":[{"
      "\"type\":\"integer\",\"minimum\":3},{\"minimum\":2}]},\"c\":{\"enum\":[1,\"x\",[2]]},\"d\":{\"$ref\":\"#\"}},"
      "\"patternProperties\":{\"^x\":{\"multipleOf\":3}},\"required\":[\"b\"]}";
  every_failure_is_survived(build, schema, 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_suite_calls_invalid_is_never_allowed_and_what_is_valid_is),
      cmocka_unit_test(closed_objects_allow_nothing_that_is_invalid),
      cmocka_unit_test(integers_between_bounds_are_those_between),
      cmocka_unit_test(multiples_are_multiples),
      cmocka_unit_test(fractions_are_compared_digit_by_digit),
      cmocka_unit_test(lengths_count_characters_however_they_are_written),
      cmocka_unit_test(a_pattern_is_searched_for_and_goes_with_a_length),
      cmocka_unit_test(formats_allow_what_they_name_alone),
      cmocka_unit_test(members_come_in_the_order_of_the_schema),
      cmocka_unit_test(other_members_are_where_the_schema_says_so),
      cmocka_unit_test(different_elements_come_in_the_order_of_their_list),
      cmocka_unit_test(white_space_is_a_space_or_a_line_with_its_indentation),
      cmocka_unit_test(alternatives_and_references_nest),
      cmocka_unit_test(what_is_not_supported_is_named_with_its_place),
      cmocka_unit_test(reference_loops_end),
      cmocka_unit_test(out_of_memory_anywhere_is_an_error),
      cmocka_unit_test(schemas_that_would_take_forever_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
