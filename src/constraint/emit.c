/* Makes nodes and edges of expressions (Thompson's construction). */
#include "constraint/emit.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A repetition of at most this many nodes is written out, so it needs no frame on the stack. Longer ones are counted.
 * This also helps masks.c: what may follow is the same for all counts far from the limits and is computed once. */
enum { WRITTEN_OUT = 48 };

/* Limit of visited expressions: expressions that are reused inside each other stand for very many, even if they add no
 * nodes. */
enum { MAX_STEPS = 1 << 23 };

static bool grow_draft_array(el_draft *d, void **array, size_t size, size_t n, size_t *cap, size_t most) {
  if (el_draft_failed(d)) return false;
  if (n < *cap) return true;
  if (n >= most) {
    el_fail(&d->error, EL_ERR_TOO_LONG, "the grammar is too large: more than %zu states", most);
    return false;
  }
  size_t want = *cap ? *cap * 2 : 64;
  void *larger = realloc(*array, size * want);
  if (!larger) {
    el_fail(&d->error, EL_ERR_NO_MEMORY, "grammar: out of memory");
    return false;
  }
  *array = larger;
  *cap = want;
  return true;
}

uint32_t el_draft_node(el_draft *d) {
  if (!grow_draft_array(d, (void **)&d->nodes, sizeof *d->nodes, d->n_nodes, &d->cap_nodes, EL_MAX_NODES)) return 0;
  d->nodes[d->n_nodes] = (el_node){.rule = d->rule, .counter = EL_NO_COUNTER};
  return (uint32_t)d->n_nodes++;
}

static void add_draft_edge(el_draft *d, uint32_t from, el_edge edge) {
  if (!grow_draft_array(d, (void **)&d->edges, sizeof *d->edges, d->n_edges, &d->cap_edges, EL_MAX_EDGES)) return;
  d->edges[d->n_edges++] = (el_draft_edge){edge, from};
}

void el_draft_nothing(el_draft *d, uint32_t from, uint32_t to) {
  if (from != to) add_draft_edge(d, from, (el_edge){.target = to, .kind = EL_EDGE_NOTHING});
}

void el_draft_bytes(el_draft *d, uint32_t from, unsigned low, unsigned high, uint32_t to) {
  add_draft_edge(
      d, from, (el_edge){.target = to, .kind = EL_EDGE_BYTES, .low = (unsigned char)low, .high = (unsigned char)high});
}

uint32_t el_draft_machine(el_draft *d, el_expr body) {
  if (!grow_draft_array(d, (void **)&d->machines, sizeof *d->machines, d->n_machines, &d->cap_machines, EL_MAX_NODES) ||
      !grow_draft_array(d, (void **)&d->bodies, sizeof *d->bodies, d->n_machines, &d->cap_bodies, EL_MAX_NODES))
    return 0;
  d->machines[d->n_machines] = (el_machine){.nullable = body != EL_EXPR_NONE && d->nullable[body]};
  d->bodies[d->n_machines] = body;
  return (uint32_t)d->n_machines++;
}

/* ------------------------------------------------------------------ how large */

static uint32_t add_saturated(uint64_t a, uint64_t b) {
  return a + b > UINT32_MAX ? UINT32_MAX : (uint32_t)(a + b);
}

/* How many copies of its item a repetition has when it is written out. */
static uint64_t count_copies(const el_expr_node *x) {
  return x->max == EL_UNBOUNDED ? (uint64_t)x->n + 1 : x->max;
}

static bool is_written_out(const el_draft *d, const el_expr_node *x) {
  return count_copies(x) == 1 || d->size[x->at] * count_copies(x) <= WRITTEN_OUT;
}

