#include "constraint/states.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"

enum { UNIONS = 1 << 10, OPEN_CREDIT = 1 << 26 };

/* The count of a counter below the known part of the stack: it may begin again, and it may have ended. */
#define ANY_COUNT UINT32_MAX

/* A way while states are computed. `fresh`: its rule was called and has read nothing yet. */
typedef struct way {
  uint32_t node, count;
  el_state below;
  bool fresh;
} way;

typedef struct el_states_work {
  way *ways; /* [n_ways] found so far; those from `head` on must still be followed */
  uint32_t n_ways, cap_ways, head;
  uint32_t *slots; /* hash table of ways: index + 1 */
  uint32_t mask;
  el_frame *kept; /* [n_kept] the ways that have something to read */
  uint32_t n_kept, cap_kept;
  el_frame *scratch; /* a stack of frames that unions are put together on */
  uint32_t n_scratch, cap_scratch;
  struct {
    el_state a, b, both;
  } unions[UNIONS];     /* what was computed before; void when a is EL_STATE_DEAD */
  uint32_t *seen_tails; /* [n_machines] the way that has looked there, + 1 */
  uint32_t n_any;       /* such ways so far */
  uint32_t *tails;      /* [n_machines] stack */
  el_state *moved;      /* for el_states_collect */
  size_t cap_moved;
} work;

/* ------------------------------------------------------------------- storage */

static bool grow_states_array(el_states *s, void **array, size_t size, uint32_t need, uint32_t *cap) {
  if (need <= *cap) return true;
  size_t want = *cap ? *cap : 64;
  while (want < need) want *= 2;
  size_t more = size * (want - *cap);
  if (s->bytes + more > EL_STATES_BYTES) return false;
  void *larger = realloc(*array, size * want);
  if (!larger) {
    s->no_memory = true;
    return false;
  }
  *array = larger;
  *cap = (uint32_t)want;
  s->bytes += more;
  return true;
}

/* Scratch memory is bounded by EL_MAX_WAYS, and not counted. */
static bool grow_work(el_states *s, void **array, size_t size, uint32_t need, uint32_t *cap) {
  if (need <= *cap) return true;
  if (need > EL_MAX_WAYS * 2) {
    s->too_many = true;
    return false;
  }
  size_t want = *cap ? *cap : 64;
  while (want < need) want *= 2;
  void *larger = realloc(*array, size * want);
  if (!larger) {
    s->no_memory = true;
    return false;
  }
  *array = larger;
  *cap = (uint32_t)want;
  return true;
}

/* Work that is proportional to n; false: there has been too much. */
static bool spend_steps(el_states *s, uint32_t n) {
  s->credit -= n;
  if (s->credit >= 0) return true;
  s->too_slow = true;
  return false;
}

static uint32_t hash_frames(const el_frame *f, uint32_t n) {
  uint64_t h = n;
  for (uint32_t i = 0; i < n; i++) {
    h = el_mix64(h ^ ((uint64_t)f[i].node << 32 | f[i].below)) + f[i].count;
  }
  return (uint32_t)el_mix64(h);
}

static bool same_frames(const el_frame *a, const el_frame *b, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (a[i].node != b[i].node || a[i].count != b[i].count || a[i].below != b[i].below) return false;
  return true;
}

static bool rehash_sets(el_states *s, uint32_t size) {
  uint32_t *slots = calloc(size, sizeof *slots);
  if (!slots) {
    s->no_memory = true;
    return false;
  }
  for (uint32_t i = 1; i < s->n_sets; i++) {
    uint32_t at = s->sets[i].hash & (size - 1);
    while (slots[at]) at = (at + 1) & (size - 1);
    slots[at] = i;
  }
  free(s->slots);
  s->slots = slots;
  s->mask = size - 1;
  return true;
}

