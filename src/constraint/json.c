/* Any JSON (RFC 8259) on which parsers agree: a \u escape of a high surrogate is followed by one of a
 * low surrogate. White space between values is bounded, as a model without anything to say may write
 * blanks for as long as it is allowed to. As in llama.cpp, it is a space, or one or two line ends with
 * an indentation. */
#include "constraint/grammar.h"

static el_expr json_space_expr(el_grammar *g) {
  static const el_char_range BLANK[] = {{' ', ' '}, {'\t', '\t'}};
  el_expr lines = el_grammar_repeat(g, el_grammar_text(g, "\n"), 1, 2);
  el_expr indentation = el_grammar_repeat(g, el_grammar_chars(g, BLANK, 2, false), 0, 20);
  el_expr ways[] = {el_grammar_empty(g), el_grammar_text(g, " "), el_grammar_pair(g, lines, indentation)};
  return el_grammar_alternatives(g, ways, 3);
}

static el_expr json_hex_digits(el_grammar *g, uint32_t n) {
  static const el_char_range HEX[] = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
  return el_grammar_repeat(g, el_grammar_chars(g, HEX, 3, false), n, n);
}

static el_expr json_escape_expr(el_grammar *g) {
  static const el_char_range SIMPLE[] = {{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'},
                                         {'f', 'f'}, {'n', 'n'},   {'r', 'r'}, {'t', 't'}};
  static const el_char_range NOT_D[] = {{'0', '9'}, {'a', 'c'}, {'e', 'f'}, {'A', 'C'}, {'E', 'F'}};
  static const el_char_range D[] = {{'d', 'd'}, {'D', 'D'}}, BELOW_8[] = {{'0', '7'}};
  static const el_char_range HIGH[] = {{'8', '9'}, {'a', 'b'}, {'A', 'B'}}, LOW[] = {{'c', 'f'}, {'C', 'F'}};
  el_expr plain = el_grammar_pair(g, el_grammar_chars(g, NOT_D, 5, false), json_hex_digits(g, 3));
  el_expr d_plain[] = {el_grammar_chars(g, D, 2, false), el_grammar_chars(g, BELOW_8, 1, false), json_hex_digits(g, 2)};
  el_expr pair[] = {el_grammar_chars(g, D, 2, false),
                    el_grammar_chars(g, HIGH, 3, false),
                    json_hex_digits(g, 2),
                    el_grammar_text(g, "\\u"),
                    el_grammar_chars(g, D, 2, false),
                    el_grammar_chars(g, LOW, 2, false),
                    json_hex_digits(g, 2)};
  el_expr codes[] = {plain, el_grammar_sequence(g, d_plain, 3), el_grammar_sequence(g, pair, 7)};
  el_expr code = el_grammar_pair(g, el_grammar_text(g, "u"), el_grammar_alternatives(g, codes, 3));
  el_expr all[] = {el_grammar_chars(g, SIMPLE, 8, false), code};
  return el_grammar_pair(g, el_grammar_text(g, "\\"), el_grammar_alternatives(g, all, 2));
}

static el_expr json_string_expr(el_grammar *g) {
  static const el_char_range PLAIN[] = {{' ', '!'}, {'#', '['}, {']', 0x10ffff}};
  el_expr chars[] = {el_grammar_chars(g, PLAIN, 3, false), json_escape_expr(g)};
  el_expr parts[] = {el_grammar_text(g, "\""),
                     el_grammar_repeat(g, el_grammar_alternatives(g, chars, 2), 0, EL_UNBOUNDED),
                     el_grammar_text(g, "\"")};
  return el_grammar_sequence(g, parts, 3);
}

static el_expr json_number_expr(el_grammar *g) {
  static const el_char_range DIGIT[] = {{'0', '9'}}, FIRST[] = {{'1', '9'}}, E[] = {{'e', 'e'}, {'E', 'E'}},
                             SIGN[] = {{'+', '+'}, {'-', '-'}};
  el_expr digit = el_grammar_chars(g, DIGIT, 1, false);
  el_expr digits = el_grammar_repeat(g, digit, 1, EL_UNBOUNDED);
  el_expr whole[] = {el_grammar_text(g, "0"), el_grammar_pair(g, el_grammar_chars(g, FIRST, 1, false),
                                                              el_grammar_repeat(g, digit, 0, EL_UNBOUNDED))};
  el_expr exponent[] = {el_grammar_chars(g, E, 2, false), el_grammar_optional(g, el_grammar_chars(g, SIGN, 2, false)),
                        digits};
  el_expr parts[] = {el_grammar_optional(g, el_grammar_text(g, "-")), el_grammar_alternatives(g, whole, 2),
                     el_grammar_optional(g, el_grammar_pair(g, el_grammar_text(g, "."), digits)),
                     el_grammar_optional(g, el_grammar_sequence(g, exponent, 3))};
  return el_grammar_sequence(g, parts, 4);
}

/* open, items with commas between them, close */
static el_expr json_list_expr(el_grammar *g, const char *open, el_expr item, const char *close) {
  el_expr space = json_space_expr(g);
  el_expr next[] = {el_grammar_text(g, ","), space, item, space};
  el_expr items[] = {item, space, el_grammar_repeat(g, el_grammar_sequence(g, next, 4), 0, EL_UNBOUNDED)};
  el_expr parts[] = {el_grammar_text(g, open), space, el_grammar_optional(g, el_grammar_sequence(g, items, 3)),
                     el_grammar_text(g, close)};
  return el_grammar_sequence(g, parts, 4);
}

/* The rule of any JSON object. */
static el_rule add_json_rules(el_grammar *g) {
  el_rule any = el_grammar_add_rule(g, "JSON value"), object = el_grammar_add_rule(g, "JSON object");
  el_rule array = el_grammar_add_rule(g, "JSON array"), string = el_grammar_add_rule(g, "JSON string");
  el_expr value = el_grammar_use(g, any), space = json_space_expr(g);
  el_expr member[] = {el_grammar_use(g, string), space, el_grammar_text(g, ":"), space, value};
  el_grammar_define(g, string, json_string_expr(g));
  el_grammar_define(g, array, json_list_expr(g, "[", value, "]"));
  el_grammar_define(g, object, json_list_expr(g, "{", el_grammar_sequence(g, member, 5), "}"));
  el_expr values[] = {el_grammar_use(g, object), el_grammar_use(g, array),   el_grammar_use(g, string),
                      json_number_expr(g),       el_grammar_text(g, "true"), el_grammar_text(g, "false"),
                      el_grammar_text(g, "null")};
  el_grammar_define(g, any, el_grammar_alternatives(g, values, 7));
  return object;
}

el_expr el_grammar_json_object(el_grammar *g) {
  return el_grammar_use(g, add_json_rules(g));
}
