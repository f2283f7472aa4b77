/* A grammar as a pushdown automaton over bytes. Each rule is a nondeterministic machine. Its edges
 * read a byte, read nothing, or read what another rule allows. states.h runs the automaton.
 * It does not change once it is built. */
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
  bool tail; /* EL_EDGE_RULE: a tail call; nothing of this rule is left after it, so nothing returns here */
} el_edge;

#define EL_NO_COUNTER UINT32_MAX
typedef struct el_node {
  uint32_t first, n; /* edges[first .. first + n) */
  uint32_t rule;     /* whose machine it belongs to */
  uint32_t counter;  /* the node repeats counters[counter] and has no edges; EL_NO_COUNTER: an ordinary node */
  bool reads;        /* some edge reads a byte */
} el_node;

/* A repetition that is counted instead of written out: `rule` is read `min` to `max` times, then
 * reading goes on at `next`. */
typedef struct el_counter {
  uint32_t rule, min, max, next;
} el_counter;

typedef struct el_machine {
  uint32_t start, end; /* nodes; the end has no edges */
  bool nullable;
  /* The callers, for use when the stack is not known: return_to[first_return ..) are the nodes where
   * they go on; tail_of[first_tail ..) are the rules that called it by a tail call. */
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
  unsigned char class_of[256]; /* bytes between which no edge distinguishes have the same class */
  unsigned char byte_of[256];  /* [n_classes] one of each */
  int n_classes;
  size_t bytes; /* of memory */
} el_automaton;

/* g is finished (el_grammar_finish). EL_ERR_UNSUPPORTED: a rule is left-recursive.
 * EL_ERR_TOO_LONG: more than EL_MAX_NODES nodes or EL_MAX_EDGES edges. */
el_status el_automaton_build(const el_grammar *g, el_automaton *out, el_error *err);
void el_automaton_free(el_automaton *a); /* an automaton of zeros is allowed */

#endif
