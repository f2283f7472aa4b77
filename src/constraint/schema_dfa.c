#include "constraint/schema_dfa.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { LAST = 0x10ffff };

void el_dfa_state(el_schema *s, uint32_t node, el_dfa_builder *b, bool accepts) {
  if (b->d.n >= EL_DFA_STATES)
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED,
                   "what is said of a string (pattern, format, lengths, names) is too much together: more than %d "
                   "states of an automaton",
                   EL_DFA_STATES);
  b->d.first = el_schema_more(s, b->d.first, sizeof *b->d.first, b->d.n, &b->cap_first);
  b->d.accepts = el_schema_more(s, b->d.accepts, sizeof *b->d.accepts, b->d.n, &b->cap_accepts);
  b->d.first[b->d.n] = b->n_edges;
  b->d.accepts[b->d.n++] = accepts;
}

/* Adjacent edges to the same state are merged. */
void el_dfa_edge_to(el_schema *s, el_dfa_builder *b, uint32_t high, uint32_t to) {
  if (b->n_edges > b->d.first[b->d.n - 1] && b->d.edges[b->n_edges - 1].to == to) {
    b->d.edges[b->n_edges - 1].high = high;
    return;
  }
  b->d.edges = el_schema_more(s, b->d.edges, sizeof *b->d.edges, b->n_edges, &b->cap_edges);
  b->d.edges[b->n_edges++] = (el_dfa_edge){high, to};
}

el_dfa *el_dfa_done(el_schema *s, el_dfa_builder *b) {
  b->d.first = el_schema_more(s, b->d.first, sizeof *b->d.first, b->d.n, &b->cap_first);
  b->d.first[b->d.n] = b->n_edges;
  el_dfa *d = el_schema_alloc(s, sizeof *d);
  *d = b->d;
  return d;
}

/* ---------------------------------------------------------------------- words */

/* Reads the character at *at and moves *at behind it. JSON has only valid UTF-8. */
static uint32_t next_character(const char **at, const char *end) {
  const unsigned char *p = (const unsigned char *)*at;
  int n = el_utf8_length(*at, (size_t)(end - *at));
  *at += n ? n : 1;
  switch (n) {
    case 1: return p[0];
    case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3: return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4: return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default: return LAST;
  }
}