/* The set of these frames, which are in order and none twice. They may be on work->scratch, not in s->frames. */
static el_state intern_frames(el_states *s, const el_frame *f, uint32_t n) {
  if (!n) return EL_STATE_DEAD;
  uint32_t hash = hash_frames(f, n), at = hash & s->mask;
  for (; s->slots[at]; at = (at + 1) & s->mask) {
    const el_set *x = &s->sets[s->slots[at]];
    if (x->hash == hash && x->n == n && same_frames(s->frames + x->first, f, n)) return s->slots[at];
  }
  if (s->n_sets * 2 > s->mask) {
    uint32_t size = (s->mask + 1) * 2;
    if (s->bytes + sizeof *s->slots * size / 2 > EL_STATES_BYTES || !rehash_sets(s, size)) return EL_STATE_FULL;
    s->bytes += sizeof *s->slots * size / 2;
    at = hash & s->mask;
    while (s->slots[at]) at = (at + 1) & s->mask;
  }
  if (!grow_states_array(s, (void **)&s->sets, sizeof *s->sets, s->n_sets + 1, &s->cap_sets) ||
      !grow_states_array(s, (void **)&s->frames, sizeof *s->frames, s->n_frames + n, &s->cap_frames))
    return EL_STATE_FULL;
  uint32_t depth = 0;
  for (uint32_t i = 0; i < n; i++)
    if (s->sets[f[i].below].depth >= depth) depth = s->sets[f[i].below].depth + 1;
  memcpy(s->frames + s->n_frames, f, sizeof *f * n);
  s->sets[s->n_sets] = (el_set){.first = s->n_frames, .n = n, .row = UINT32_MAX, .hash = hash, .depth = depth};
  s->n_frames += n;
  s->slots[at] = s->n_sets;
  return s->n_sets++;
}

static el_state one_frame(el_states *s, uint32_t node, uint32_t count, el_state below) {
  el_frame f = {node, count, below};
  return intern_frames(s, &f, 1);
}

/* -------------------------------------------------------------------- unions */

static int compare_frames(const el_frame *a, const el_frame *b) {
  if (a->node != b->node) return a->node < b->node ? -1 : 1;
  return (a->count > b->count) - (a->count < b->count);
}

/* Both sets of stacks together. Calls itself as deep as stacks are (EL_MAX_STACK). */
static el_state unite_states(el_states *s, el_state a, el_state b) {
  work *w = s->work;
  if (a == b || b == EL_STATE_DEAD) return a;
  if (a == EL_STATE_DEAD) return b;
  if (a > b) {
    el_state t = a;
    a = b;
    b = t;
  }
  size_t slot = (size_t)(el_mix64((uint64_t)a << 32 | b) % UNIONS);
  if (w->unions[slot].a == a && w->unions[slot].b == b) return w->unions[slot].both;
  uint32_t base = w->n_scratch, i = 0, k = 0;
  uint32_t n_a = s->sets[a].n, n_b = s->sets[b].n;
  if (!spend_steps(s, n_a + n_b)) return EL_STATE_FULL;
  if (!grow_work(s, (void **)&w->scratch, sizeof *w->scratch, base + n_a + n_b, &w->cap_scratch)) return EL_STATE_FULL;
  w->n_scratch += n_a + n_b;
  uint32_t n = base;
  while (i < n_a || k < n_b) {
    /* Copies: frames move when sets are made. */
    el_frame x = i < n_a ? s->frames[s->sets[a].first + i] : (el_frame){0};
    el_frame y = k < n_b ? s->frames[s->sets[b].first + k] : (el_frame){0};
    int c = i == n_a ? 1 : k == n_b ? -1 : compare_frames(&x, &y);
    if (c == 0) {
      x.below = unite_states(s, x.below, y.below);
      if (x.below == EL_STATE_FULL) return EL_STATE_FULL;
    }
    i += c <= 0;
    k += c >= 0;
    w->scratch[n++] = c <= 0 ? x : y;
  }
  el_state both = intern_frames(s, w->scratch + base, n - base);
  w->n_scratch = base;
  if (both == EL_STATE_FULL) return EL_STATE_FULL;
  w->unions[slot].a = a;
  w->unions[slot].b = b;
  w->unions[slot].both = both;
  return both;
}

/* ---------------------------------------------------------------------- ways */

/* Forgets the ways that were looked at. */
static void begin_ways(work *w) {
  for (uint32_t i = 0; i < w->n_ways; i++) {
    const way *x = &w->ways[i];
    uint32_t at = (uint32_t)el_mix64(((uint64_t)x->node << 32 | x->below) + x->count) & w->mask;
    while (w->slots[at]) {
      w->slots[at] = 0;
      at = (at + 1) & w->mask;
    }
  }
  w->n_ways = w->head = w->n_kept = w->n_scratch = 0;
}

