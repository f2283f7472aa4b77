#include "bench/plan/balance.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "bench/plan/ring.h"

bool el_balance_get(const char *name, el_balance *out) {
  static const char *const names[] = {"random", "hash", "bounded", "share"};
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *out = (el_balance)i;
      return true;
    }
  return false;
}

/* ---- by share: who is where */

/* A node, in a heap: the one with the least load is the first. */
typedef struct node {
  double load;
  int number;
} node;

typedef struct adapter {
  size_t asked;
  int number;
} adapter;

typedef struct places {
  int *first, *n; /* [n_adapters] of `nodes`: where an adapter's are, and how many */
  int *nodes;
} places;

static bool less_asked(const node *a, const node *b) {
  return a->load < b->load || (a->load == b->load && a->number < b->number);
}

/* Puts the first one where it belongs, as its load has grown. */
static void sink_node(node *heap, int n) {
  for (int i = 0;;) {
    int least = i, left = 2 * i + 1, right = left + 1;
    if (left < n && less_asked(&heap[left], &heap[least])) least = left;
    if (right < n && less_asked(&heap[right], &heap[least])) least = right;
    if (least == i) return;
    node moved = heap[i];
    heap[i] = heap[least];
    heap[least] = moved;
    i = least;
  }
}

static int by_popularity(const void *x, const void *y) {
  const adapter *a = x, *b = y;
  if (a->asked != b->asked) return a->asked < b->asked ? 1 : -1;
  return a->number - b->number;
}

/* The most popular first, each on the nodes with the least load so far: so many that none has more than half of an even
 * share of all requests from it. A node that is taken goes to the heap's end, behind those that are still to be had. */
static void place_adapter(const adapter *adapters, int n_adapters, size_t n, int n_nodes, node *heap, places *out) {
  double half = (double)n / n_nodes / 2;
  int used = 0;
  for (int i = 0; i < n_nodes; i++) heap[i] = (node){0, i};
  for (int i = 0; i < n_adapters && adapters[i].asked; i++) {
    const adapter *a = &adapters[i];
    int wanted = 1 + (int)((double)a->asked / half), copies = wanted < n_nodes ? wanted : n_nodes;
    out->first[a->number] = used;
    out->n[a->number] = copies;
    for (int k = 0; k < copies; k++) {
      node taken = heap[0];
      heap[0] = heap[n_nodes - 1 - k];
      heap[n_nodes - 1 - k] = taken;
      sink_node(heap, n_nodes - 1 - k);
      out->nodes[used++] = taken.number;
    }
    for (int k = copies - 1; k >= 0; k--) { /* back into the heap, with what they have got */
      int at = n_nodes - 1 - k;
      heap[at].load += (double)a->asked / copies;
      for (int up; at > 0 && less_asked(&heap[at], &heap[up = (at - 1) / 2]); at = up) {
        node moved = heap[at];
        heap[at] = heap[up];
        heap[up] = moved;
      }
    }
  }
}

static bool find_places(const el_load_item *items, size_t n, int n_adapters, int n_nodes, places *out) {
  adapter *adapters = malloc(((size_t)n_adapters + 1) * sizeof *adapters);
  node *heap = malloc((size_t)n_nodes * sizeof *heap);
  *out = (places){.first = calloc((size_t)n_adapters + 1, sizeof *out->first),
                  .n = calloc((size_t)n_adapters + 1, sizeof *out->n),
                  .nodes = malloc(((size_t)n_adapters + 2 * (size_t)n_nodes + 1) * sizeof *out->nodes)};
  bool ok = adapters && heap && out->first && out->n && out->nodes;
  if (ok) {
    for (int i = 0; i < n_adapters; i++) adapters[i] = (adapter){0, i};
    for (size_t i = 0; i < n; i++)
      if (items[i].adapter >= 0) adapters[items[i].adapter].asked++;
    qsort(adapters, (size_t)n_adapters, sizeof *adapters, by_popularity);
    place_adapter(adapters, n_adapters, n, n_nodes, heap, out);
  }
  free(adapters);
  free(heap);
  return ok;
}

/* ---- requests */

bool el_balance_items(el_balance how, const el_load_item *items, size_t n, int n_adapters, int nodes, double seconds,
                      uint64_t seed, int *node_of) {
  places p = {.first = NULL};
  bool ok = how != EL_BALANCE_SHARE || find_places(items, n, n_adapters, nodes, &p);
  el_load_random random = el_load_random_new(seed, 0);
  for (size_t i = 0; ok && i < n; i++) {
    int a = items[i].adapter;
    if (how == EL_BALANCE_RANDOM || how == EL_BALANCE_RING || a < 0)
      node_of[i] = el_load_between(&random, 0, nodes - 1);
    else if (how == EL_BALANCE_HASH)
      node_of[i] = (int)(el_mix64((uint64_t)a * EL_GOLDEN_GAMMA + 1) % (uint64_t)nodes);
    else
      node_of[i] = p.nodes[p.first[a] + el_load_between(&random, 0, p.n[a] - 1)];
  }
  if (ok && how == EL_BALANCE_RING) ok = el_ring_items(items, n, nodes, seconds, node_of);
  free(p.first);
  free(p.n);
  free(p.nodes);
  return ok;
}