static int compare_words(const void *a, const void *b) {
  const el_literal *x = a, *y = b;
  size_t n = x->len < y->len ? x->len : y->len;
  int c = n ? memcmp(x->bytes, y->bytes, n) : 0;
  return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Words with a common prefix: [from, to), of which `skip` bytes have been read. */
typedef struct stem {
  size_t from, to, skip;
} stem;

/* Words sorted by bytes are sorted by characters. State 1 is where no word is left. The others are stems in
 * breadth-first order, so the number of a state is known when an edge to it is written. */
el_dfa *el_dfa_words(el_schema *s, uint32_t node, const el_literal *words, size_t n) {
  el_literal *sorted = el_schema_alloc(s, sizeof *sorted * (n + 1));
  if (n) memcpy(sorted, words, sizeof *sorted * n);
  if (n) qsort(sorted, n, sizeof *sorted, compare_words);
  el_dfa_builder b = {0};
  stem *stems = NULL;
  uint32_t n_stems = 0, cap = 0;
  stems = el_schema_more(s, stems, sizeof *stems, n_stems, &cap);
  stems[n_stems++] = (stem){0, n, 0};
  for (uint32_t i = 0; i < n_stems; i++) {
    stem t = stems[i];
    bool accepts = t.from < t.to && sorted[t.from].len == t.skip;
    while (t.from < t.to && sorted[t.from].len == t.skip) t.from++;
    el_dfa_state(s, node, &b, accepts);
    uint32_t next = 0; /* the first character without an edge */
    while (t.from < t.to) {
      const char *at = sorted[t.from].bytes + t.skip, *end = sorted[t.from].bytes + sorted[t.from].len;
      const char *begin = at;
      uint32_t c = next_character(&at, end);
      size_t len = (size_t)(at - begin), to = t.from + 1;
      while (to < t.to && sorted[to].len >= t.skip + len && !memcmp(sorted[to].bytes + t.skip, begin, len)) to++;
      if (c > next) el_dfa_edge_to(s, &b, c - 1, 1);
      stems = el_schema_more(s, stems, sizeof *stems, n_stems, &cap);
      stems[n_stems++] = (stem){t.from, to, t.skip + len};
      el_dfa_edge_to(s, &b, c, n_stems); /* stem k is state k + 1, but the first */
      next = c + 1;
      t.from = to;
    }
    if (next <= LAST) el_dfa_edge_to(s, &b, LAST, 1);
    if (!i) {
      el_dfa_state(s, node, &b, false);
      el_dfa_edge_to(s, &b, LAST, 1);
    }
  }
  return el_dfa_done(s, &b);
}

el_dfa *el_dfa_length(el_schema *s, uint32_t node, uint32_t min, uint32_t max) {
  el_dfa_builder b = {0};
  uint32_t n = max == EL_UNBOUNDED ? min : max; /* state i: i characters; the last one: n and more, or too many */
  for (uint32_t i = 0; i <= n; i++) {
    el_dfa_state(s, node, &b, i >= min && i <= max);
    el_dfa_edge_to(s, &b, LAST, i < n || max != EL_UNBOUNDED ? i + 1 : i);
  }
  if (max != EL_UNBOUNDED) {
    el_dfa_state(s, node, &b, false);
    el_dfa_edge_to(s, &b, LAST, n + 1);
  }
  return el_dfa_done(s, &b);
}

el_dfa *el_dfa_regex(el_schema *s, uint32_t node, const char *pattern, size_t len, int flags) {
  el_grammar_free(s->scratch);
  s->scratch = NULL;
  if (el_grammar_new(&s->scratch, &s->err)) longjmp(s->escape, 1);
  el_expr root = el_regex_parse(s->scratch, pattern, len, flags);
  el_error why;
  el_status status = el_grammar_finish(s->scratch, root, &why);
  if (status) el_schema_fail(s, node, status, "\"pattern\": %.200s", why.message);
  return el_dfa_of_grammar(s, node, s->scratch, root);
}

/* ---------------------------------------------------------------------- products */

typedef struct pairs {
  uint64_t *of; /* [n] state i is the pair of[i] */
  uint32_t *slots;
  uint32_t n, cap, n_slots;
} pairs;

static uint32_t product_state(el_schema *s, pairs *p, uint32_t a, uint32_t b) {
  uint64_t key = (uint64_t)a << 32 | b;
  if (p->n * 2 >= p->n_slots) {
    p->n_slots = p->n_slots ? p->n_slots * 2 : 64;
    p->slots = el_schema_alloc(s, sizeof *p->slots * p->n_slots);
    for (uint32_t i = 0; i < p->n; i++) {
      uint32_t at = (uint32_t)(p->of[i] * 0x9e3779b97f4a7c15u >> 40) & (p->n_slots - 1);
      while (p->slots[at]) at = (at + 1) & (p->n_slots - 1);
      p->slots[at] = i + 1;
    }
  }
  uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40) & (p->n_slots - 1);
  for (; p->slots[at]; at = (at + 1) & (p->n_slots - 1))
    if (p->of[p->slots[at] - 1] == key) return p->slots[at] - 1;
  p->of = el_schema_more(s, p->of, sizeof *p->of, p->n, &p->cap);
  p->of[p->n++] = key;
  p->slots[at] = p->n;
  return p->n - 1;
}

static el_dfa *dfa_product(el_schema *s, uint32_t node, const el_dfa *a, const el_dfa *b, bool minus) {
  el_dfa_builder out = {0};
  pairs p = {0};
  product_state(s, &p, 0, 0);
  for (uint32_t i = 0; i < p.n; i++) {
    uint32_t x = (uint32_t)(p.of[i] >> 32), y = (uint32_t)p.of[i];
    el_dfa_state(s, node, &out, a->accepts[x] && b->accepts[y] != minus);
    for (uint32_t k = a->first[x], m = b->first[y]; k < a->first[x + 1];) {
      const el_dfa_edge *ea = &a->edges[k], *eb = &b->edges[m];
      uint32_t high = ea->high < eb->high ? ea->high : eb->high;
      el_dfa_edge_to(s, &out, high, product_state(s, &p, ea->to, eb->to));
      if (ea->high == high) k++;
      if (eb->high == high) m++;
    }
  }
  return el_dfa_done(s, &out);
}

el_dfa *el_dfa_and(el_schema *s, uint32_t node, el_dfa *a, el_dfa *b) {
  if (!a || !b) return a ? a : b;
  return dfa_product(s, node, a, b, false);
}

el_dfa *el_dfa_minus(el_schema *s, uint32_t node, const el_dfa *a, const el_dfa *b) {
  if (!a) a = el_dfa_length(s, node, 0, EL_UNBOUNDED);
  return dfa_product(s, node, a, b, true);
}

/* ---------------------------------------------------------------------- as a grammar */

