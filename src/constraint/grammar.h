/* A grammar while it is built: expressions over bytes and characters, and rules that refer to each
 * other. Front ends (GBNF, regular expressions, JSON Schema, ...) build one; automaton.h compiles it
 * to an automaton that tests tokens.
 *
 * An expression is a number. It may be used several times; each use stands for a copy. A function
 * that fails, because memory is short or a limit below is reached, returns EL_EXPR_NONE. What is built
 * from EL_EXPR_NONE is EL_EXPR_NONE too. The grammar keeps the first reason and el_grammar_finish
 * returns it. So builders need to check only at the end; a loop over hostile input should stop at
 * el_grammar_failed.
 *
 * Texts are UTF-8 and the language is one of bytes: a set of characters becomes the bytes that encode
 * them in UTF-8. */
#ifndef EL_CONSTRAINT_GRAMMAR_H
#define EL_CONSTRAINT_GRAMMAR_H

#include "edgelora.h"

typedef struct el_grammar el_grammar;
typedef uint32_t el_expr;
typedef uint32_t el_rule;

#define EL_EXPR_NONE 0u
#define EL_UNBOUNDED UINT32_MAX /* as `max` of a repetition */

/* Limits of a grammar. A large schema has some thousand expressions. */
enum {
  EL_MAX_EXPRS = 1 << 20,
  EL_MAX_RULES = 1 << 16,
  EL_MAX_GRAMMAR_BYTES = 8 << 20, /* of literals, names and sets */
  EL_MAX_REPETITION = 1 << 20     /* min, and max that is not EL_UNBOUNDED */
};

el_status el_grammar_new(el_grammar **out, el_error *err);
void el_grammar_free(el_grammar *g); /* NULL is allowed */

/* The empty text. */
el_expr el_grammar_empty(el_grammar *g);
/* No text at all: an alternative that never matches, such as the schema `false`. el_grammar_finish
 * refuses a grammar that allows no text. */
el_expr el_grammar_never(el_grammar *g);
/* Exactly these bytes. */
el_expr el_grammar_literal(el_grammar *g, const char *bytes, size_t len);
/* The same for a C string. */
el_expr el_grammar_text(el_grammar *g, const char *text);
/* One byte from `low` to `high`. */
el_expr el_grammar_byte(el_grammar *g, unsigned char low, unsigned char high);

/* Code points `low` to `high`, from 0 to 0x10ffff. Surrogates are left out, as they are not characters. */
typedef struct el_char_range {
  uint32_t low, high;
} el_char_range;
/* One character of the ranges, which may overlap in any order; `negated`: any other character. */
el_expr el_grammar_chars(el_grammar *g, const el_char_range *ranges, size_t n, bool negated);

/* One after the other; n 0: the empty text. */
el_expr el_grammar_sequence(el_grammar *g, const el_expr *items, size_t n);
el_expr el_grammar_pair(el_grammar *g, el_expr first, el_expr second);
/* One of them; n 0: never. */
el_expr el_grammar_alternatives(el_grammar *g, const el_expr *items, size_t n);
/* `min` to `max` times the item; max EL_UNBOUNDED: any number. Large numbers cost nothing. */
el_expr el_grammar_repeat(el_grammar *g, el_expr item, uint32_t min, uint32_t max);
el_expr el_grammar_optional(el_grammar *g, el_expr item); /* repeat 0 to 1 */
/* One of n literals. Their common prefixes are shared, so there may be many. */
typedef struct el_literal {
  const char *bytes;
  size_t len;
} el_literal;
el_expr el_grammar_one_of(el_grammar *g, const el_literal *literals, size_t n);

/* Any text without one of the `stops`, then the stop that occurs first, then what follows it:
 * follow[i] after stops[i]. n is at least 1 and no stop is empty. With `may_end` the text may also end
 * without a stop. Where two stops end at the same byte, the longer one counts. */
el_expr el_grammar_until(el_grammar *g, const el_literal *stops, const el_expr *follow, size_t n, bool may_end);

/* Adds a rule, which must be defined once, before or after its use. `name` is for messages; NULL: none. */
el_rule el_grammar_add_rule(el_grammar *g, const char *name);
void el_grammar_define(el_grammar *g, el_rule rule, el_expr body);
el_expr el_grammar_use(el_grammar *g, el_rule rule);

/* Whether a step has failed. */
bool el_grammar_failed(const el_grammar *g);
/* Records a front end's own failure; only the first reason is kept. Returns EL_EXPR_NONE. */
el_expr el_grammar_fail(el_grammar *g, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Ends building; `root` is the whole text. Fails with the first recorded reason, for a rule that is
 * used and not defined, and for a grammar that allows no text. */
el_status el_grammar_finish(el_grammar *g, el_expr root, el_error *err);

/* ------------------------------------------------------------- front ends
 * Each one appends to a grammar and returns the expression of the whole text; EL_EXPR_NONE on failure
 * (el_grammar_finish has the reason). One grammar may combine several of them. */

/* llama.cpp's GBNF; returns its rule "root". */
el_expr el_gbnf_parse(el_grammar *g, const char *text, size_t len);

enum {
  EL_REGEX_SEARCH = 1,     /* the pattern may match anywhere, as JSON Schema's `pattern`; without it, the whole text */
  EL_REGEX_JSON_STRING = 2 /* the pattern is about a JSON string's value: the text is what stands between its
                            * quotes, and characters are escaped where JSON requires it, in any of JSON's ways */
};
el_expr el_regex_parse(el_grammar *g, const char *pattern, size_t len, int flags);

/* Any JSON object, with white space where JSON allows it. */
el_expr el_grammar_json_object(el_grammar *g);

/* The texts of values that satisfy a JSON Schema (schema.c). */
el_expr el_schema_parse(el_grammar *g, const char *text, size_t len);

#endif
