/* How grammars are stored. Operands of an expression have smaller numbers than the expression. */
#ifndef EL_CONSTRAINT_IR_H
#define EL_CONSTRAINT_IR_H

#include "constraint/grammar.h"

typedef enum el_expr_kind {
  EL_EXPR_EMPTY,
  EL_EXPR_NEVER,
  EL_EXPR_LITERAL,      /* bytes[at .. at + n) */
  EL_EXPR_BYTE,         /* from byte `at` to byte `n` */
  EL_EXPR_CHARS,        /* ranges[at .. at + n): ascending, not adjacent, without surrogates */
  EL_EXPR_SEQUENCE,     /* items[at .. at + n) */
  EL_EXPR_ALTERNATIVES, /* items[at .. at + n) */
  EL_EXPR_REPEAT,       /* item `at`, n to max times */
  EL_EXPR_RULE,         /* rule `at` */
  EL_EXPR_UNTIL /* items[at .. at + 2 * n): n literals, then what follows each of them; max 1: the text may end */
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

enum { EL_MAX_EXPR_DEPTH = 2000 }; /* functions that walk expressions recurse so deep */

struct el_grammar {
  el_expr_node *exprs; /* [n_exprs] 0 is EL_EXPR_NONE */
  uint32_t *items;
  el_char_range *ranges;
  char *bytes;
  el_rule_node *rules;
  size_t n_exprs, cap_exprs, n_items, cap_items, n_ranges, cap_ranges, n_bytes, cap_bytes, n_rules, cap_rules;
  el_expr root; /* of a finished grammar */
  el_error error;
};

static inline const char *el_rule_name(const el_grammar *g, el_rule r) {
  return g->bytes + g->rules[r].name;
}

/* A property that an expression has because its operands have it (analysis.c). */
typedef enum el_trait {
  EL_TRAIT_PRODUCTIVE, /* it allows some text */
  EL_TRAIT_NULLABLE    /* it allows the empty text */
} el_trait;
/* Computes it for all expressions and rules, in time linear in their number. The caller frees *exprs,
 * [n_exprs], and *rules, [n_rules]. */
el_status el_grammar_derive(const el_grammar *g, el_trait trait, bool **exprs, bool **rules, el_error *err);

#endif