/* One character of a JSON string: itself, or the escape that JSON requires. */
static el_expr one_of_ranges(el_schema *s, const el_char_range *ranges, size_t n) {
  static const char shorts[][3] = {"\"\"", "\\\\", "\bb", "\ff", "\nn", "\rr", "\tt"};
  el_grammar *g = s->g;
  el_char_range *plain = el_schema_alloc(s, sizeof *plain * (n + 3));
  el_expr ways[2 + sizeof shorts / sizeof *shorts + 32];
  size_t n_plain = 0, n_ways = 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t low = ranges[i].low < 0x20 ? 0x20 : ranges[i].low, high = ranges[i].high;
    for (const char *stop = "\"\\"; *stop; stop++) {
      uint32_t c = (unsigned char)*stop;
      if (c < low || c > high) continue;
      if (c > low) plain[n_plain++] = (el_char_range){low, c - 1};
      low = c + 1;
    }
    if (low <= high) plain[n_plain++] = (el_char_range){low, high};
    for (size_t k = 0; k < sizeof shorts / sizeof *shorts; k++) {
      uint32_t c = (unsigned char)shorts[k][0];
      if (c >= ranges[i].low && c <= ranges[i].high)
        ways[n_ways++] = el_grammar_literal(g, (char[]){'\\', shorts[k][1]}, 2);
    }
    for (uint32_t c = ranges[i].low; c < 0x20 && c <= ranges[i].high; c++)
      if (!c || !strchr("\b\f\n\r\t", (int)c)) ways[n_ways++] = el_grammar_text(g, el_schema_print(s, "\\u%04x", c));
  }
  if (n_plain) ways[n_ways++] = el_grammar_chars(g, plain, n_plain, false);
  return el_grammar_alternatives(g, ways, n_ways);
}

/* The states from which an accepting state can be reached. */
static bool *find_live_states(el_schema *s, const el_dfa *d) {
  bool *live = el_schema_alloc(s, d->n);
  uint32_t *n_into = el_schema_alloc(s, sizeof *n_into * (d->n + 2));
  uint32_t n_edges = d->first[d->n];
  uint32_t *from = el_schema_alloc(s, sizeof *from * (n_edges + 1)), *todo = el_schema_alloc(s, sizeof *todo * d->n);
  for (uint32_t i = 0; i < n_edges; i++) n_into[d->edges[i].to + 2]++;
  for (uint32_t i = 2; i <= d->n; i++) n_into[i] += n_into[i - 1];
  for (uint32_t i = 0; i < d->n; i++)
    for (uint32_t k = d->first[i]; k < d->first[i + 1]; k++) from[n_into[d->edges[k].to + 1]++] = i;
  uint32_t n = 0;
  for (uint32_t i = 0; i < d->n; i++)
    if (d->accepts[i]) live[todo[n++] = i] = true;
  while (n) {
    uint32_t at = todo[--n];
    for (uint32_t k = n_into[at]; k < n_into[at + 1]; k++)
      if (!live[from[k]]) live[todo[n++] = from[k]] = true;
  }
  return live;
}

static el_expr state_expr(el_schema *s, const el_dfa *d, uint32_t i, const bool *live, const el_rule *rules) {
  uint32_t n = d->first[i + 1] - d->first[i], n_ways = 0;
  const el_dfa_edge *edges = d->edges + d->first[i];
  el_expr *ways = el_schema_alloc(s, sizeof *ways * (n + 1));
  el_char_range *ranges = el_schema_alloc(s, sizeof *ranges * (n + 1));
  bool *done = el_schema_alloc(s, n + 1);
  if (d->accepts[i]) ways[n_ways++] = el_grammar_empty(s->g);
  for (uint32_t k = 0; k < n; k++) {
    if (done[k] || !live[edges[k].to]) continue;
    size_t n_ranges = 0;
    for (uint32_t m = k; m < n; m++) {
      if (edges[m].to != edges[k].to) continue;
      ranges[n_ranges++] = (el_char_range){m ? edges[m - 1].high + 1 : 0, edges[m].high};
      done[m] = true;
    }
    ways[n_ways++] =
        el_grammar_pair(s->g, one_of_ranges(s, ranges, n_ranges), el_grammar_use(s->g, rules[edges[k].to]));
  }
  return el_grammar_alternatives(s->g, ways, n_ways);
}

el_expr el_dfa_write(el_schema *s, const el_dfa *d) {
  bool *live = find_live_states(s, d);
  if (!live[0]) return el_grammar_never(s->g);
  el_rule *rules = el_schema_alloc(s, sizeof *rules * d->n);
  for (uint32_t i = 0; i < d->n; i++)
    if (live[i]) rules[i] = el_grammar_add_rule(s->g, "string");
  el_schema_check(s);
  for (uint32_t i = 0; i < d->n; i++)
    if (live[i]) el_grammar_define(s->g, rules[i], state_expr(s, d, i, live, rules));
  return el_grammar_use(s->g, rules[0]);
}
