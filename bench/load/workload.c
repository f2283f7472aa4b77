#include "bench/load/workload.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"

enum { ARRIVALS = 1, ADAPTERS, LENGTHS };

el_load_random el_load_random_new(uint64_t seed, uint64_t stream) {
  return (el_load_random){el_mix64(el_mix64(seed + EL_GOLDEN_GAMMA) + stream * EL_GOLDEN_GAMMA)};
}

static uint64_t next_bits(el_load_random *r) {
  return el_mix64(r->state += EL_GOLDEN_GAMMA);
}

double el_load_uniform(el_load_random *r) {
  return (double)(next_bits(r) >> 11) * 0x1p-53;
}

int el_load_between(el_load_random *r, int min, int max) {
  assert(min <= max);
  /* 2^53 steps over at most 2^31 values: no value is more likely than another by more than 2^-22. */
  return min + (int)(el_load_uniform(r) * ((double)max - min + 1));
}

/* Marsaglia's polar method. Of the two values that it gives, one is let go: so a draw has no hidden state. */
static double draw_normal(el_load_random *r) {
  double x, y, s;
  do {
    x = 2 * el_load_uniform(r) - 1;
    y = 2 * el_load_uniform(r) - 1;
    s = x * x + y * y;
  } while (s >= 1 || s == 0);
  return x * sqrt(-2 * log(s) / s);
}

/* Marsaglia, Tsang: "A simple method for generating gamma variables", ACM Transactions on Mathematical Software 26
 * (2000), without its squeeze step, which only saves logarithms. Below 1 they draw for shape + 1 and scale by
 * U^(1/shape) (their section 6). */
double el_load_gamma(el_load_random *r, double shape) {
  assert(shape > 0);
  if (shape < 1) {
    double u = 1 - el_load_uniform(r); /* above 0 */
    return el_load_gamma(r, shape + 1) * pow(u, 1 / shape);
  }
  double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    double x = draw_normal(r), v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    if (log(1 - el_load_uniform(r)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
  }
}

el_status el_load_workload_init(el_load_workload *w, const el_load_spec *spec, el_error *err) {
  *w = (el_load_workload){.spec = *spec,
                          .arrivals = el_load_random_new(spec->seed, ARRIVALS),
                          .adapters = el_load_random_new(spec->seed, ADAPTERS),
                          .lengths = el_load_random_new(spec->seed, LENGTHS)};
  if (spec->n_adapters == 0) return EL_OK;
  w->cumulative = malloc((size_t)spec->n_adapters * sizeof *w->cumulative);
  if (!w->cumulative)
    return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for the odds of %d adapters", spec->n_adapters);
  double sum = 0;
  for (int i = 0; i < spec->n_adapters; i++) w->cumulative[i] = sum += pow(i + 1, -spec->alpha);
  return EL_OK;
}

void el_load_workload_free(el_load_workload *w) {
  free(w->cumulative);
  w->cumulative = NULL;
}

static double draw_gap(el_load_workload *w) {
  const el_load_spec *s = &w->spec;
  if (s->rate <= 0) return 0;
  if (s->cv <= 0) return 1 / s->rate;
  double variance = s->cv * s->cv; /* of gaps of mean 1: shape 1 / cv^2, scale cv^2 */
  return el_load_gamma(&w->arrivals, 1 / variance) * variance / s->rate;
}

/* The first whose cumulative weight is above a draw. */
static int draw_adapter(el_load_workload *w) {
  if (w->spec.n_adapters == 0) return w->spec.without;
  int low = 0, high = w->spec.n_adapters - 1;
  double u = el_load_uniform(&w->adapters) * w->cumulative[high];
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (w->cumulative[middle] > u)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

el_load_item el_load_workload_next(el_load_workload *w) {
  const el_load_spec *s = &w->spec;
  w->at += draw_gap(w);
  int n_in = el_load_between(&w->lengths, s->in_min, s->in_max);
  int n_out = el_load_between(&w->lengths, s->out_min, s->out_max);
  return (el_load_item){w->at, draw_adapter(w), n_in, n_out};
}