static bool add_way(el_states *s, uint32_t node, uint32_t count, el_state below, bool fresh) {
  work *w = s->work;
  if (below == EL_STATE_FULL || !spend_steps(s, 1)) return false;
  if ((w->n_ways + 1) * 2 > w->mask) {
    uint32_t size = (w->mask + 1) * 2;
    if (size > EL_MAX_WAYS * 4) {
      s->too_many = true;
      return false;
    }
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots) {
      s->no_memory = true;
      return false;
    }
    for (uint32_t i = 0; i < w->n_ways; i++) {
      const way *x = &w->ways[i];
      uint32_t at = (uint32_t)el_mix64(((uint64_t)x->node << 32 | x->below) + x->count) & (size - 1);
      while (slots[at]) at = (at + 1) & (size - 1);
      slots[at] = i + 1;
    }
    free(w->slots);
    w->slots = slots;
    w->mask = size - 1;
  }
  uint32_t at = (uint32_t)el_mix64(((uint64_t)node << 32 | below) + count) & w->mask;
  for (; w->slots[at]; at = (at + 1) & w->mask) {
    const way *x = &w->ways[w->slots[at] - 1];
    if (x->node == node && x->count == count && x->below == below && x->fresh == fresh) return true;
  }
  if (!grow_work(s, (void **)&w->ways, sizeof *w->ways, w->n_ways + 1, &w->cap_ways)) return false;
  w->ways[w->n_ways++] = (way){node, count, below, fresh};
  w->slots[at] = w->n_ways;
  return true;
}

static bool keep_frame(el_states *s, uint32_t node, el_state below) {
  work *w = s->work;
  if (!grow_work(s, (void **)&w->kept, sizeof *w->kept, w->n_kept + 1, &w->cap_kept)) return false;
  w->kept[w->n_kept++] = (el_frame){node, 0, below};
  return true;
}

/* Whoever may have called `rule` goes on. */
static bool return_to_any(el_states *s, uint32_t rule) {
  const el_automaton *a = s->automaton;
  work *w = s->work;
  uint32_t stamp = ++w->n_any, n = 0;
  w->tails[n++] = rule;
  w->seen_tails[rule] = stamp;
  while (n) {
    uint32_t r = w->tails[--n];
    const el_machine *m = &a->machines[r];
    if (r == a->root && !keep_frame(s, EL_FRAME_END, EL_STATE_DEAD)) return false;
    for (uint32_t i = m->first_return; i < m->first_return + m->n_returns; i++) {
      uint32_t node = a->return_to[i];
      el_state below = one_frame(s, EL_FRAME_ANY, a->nodes[node].rule, EL_STATE_DEAD);
      bool counts = a->nodes[node].counter != EL_NO_COUNTER;
      if (!add_way(s, node, counts ? ANY_COUNT : 0, below, false)) return false;
    }
    for (uint32_t i = m->first_tail; i < m->first_tail + m->n_tails; i++) {
      uint32_t caller = a->tail_of[i];
      if (w->seen_tails[caller] == stamp) continue;
      w->seen_tails[caller] = stamp;
      w->tails[n++] = caller;
    }
  }
  return true;
}

static bool return_to(el_states *s, el_state stacks) {
  for (uint32_t i = 0; i < s->sets[stacks].n; i++) {
    el_frame f = s->frames[s->sets[stacks].first + i];
    bool ok = f.node == EL_FRAME_END    ? keep_frame(s, EL_FRAME_END, EL_STATE_DEAD)
              : f.node == EL_FRAME_LOST ? true
              : f.node == EL_FRAME_ANY  ? return_to_any(s, f.count)
                                        : add_way(s, f.node, f.count, f.below, false);
    if (!ok) return false;
  }
  return true;
}

static bool call_rule(el_states *s, uint32_t rule, uint32_t node, uint32_t count, bool tail, el_state below) {
  if (!tail) {
    if (s->sets[below].depth >= EL_MAX_STACK) {
      s->too_deep = true;
      return true;
    }
    below = one_frame(s, node, count, below);
    if (below == EL_STATE_FULL) return false;
  }
  return add_way(s, s->automaton->machines[rule].start, 0, below, true);
}

