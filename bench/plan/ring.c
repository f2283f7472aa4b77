#include "bench/plan/ring.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

/* Of each node: so many that even parts of the ring are theirs to within some percent. */
enum { POINTS = 160 };

typedef struct point {
  uint64_t at;
  int node;
} point;

static int by_place(const void *x, const void *y) {
  const point *a = x, *b = y;
  if (a->at != b->at) return a->at < b->at ? -1 : 1;
  return a->node - b->node;
}

/* The first point at or behind a place, the ring's first one behind its last. */
static size_t find_point(const point *ring, size_t n, uint64_t at) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (ring[middle].at < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n ? low : 0;
}

bool el_ring_items(const el_load_item *items, size_t n, int nodes, double seconds, int *node_of) {
  const size_t n_points = (size_t)nodes * POINTS;
  point *ring = malloc(n_points * sizeof *ring);
  size_t *load = calloc((size_t)nodes, sizeof *load), all = 0, ended = 0;
  for (size_t i = 0; ring && i < n_points; i++)
    ring[i] = (point){el_mix64((i + 1) * EL_GOLDEN_GAMMA), (int)(i / POINTS)};
  if (ring) qsort(ring, n_points, sizeof *ring, by_place);
  for (size_t i = 0; ring && load && i < n; i++) {
    for (; ended < i && items[ended].at + seconds <= items[i].at; ended++, all--) load[node_of[ended]]--;
    if (items[i].adapter >= 0) {
      /* At least one node has no more than an even part, so the search ends. */
      const double most = ceil(EL_RING_BOUND * (double)(all + 1) / nodes);
      size_t at = find_point(ring, n_points, el_mix64(~(uint64_t)items[i].adapter * EL_GOLDEN_GAMMA));
      while ((double)load[ring[at].node] >= most) at = at + 1 < n_points ? at + 1 : 0;
      node_of[i] = ring[at].node;
    }
    load[node_of[i]]++;
    all++;
  }
  bool ok = ring && load;
  free(ring);
  free(load);
  return ok;
}