void el_draft_measure(el_draft *d) {
  const el_grammar *g = d->g;
  for (uint32_t i = 1; i < g->n_exprs; i++) {
    const el_expr_node *x = &g->exprs[i];
    uint32_t size = 1;
    switch (x->kind) {
      case EL_EXPR_EMPTY:
      case EL_EXPR_NEVER:
      case EL_EXPR_BYTE:
      case EL_EXPR_RULE: break;
      case EL_EXPR_LITERAL: size = x->n; break;
      case EL_EXPR_CHARS: size = g->ranges[x->at + x->n - 1].high < 0x80 ? 1 : 8 + x->n; break;
      case EL_EXPR_SEQUENCE:
      case EL_EXPR_ALTERNATIVES:
        for (uint32_t k = 0; k < x->n; k++) size = add_saturated(size, d->size[g->items[x->at + k]]);
        break;
      case EL_EXPR_UNTIL:
        for (uint32_t k = 0; k < 2 * x->n; k++) size = add_saturated(size, d->size[g->items[x->at + k]]);
        break;
      case EL_EXPR_REPEAT: size = is_written_out(d, x) ? add_saturated(d->size[x->at] * count_copies(x), 1) : 2; break;
    }
    d->size[i] = size;
  }
}

/* --------------------------------------------------------------- characters */

static int encode_utf8_char(uint32_t c, unsigned char out[4]) {
  if (c < 0x80) return out[0] = (unsigned char)c, 1;
  int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, c >>= 6) out[i] = (unsigned char)(0x80 | (c & 0x3f));
  out[0] = (unsigned char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
  return n;
}

/* The node from which any n continuation bytes lead to `to`; the ranges of a set share it. */
typedef struct tails {
  uint32_t to, node[4];
} tails;

static uint32_t find_range_tail(el_draft *d, tails *t, int n) {
  if (n == 0) return t->to;
  if (!t->node[n]) {
    uint32_t next = find_range_tail(d, t, n - 1);
    t->node[n] = el_draft_node(d);
    el_draft_bytes(d, t->node[n], 0x80, 0xbf, next);
  }
  return t->node[n];
}

/* Adds characters from low to high. All have n bytes, and the bytes before byte i are equal. */
static void emit_range(el_draft *d, tails *t, uint32_t from, const unsigned char *low, const unsigned char *high, int i,
                       int n) {
  if (el_draft_failed(d)) return;
  if (i == n - 1) {
    el_draft_bytes(d, from, low[i], high[i], t->to);
    return;
  }
  bool low_whole = true, high_whole = true; /* the range covers all continuations of its first or last byte i */
  for (int k = i + 1; k < n; k++) {
    low_whole = low_whole && low[k] == 0x80;
    high_whole = high_whole && high[k] == 0xbf;
  }
  unsigned first = low[i], last = high[i];
  if (first == last && !(low_whole && high_whole)) {
    uint32_t next = el_draft_node(d);
    el_draft_bytes(d, from, first, first, next);
    emit_range(d, t, next, low, high, i + 1, n);
    return;
  }
  static const unsigned char LOWEST[4] = {0, 0x80, 0x80, 0x80}, HIGHEST[4] = {0, 0xbf, 0xbf, 0xbf};
  if (!low_whole) {
    uint32_t next = el_draft_node(d);
    el_draft_bytes(d, from, first, first, next);
    emit_range(d, t, next, low, HIGHEST, i + 1, n);
    first++;
  }
  if (!high_whole) {
    uint32_t next = el_draft_node(d);
    el_draft_bytes(d, from, last, last, next);
    emit_range(d, t, next, LOWEST, high, i + 1, n);
    last--;
  }
  if (first <= last) el_draft_bytes(d, from, first, last, find_range_tail(d, t, n - 1 - i));
}

static void emit_chars(el_draft *d, const el_char_range *ranges, uint32_t n, uint32_t from, uint32_t to) {
  static const uint32_t LAST[] = {0x7f, 0x7ff, 0xffff, 0x10ffff}; /* of 1 to 4 bytes */
  tails t = {.to = to};
  for (uint32_t i = 0; i < n; i++) {
    uint32_t low = ranges[i].low;
    for (int len = 1; len <= 4; len++) {
      if (low > LAST[len - 1] || low > ranges[i].high) continue;
      uint32_t high = ranges[i].high < LAST[len - 1] ? ranges[i].high : LAST[len - 1];
      unsigned char a[4], b[4];
      encode_utf8_char(low, a);
      encode_utf8_char(high, b);
      emit_range(d, &t, from, a, b, 0, len);
      low = high + 1;
    }
  }
}