static bool follow_counter(el_states *s, way x, const el_counter *c) {
  if (x.count >= c->min && !add_way(s, c->next, 0, x.below, x.fresh)) return false;
  bool any = x.count == ANY_COUNT;
  if (x.count >= c->max && !any) return true;
  uint32_t count = any ? ANY_COUNT : x.count + 1;
  if (!any && c->max == EL_UNBOUNDED && count > c->min) count = c->min;
  return call_rule(s, c->rule, x.node, count, false, x.below);
}

static bool follow_way(el_states *s, way x) {
  const el_automaton *a = s->automaton;
  const el_node *node = &a->nodes[x.node];
  if (node->counter != EL_NO_COUNTER) return follow_counter(s, x, &a->counters[node->counter]);
  if (node->reads && !keep_frame(s, x.node, x.below)) return false;
  if (!spend_steps(s, node->n)) return false;
  if (!x.fresh && x.node == a->machines[node->rule].end && !return_to(s, x.below)) return false;
  for (uint32_t i = node->first; i < node->first + node->n; i++) {
    const el_edge *e = &a->edges[i];
    bool ok = true;
    if (e->kind == EL_EDGE_NOTHING)
      ok = add_way(s, e->target, 0, x.below, x.fresh);
    else if (e->kind == EL_EDGE_RULE)
      ok = call_rule(s, e->rule, e->target, 0, e->tail, x.below) &&
           (!a->machines[e->rule].nullable || add_way(s, e->target, 0, x.below, x.fresh));
    if (!ok) return false;
  }
  return true;
}

static int compare_frames_by_pointer(const void *a, const void *b) {
  const el_frame *x = a, *y = b;
  int c = compare_frames(x, y);
  return c ? c : (x->below > y->below) - (x->below < y->below);
}

/* The state of the ways that were added. */
static el_state end_ways(el_states *s) {
  work *w = s->work;
  while (w->head < w->n_ways)
    if (!follow_way(s, w->ways[w->head++])) return EL_STATE_FULL;
  if (w->n_kept > 1) qsort(w->kept, w->n_kept, sizeof *w->kept, compare_frames_by_pointer);
  uint32_t n = 0;
  for (uint32_t i = 0; i < w->n_kept; i++) {
    if (n && !compare_frames(&w->kept[n - 1], &w->kept[i])) {
      w->kept[n - 1].below = unite_states(s, w->kept[n - 1].below, w->kept[i].below);
      if (w->kept[n - 1].below == EL_STATE_FULL) return EL_STATE_FULL;
    } else {
      w->kept[n++] = w->kept[i];
    }
  }
  return intern_frames(s, w->kept, n);
}

el_state el_states_step_slow(el_states *s, el_state from, int class_) {
  const el_automaton *a = s->automaton;
  if (s->sets[from].row == UINT32_MAX) {
    uint32_t n = (uint32_t)a->n_classes;
    if (!grow_states_array(s, (void **)&s->rows, sizeof *s->rows, (s->n_rows + 1) * n, &s->cap_rows))
      return EL_STATE_FULL;
    memset(s->rows + (size_t)s->n_rows * n, 0xff, sizeof *s->rows * n);
    s->sets[from].row = s->n_rows++;
  }
  begin_ways(s->work);
  unsigned char byte = a->byte_of[class_];
  for (uint32_t i = 0; i < s->sets[from].n; i++) {
    el_frame f = s->frames[s->sets[from].first + i];
    if (f.node >= EL_FRAME_ANY) continue;
    const el_node *node = &a->nodes[f.node];
    if (!spend_steps(s, node->n)) return EL_STATE_FULL;
    for (uint32_t k = node->first; k < node->first + node->n; k++) {
      const el_edge *e = &a->edges[k];
      if (e->kind == EL_EDGE_BYTES && byte >= e->low && byte <= e->high && !add_way(s, e->target, 0, f.below, false))
        return EL_STATE_FULL;
    }
  }
  el_state to = end_ways(s);
  if (to != EL_STATE_FULL) s->rows[(size_t)s->sets[from].row * (size_t)a->n_classes + (size_t)class_] = to;
  return to;
}

