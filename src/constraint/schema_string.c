/* Strings: lengths, patterns and formats. A single condition becomes an expression. Several at once, or exclusions,
 * become an automaton. */
#include <string.h>

#include "constraint/ir.h"
#include "constraint/schema_dfa.h"

/* ---------------------------------------------------------------------- formats
 *
 * Each regular expression allows only what the format's definition does, though not all of it: years from 1000 and no
 * leap seconds; names and addresses of ASCII; of regular expressions those that are a plain text. Formats that are not
 * here say nothing, as 2020-12 has it. */

#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 "(?:" OCTET "\\.){3}" OCTET
#define H16 "[0-9a-fA-F]{1,4}"
#define LEAP_YEAR "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
#define DATE                                                                                                 \
  "(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|" \
  "02-(?:0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
#define HOUR_MINUTE "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME HOUR_MINUTE ":[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-]" HOUR_MINUTE ")"
/* A label such as "ab--c" would have to be an IDNA name, so labels have no two hyphens in a row. */
#define LABEL "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,30}"
#define HOST LABEL "(?:\\." LABEL "){0,3}"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
#define EMAIL ATEXT "(?:\\.?" ATEXT "){0,31}@" LABEL "(?:\\." LABEL "){1,3}"
#define PERCENT "%[0-9A-Fa-f]{2}"
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" PERCENT ")"
#define QUERY "(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|" PERCENT ")*"
#define TAIL "(?:\\?" QUERY ")?(?:#" QUERY ")?"
#define URI "[A-Za-z][A-Za-z0-9+.-]*://(?:" HOST ")(?::[0-9]{1,5})?(?:/" PCHAR "*)*" TAIL
#define DURATION_TIME "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
#define DURATION_DATE "(?:[0-9]+D|[0-9]+M(?:[0-9]+D)?|[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?)"
#define POINTER "(?:/(?:[^~/]|~[01])*)*"

static const struct format {
  const char *name, *pattern; /* the whole string fits it */
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "T" TIME},
    {"duration", "P(?:" DURATION_DATE "(?:" DURATION_TIME ")?|" DURATION_TIME "|[0-9]+W)"},
    {"email", EMAIL},
    {"idn-email", EMAIL},
    {"hostname", HOST},
    {"idn-hostname", HOST},
    {"ipv4", IPV4},
    {"ipv6", "(?:(?:" H16 ":){7}" H16 "|(?:" H16 ":){6}" IPV4 "|::(?:" H16 "(?::" H16 "){0,6})?|" H16 "(?:::" H16
             "(?::" H16 "){0,5}|:" H16 "(?:::" H16 "(?::" H16 "){0,4}|:" H16 "(?:::" H16 "(?::" H16 "){0,3}|:" H16
             "(?:::" H16 "(?::" H16 "){0,2}|:" H16 "(?:::" H16 "(?::" H16 "){0,1}|:" H16 "::" H16 "))))))"},
    {"uuid", "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"},
    {"uri", URI},
    {"iri", URI},
    {"uri-reference", "(?:" URI "|(?:/" PCHAR "+)+/?" TAIL ")"},
    {"iri-reference", "(?:" URI "|(?:/" PCHAR "+)+/?" TAIL ")"},
    {"uri-template", URI},
    {"regex", "[A-Za-z0-9 _,:;=@!#%&<>~/-]*"},
    {"json-pointer", POINTER},
    {"relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|" POINTER ")"},
};

static const char *format_pattern(const char *name) {
  for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++)
    if (!strcmp(name, formats[i].name)) return formats[i].pattern;
  return NULL;
}

/* ---------------------------------------------------------------------- what is said of a string */

typedef struct expectation {
  uint32_t min, max;
  uint32_t node;       /* the last that says something */
  const char *pattern; /* one of them */
  size_t pattern_len;
  int flags;
  uint32_t n; /* patterns and formats */
  bool excepts;
} expectation;

static void add_pattern(expectation *x, uint32_t node, const char *pattern, size_t len, int flags) {
  x->pattern = pattern;
  x->pattern_len = len;
  x->flags = flags;
  x->node = node;
  x->n++;
}

static void read_string_node(el_schema *s, uint32_t node, expectation *x) {
  const json_t *schema = s->nodes[node].schema;
  uint32_t n;
  if (el_schema_count(s, node, "minLength", &n) && n > x->min) x->min = n;
  if (el_schema_count(s, node, "maxLength", &n) && n < x->max) x->max = n;
  const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
  if (pattern && !json_is_string(pattern)) el_schema_fail(s, node, EL_ERR_INVALID, "\"pattern\" must be a string");
  if (format && !json_is_string(format)) el_schema_fail(s, node, EL_ERR_INVALID, "\"format\" must be a string");
  if (pattern) add_pattern(x, node, json_string_value(pattern), json_string_length(pattern), EL_REGEX_SEARCH);
  const char *form = format_pattern(json_string_value(format));
  if (form) add_pattern(x, node, form, strlen(form), 0);
  x->excepts |= json_object_get(schema, EL_SCHEMA_EXCEPT) != NULL;
}

/* The strings of a list of values. */
static el_dfa *words_dfa(el_schema *s, uint32_t node, const json_t *values, const el_set *all_of) {
  el_literal *list = el_schema_alloc(s, sizeof *list * (json_array_size(values) + 1));
  size_t n = 0, i;
  const json_t *value;
  json_array_foreach(values, i, value) {
    bool holds = json_is_string(value);
    for (uint32_t k = 0; all_of && k < all_of->n && holds; k++) holds = el_schema_asserted(s, all_of->at[k], value, 0);
    if (holds) list[n++] = (el_literal){json_string_value(value), json_string_length(value)};
  }
  return el_dfa_words(s, node, list, n);
}

