/* Grammars as they are stored. Children of an expression have smaller numbers than it has. */
#ifndef EL_CONSTRAINT_IR_H
#define EL_CONSTRAINT_IR_H

#include "constraint/grammar.h"

typedef enum el_expr_kind {
  EL_EXPR_EMPTY,
  EL_EXPR_NEVER,
  EL_EXPR_LITERAL,  /* bytes[at .. at + n) */
  EL_EXPR_BYTE,     /* at: the low, n: the high one */
  EL_EXPR_CHARS,    /* ranges[at .. at + n): ascending, apart from each other, without surrogates */
  EL_EXPR_SEQUENCE, /* items[at .. at + n) */
  EL_EXPR_CHOICE,   /* items[at .. at + n) */
  EL_EXPR_REPEAT,   /* item `at`, n to max times */
  EL_EXPR_RULE,     /* rule `at` */
  EL_EXPR_UNTIL     /* items[at .. at + 2 * n): n times a literal, n times what follows; max 1: the text may end */
} el_expr_kind;

typedef struct el_expr_node {
  el_expr_kind kind;
  uint32_t at, n, max;
  uint32_t depth; /* of nesting */
} el_expr_node;

typedef struct el_rule_node {
  uint32_t name; /* bytes[name ..), NUL-terminated */
  el_expr body;  /* EL_EXPR_NONE: not defined yet */
} el_rule_node;

enum { EL_MAX_EXPR_DEPTH = 2000 }; /* what walks expressions calls itself so deep */

struct el_grammar {
  el_expr_node *exprs; /* [n_exprs] 0 is EL_EXPR_NONE */
  uint32_t *items;
  el_char_range *ranges;
  char *bytes;
  el_rule_node *rules;
  size_t n_exprs, cap_exprs, n_items, cap_items, n_ranges, cap_ranges, n_bytes, cap_bytes, n_rules, cap_rules;
  el_expr root; /* of a grammar that is finished */
  el_error error;
};

static inline const char *el_rule_name(const el_grammar *g, el_rule r) {
  return g->bytes + g->rules[r].name;
}

/* What holds of an expression because it holds of its parts (analysis.c). */
typedef enum el_trait {
  EL_TRAIT_PRODUCTIVE, /* there is a text that it allows */
  EL_TRAIT_NULLABLE    /* it allows the empty text */
} el_trait;
/* Of all expressions and rules, in time linear in their number. *exprs: [n_exprs], *rules: [n_rules], the caller's. */
el_status el_grammar_derive(const el_grammar *g, el_trait trait, bool **exprs, bool **rules, el_error *err);

#endif
