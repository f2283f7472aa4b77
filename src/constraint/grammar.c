#include "constraint/grammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "constraint/ir.h"

enum { MAX_CODE_POINT = 0x10ffff, FIRST_SURROGATE = 0xd800, LAST_SURROGATE = 0xdfff, MAX_ITEMS = 1 << 22 };

el_status el_grammar_new(el_grammar **out, el_error *err) {
  el_grammar *g = calloc(1, sizeof *g);
  el_expr_node *exprs = malloc(sizeof *exprs * 64);
  if (!g || !exprs) {
    free(g);
    free(exprs);
    return el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  }
  g->exprs = exprs;
  g->cap_exprs = 64;
  g->exprs[0] = (el_expr_node){EL_EXPR_NEVER, 0, 0, 0, 0};
  g->n_exprs = 1;
  *out = g;
  return EL_OK;
}

void el_grammar_free(el_grammar *g) {
  if (!g) return;
  free(g->exprs);
  free(g->items);
  free(g->ranges);
  free(g->bytes);
  free(g->rules);
  free(g);
}

bool el_grammar_failed(const el_grammar *g) {
  return g->error.code != EL_OK;
}

el_expr el_grammar_fail(el_grammar *g, el_status code, const char *fmt, ...) {
  if (el_grammar_failed(g)) return EL_EXPR_NONE;
  char message[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(message, sizeof message, fmt, ap);
  va_end(ap);
  el_fail(&g->error, code, "%s", message);
  return EL_EXPR_NONE;
}

/* Makes room for `more` elements after the n of an array. False: the grammar has failed. */
static bool reserve_grammar(el_grammar *g, void **array, size_t size, size_t n, size_t *cap, size_t more, size_t most,
                            const char *what) {
  if (el_grammar_failed(g)) return false;
  if (more > most - n) {
    el_grammar_fail(g, EL_ERR_TOO_LONG, "the grammar has more than %zu %s", most, what);
    return false;
  }
  if (n + more <= *cap) return true;
  size_t want = *cap * 2 > n + more ? *cap * 2 : n + more + 16;
  void *larger = realloc(*array, size * want);
  if (!larger) {
    el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
    return false;
  }
  *array = larger;
  *cap = want;
  return true;
}

static bool reserve_items(el_grammar *g, size_t more) {
  return reserve_grammar(g, (void **)&g->items, sizeof *g->items, g->n_items, &g->cap_items, more, MAX_ITEMS, "parts");
}

static bool reserve_bytes(el_grammar *g, size_t more) {
  return reserve_grammar(g, (void **)&g->bytes, 1, g->n_bytes, &g->cap_bytes, more, EL_MAX_GRAMMAR_BYTES, "bytes");
}

static el_expr add_expr(el_grammar *g, el_expr_node node) {
  if (!reserve_grammar(g, (void **)&g->exprs, sizeof *g->exprs, g->n_exprs, &g->cap_exprs, 1, EL_MAX_EXPRS,
                       "expressions"))
    return EL_EXPR_NONE;
  if (node.depth > EL_MAX_EXPR_DEPTH)
    return el_grammar_fail(g, EL_ERR_TOO_LONG, "the grammar is nested more than %d deep", EL_MAX_EXPR_DEPTH);
  g->exprs[g->n_exprs] = node;
  return (el_expr)g->n_exprs++;
}

el_expr el_grammar_empty(el_grammar *g) {
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_EMPTY});
}

el_expr el_grammar_never(el_grammar *g) {
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_NEVER});
}

el_expr el_grammar_literal(el_grammar *g, const char *bytes, size_t len) {
  if (!len) return el_grammar_empty(g);
  if (!reserve_bytes(g, len)) return EL_EXPR_NONE;
  memcpy(g->bytes + g->n_bytes, bytes, len);
  g->n_bytes += len;
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_LITERAL, .at = (uint32_t)(g->n_bytes - len), .n = (uint32_t)len});
}

el_expr el_grammar_text(el_grammar *g, const char *text) {
  return el_grammar_literal(g, text, strlen(text));
}

