/* An automaton while it is built; shared by emit.c, until.c and automaton.c. */
#ifndef EL_CONSTRAINT_EMIT_H
#define EL_CONSTRAINT_EMIT_H

#include "constraint/automaton.h"
#include "constraint/ir.h"

/* An edge, as long as the edges are not sorted by node. */
typedef struct el_draft_edge {
  el_edge edge;
  uint32_t from;
} el_draft_edge;

typedef struct el_draft {
  const el_grammar *g;
  const bool *productive, *nullable; /* [n_exprs] */
  uint32_t *size;                    /* [n_exprs] about how many nodes an expression takes */
  uint32_t *machine_of_expr;         /* [n_exprs] the machine of an expression that a counter repeats; 0: none yet */
  el_node *nodes;
  el_draft_edge *edges;
  el_counter *counters;
  el_machine *machines; /* first those of the grammar's rules, then the root's, then those of counters */
  el_expr *bodies;      /* of the machines, in the same order */
  size_t n_nodes, cap_nodes, n_edges, cap_edges, n_counters, cap_counters, n_machines, cap_machines, cap_bodies;
  uint32_t rule; /* the machine to which new nodes belong */
  int n_steps;   /* expressions visited so far */
  el_error error;
} el_draft;

static inline bool el_draft_failed(const el_draft *d) {
  return d->error.code != EL_OK;
}
uint32_t el_draft_node(el_draft *d);
void el_draft_nothing(el_draft *d, uint32_t from, uint32_t to);
void el_draft_bytes(el_draft *d, uint32_t from, unsigned low, unsigned high, uint32_t to);
uint32_t el_draft_machine(el_draft *d, el_expr body);

/* Adds paths from one node to the other that read what the expression allows. */
void el_draft_emit(el_draft *d, el_expr e, uint32_t from, uint32_t to);
void el_draft_until(el_draft *d, const el_expr_node *x, uint32_t from, uint32_t to);
/* Fills d->size. */
void el_draft_measure(el_draft *d);

#endif
