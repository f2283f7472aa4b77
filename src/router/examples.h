/* Scores a prompt by an adapter's examples: see el_example_rule in router.h. */
#ifndef EL_ROUTER_EXAMPLES_H
#define EL_ROUTER_EXAMPLES_H

#include "router/router.h"

/* Completes a rule whose dim, center, scale, slope and offset are set: adds the background, [n, dim]
 * vectors of any length, at most EL_EXAMPLE_MAX_BACKGROUND of them. */
el_status el_examples_background(el_example_rule *rule, const float *vectors, int n, el_error *err);
void el_examples_free(el_example_rule *rule);

/* An adapter's examples: margin(q) = gain * (q . center - h(q) / 2) + offset. */
typedef struct el_example_place {
  float gain, offset;
} el_example_place;

/* x: n >= 1 vectors of the rule's dim, `stride` floats apart. center: [padded], the result. */
el_example_place el_examples_place(const el_example_rule *rule, const float *x, int n, size_t stride, int16_t *center);

/* A prompt to compare with places: its vector and h / 2. */
typedef struct el_example_query {
  float half_crowd;
  int16_t q[EL_EXAMPLE_MAX_DIM];
} el_example_query;
void el_examples_query(const el_example_rule *rule, const float *x, el_example_query *out);

/* By how much the adapter's logit is above the base's. */
static inline float el_examples_margin(const el_example_place *p, const int16_t *restrict center,
                                       const el_example_query *restrict q, int padded) {
  int32_t sum = 0;
  for (int i = 0; i < padded; i++) sum += q->q[i] * center[i];
  const float one = (float)EL_EXAMPLE_ONE * EL_EXAMPLE_ONE;
  return p->gain * ((float)sum * (1 / one) - q->half_crowd) + p->offset;
}

typedef struct el_example_data {
  int dim, n_columns, base; /* base: its column, or -1 */
  const float *x;           /* [n, dim] the slice of the features that examples are compared by */
  const float *y;           /* [n, n_columns] scores */
  size_t n;
  uint64_t seed;
} el_example_data;

/* Fills *out with a background drawn from a table; to be freed with el_examples_free. */
el_status el_examples_learn(const el_example_data *d, el_example_rule *out, el_error *err);

#endif