el_expr el_grammar_byte(el_grammar *g, unsigned char low, unsigned char high) {
  if (low > high) return el_grammar_never(g);
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_BYTE, .at = low, .n = high});
}

static int compare_low(const void *a, const void *b) {
  const el_char_range *x = a, *y = b;
  return (x->low > y->low) - (x->low < y->low);
}

/* Appends a range without surrogates, of which there is room for two. */
static void put_range(el_grammar *g, uint32_t low, uint32_t high) {
  if (high > MAX_CODE_POINT) high = MAX_CODE_POINT;
  if (low < FIRST_SURROGATE && high >= FIRST_SURROGATE) {
    g->ranges[g->n_ranges++] = (el_char_range){low, FIRST_SURROGATE - 1};
    low = FIRST_SURROGATE;
  }
  if (low >= FIRST_SURROGATE && low <= LAST_SURROGATE) low = LAST_SURROGATE + 1;
  if (low <= high) g->ranges[g->n_ranges++] = (el_char_range){low, high};
}

el_expr el_grammar_chars(el_grammar *g, const el_char_range *ranges, size_t n, bool negated) {
  size_t most = EL_MAX_GRAMMAR_BYTES / sizeof *ranges;
  if (!reserve_grammar(g, (void **)&g->ranges, sizeof *ranges, g->n_ranges, &g->cap_ranges, n < most ? 2 * n + 2 : most,
                       most, "ranges of characters"))
    return EL_EXPR_NONE;
  el_char_range *sorted = n ? malloc(sizeof *sorted * n) : NULL;
  if (n && !sorted) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
  if (n) memcpy(sorted, ranges, sizeof *sorted * n);
  if (n) qsort(sorted, n, sizeof *sorted, compare_low);
  size_t at = g->n_ranges;
  uint32_t next = 0; /* the first character after all ranges so far */
  for (size_t i = 0; i < n;) {
    uint32_t low = sorted[i].low, high = sorted[i].high;
    for (i++; i < n && (high == UINT32_MAX || sorted[i].low <= high + 1); i++)
      if (sorted[i].high > high) high = sorted[i].high;
    if (low > high) continue;
    if (!negated)
      put_range(g, low, high);
    else if (low > next)
      put_range(g, next, low - 1);
    next = high < MAX_CODE_POINT ? high + 1 : MAX_CODE_POINT + 1;
  }
  free(sorted);
  if (negated && next <= MAX_CODE_POINT) put_range(g, next, MAX_CODE_POINT);
  if (g->n_ranges == at) return el_grammar_never(g);
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_CHARS, .at = (uint32_t)at, .n = (uint32_t)(g->n_ranges - at)});
}

/* Appends n items; *depth becomes the maximum of itself and their depths. */
static bool append_items(el_grammar *g, const el_expr *items, size_t n, uint32_t *depth) {
  if (el_grammar_failed(g) || !reserve_items(g, n)) return false;
  for (size_t i = 0; i < n; i++) {
    if (items[i] == EL_EXPR_NONE) {
      el_grammar_fail(g, EL_ERR_INVALID, "a part of the grammar is missing");
      return false;
    }
    if (g->exprs[items[i]].depth > *depth) *depth = g->exprs[items[i]].depth;
    g->items[g->n_items++] = items[i];
  }
  return true;
}

static el_expr add_list(el_grammar *g, el_expr_kind kind, const el_expr *items, size_t n) {
  uint32_t depth = 0;
  if (!append_items(g, items, n, &depth)) return EL_EXPR_NONE;
  return add_expr(g,
                  (el_expr_node){.kind = kind, .at = (uint32_t)(g->n_items - n), .n = (uint32_t)n, .depth = depth + 1});
}

el_expr el_grammar_sequence(el_grammar *g, const el_expr *items, size_t n) {
  if (n == 1) return items[0];
  return n ? add_list(g, EL_EXPR_SEQUENCE, items, n) : el_grammar_empty(g);
}

