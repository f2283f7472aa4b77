/* Running an automaton, one byte after the other, all ways at once.
 *
 * A way is a node and a stack of nodes to come back to. A set of stacks is kept as a map from what is on top to the set
 * of stacks below it, and equal sets are the same number: so a state, the set of all ways that are left after some
 * text, is a number too, ambiguity costs what is different and not what is possible, and what a byte makes of a state
 * is looked up after the first time. (A set of stacks is a finite language, this its minimal deterministic automaton;
 * the whole is what GLR's graph-structured stack is, made canonical.)
 *
 * Ways that have nothing to read are followed to where they have, and not kept: a return goes to what is below, a call
 * pushes where to come back to, unless nothing is left to do there. Between a call and its first byte nothing returns
 * (that a rule may be empty is known beforehand), so this ends, as no rule begins with itself. */
#ifndef EL_CONSTRAINT_STATES_H
#define EL_CONSTRAINT_STATES_H

#include "constraint/automaton.h"

/* A set of ways, or of stacks. */
typedef uint32_t el_state;
#define EL_STATE_DEAD 0u               /* no way */
#define EL_STATE_UNKNOWN UINT32_MAX    /* in tables: not computed yet */
#define EL_STATE_FULL (UINT32_MAX - 1) /* there is no room: el_states_collect, and do it again */

/* On stacks, where a node is expected. */
#define EL_FRAME_END UINT32_MAX        /* the text may end here; in a state: now */
#define EL_FRAME_LOST (UINT32_MAX - 1) /* unknown, and not to be looked into: who returns is lost */
#define EL_FRAME_ANY (UINT32_MAX - 2)  /* unknown: whoever calls the rule `count` may be there */

typedef struct el_frame {
  uint32_t node, count; /* count: of the counter that the node is, how often it has begun */
  el_state below;
} el_frame;

typedef struct el_set {
  uint32_t first, n; /* frames[first .. first + n), ascending by node and count */
  uint32_t row;      /* transitions: rows[row * n_classes ..]; UINT32_MAX: none yet */
  uint32_t hash;
  uint32_t depth; /* of the deepest stack */
} el_set;

enum {
  EL_MAX_STACK = 1000,       /* rules inside each other; a text that goes deeper is not allowed */
  EL_MAX_WAYS = 1 << 15,     /* that a state has, or that are looked at for one byte */
  EL_STATES_BYTES = 12 << 20 /* that the sets of a constraint may take */
};

typedef struct el_states {
  const el_automaton *automaton;
  el_set *sets;
  el_frame *frames;
  el_state *rows;
  uint32_t *slots; /* hash table of sets: number, or 0 */
  uint32_t n_sets, cap_sets, n_frames, cap_frames, n_rows, cap_rows, mask;
  el_state start;
  struct el_states_work *work;
  bool no_memory; /* why it is full: the system has none left */
  bool too_many;  /* or the grammar allows too many ways at once */
  int64_t credit; /* ways and edges that may still be looked at, before */
  bool too_slow;  /* it is full for that reason */
  bool too_deep;  /* some way was given up, as it was too deep */
  size_t bytes;
} el_states;

/* a: stays where it is. Full from the start: EL_ERR_NO_MEMORY. */
el_status el_states_open(el_states *s, const el_automaton *a, el_error *err);
void el_states_close(el_states *s); /* one of zeros is allowed */

el_state el_states_step_slow(el_states *s, el_state from, int class_);
/* What byte makes of a state; EL_STATE_DEAD, or EL_STATE_FULL. */
static inline el_state el_states_step(el_states *s, el_state from, unsigned char byte) {
  int class_ = s->automaton->class_of[byte];
  uint32_t row = s->sets[from].row;
  if (row != UINT32_MAX) {
    el_state to = s->rows[(size_t)row * (size_t)s->automaton->n_classes + (size_t)class_];
    if (to != EL_STATE_UNKNOWN) return to;
  }
  return el_states_step_slow(s, from, class_);
}
/* Whether the text may end here, and whether it may go on. */
bool el_states_may_end(const el_states *s, el_state state);
bool el_states_may_go_on(const el_states *s, el_state state);

/* The state as it is for the next `reach` bytes, whoever called: two states that differ in what is deeper on the stack
 * are one then. What returns to there is lost in *sure; *maybe goes on with all that might have called. *sure and
 * *maybe are the state itself where nothing had to be cut off. False: full. */
bool el_states_cut(el_states *s, el_state state, uint32_t reach, el_state *sure, el_state *maybe);

/* Forgets what none of roots[0 .. n) needs, which get their new numbers. All others are void. */
void el_states_collect(el_states *s, el_state *const *roots, size_t n);

#endif
