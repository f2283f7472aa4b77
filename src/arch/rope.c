/* Frequencies of the rotary embedding.
 *
 * Pair i of a head turns by base^(-2i / n_rot) at each position. To reach beyond the context that a
 * model was trained for, linear scaling slows down all pairs. YaRN (arXiv 2309.00071) slows down
 * only those that make few turns within the original context: between beta_slow and beta_fast turns
 * it changes gradually from one to the other. */
#include "arch/hparams.h"

#include <math.h>

/* The pair that makes `turns` turns within the original context. */
static double pair_at_turns(const el_rope *r, double turns) {
  return r->n_rot * log(r->ctx_original / (turns * 2 * M_PI)) / (2 * log(r->base));
}

/* How far pair i keeps its speed: 0 to 1. */
static double kept_speed(const el_rope *r, int i) {
  double from = fmax(0, floor(pair_at_turns(r, r->beta_fast))),
         to = fmin(r->n_rot - 1, ceil(pair_at_turns(r, r->beta_slow)));
  double at = (i - from) / fmax(0.001, to - from);
  return 1 - fmin(1, fmax(0, at));
}

void el_rope_frequencies(const el_rope *r, const float *factors, double *inv_freq) {
  for (int i = 0; i < r->n_rot / 2; i++) {
    double f = pow(r->base, -2.0 * i / r->n_rot) / (factors ? (double)factors[i] : 1.0),
           mix = r->yarn ? kept_speed(r, i) : 0;
    inv_freq[i] = f * (r->scale * (1 - mix) + mix);
  }
}