el_expr el_grammar_pair(el_grammar *g, el_expr first, el_expr second) {
  return el_grammar_sequence(g, (el_expr[]){first, second}, 2);
}

el_expr el_grammar_alternatives(el_grammar *g, const el_expr *items, size_t n) {
  if (n == 1) return items[0];
  return n ? add_list(g, EL_EXPR_ALTERNATIVES, items, n) : el_grammar_never(g);
}

el_expr el_grammar_repeat(el_grammar *g, el_expr item, uint32_t min, uint32_t max) {
  if (item == EL_EXPR_NONE || el_grammar_failed(g)) return EL_EXPR_NONE;
  if (min > max)
    return el_grammar_fail(g, EL_ERR_INVALID, "a repetition has a minimum of %u above its maximum of %u", min, max);
  if (min > EL_MAX_REPETITION || (max > EL_MAX_REPETITION && max != EL_UNBOUNDED))
    return el_grammar_fail(g, EL_ERR_TOO_LONG, "a repetition of more than %d", EL_MAX_REPETITION);
  if (max == 0) return el_grammar_empty(g);
  if (min == 1 && max == 1) return item;
  return add_expr(
      g, (el_expr_node){.kind = EL_EXPR_REPEAT, .at = item, .n = min, .max = max, .depth = g->exprs[item].depth + 1});
}

el_expr el_grammar_optional(el_grammar *g, el_expr item) {
  return el_grammar_repeat(g, item, 0, 1);
}

el_expr el_grammar_until(el_grammar *g, const el_literal *stops, const el_expr *follow, size_t n, bool may_end) {
  for (size_t i = 0; i < n; i++)
    if (!stops[i].len) return el_grammar_fail(g, EL_ERR_INVALID, "a trigger is empty");
  size_t at = g->n_items;
  if (n > MAX_ITEMS / 2 || !reserve_items(g, 2 * n)) return EL_EXPR_NONE;
  for (size_t i = 0; i < n; i++) {
    el_expr stop = el_grammar_literal(g, stops[i].bytes, stops[i].len);
    if (stop == EL_EXPR_NONE) return EL_EXPR_NONE;
    g->items[g->n_items++] = stop;
  }
  uint32_t depth = 0;
  if (!append_items(g, follow, n, &depth)) return EL_EXPR_NONE;
  return add_expr(
      g,
      (el_expr_node){.kind = EL_EXPR_UNTIL, .at = (uint32_t)at, .n = (uint32_t)n, .max = may_end, .depth = depth + 1});
}

/* -------------------------------------------------------------- many literals */

