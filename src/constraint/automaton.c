#include "constraint/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "constraint/emit.h"

/* --------------------------------------------------------------- from a draft */

/* Whether all that is left at the node is to reach the end without reading. */
static bool is_tail(const el_automaton *a, uint32_t node) {
  for (int hops = 0; hops < 8; hops++) {
    const el_node *x = &a->nodes[node];
    if (node == a->machines[x->rule].end) return true;
    if (x->counter != EL_NO_COUNTER || x->n != 1 || a->edges[x->first].kind != EL_EDGE_NOTHING) return false;
    node = a->edges[x->first].target;
  }
  return false;
}

static void mark_tails(el_automaton *a) {
  for (uint32_t i = 0; i < a->n_edges; i++)
    if (a->edges[i].kind == EL_EDGE_RULE) a->edges[i].tail = is_tail(a, a->edges[i].target);
}

/* Edges in order of their nodes. */
static bool sort_edges(el_automaton *a, const el_draft *d) {
  a->edges = malloc(sizeof *a->edges * (d->n_edges + 1));
  if (!a->edges) return false;
  for (size_t i = 0; i < d->n_edges; i++) a->nodes[d->edges[i].from].n++;
  uint32_t at = 0;
  for (uint32_t i = 0; i < a->n_nodes; i++) {
    a->nodes[i].first = at;
    at += a->nodes[i].n;
    a->nodes[i].n = 0;
  }
  for (size_t i = 0; i < d->n_edges; i++) {
    el_node *x = &a->nodes[d->edges[i].from];
    a->edges[x->first + x->n++] = d->edges[i].edge;
    x->reads = x->reads || d->edges[i].edge.kind == EL_EDGE_BYTES;
  }
  a->n_edges = (uint32_t)d->n_edges;
  return true;
}

/* Finds where callers go on after a return: counts them first, then puts them into one array. */
static bool find_returns(el_automaton *a) {
  for (int pass = 0; pass < 2; pass++) {
    for (uint32_t i = 0; i < a->n_nodes; i++) {
      const el_node *x = &a->nodes[i];
      if (x->counter != EL_NO_COUNTER) {
        el_machine *m = &a->machines[a->counters[x->counter].rule];
        if (pass) a->return_to[m->first_return + m->n_returns] = i;
        m->n_returns++;
      }
      for (uint32_t k = x->first; k < x->first + x->n; k++) {
        const el_edge *edge = &a->edges[k];
        if (edge->kind != EL_EDGE_RULE) continue;
        el_machine *m = &a->machines[edge->rule];
        if (edge->tail) {
          if (pass) a->tail_of[m->first_tail + m->n_tails] = x->rule;
          m->n_tails++;
        } else {
          if (pass) a->return_to[m->first_return + m->n_returns] = edge->target;
          m->n_returns++;
        }
      }
    }
    if (pass) break;
    uint32_t n_returns = 0, n_tails = 0;
    for (uint32_t i = 0; i < a->n_machines; i++) {
      el_machine *m = &a->machines[i];
      m->first_return = n_returns;
      m->first_tail = n_tails;
      n_returns += m->n_returns;
      n_tails += m->n_tails;
      m->n_returns = m->n_tails = 0;
    }
    a->return_to = malloc(sizeof *a->return_to * (n_returns + 1));
    a->tail_of = malloc(sizeof *a->tail_of * (n_tails + 1));
    if (!a->return_to || !a->tail_of) return false;
    a->bytes += sizeof(uint32_t) * (n_returns + n_tails);
  }
  return true;
}

static void find_byte_classes(el_automaton *a) {
  bool begins[257] = {[0] = true};
  for (uint32_t i = 0; i < a->n_edges; i++)
    if (a->edges[i].kind == EL_EDGE_BYTES) begins[a->edges[i].low] = begins[a->edges[i].high + 1] = true;
  for (int b = 0; b < 256; b++) {
    if (begins[b]) a->byte_of[a->n_classes++] = (unsigned char)b;
    a->class_of[b] = (unsigned char)(a->n_classes - 1);
  }
}