/* --------------------------------------------------------------- expressions */

static void emit_sequence(el_draft *d, const el_expr_node *x, uint32_t from, uint32_t to) {
  for (uint32_t i = 0; i < x->n && !el_draft_failed(d); i++) {
    uint32_t next = i + 1 < x->n ? el_draft_node(d) : to;
    el_draft_emit(d, d->g->items[x->at + i], from, next);
    from = next;
  }
}

static void emit_loop(el_draft *d, el_expr item, uint32_t from, uint32_t to) {
  uint32_t loop = el_draft_node(d);
  el_draft_nothing(d, from, loop);
  el_draft_emit(d, item, loop, loop);
  el_draft_nothing(d, loop, to);
}

static void emit_repeat(el_draft *d, const el_expr_node *x, uint32_t from, uint32_t to) {
  if (!is_written_out(d, x)) {
    if (!d->machine_of_expr[x->at]) d->machine_of_expr[x->at] = el_draft_machine(d, x->at);
    uint32_t node = el_draft_node(d);
    if (!grow_draft_array(d, (void **)&d->counters, sizeof *d->counters, d->n_counters, &d->cap_counters, EL_MAX_NODES))
      return;
    /* What may be empty may be left out. */
    uint32_t min = d->nullable[x->at] ? 0 : x->n;
    d->nodes[node].counter = (uint32_t)d->n_counters;
    d->counters[d->n_counters++] = (el_counter){d->machine_of_expr[x->at], min, x->max, to};
    el_draft_nothing(d, from, node);
    return;
  }
  bool unbounded = x->max == EL_UNBOUNDED;
  uint32_t n = unbounded ? x->n : x->max;
  for (uint32_t i = 0; i < n && !el_draft_failed(d); i++) {
    if (i >= x->n) el_draft_nothing(d, from, to);
    uint32_t next = unbounded || i + 1 < n ? el_draft_node(d) : to;
    el_draft_emit(d, x->at, from, next);
    from = next;
  }
  if (unbounded) emit_loop(d, x->at, from, to);
}

void el_draft_emit(el_draft *d, el_expr e, uint32_t from, uint32_t to) {
  const el_grammar *g = d->g;
  const el_expr_node *x = &g->exprs[e];
  if (el_draft_failed(d) || !d->productive[e]) return;
  if (++d->n_steps > MAX_STEPS) {
    el_fail(&d->error, EL_ERR_TOO_LONG, "the grammar is too large: more than %d parts", MAX_STEPS);
    return;
  }
  switch (x->kind) {
    case EL_EXPR_EMPTY: el_draft_nothing(d, from, to); break;
    case EL_EXPR_NEVER: break;
    case EL_EXPR_LITERAL:
      for (uint32_t i = 0; i < x->n && !el_draft_failed(d); i++) {
        unsigned char byte = (unsigned char)g->bytes[x->at + i];
        uint32_t next = i + 1 < x->n ? el_draft_node(d) : to;
        el_draft_bytes(d, from, byte, byte, next);
        from = next;
      }
      break;
    case EL_EXPR_BYTE: el_draft_bytes(d, from, x->at, x->n, to); break;
    case EL_EXPR_CHARS: emit_chars(d, g->ranges + x->at, x->n, from, to); break;
    case EL_EXPR_SEQUENCE: emit_sequence(d, x, from, to); break;
    case EL_EXPR_ALTERNATIVES:
      for (uint32_t i = 0; i < x->n; i++) el_draft_emit(d, g->items[x->at + i], from, to);
      break;
    case EL_EXPR_REPEAT:
      if (d->productive[x->at])
        emit_repeat(d, x, from, to);
      else
        el_draft_nothing(d, from, to); /* none of it */
      break;
    case EL_EXPR_RULE: add_draft_edge(d, from, (el_edge){.target = to, .kind = EL_EDGE_RULE, .rule = x->at}); break;
    case EL_EXPR_UNTIL: el_draft_until(d, x, from, to); break;
  }
}
