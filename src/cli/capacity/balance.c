#include "cli/capacity/balance.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

bool el_balance_get(const char *name, el_balance *out) {
  static const char *const names[] = {"random", "hash", "share"};
  for (int i = 0; i < 3; i++)
    if (strcmp(name, names[i]) == 0) {
      *out = (el_balance)i;
      return true;
    }
  return false;
}

/* An adapter's nodes are consecutive, beginning where its hash says. */
static int nodes_of(el_balance how, size_t asked, size_t all, int nodes) {
  if (how == EL_BALANCE_HASH) return 1;
  double even = (double)all / nodes;
  int n = 1 + (int)((double)asked / (even / 2));
  return n < nodes ? n : nodes;
}

bool el_balance_items(el_balance how, const el_load_item *items, size_t n, int n_adapters, int nodes, uint64_t seed,
                      int *node_of) {
  size_t *asked = calloc((size_t)n_adapters + 1, sizeof *asked);
  if (!asked) return false;
  for (size_t i = 0; i < n; i++)
    if (items[i].adapter >= 0) asked[items[i].adapter]++;
  el_load_random random = el_load_random_new(seed, 0);
  for (size_t i = 0; i < n; i++) {
    int a = items[i].adapter;
    bool any = how == EL_BALANCE_RANDOM || a < 0;
    int among = any ? nodes : nodes_of(how, asked[a], n, nodes);
    uint64_t first = any ? 0 : el_mix64((uint64_t)a * EL_GOLDEN_GAMMA + 1) % (uint64_t)nodes;
    node_of[i] = (int)((first + (uint64_t)el_load_between(&random, 0, among - 1)) % (uint64_t)nodes);
  }
  free(asked);
  return true;
}
