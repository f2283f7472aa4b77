/* How near to an adapter's examples is near enough? Learnt from a table: some of a candidate's own prompts play its
 * examples, and the others tell how its score goes with nearness to them. */
#ifndef EL_ROUTER_EXAMPLES_H
#define EL_ROUTER_EXAMPLES_H

#include "router/router.h"

typedef struct el_example_data {
  int dim, n_columns, base;
  const float *z; /* [n, dim] */
  const float *y; /* [n, n_columns] */
  size_t n;
  const double *variance; /* [dim] of z */
  uint64_t seed;
} el_example_data;

/* Fills *out, whose scale is the caller's to free. *learnt: false when the table has too few candidates with prompts of
 * their own; the rule is a guess then. */
el_status el_examples_learn(const el_example_data *d, el_example_rule *out, bool *learnt, el_error *err);

#endif
