/* Random texts of a JSON Schema's grammar: a line of JSON each,
 *   {"schema": "...", "open": true, "n": 10, "seed": 1}  ->  {"texts": ["...", ...]}, or {"error": "..."}
 * For tests that ask others whether these are valid. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "constraint/ir.h"
#include "constraint/schema.h"
#include "lines.h"

enum { LEAST_BUDGET = 20, BUDGETS = 200, FEW = 6 };

typedef struct generator {
  const el_grammar *g;
  uint64_t *exprs, *rules; /* the shortest text of each, in bytes or so; UINT64_MAX: there is none */
  uint64_t random;
  int budget; /* of expressions; then the shortest way out */
  el_buf out;
} generator;

static uint32_t below(generator *x, uint32_t n) {
  x->random ^= x->random << 13;
  x->random ^= x->random >> 7;
  x->random ^= x->random << 17;
  return (uint32_t)((x->random >> 20) % n);
}

/* ---------------------------------------------------------------- the shortest texts */

static uint64_t add(uint64_t a, uint64_t b) {
  return a == UINT64_MAX || b == UINT64_MAX ? UINT64_MAX : a + b < UINT32_MAX ? a + b : UINT32_MAX;
}

static uint64_t shortest(const generator *x, el_expr e) {
  const el_grammar *g = x->g;
  const el_expr_node *node = &g->exprs[e];
  uint64_t cost = node->kind == EL_EXPR_ALTERNATIVES ? UINT64_MAX : 0;
  switch (node->kind) {
    case EL_EXPR_EMPTY: return 0;
    case EL_EXPR_LITERAL: return node->n;
    case EL_EXPR_BYTE:
    case EL_EXPR_CHARS: return 1;
    case EL_EXPR_SEQUENCE:
      for (uint32_t i = 0; i < node->n; i++) cost = add(cost, x->exprs[g->items[node->at + i]]);
      return cost;
    case EL_EXPR_ALTERNATIVES:
      for (uint32_t i = 0; i < node->n; i++)
        if (x->exprs[g->items[node->at + i]] < cost) cost = x->exprs[g->items[node->at + i]];
      return cost;
    case EL_EXPR_REPEAT:
      if (!node->n) return 0;
      return x->exprs[node->at] == UINT64_MAX ? UINT64_MAX : add(0, x->exprs[node->at] * node->n);
    case EL_EXPR_RULE: return add(x->rules[node->at], 1);
    case EL_EXPR_NEVER:
    case EL_EXPR_UNTIL: break;
  }
  return UINT64_MAX;
}

static void find_shortest(generator *x) {
  for (bool changed = true; changed;) {
    changed = false;
    for (el_expr e = 1; e < x->g->n_exprs; e++) {
      uint64_t cost = shortest(x, e);
      changed |= cost < x->exprs[e];
      if (cost < x->exprs[e]) x->exprs[e] = cost;
    }
    for (el_rule r = 0; r < x->g->n_rules; r++)
      if (x->g->rules[r].body != EL_EXPR_NONE) x->rules[r] = x->exprs[x->g->rules[r].body];
  }
}

/* ---------------------------------------------------------------- texts */

static void put_character(el_buf *out, uint32_t c) {
  int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
  char bytes[4];
  for (int i = n - 1; i > 0; i--, c >>= 6) bytes[i] = (char)(0x80 | (c & 0x3f));
  bytes[0] = (char)(first[n] | c);
  el_buf_append(out, bytes, (size_t)n);
}

static void generate(generator *x, el_expr e) {
  const el_grammar *g = x->g;
  const el_expr_node *node = &g->exprs[e];
  x->budget--;
  switch (node->kind) {
    case EL_EXPR_LITERAL: el_buf_append(&x->out, g->bytes + node->at, node->n); break;
    case EL_EXPR_BYTE: put_character(&x->out, node->at + below(x, node->n - node->at + 1)); break;
    case EL_EXPR_CHARS: {
      const el_char_range *r = &g->ranges[node->at + below(x, node->n)];
      uint32_t n = r->high - r->low + 1;
      put_character(&x->out, r->low + below(x, n > 100 && below(x, 8) ? 100 : n));
      break;
    }
    case EL_EXPR_SEQUENCE:
      for (uint32_t i = 0; i < node->n; i++) generate(x, g->items[node->at + i]);
      break;
    case EL_EXPR_ALTERNATIVES: {
      uint32_t best = below(x, node->n);
      for (uint32_t i = 0; i < node->n; i++) {
        uint64_t own = x->exprs[g->items[node->at + i]], least = x->exprs[g->items[node->at + best]];
        if (own < least && (x->budget <= 0 || least == UINT64_MAX)) best = i;
      }
      generate(x, g->items[node->at + best]);
      break;
    }
    case EL_EXPR_REPEAT: {
      uint32_t more = node->max == EL_UNBOUNDED || node->max - node->n > FEW ? FEW : node->max - node->n;
      if (x->exprs[node->at] == UINT64_MAX || x->budget <= 0) more = 0;
      for (uint32_t n = node->n + below(x, more + 1); n > 0; n--) generate(x, node->at);
      break;
    }
    case EL_EXPR_RULE: generate(x, g->rules[node->at].body); break;
    case EL_EXPR_EMPTY:
    case EL_EXPR_NEVER:
    case EL_EXPR_UNTIL: break;
  }
}

static json_t *texts_of(const el_grammar *g, uint64_t seed, int n) {
  generator x = {.g = g, .random = seed * 0x9e3779b97f4a7c15u + 1};
  x.exprs = malloc(sizeof *x.exprs * g->n_exprs);
  x.rules = malloc(sizeof *x.rules * (g->n_rules + 1));
  memset(x.exprs, 0xff, sizeof *x.exprs * g->n_exprs);
  memset(x.rules, 0xff, sizeof *x.rules * (g->n_rules + 1));
  find_shortest(&x);
  json_t *texts = json_array();
  for (int i = 0; i < n; i++) {
    x.out.len = 0;
    x.budget = LEAST_BUDGET + (int)below(&x, BUDGETS);
    generate(&x, g->root);
    json_array_append_new(texts, json_stringn(x.out.len ? x.out.data : "", x.out.len));
  }
  el_buf_free(&x.out);
  free(x.exprs);
  free(x.rules);
  return json_pack("{s:o}", "texts", texts);
}

static json_t *answer(const json_t *line) {
  el_error err = {0};
  el_grammar *g = NULL;
  const json_t *schema = json_object_get(line, "schema");
  bool open = json_is_true(json_object_get(line, "open"));
  if (el_grammar_new(&g, &err)) return NULL;
  el_expr root =
      (open ? el_schema_parse_open : el_schema_parse)(g, json_string_value(schema), json_string_length(schema));
  json_t *out = el_grammar_finish(g, root, &err)
                    ? json_pack("{s:s}", "error", err.message)
                    : texts_of(g, (uint64_t)json_integer_value(json_object_get(line, "seed")),
                               (int)json_integer_value(json_object_get(line, "n")));
  el_grammar_free(g);
  return out;
}

int main(void) {
  return answer_lines(answer);
}
