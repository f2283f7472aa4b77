/* Derives a trait of every expression from the traits of its operands, as in Knuth's generalisation
 * of Dijkstra's algorithm. An expression waits for a number of operands. When the last of them has
 * the trait, the expression has it, and the expressions that contain it are told. */
#include <stdlib.h>

#include "base/error.h"
#include "constraint/ir.h"

/* Operands have the numbers of their expressions. Rule r is n_exprs + r; its body is its only operand. */
typedef struct work {
  const el_grammar *g;
  uint32_t *first; /* [n + 1] users[first[i] .. first[i + 1]) have i as an operand */
  uint32_t *users;
  uint32_t *missing; /* [n] operands that do not have the trait yet; 0: the expression has it */
  uint32_t *todo;    /* expressions that have the trait and have not told their users */
  size_t n;
} work;

typedef void (*operand_fn)(work *w, uint32_t user, uint32_t operand);

static void visit_operands(work *w, uint32_t user, operand_fn fn) {
  const el_grammar *g = w->g;
  if (user >= g->n_exprs) {
    el_expr body = g->rules[user - g->n_exprs].body;
    if (body != EL_EXPR_NONE) fn(w, user, body);
    return;
  }
  const el_expr_node *x = &g->exprs[user];
  switch (x->kind) {
    case EL_EXPR_SEQUENCE:
    case EL_EXPR_ALTERNATIVES:
      for (uint32_t i = 0; i < x->n; i++) fn(w, user, g->items[x->at + i]);
      break;
    case EL_EXPR_UNTIL:
      for (uint32_t i = 0; i < x->n; i++) fn(w, user, g->items[x->at + x->n + i]);
      break;
    case EL_EXPR_REPEAT: fn(w, user, x->at); break;
    case EL_EXPR_RULE: fn(w, user, (uint32_t)g->n_exprs + x->at); break;
    case EL_EXPR_EMPTY:
    case EL_EXPR_NEVER:
    case EL_EXPR_LITERAL:
    case EL_EXPR_BYTE:
    case EL_EXPR_CHARS: break;
  }
}

static void count_use(work *w, uint32_t user, uint32_t operand) {
  w->first[operand + 1]++;
}

/* first[part] moves up to where the users of the next operand begin. */
static void put_use(work *w, uint32_t user, uint32_t operand) {
  w->users[w->first[operand]++] = user;
}

/* How many operands must have the trait for i to have it; UINT32_MAX: i never has it. */
static uint32_t count_operands_needed(const el_grammar *g, uint32_t i, el_trait trait) {
  if (i >= g->n_exprs) return 1;
  const el_expr_node *x = &g->exprs[i];
  switch (x->kind) {
    case EL_EXPR_EMPTY: return 0;
    case EL_EXPR_NEVER: return UINT32_MAX;
    case EL_EXPR_LITERAL:
    case EL_EXPR_BYTE:
    case EL_EXPR_CHARS: return trait == EL_TRAIT_PRODUCTIVE ? 0 : UINT32_MAX;
    case EL_EXPR_SEQUENCE: return x->n;
    case EL_EXPR_ALTERNATIVES: return 1;
    case EL_EXPR_REPEAT: return x->n == 0 ? 0 : 1;
    case EL_EXPR_RULE: return 1;
    case EL_EXPR_UNTIL: return x->max ? 0 : trait == EL_TRAIT_PRODUCTIVE ? 1 : UINT32_MAX;
  }
  return UINT32_MAX;
}

static void derive_all(work *w, el_trait trait, bool *exprs, bool *rules) {
  size_t n_exprs = w->g->n_exprs, n_todo = 0;
  for (uint32_t i = 1; i < w->n; i++) visit_operands(w, i, count_use);
  for (size_t i = 0; i < w->n; i++) w->first[i + 1] += w->first[i];
  for (uint32_t i = 1; i < w->n; i++) visit_operands(w, i, put_use);
  for (size_t i = w->n; i > 0; i--) w->first[i] = w->first[i - 1];
  w->first[0] = 0;
  for (uint32_t i = 1; i < w->n; i++)
    if (!(w->missing[i] = count_operands_needed(w->g, i, trait))) w->todo[n_todo++] = i;
  while (n_todo) {
    uint32_t operand = w->todo[--n_todo];
    if (operand < n_exprs)
      exprs[operand] = true;
    else
      rules[operand - n_exprs] = true;
    for (uint32_t i = w->first[operand]; i < w->first[operand + 1]; i++) {
      uint32_t *missing = &w->missing[w->users[i]];
      if (*missing && *missing != UINT32_MAX && !--*missing) w->todo[n_todo++] = w->users[i];
    }
  }
}

el_status el_grammar_derive(const el_grammar *g, el_trait trait, bool **exprs, bool **rules, el_error *err) {
  work w = {.g = g, .n = g->n_exprs + g->n_rules};
  size_t n_uses = g->n_items + g->n_exprs + g->n_rules; /* at most: lists share no items */
  w.first = calloc(w.n + 1, sizeof *w.first);
  w.users = malloc(sizeof *w.users * n_uses);
  w.missing = calloc(w.n, sizeof *w.missing);
  w.todo = malloc(sizeof *w.todo * w.n);
  bool *of_exprs = calloc(g->n_exprs, 1), *of_rules = calloc(g->n_rules + 1, 1);
  el_status status = EL_OK;
  if (w.first && w.users && w.missing && w.todo && of_exprs && of_rules) {
    derive_all(&w, trait, of_exprs, of_rules);
    *exprs = of_exprs;
    *rules = of_rules;
  } else {
    free(of_exprs);
    free(of_rules);
    status = el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  }
  free(w.first);
  free(w.users);
  free(w.missing);
  free(w.todo);
  return status;
}
