/* Random numbers that a seed repeats, and requests' sampling made of them. */
#ifndef EL_TESTS_RANDOM_REQUEST_H
#define EL_TESTS_RANDOM_REQUEST_H

#include "base/random.h"
#include "edgelora.h"

static inline uint64_t next_random(uint64_t *state) {
  return el_mix64(*state += EL_GOLDEN_GAMMA);
}

static inline int below(uint64_t *state, int n) {
  return (int)(next_random(state) % (uint64_t)n);
}

/* Half of them greedy, a third with penalties. */
static inline void random_sampling(uint64_t *s, el_sampling *p) {
  if (below(s, 2)) {
    p->temperature = 0.1f + (float)below(s, 20) / 10;
    p->top_k = below(s, 2) ? below(s, 300) : 0;
    p->top_p = below(s, 2) ? (float)(1 + below(s, 100)) / 100 : 1;
    p->min_p = below(s, 4) ? 0 : 0.05f;
  }
  if (below(s, 3) == 0) {
    p->repeat_penalty = 1.2f;
    p->repeat_last_n = below(s, 40) - 1;
    p->frequency_penalty = 0.3f;
    p->presence_penalty = -0.2f;
  }
}

#endif
