/* Makes a deterministic automaton of a regular expression's grammar: Thompson's construction, then subsets of states.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "constraint/ir.h"
#include "constraint/schema_dfa.h"

enum { NFA_STATES = 1 << 15, LAST = 0x10ffff, NONE = -1 };

/* Has either up to two transitions without a character (NONE: none), or one for a character from low to high. */
typedef struct nfa_state {
  int32_t next, other;
  uint32_t low, high;
  bool reads;
} nfa_state;

typedef struct nfa {
  el_schema *s;
  uint32_t node;
  const el_grammar *g;
  nfa_state *states;
  uint32_t n, cap;
} nfa;

static int32_t add_nfa_state(nfa *a, nfa_state state) {
  if (a->n >= NFA_STATES)
    el_schema_fail(a->s, a->node, EL_ERR_UNSUPPORTED, "a pattern is too large: more than %d states", NFA_STATES);
  a->states = el_schema_more(a->s, a->states, sizeof *a->states, a->n, &a->cap);
  a->states[a->n] = state;
  return (int32_t)a->n++;
}

static int32_t add_split_state(nfa *a, int32_t next, int32_t other) {
  return add_nfa_state(a, (nfa_state){.next = next, .other = other});
}

static int32_t add_reading_state(nfa *a, uint32_t low, uint32_t high, int32_t next) {
  return add_nfa_state(a, (nfa_state){.next = next, .other = NONE, .low = low, .high = high, .reads = true});
}

