/* Text until one of several stops: the automaton of Aho and Corasick (1975), which knows after each byte the longest
 * end of the text that a stop begins with. It must be this one, and not "any text, then a stop" as two ways at once:
 * then a text could go on as free where a stop has occurred. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "constraint/emit.h"

enum { MAX_STATES = 1 << 12, NO_STATE = UINT32_MAX };

typedef struct state {
  uint32_t next[256]; /* NO_STATE: no stop goes on so */
  uint32_t fail;      /* the state of the longest proper end that a stop begins with */
  uint32_t stop;      /* that ends here, or at an end of this; UINT32_MAX: none */
  uint32_t node;
} state;

static uint32_t add_until_state(state *states, uint32_t *n) {
  if (*n == MAX_STATES) return NO_STATE;
  state *s = &states[*n];
  memset(s->next, 0xff, sizeof s->next);
  s->fail = 0;
  s->stop = UINT32_MAX;
  s->node = 0;
  return (*n)++;
}

/* False: too many states. */
static bool add_stops(el_draft *d, const el_expr_node *x, state *states, uint32_t *n) {
  const el_grammar *g = d->g;
  for (uint32_t i = 0; i < x->n; i++) {
    const el_expr_node *literal = &g->exprs[g->items[x->at + i]];
    uint32_t at = 0;
    for (uint32_t k = 0; k < literal->n; k++) {
      unsigned char byte = (unsigned char)g->bytes[literal->at + k];
      if (states[at].next[byte] == NO_STATE) {
        uint32_t next = add_until_state(states, n);
        if (next == NO_STATE) return false;
        states[at].next[byte] = next;
      }
      at = states[at].next[byte];
    }
    if (states[at].stop == UINT32_MAX) states[at].stop = i;
  }
  return true;
}

/* Fills in where the other bytes lead, from short texts to long ones. */
static void complete_failure_links(state *states, uint32_t *queue) {
  uint32_t head = 0, tail = 0;
  for (int b = 0; b < 256; b++) {
    uint32_t s = states[0].next[b];
    if (s == NO_STATE)
      states[0].next[b] = 0;
    else
      queue[tail++] = s;
  }
  while (head < tail) {
    uint32_t at = queue[head++];
    uint32_t fail = states[at].fail;
    if (states[at].stop == UINT32_MAX) states[at].stop = states[fail].stop;
    for (int b = 0; b < 256; b++) {
      uint32_t s = states[at].next[b];
      if (s == NO_STATE) {
        states[at].next[b] = states[fail].next[b];
      } else {
        states[s].fail = states[fail].next[b];
        queue[tail++] = s;
      }
    }
  }
}

static void emit_states(el_draft *d, const el_expr_node *x, state *states, uint32_t n, uint32_t from, uint32_t to) {
  const el_grammar *g = d->g;
  const el_expr *follow = g->items + x->at + x->n;
  uint32_t *after = calloc(x->n ? x->n : 1, sizeof *after); /* where each stop ends; 0: not made yet */
  if (!after) {
    el_fail(&d->error, EL_ERR_NO_MEMORY, "grammar: out of memory");
    return;
  }
  for (uint32_t i = 0; i < n; i++) states[i].node = el_draft_node(d);
  el_draft_nothing(d, from, states[0].node);
  for (uint32_t i = 0; i < n && !el_draft_failed(d); i++) {
    if (states[i].stop != UINT32_MAX) continue; /* nothing is free behind a stop */
    if (x->max) el_draft_nothing(d, states[i].node, to);
    for (int low = 0, high; low < 256; low = high + 1) {
      uint32_t next = states[i].next[low];
      for (high = low; high < 255 && states[i].next[high + 1] == next; high++) continue;
      uint32_t stop = states[next].stop;
      if (stop == UINT32_MAX) {
        el_draft_bytes(d, states[i].node, (unsigned)low, (unsigned)high, states[next].node);
        continue;
      }
      if (!d->productive[follow[stop]]) continue;
      if (!after[stop]) {
        after[stop] = el_draft_node(d);
        el_draft_emit(d, follow[stop], after[stop], to);
      }
      el_draft_bytes(d, states[i].node, (unsigned)low, (unsigned)high, after[stop]);
    }
  }
  free(after);
}

void el_draft_until(el_draft *d, const el_expr_node *x, uint32_t from, uint32_t to) {
  const el_grammar *g = d->g;
  size_t most = 1;
  for (uint32_t i = 0; i < x->n; i++) most += g->exprs[g->items[x->at + i]].n;
  if (most > MAX_STATES) most = MAX_STATES;
  state *states = malloc(sizeof *states * most);
  uint32_t *queue = malloc(sizeof *queue * most);
  uint32_t n = 0;
  if (!states || !queue) {
    el_fail(&d->error, EL_ERR_NO_MEMORY, "grammar: out of memory");
  } else {
    add_until_state(states, &n);
    if (add_stops(d, x, states, &n)) {
      complete_failure_links(states, queue);
      emit_states(d, x, states, n, from, to);
    } else {
      el_fail(&d->error, EL_ERR_TOO_LONG, "triggers: more than %d bytes together", MAX_STATES - 1);
    }
  }
  free(states);
  free(queue);
}