bool el_states_may_end(const el_states *s, el_state state) {
  const el_set *x = &s->sets[state]; /* the largest node comes last */
  return x->n && s->frames[x->first + x->n - 1].node == EL_FRAME_END;
}

bool el_states_may_go_on(const el_states *s, el_state state) {
  return s->sets[state].n > (el_states_may_end(s, state) ? 1 : 0);
}

/* ----------------------------------------------------------------------- cut */

/* A count that allows the same for `reach` times more. */
static uint32_t far_count(const el_counter *c, uint32_t count, uint32_t reach) {
  if (count == ANY_COUNT) return count;
  if (count < c->min && c->min - count > reach + 1) return 0;
  if (count >= c->min && (c->max == EL_UNBOUNDED || c->max - count > reach)) return c->min;
  return count;
}

/* Of the stacks below a node of `rule`: counters stay, as the rules that they repeat are often a single character, with
 * what is below them cut; all else is `base`. */
static el_state cut_stacks(el_states *s, el_state stacks, uint32_t rule, uint32_t reach, bool any) {
  const el_automaton *a = s->automaton;
  uint32_t base_node = any ? EL_FRAME_ANY : EL_FRAME_LOST;
  el_state cut = EL_STATE_DEAD;
  bool others = false;
  for (uint32_t i = 0; i < s->sets[stacks].n && cut != EL_STATE_FULL; i++) {
    el_frame f = s->frames[s->sets[stacks].first + i];
    if (f.node >= EL_FRAME_ANY || a->nodes[f.node].counter == EL_NO_COUNTER) {
      others = true;
      continue;
    }
    el_state below = one_frame(s, base_node, any ? a->nodes[f.node].rule : 0, EL_STATE_DEAD);
    if (below == EL_STATE_FULL) return below;
    el_state one = one_frame(s, f.node, far_count(&a->counters[a->nodes[f.node].counter], f.count, reach), below);
    cut = one == EL_STATE_FULL ? one : unite_states(s, cut, one);
  }
  if (!others || cut == EL_STATE_FULL) return cut;
  el_state base = one_frame(s, base_node, any ? rule : 0, EL_STATE_DEAD);
  return base == EL_STATE_FULL ? base : unite_states(s, cut, base);
}

static el_state cut_state(el_states *s, el_state state, uint32_t reach, bool any) {
  work *w = s->work;
  begin_ways(w);
  for (uint32_t i = 0; i < s->sets[state].n; i++) {
    el_frame f = s->frames[s->sets[state].first + i];
    bool end = f.node == EL_FRAME_END;
    el_state below = end ? EL_STATE_DEAD : cut_stacks(s, f.below, s->automaton->nodes[f.node].rule, reach, any);
    if (below == EL_STATE_FULL || !keep_frame(s, f.node, below)) return EL_STATE_FULL;
  }
  return intern_frames(s, w->kept, w->n_kept); /* nodes are as they were: in order, none twice */
}

bool el_states_cut(el_states *s, el_state state, uint32_t reach, el_state *sure, el_state *maybe) {
  /* Nothing is below any node but the end: nobody called. */
  bool whole = true;
  for (uint32_t i = 0; i < s->sets[state].n && whole; i++) {
    el_state below = s->frames[s->sets[state].first + i].below;
    whole = s->sets[below].n == 0 || (s->sets[below].n == 1 && s->frames[s->sets[below].first].node == EL_FRAME_END);
  }
  *sure = whole ? state : cut_state(s, state, reach, false);
  *maybe = whole ? state : *sure == EL_STATE_FULL ? *sure : cut_state(s, state, reach, true);
  return *maybe != EL_STATE_FULL;
}

/* ------------------------------------------------------------- open and close */

static el_state make_start(el_states *s) {
  begin_ways(s->work);
  const el_machine *m = &s->automaton->machines[s->automaton->root];
  el_state end = one_frame(s, EL_FRAME_END, 0, EL_STATE_DEAD);
  /* It is not fresh: the empty text is one that ends. */
  return end != EL_STATE_FULL && add_way(s, m->start, 0, end, false) ? end_ways(s) : EL_STATE_FULL;
}

