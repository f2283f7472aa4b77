/* Runs an automaton byte by byte, along all possible ways at once.
 *
 * A way is a node and a stack of nodes to return to. A set of stacks is stored as a map from the top
 * node to the set of stacks below it, and equal sets have the same number. So a state, which is the
 * set of all ways that are left after some text, is a number too. Ambiguity costs only what differs,
 * and a transition is looked up once it has been computed. (A set of stacks is a finite language and
 * this is its minimal deterministic automaton. In other words, it is GLR's graph-structured stack in
 * canonical form.)
 *
 * Ways that have nothing to read are followed to the next node that reads, and are not kept. A return
 * goes to the node below. A call pushes the node to return to, unless nothing is left to do there.
 * Nothing returns between a call and its first byte, as it is known beforehand which rules may be
 * empty. As no rule is left-recursive, this ends. */
#ifndef EL_CONSTRAINT_STATES_H
#define EL_CONSTRAINT_STATES_H

#include "constraint/automaton.h"

/* A set of ways, or of stacks. */
typedef uint32_t el_state;
#define EL_STATE_DEAD 0u               /* no way */
#define EL_STATE_UNKNOWN UINT32_MAX    /* in tables: not computed yet */
#define EL_STATE_FULL (UINT32_MAX - 1) /* there is no room: call el_states_collect and try again */

/* Special values on stacks, in the place of a node. */
#define EL_FRAME_END UINT32_MAX        /* the text may end here; in a state: now */
#define EL_FRAME_LOST (UINT32_MAX - 1) /* unknown, and assumed to match nothing: a way that returns here is dropped */
#define EL_FRAME_ANY (UINT32_MAX - 2)  /* unknown, and assumed to be any caller of the rule `count` */

typedef struct el_frame {
  uint32_t node, count; /* count: how often the counter at this node has begun */
  el_state below;
} el_frame;

typedef struct el_set {
  uint32_t first, n; /* frames[first .. first + n), ascending by node and count */
  uint32_t row;      /* transitions: rows[row * n_classes ..]; UINT32_MAX: none yet */
  uint32_t hash;
  uint32_t depth; /* of the deepest stack */
} el_set;

enum {
  EL_MAX_STACK = 1000,       /* nested rules; a text that nests deeper is not allowed */
  EL_MAX_WAYS = 1 << 15,     /* in one state, or followed for one byte */
  EL_STATES_BYTES = 12 << 20 /* for the sets of a constraint */
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
  bool no_memory; /* full because memory is short */
  bool too_many;  /* full because the grammar allows too many ways at once */
  int64_t credit; /* ways and edges that may still be followed */
  bool too_slow;  /* full because the credit is spent */
  bool too_deep;  /* a way was dropped because it was nested deeper than EL_MAX_STACK */
  size_t bytes;
} el_states;

/* `a` must outlive it. EL_ERR_NO_MEMORY: there is no room even for the start state. */
el_status el_states_open(el_states *s, const el_automaton *a, el_error *err);
void el_states_close(el_states *s); /* states of zeros are allowed */

el_state el_states_step_slow(el_states *s, el_state from, int class_);
/* The state after a byte; or EL_STATE_DEAD, or EL_STATE_FULL. */
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

/* Cuts off what the next `reach` bytes need not know of the stack, so that states which differ only
 * deeper in the stack become one. A way that returns into the unknown is dropped in *sure; in *maybe
 * it goes on with every possible caller. Both are the state itself if nothing had to be cut off.
 * False: full. */
bool el_states_cut(el_states *s, el_state state, uint32_t reach, el_state *sure, el_state *maybe);

/* Forgets all states that none of *roots[0 .. n) needs, and writes the new numbers of these there. All
 * other numbers become invalid. */
void el_states_collect(el_states *s, el_state *const *roots, size_t n);

#endif