/* ------------------------------------------------------------ left recursion
 * A machine that can call itself before it has read a byte would push frames without end. */

typedef struct walk {
  const el_automaton *a;
  const el_grammar *g;
  unsigned char *colour;  /* [n_machines] 0: not seen, 1: open, 2: done */
  uint32_t *stamp;        /* [n_nodes] the machine that has seen a node from its start, + 1 */
  uint32_t *stack;        /* [n_nodes] nodes still to be visited, of all open machines */
  uint32_t *calls, *from; /* [n_machines + 1] the open machines, and where each one's part of the stack begins */
} walk;

/* Whether `machine` calls another one before it reads, and which. Nodes still to be visited are kept
 * between calls, so each node is visited once. */
static bool find_next_call(walk *w, uint32_t machine, uint32_t base, uint32_t *top, uint32_t *called,
                           uint32_t *edge_at) {
  const el_automaton *a = w->a;
  while (*top > base) {
    uint32_t node = w->stack[*top - 1];
    const el_node *x = &a->nodes[node];
    uint32_t n = x->counter != EL_NO_COUNTER ? 1 : x->n;
    if (*edge_at >= n) {
      --*top;
      *edge_at = 0;
      if (x->counter != EL_NO_COUNTER && a->counters[x->counter].min == 0) {
        uint32_t next = a->counters[x->counter].next;
        if (w->stamp[next] != machine + 1) {
          w->stamp[next] = machine + 1;
          w->stack[(*top)++] = next;
        }
      } else if (x->counter == EL_NO_COUNTER) {
        for (uint32_t k = x->first; k < x->first + x->n; k++) {
          const el_edge *e = &a->edges[k];
          bool free = e->kind == EL_EDGE_NOTHING || (e->kind == EL_EDGE_RULE && a->machines[e->rule].nullable);
          if (!free || w->stamp[e->target] == machine + 1) continue;
          w->stamp[e->target] = machine + 1;
          w->stack[(*top)++] = e->target;
        }
      }
      continue;
    }
    uint32_t k = (*edge_at)++;
    if (x->counter != EL_NO_COUNTER) {
      *called = a->counters[x->counter].rule;
      return true;
    }
    if (a->edges[x->first + k].kind == EL_EDGE_RULE) {
      *called = a->edges[x->first + k].rule;
      return true;
    }
  }
  return false;
}

/* Searches one machine and all machines that it may begin with. It does not recurse, as a chain of
 * rules may be long. edge_of: [n_machines] the position of each open machine in its node's edges. */
static el_status search_left_recursion(walk *w, uint32_t root, uint32_t *edge_of, el_error *err) {
  uint32_t depth = 0, top = 0;
  uint32_t called = root;
  for (bool enter = true;;) {
    if (enter) {
      w->colour[called] = 1;
      w->calls[depth] = called;
      w->from[depth] = top;
      edge_of[depth++] = 0;
      w->stamp[w->a->machines[called].start] = called + 1;
      w->stack[top++] = w->a->machines[called].start;
    }
    uint32_t machine = w->calls[depth - 1];
    enter = false;
    if (find_next_call(w, machine, w->from[depth - 1], &top, &called, &edge_of[depth - 1])) {
      if (w->colour[called] == 1) {
        const char *name = called < w->g->n_rules ? el_rule_name(w->g, called) : "";
        return el_fail(err, EL_ERR_UNSUPPORTED,
                       "%s%.100s may begin with itself: left recursion is not supported, write it as a repetition",
                       *name ? "rule " : "a rule", name);
      }
      enter = w->colour[called] == 0;
      continue;
    }
    w->colour[machine] = 2;
    if (!--depth) return EL_OK;
  }
}

