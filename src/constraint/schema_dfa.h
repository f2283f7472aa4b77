/* Sets of strings as deterministic automata over characters. Several conditions on one string (a
 * pattern and a length; a pattern and words to exclude) are a product of automata, or a difference.
 * Expressions of a grammar can express neither. */
#ifndef EL_CONSTRAINT_SCHEMA_DFA_H
#define EL_CONSTRAINT_SCHEMA_DFA_H

#include "constraint/schema_private.h"

enum { EL_DFA_STATES = 1 << 14 };

/* Leads to state `to` for the characters after the previous edge's `high`, up to this `high`. */
typedef struct el_dfa_edge {
  uint32_t high, to;
} el_dfa_edge;

/* Every state has an edge for every character. State 0 is the start. */
typedef struct el_dfa {
  uint32_t n;
  uint32_t *first; /* [n + 1] edges[first[i] .. first[i + 1]) are state i's, ascending */
  el_dfa_edge *edges;
  bool *accepts;
} el_dfa;

/* All of these end like el_schema_stop when an automaton would have more than EL_DFA_STATES states.
 * As an argument, NULL is the set of all strings. Messages name `node`. */
el_dfa *el_dfa_words(el_schema *s, uint32_t node, const el_literal *words, size_t n);
el_dfa *el_dfa_length(el_schema *s, uint32_t node, uint32_t min, uint32_t max);
/* EL_REGEX_SEARCH or 0. */
el_dfa *el_dfa_regex(el_schema *s, uint32_t node, const char *pattern, size_t len, int flags);
el_dfa *el_dfa_and(el_schema *s, uint32_t node, el_dfa *a, el_dfa *b);
el_dfa *el_dfa_minus(el_schema *s, uint32_t node, const el_dfa *a, const el_dfa *b);
/* The text between the quotes of a JSON string. Characters stand for themselves, and are escaped
 * where JSON requires it. */
el_expr el_dfa_write(el_schema *s, const el_dfa *d);

/* schema_nfa.c: the automaton of a regular expression's grammar. */
el_dfa *el_dfa_of_grammar(el_schema *s, uint32_t node, const el_grammar *g, el_expr root);

/* schema_string.c: the strings for which all nodes' own keywords hold. */
el_dfa *el_schema_strings(el_schema *s, const el_set *nodes);

/* Builds an automaton: states are appended in order, and so are the edges of each state. */
typedef struct el_dfa_builder {
  el_dfa d;
  uint32_t cap_first, cap_accepts, n_edges, cap_edges;
} el_dfa_builder;
void el_dfa_state(el_schema *s, uint32_t node, el_dfa_builder *b, bool accepts);
void el_dfa_edge_to(el_schema *s, el_dfa_builder *b, uint32_t high, uint32_t to);
el_dfa *el_dfa_done(el_schema *s, el_dfa_builder *b);

#endif