el_status el_states_open(el_states *s, const el_automaton *a, el_error *err) {
  *s = (el_states){.automaton = a};
  enum { SLOTS = 256 };
  s->credit = OPEN_CREDIT;
  work *w = s->work = calloc(1, sizeof *w);
  s->slots = calloc(SLOTS, sizeof *s->slots);
  s->mask = SLOTS - 1;
  if (w) {
    w->slots = calloc(SLOTS, sizeof *w->slots);
    w->mask = SLOTS - 1;
    w->seen_tails = calloc(a->n_machines, sizeof *w->seen_tails);
    w->tails = malloc(sizeof *w->tails * a->n_machines);
  }
  if (w && s->slots && w->slots && w->seen_tails && w->tails &&
      grow_states_array(s, (void **)&s->sets, sizeof *s->sets, 1, &s->cap_sets)) {
    s->sets[0] = (el_set){.row = UINT32_MAX};
    s->n_sets = 1;
    s->start = make_start(s);
    s->credit = INT64_MAX; /* whoever wants less says so */
    if (s->start != EL_STATE_FULL) return EL_OK;
  }
  bool too_many = s->too_many || !s->no_memory;
  el_states_close(s);
  if (w && too_many) return el_fail(err, EL_ERR_TOO_LONG, "the grammar allows too many ways to begin at once");
  return el_fail(err, EL_ERR_NO_MEMORY, "grammar: out of memory");
}

void el_states_close(el_states *s) {
  work *w = s->work;
  if (w) {
    free(w->ways);
    free(w->slots);
    free(w->kept);
    free(w->scratch);
    free(w->seen_tails);
    free(w->tails);
    free(w->moved);
    free(w);
  }
  free(s->sets);
  free(s->frames);
  free(s->rows);
  free(s->slots);
  *s = (el_states){0};
}

/* ------------------------------------------------------------------- collect */

void el_states_collect(el_states *s, el_state *const *roots, size_t n) {
  work *w = s->work;
  if (w->cap_moved < s->n_sets) {
    el_state *moved = realloc(w->moved, sizeof *moved * s->cap_sets);
    if (!moved) {
      s->no_memory = true; /* it stays as full as it is */
      return;
    }
    w->moved = moved;
    w->cap_moved = s->cap_sets;
  }
  begin_ways(w);
  memset(w->moved, 0, sizeof *w->moved * s->n_sets);
  memset(w->unions, 0, sizeof w->unions);
  w->moved[s->start] = 1;
  for (size_t i = 0; i < n; i++) w->moved[*roots[i]] = 1;
  /* What is below has a smaller number: downwards all that is needed is found, upwards it moves. */
  for (uint32_t i = s->n_sets - 1; i > 0; i--)
    if (w->moved[i])
      for (uint32_t k = 0; k < s->sets[i].n; k++) w->moved[s->frames[s->sets[i].first + k].below] = 1;
  w->moved[0] = 0;
  uint32_t n_sets = 1, n_frames = 0;
  for (uint32_t i = 1; i < s->n_sets; i++) {
    if (!w->moved[i]) continue;
    el_set x = s->sets[i];
    for (uint32_t k = 0; k < x.n; k++) {
      el_frame f = s->frames[x.first + k];
      f.below = w->moved[f.below];
      s->frames[n_frames + k] = f;
    }
    x.first = n_frames;
    x.row = UINT32_MAX;
    x.hash = hash_frames(s->frames + n_frames, x.n);
    n_frames += x.n;
    w->moved[i] = n_sets;
    s->sets[n_sets++] = x;
  }
  s->n_sets = n_sets;
  s->n_frames = n_frames;
  s->n_rows = 0;
  s->start = w->moved[s->start];
  for (size_t i = 0; i < n; i++) *roots[i] = w->moved[*roots[i]];
  memset(s->slots, 0, sizeof *s->slots * ((size_t)s->mask + 1));
  for (uint32_t i = 1; i < s->n_sets; i++) {
    uint32_t at = s->sets[i].hash & s->mask;
    while (s->slots[at]) at = (at + 1) & s->mask;
    s->slots[at] = i;
  }
}