static el_status check_left_recursion(const el_automaton *a, const el_grammar *g, el_error *err) {
  size_t n = (size_t)a->n_machines + 1;
  walk w = {.a = a, .g = g};
  w.colour = calloc(n, 1);
  w.stamp = calloc((size_t)a->n_nodes + 1, sizeof *w.stamp);
  w.stack = malloc(sizeof *w.stack * ((size_t)a->n_nodes + n));
  w.calls = malloc(sizeof *w.calls * n);
  w.from = malloc(sizeof *w.from * n);
  uint32_t *edge_of = malloc(sizeof *edge_of * n);
  el_status status = EL_OK;
  if (!w.colour || !w.stamp || !w.stack || !w.calls || !w.from || !edge_of)
    status = el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  for (uint32_t i = 0; i < a->n_machines && !status; i++)
    if (!w.colour[i]) status = search_left_recursion(&w, i, edge_of, err);
  free(w.colour);
  free(w.stamp);
  free(w.stack);
  free(w.calls);
  free(w.from);
  free(edge_of);
  return status;
}

/* ------------------------------------------------------------------- building */

/* Emits the machines of rules, the root's machine, and those of counted repetitions, which are found
 * on the way. */
static void emit_machines(el_draft *d) {
  for (uint32_t r = 0; r < d->g->n_rules; r++) el_draft_machine(d, d->g->rules[r].body);
  el_draft_machine(d, d->g->root);
  for (uint32_t i = 0; i < d->n_machines && !el_draft_failed(d); i++) {
    d->rule = i;
    uint32_t start = el_draft_node(d), end = el_draft_node(d);
    d->machines[i].start = start;
    d->machines[i].end = end;
    if (d->bodies[i] != EL_EXPR_NONE) el_draft_emit(d, d->bodies[i], start, end);
  }
}

static void free_draft(el_draft *d) {
  free(d->size);
  free(d->machine_of_expr);
  free(d->nodes);
  free(d->edges);
  free(d->counters);
  free(d->machines);
  free(d->bodies);
}

static el_status build_from_draft(el_draft *d, el_automaton *a, el_error *err) {
  d->size = calloc(d->g->n_exprs, sizeof *d->size);
  d->machine_of_expr = calloc(d->g->n_exprs, sizeof *d->machine_of_expr);
  if (!d->size || !d->machine_of_expr) return el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  el_draft_measure(d);
  emit_machines(d);
  if (el_draft_failed(d)) {
    if (err) *err = d->error;
    return d->error.code;
  }
  a->nodes = d->nodes;
  a->counters = d->counters;
  a->machines = d->machines;
  a->n_nodes = (uint32_t)d->n_nodes;
  a->n_counters = (uint32_t)d->n_counters;
  a->n_machines = (uint32_t)d->n_machines;
  a->root = (uint32_t)d->g->n_rules;
  d->nodes = NULL;
  d->counters = NULL;
  d->machines = NULL;
  if (!sort_edges(a, d)) return el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  mark_tails(a);
  a->bytes = sizeof *a->nodes * a->n_nodes + sizeof *a->edges * a->n_edges + sizeof *a->counters * a->n_counters +
             sizeof *a->machines * a->n_machines;
  if (!find_returns(a)) return el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
  find_byte_classes(a);
  return check_left_recursion(a, d->g, err);
}

el_status el_automaton_build(const el_grammar *g, el_automaton *out, el_error *err) {
  el_draft d = {.g = g};
  el_automaton a = {0};
  bool *productive = NULL, *nullable = NULL, *rule_productive = NULL, *rule_nullable = NULL;
  el_status status = el_grammar_derive(g, EL_TRAIT_PRODUCTIVE, &productive, &rule_productive, err);
  if (!status) status = el_grammar_derive(g, EL_TRAIT_NULLABLE, &nullable, &rule_nullable, err);
  d.productive = productive;
  d.nullable = nullable;
  if (!status) status = build_from_draft(&d, &a, err);
  free_draft(&d);
  free(productive);
  free(nullable);
  free(rule_productive);
  free(rule_nullable);
  if (status)
    el_automaton_free(&a);
  else
    *out = a;
  return status;
}

void el_automaton_free(el_automaton *a) {
  free(a->nodes);
  free(a->edges);
  free(a->counters);
  free(a->machines);
  free(a->return_to);
  free(a->tail_of);
  *a = (el_automaton){0};
}
