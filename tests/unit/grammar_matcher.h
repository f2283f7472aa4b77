/* Which texts a grammar allows, by its definition: where an expression may end that begins at a byte. Slow, and not how
 * src/constraint does it. */
#ifndef EL_TESTS_GRAMMAR_MATCHER_H
#define EL_TESTS_GRAMMAR_MATCHER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "constraint/ir.h"

typedef struct matcher {
  const el_grammar *g;
  const char *text;
  size_t n;
  bool **rules; /* [n_rules * (n + 1)] ends of a rule that begins at a byte; NULL: not known yet */
} matcher;

static void match_ends(matcher *m, el_expr e, size_t at, bool *ends);

static size_t match_character(const matcher *m, const el_expr_node *x, size_t at) {
  if (at >= m->n) return 0;
  const unsigned char *p = (const unsigned char *)m->text + at;
  size_t len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
  if (at + len > m->n) return 0;
  uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
  for (size_t i = 1; i < len; i++) c = c << 6 | (p[i] & 0x3f);
  for (uint32_t i = 0; i < x->n; i++)
    if (c >= m->g->ranges[x->at + i].low && c <= m->g->ranges[x->at + i].high) return len;
  return 0;
}

/* Where what begins at any of `from` ends. */
static bool match_step(matcher *m, el_expr e, const bool *from, bool *to) {
  memset(to, 0, m->n + 1);
  for (size_t i = 0; i <= m->n; i++)
    if (from[i]) match_ends(m, e, i, to);
  return memchr(to, true, m->n + 1) != NULL;
}

static void match_sequence(matcher *m, const el_expr_node *x, size_t at, bool *ends) {
  bool *from = calloc(1, m->n + 1), *to = calloc(1, m->n + 1);
  from[at] = true;
  bool any = true;
  for (uint32_t i = 0; i < x->n && any; i++) {
    any = match_step(m, m->g->items[x->at + i], from, to);
    memcpy(from, to, m->n + 1);
  }
  for (size_t i = 0; i <= m->n && any; i++) ends[i] |= from[i];
  free(from);
  free(to);
}

static void match_repeat(matcher *m, const el_expr_node *x, size_t at, bool *ends) {
  bool *from = calloc(1, m->n + 1), *to = calloc(1, m->n + 1);
  from[at] = true;
  for (uint32_t i = 0; i <= x->max; i++) {
    bool news = i < x->n;
    for (size_t k = 0; i >= x->n && k <= m->n; k++) {
      news |= from[k] && !ends[k];
      ends[k] |= from[k];
    }
    /* As many of an item as there are bytes and one say what more of them would. */
    if (!news || (i > m->n + 1 && i < x->n) || !match_step(m, x->at, from, to)) break;
    memcpy(from, to, m->n + 1);
  }
  free(from);
  free(to);
}

static void match_ends(matcher *m, el_expr e, size_t at, bool *ends) {
  const el_expr_node *x = &m->g->exprs[e];
  size_t len;
  switch (x->kind) {
    case EL_EXPR_EMPTY: ends[at] = true; break;
    case EL_EXPR_LITERAL:
      if (x->n <= m->n - at && !memcmp(m->g->bytes + x->at, m->text + at, x->n)) ends[at + x->n] = true;
      break;
    case EL_EXPR_BYTE:
      if (at < m->n && (unsigned char)m->text[at] >= x->at && (unsigned char)m->text[at] <= x->n) ends[at + 1] = true;
      break;
    case EL_EXPR_CHARS:
      if ((len = match_character(m, x, at))) ends[at + len] = true;
      break;
    case EL_EXPR_SEQUENCE: match_sequence(m, x, at, ends); break;
    case EL_EXPR_ALTERNATIVES:
      for (uint32_t i = 0; i < x->n; i++) match_ends(m, m->g->items[x->at + i], at, ends);
      break;
    case EL_EXPR_REPEAT: match_repeat(m, x, at, ends); break;
    case EL_EXPR_RULE: {
      bool **known = &m->rules[x->at * (m->n + 1) + at];
      if (!*known) {
        bool *own = calloc(1, m->n + 1);
        match_ends(m, m->g->rules[x->at].body, at, own);
        *known = own;
      }
      for (size_t i = 0; i <= m->n; i++) ends[i] |= (*known)[i];
      break;
    }
    case EL_EXPR_NEVER:
    case EL_EXPR_UNTIL: break;
  }
}

/* g: finished, without el_grammar_until, and no rule begins with itself. */
static bool grammar_matches(const el_grammar *g, const char *text, size_t n) {
  matcher m = {g, text, n, calloc(g->n_rules * (n + 1) + 1, sizeof *m.rules)};
  bool *ends = calloc(1, n + 1);
  match_ends(&m, g->root, 0, ends);
  bool matches = ends[n];
  for (size_t i = 0; i < g->n_rules * (n + 1); i++) free(m.rules[i]);
  free(m.rules);
  free(ends);
  return matches;
}

#endif
