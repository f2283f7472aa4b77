/* A grammar as a pushdown automaton over bytes: a nondeterministic machine for each rule, whose edges read a byte, read
 * nothing, or read what another rule allows. states.h runs it. Immutable. */
#ifndef EL_CONSTRAINT_AUTOMATON_H
#define EL_CONSTRAINT_AUTOMATON_H

#include "constraint/grammar.h"

enum { EL_MAX_NODES = 1 << 20, EL_MAX_EDGES = 1 << 22 };

typedef enum el_edge_kind { EL_EDGE_BYTES, EL_EDGE_NOTHING, EL_EDGE_RULE } el_edge_kind;
typedef struct el_edge {
  uint32_t target;
  uint32_t rule;           /* EL_EDGE_RULE */
  unsigned char low, high; /* EL_EDGE_BYTES */
  unsigned char kind;
  bool tail; /* EL_EDGE_RULE: after it nothing is left of this rule, so nobody comes back */
} el_edge;

#define EL_NO_COUNTER UINT32_MAX
typedef struct el_node {
  uint32_t first, n; /* edges[first .. first + n) */
  uint32_t rule;     /* that it belongs to */
  uint32_t counter;  /* it repeats counters[counter], and has no edges; EL_NO_COUNTER: it does not */
  bool reads;        /* some edge reads a byte */
} el_node;

/* A repetition that is counted instead of written out: after `min` to `max` times `rule`, goes on at `next`. */
typedef struct el_counter {
  uint32_t rule, min, max, next;
} el_counter;

typedef struct el_machine {
  uint32_t start, end; /* nodes; the end has no edges */
  bool nullable;
  /* Where those that called it go on: nodes return_to[first_return ..); what called it as its last act, and is gone by
   * then: tail_of[first_tail ..). For those who do not know what is on the stack. */
  uint32_t first_return, n_returns, first_tail, n_tails;
} el_machine;

typedef struct el_automaton {
  el_node *nodes;
  el_edge *edges;
  el_counter *counters;
  el_machine *machines;
  uint32_t *return_to, *tail_of;
  uint32_t n_nodes, n_edges, n_counters, n_machines;
  uint32_t root;               /* the machine of the whole text */
  unsigned char class_of[256]; /* bytes that no edge tells apart have the same class */
  unsigned char byte_of[256];  /* [n_classes] one of each */
  int n_classes;
  size_t bytes; /* that it takes */
} el_automaton;

/* g: finished. EL_ERR_UNSUPPORTED: a rule begins with itself. EL_ERR_TOO_LONG: it is too large. */
el_status el_automaton_build(const el_grammar *g, el_automaton *out, el_error *err);
void el_automaton_free(el_automaton *a); /* one of zeros is allowed */

#endif