static int32_t add_literal_states(nfa *a, const char *bytes, size_t len, int32_t next) {
  while (len) {
    size_t n = 1;
    while (n < len && ((unsigned char)bytes[len - n] & 0xc0) == 0x80) n++;
    const unsigned char *p = (const unsigned char *)bytes + len - n;
    uint32_t c = n == 1   ? p[0]
                 : n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
                 : n == 3 ? (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)
                          : (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    next = add_reading_state(a, c, c, next);
    len -= n;
  }
  return next;
}

/* The state from which the expression is read, followed by `next`. */
static int32_t build_nfa(nfa *a, el_expr e, int32_t next, int depth) {
  const el_expr_node *x = &a->g->exprs[e];
  if (depth > EL_SCHEMA_DEPTH) el_schema_fail(a->s, a->node, EL_ERR_TOO_LONG, "a pattern is nested too deep");
  switch (x->kind) {
    case EL_EXPR_EMPTY: return next;
    case EL_EXPR_LITERAL: return add_literal_states(a, a->g->bytes + x->at, x->n, next);
    case EL_EXPR_BYTE:
      if (x->n < 0x80) return add_reading_state(a, x->at, x->n, next);
      break;
    case EL_EXPR_CHARS: {
      int32_t all = NONE;
      for (uint32_t i = x->n; i-- > 0;) {
        const el_char_range *r = &a->g->ranges[x->at + i];
        int32_t one = add_reading_state(a, r->low, r->high, next);
        all = all == NONE ? one : add_split_state(a, one, all);
      }
      return all;
    }
    case EL_EXPR_SEQUENCE:
      for (uint32_t i = x->n; i-- > 0 && next != NONE;) next = build_nfa(a, a->g->items[x->at + i], next, depth + 1);
      return next;
    case EL_EXPR_ALTERNATIVES: {
      int32_t all = NONE;
      for (uint32_t i = x->n; i-- > 0;) {
        int32_t one = build_nfa(a, a->g->items[x->at + i], next, depth + 1);
        all = all == NONE ? one : one == NONE ? all : add_split_state(a, one, all);
      }
      return all;
    }
    case EL_EXPR_REPEAT: {
      int32_t tail = next;
      if (x->max == EL_UNBOUNDED) {
        tail = add_split_state(a, next, NONE);
        int32_t again = build_nfa(a, x->at, tail, depth + 1);
        a->states[tail].other = again;
      } else {
        for (uint32_t i = x->n; i < x->max; i++) {
          int32_t one = build_nfa(a, x->at, tail, depth + 1);
          if (one == NONE) break;
          tail = add_split_state(a, one, next);
        }
      }
      for (uint32_t i = 0; i < x->n && tail != NONE; i++) tail = build_nfa(a, x->at, tail, depth + 1);
      return tail;
    }
    case EL_EXPR_RULE: return build_nfa(a, a->g->rules[x->at].body, next, depth + 1);
    case EL_EXPR_NEVER: return NONE;
    case EL_EXPR_UNTIL: break;
  }
  el_schema_fail(a->s, a->node, EL_ERR_UNSUPPORTED, "this pattern is not supported beside others");
}

/* ---------------------------------------------------------------------- subsets */

typedef struct subset {
  uint32_t *at; /* [n] states that read a character, or the end; ascending */
  uint32_t n;
} subset;

typedef struct subsets {
  nfa *a;
  subset *of;
  uint32_t n, cap;
  uint32_t *slots, n_slots;
  uint32_t *mark, round; /* [states] when it was last put in */
  uint32_t *stack;
  uint32_t *found, n_found; /* of the subset that is being made */
  uint64_t work;
} subsets;

static void add_reachable(subsets *u, int32_t from) {
  uint32_t n = 0;
  if (from != NONE) u->stack[n++] = (uint32_t)from;
  while (n) {
    uint32_t at = u->stack[--n];
    if (u->mark[at] == u->round) continue;
    u->mark[at] = u->round;
    const nfa_state *x = &u->a->states[at];
    if (x->reads || !at) { /* state 0 is the end */
      u->found[u->n_found++] = at;
      continue;
    }
    if (x->other != NONE && u->mark[x->other] != u->round) u->stack[n++] = (uint32_t)x->other;
    if (x->next != NONE && u->mark[x->next] != u->round) u->stack[n++] = (uint32_t)x->next;
  }
}

static int compare_states(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static uint32_t subset_slot_of(const subsets *u, const uint32_t *at, uint32_t n) {
  uint64_t h = 1469598103934665603u;
  for (uint32_t i = 0; i < n; i++) h = (h ^ at[i]) * 1099511628211u;
  uint32_t i = (uint32_t)(h ^ h >> 32) & (u->n_slots - 1);
  for (; u->slots[i]; i = (i + 1) & (u->n_slots - 1)) {
    const subset *x = &u->of[u->slots[i] - 1];
    if (x->n == n && !memcmp(x->at, at, sizeof *at * n)) break;
  }
  return i;
}

/* The number of what has been found. */
static uint32_t intern_subset(subsets *u) {
  el_schema *s = u->a->s;
  qsort(u->found, u->n_found, sizeof *u->found, compare_states);
  if (u->n * 2 >= u->n_slots) {
    u->n_slots = u->n_slots ? u->n_slots * 2 : 64;
    u->slots = el_schema_alloc(s, sizeof *u->slots * u->n_slots);
    for (uint32_t i = 0; i < u->n; i++) u->slots[subset_slot_of(u, u->of[i].at, u->of[i].n)] = i + 1;
  }
  uint32_t slot = subset_slot_of(u, u->found, u->n_found);
  if (u->slots[slot]) return u->slots[slot] - 1;
  u->of = el_schema_more(s, u->of, sizeof *u->of, u->n, &u->cap);
  uint32_t *copy = el_schema_alloc(s, sizeof *copy * (u->n_found + 1));
  memcpy(copy, u->found, sizeof *copy * u->n_found);
  u->of[u->n++] = (subset){copy, u->n_found};
  u->slots[slot] = u->n;
  return u->n - 1;
}

/* The characters where the transitions of a subset may change: each low, and each high + 1. */
static uint32_t collect_borders(subsets *u, const subset *x, uint32_t *out) {
  uint32_t n = 0, kept = 0;
  for (uint32_t i = 0; i < x->n; i++) {
    const nfa_state *state = &u->a->states[x->at[i]];
    if (!state->reads) continue;
    out[n++] = state->low;
    out[n++] = state->high + 1;
  }
  out[n++] = LAST + 1;
  qsort(out, n, sizeof *out, compare_states);
  for (uint32_t i = 0; i < n; i++)
    if (out[i] && (!kept || out[kept - 1] != out[i])) out[kept++] = out[i];
  return kept;
}

el_dfa *el_dfa_of_grammar(el_schema *s, uint32_t node, const el_grammar *g, el_expr root) {
  enum { MOST_WORK = 1 << 26 };
  nfa a = {.s = s, .node = node, .g = g};
  int32_t end = add_split_state(&a, NONE, NONE), begin = build_nfa(&a, root, end, 0);
  subsets u = {.a = &a, .round = 1};
  u.mark = el_schema_alloc(s, sizeof *u.mark * a.n);
  u.stack = el_schema_alloc(s, sizeof *u.stack * (2 * a.n + 2));
  u.found = el_schema_alloc(s, sizeof *u.found * a.n);
  uint32_t *at = el_schema_alloc(s, sizeof *at * (2 * a.n + 1));
  el_dfa_builder b = {0};
  add_reachable(&u, begin);
  intern_subset(&u);
  for (uint32_t i = 0; i < u.n; i++) {
    subset x = u.of[i];
    el_dfa_state(s, node, &b, x.n && x.at[0] == 0);
    uint32_t n = collect_borders(&u, &x, at), low = 0;
    for (uint32_t k = 0; k < n; k++) {
      u.round++;
      u.n_found = 0;
      for (uint32_t m = 0; m < x.n; m++) {
        const nfa_state *state = &a.states[x.at[m]];
        if (state->reads && state->low <= low && low <= state->high) add_reachable(&u, state->next);
      }
      u.work += x.n + u.n_found;
      if (u.work > MOST_WORK) el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "a pattern is too much work beside others");
      el_dfa_edge_to(s, &b, at[k] - 1, intern_subset(&u));
      low = at[k];
    }
  }
  return el_dfa_done(s, &b);
}