el_dfa *el_schema_strings(el_schema *s, const el_set *nodes) {
  expectation x = {0, EL_UNBOUNDED, 0, NULL, 0, 0, 0, false};
  el_dfa *d = NULL;
  for (uint32_t i = 0; i < nodes->n; i++) {
    uint32_t node = nodes->at[i];
    json_t *schema = (json_t *)s->nodes[node].schema, *one = json_object_get(schema, "const");
    const json_t *list = one ? el_schema_keep(s, json_pack("[O]", one)) : json_object_get(schema, "enum");
    if (list) return words_dfa(s, node, list, nodes);
    read_string_node(s, node, &x);
    const json_t *pattern = json_object_get(schema, "pattern");
    const char *form = format_pattern(json_string_value(json_object_get(schema, "format")));
    if (pattern)
      d = el_dfa_and(s, node, d,
                     el_dfa_regex(s, node, json_string_value(pattern), json_string_length(pattern), EL_REGEX_SEARCH));
    if (form) d = el_dfa_and(s, node, d, el_dfa_regex(s, node, form, strlen(form), 0));
    const json_t *except = json_object_get(schema, EL_SCHEMA_EXCEPT);
    if (except) d = el_dfa_minus(s, node, d, words_dfa(s, node, except, NULL));
  }
  if (x.min > x.max) return el_dfa_words(s, 0, NULL, 0);
  if (x.min || x.max != EL_UNBOUNDED) d = el_dfa_and(s, x.node, d, el_dfa_length(s, x.node, x.min, x.max));
  return d;
}

el_expr el_schema_string(el_schema *s, const el_set *nodes) {
  el_grammar *g = s->g;
  expectation x = {0, EL_UNBOUNDED, 0, NULL, 0, 0, 0, false};
  for (uint32_t i = 0; i < nodes->n; i++) read_string_node(s, nodes->at[i], &x);
  if (x.min > x.max) return el_grammar_never(g);
  el_expr inside;
  if (!x.n && !x.excepts) {
    if (x.min > EL_MAX_REPETITION) el_schema_fail(s, nodes->at[0], EL_ERR_TOO_LONG, "\"minLength\" is too large");
    if (x.max != EL_UNBOUNDED && x.max > EL_MAX_REPETITION) x.max = EL_MAX_REPETITION;
    inside = el_grammar_repeat(g, s->character, x.min, x.max);
  } else if (x.n == 1 && !x.min && x.max == EL_UNBOUNDED && !x.excepts) {
    inside = el_regex_parse(g, x.pattern, x.pattern_len, x.flags | EL_REGEX_JSON_STRING);
    if (el_grammar_failed(g)) {
      el_error why = g->error;
      el_schema_fail(s, x.node, why.code, "\"pattern\": %.200s", why.message);
    }
  } else {
    inside = el_dfa_write(s, el_schema_strings(s, nodes));
  }
  return el_grammar_sequence(g, (el_expr[]){el_grammar_text(g, "\""), inside, el_grammar_text(g, "\"")}, 3);
}

/* ---------------------------------------------------------------------- any character */

/* Surrogates come in pairs, which stand for one character. */
el_expr el_schema_character(el_schema *s) {
  el_grammar *g = s->g;
  static const el_char_range plain[] = {{0x20, '!'}, {'#', '['}, {']', 0x10ffff}};
  el_char_range digits[] = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
  el_expr hex = el_grammar_chars(g, digits, 3, false);
  el_expr two = el_grammar_repeat(g, hex, 2, 2), three = el_grammar_repeat(g, hex, 3, 3);
  el_expr d = el_grammar_chars(g, (el_char_range[]){{'d', 'd'}, {'D', 'D'}}, 2, false);
  el_expr not_d =
      el_grammar_chars(g, (el_char_range[]){{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}}, 5, false);
  el_expr high = el_grammar_sequence(
      g, (el_expr[]){d, el_grammar_chars(g, (el_char_range[]){{'8', '9'}, {'a', 'b'}, {'A', 'B'}}, 3, false), two}, 3);
  el_expr low = el_grammar_sequence(
      g, (el_expr[]){d, el_grammar_chars(g, (el_char_range[]){{'c', 'f'}, {'C', 'F'}}, 2, false), two}, 3);
  el_expr units[] = {
      el_grammar_pair(g, not_d, three),
      el_grammar_sequence(g, (el_expr[]){d, el_grammar_chars(g, (el_char_range[]){{'0', '7'}}, 1, false), two}, 3),
      el_grammar_sequence(g, (el_expr[]){high, el_grammar_text(g, "\\u"), low}, 3),
  };
  el_char_range shorts[] = {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'},
                            {'f', 'f'}, {'n', 'n'},   {'r', 'r'}, {'t', 't'}};
  el_expr escapes[] = {el_grammar_chars(g, shorts, sizeof shorts / sizeof *shorts, false),
                       el_grammar_pair(g, el_grammar_text(g, "u"), el_grammar_alternatives(g, units, 3))};
  return el_grammar_alternatives(
      g,
      (el_expr[]){el_grammar_chars(g, plain, sizeof plain / sizeof *plain, false),
                  el_grammar_pair(g, el_grammar_text(g, "\\"), el_grammar_alternatives(g, escapes, 2))},
      2);
}
