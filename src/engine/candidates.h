/* The tokens that may be drawn, and drawing one of them, without sorting.
 *
 * Candidates are ordered by how far their logit is below the largest one, then by token; top-k, top-p and min-p each
 * keep a front part of that order. So each is a cut: a distance, and how many of the tokens at exactly that distance
 * stay. It is found by histograms over distances, of a list of candidates that has the whole front part for sure. One
 * token is drawn from what is left, in order of tokens. */
#ifndef EL_ENGINE_CANDIDATES_H
#define EL_ENGINE_CANDIDATES_H

#include "engine/rowmath.h"

typedef struct el_candidates {
  const el_kernels *kernels;
  int n_vocab;

  const float *x; /* [n_vocab] */
  float max;      /* the largest */
  float *most;    /* [el_row_blocks(n_vocab)] each block's */

  bool listed; /* else all tokens of the row are candidates */
  int n;
  int32_t *ids; /* [n_vocab] tokens, ascending */
  float *below; /* [n_vocab] max - logit */

  float *weights;    /* [n_vocab] */
  int32_t *band;     /* [n_vocab] those of the list in which a cut lies */
  float *scratch;    /* [n_vocab] */
  double *sums;      /* [el_row_chunks(n_vocab)] */
  float summed;      /* they are of the row's weights at a temperature of 1 / this; 0: of something else */
  double hist[2048]; /* the most that a pass over distances tells apart */
} el_candidates;

/* False: out of memory. */
bool el_candidates_open(el_candidates *c, const el_kernels *k, int n_vocab);
void el_candidates_close(el_candidates *c);

/* What a weight's exponent is multiplied by. Below a temperature of 1e-6 the second best token weighs nothing unless
 * its logit is equal. */
static inline float el_candidates_scale(float temperature) {
  return 1.0f / (temperature > 1e-6f ? temperature : 1e-6f);
}

/* All tokens of a row; c->most is as el_row_argmax leaves it. */
void el_candidates_row(el_candidates *c, const float *x, float max);
/* Those whose bits are set. */
void el_candidates_list(el_candidates *c, const float *x, float max, const uint64_t *bits);

/* In this order. */
void el_candidates_top_k(el_candidates *c, int k);
void el_candidates_top_p(el_candidates *c, float p);
void el_candidates_min_p(el_candidates *c, float p);
/* u: in [0, 1) */
int32_t el_candidates_draw(el_candidates *c, float temperature, double u);

#endif