static int compare_literals(const void *a, const void *b) {
  const el_literal *x = a, *y = b;
  size_t n = x->len < y->len ? x->len : y->len;
  int c = n ? memcmp(x->bytes, y->bytes, n) : 0;
  return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* One of n sorted literals, without their first `skip` bytes, which they have in common. A level removes a common
 * prefix or splits the literals, so calls nest as deep as literals branch, not as deep as texts are long. */
static el_expr one_of_sorted(el_grammar *g, const el_literal *l, size_t n, size_t skip, int level) {
  if (el_grammar_failed(g)) return EL_EXPR_NONE;
  if (n == 1 || level >= EL_MAX_EXPR_DEPTH / 8) {
    /* Too deep to share further: each literal by itself. */
    el_expr all = EL_EXPR_NONE;
    for (size_t i = 0; i < n; i++) {
      el_expr one = el_grammar_literal(g, l[i].bytes + skip, l[i].len - skip);
      all = i ? el_grammar_alternatives(g, (el_expr[]){all, one}, 2) : one;
    }
    return all;
  }
  size_t common = skip; /* of the first and the last, and so of all */
  while (common < l[0].len && common < l[n - 1].len && l[0].bytes[common] == l[n - 1].bytes[common]) common++;
  if (common > skip)
    return el_grammar_pair(g, el_grammar_literal(g, l[0].bytes + skip, common - skip),
                           one_of_sorted(g, l, n, common, level + 1));
  el_expr parts[257];
  size_t n_parts = 0, from = 0;
  if (l[0].len == skip) {
    parts[n_parts++] = el_grammar_empty(g);
    while (from < n && l[from].len == skip) from++;
  }
  while (from < n) {
    size_t to = from + 1;
    while (to < n && l[to].bytes[skip] == l[from].bytes[skip]) to++;
    parts[n_parts++] = one_of_sorted(g, l + from, to - from, skip, level + 1);
    from = to;
  }
  return el_grammar_alternatives(g, parts, n_parts);
}

el_expr el_grammar_one_of(el_grammar *g, const el_literal *literals, size_t n) {
  if (!n) return el_grammar_never(g);
  if (n > EL_MAX_EXPRS) return el_grammar_fail(g, EL_ERR_TOO_LONG, "more than %d texts to choose from", EL_MAX_EXPRS);
  el_literal *sorted = malloc(sizeof *sorted * n);
  if (!sorted) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
  memcpy(sorted, literals, sizeof *sorted * n);
  qsort(sorted, n, sizeof *sorted, compare_literals);
  size_t n_different = 1;
  for (size_t i = 1; i < n; i++)
    if (compare_literals(&sorted[n_different - 1], &sorted[i])) sorted[n_different++] = sorted[i];
  el_expr all = one_of_sorted(g, sorted, n_different, 0, 0);
  free(sorted);
  return all;
}

/* ---------------------------------------------------------------------- rules */

el_rule el_grammar_add_rule(el_grammar *g, const char *name) {
  size_t len = strlen(name ? name : "") + 1;
  if (!reserve_grammar(g, (void **)&g->rules, sizeof *g->rules, g->n_rules, &g->cap_rules, 1, EL_MAX_RULES, "rules") ||
      !reserve_bytes(g, len))
    return UINT32_MAX;
  memcpy(g->bytes + g->n_bytes, name ? name : "", len);
  g->rules[g->n_rules] = (el_rule_node){.name = (uint32_t)g->n_bytes};
  g->n_bytes += len;
  return (el_rule)g->n_rules++;
}

void el_grammar_define(el_grammar *g, el_rule rule, el_expr body) {
  if (el_grammar_failed(g) || body == EL_EXPR_NONE || rule >= g->n_rules) return;
  if (g->rules[rule].body != EL_EXPR_NONE)
    el_grammar_fail(g, EL_ERR_INVALID, "rule %.100s is defined twice", el_rule_name(g, rule));
  else
    g->rules[rule].body = body;
}

el_expr el_grammar_use(el_grammar *g, el_rule rule) {
  if (el_grammar_failed(g) || rule >= g->n_rules) return EL_EXPR_NONE;
  return add_expr(g, (el_expr_node){.kind = EL_EXPR_RULE, .at = rule});
}

static void check_rules(el_grammar *g, el_expr root) {
  for (size_t i = 0; i < g->n_exprs; i++)
    if (g->exprs[i].kind == EL_EXPR_RULE && g->rules[g->exprs[i].at].body == EL_EXPR_NONE) {
      el_grammar_fail(g, EL_ERR_INVALID, "rule %.100s is used, but not defined", el_rule_name(g, g->exprs[i].at));
      return;
    }
  bool *exprs = NULL, *rules = NULL;
  if (el_grammar_derive(g, EL_TRAIT_PRODUCTIVE, &exprs, &rules, &g->error)) return;
  if (!exprs[root]) el_grammar_fail(g, EL_ERR_INVALID, "no text is allowed: what is asked for has no end, or no way");
  free(exprs);
  free(rules);
}

el_status el_grammar_finish(el_grammar *g, el_expr root, el_error *err) {
  if (root == EL_EXPR_NONE) el_grammar_fail(g, EL_ERR_INVALID, "a part of the grammar is missing");
  if (!el_grammar_failed(g)) check_rules(g, root);
  if (el_grammar_failed(g)) {
    if (err) *err = g->error;
    return g->error.code;
  }
  g->root = root;
  return EL_OK;
}
