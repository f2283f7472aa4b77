/* What is asked for, and when: the workload of the EdgeLoRA paper (arXiv 2507.01438), drawn from a seed.
 *
 * Arrivals have gaps of a Gamma distribution, adapters follow a power law, lengths are uniform. Each of the three has
 * random numbers of its own: with another alpha, say, the same requests arrive at the same times with the same
 * lengths, and what differs between two runs is what was meant to differ. */
#ifndef EL_BENCH_LOAD_WORKLOAD_H
#define EL_BENCH_LOAD_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgelora.h"

/* Instead of an adapter's number. */
enum { EL_LOAD_BASE = -1, EL_LOAD_AUTO = -2 };

typedef struct el_load_item {
  double at;   /* seconds after the start */
  int adapter; /* its place in a list of names, or one of the above */
  int n_in, n_out;
} el_load_item;

typedef struct el_load_spec {
  int n_adapters; /* 0: all requests are for `without` */
  int without;    /* EL_LOAD_BASE or EL_LOAD_AUTO */
  double alpha;   /* adapter i (from 1) has a probability proportional to 1 / i^alpha */
  double rate;    /* arrivals a second; 0: all at once */
  double cv;      /* of the gaps: standard deviation over mean; 0: all alike, 1: a Poisson process */
  int in_min, in_max, out_min, out_max;
  uint64_t seed;
} el_load_spec;

typedef struct el_load_random {
  uint64_t state;
} el_load_random;

el_load_random el_load_random_new(uint64_t seed, uint64_t stream);
/* In [0, 1). */
double el_load_uniform(el_load_random *r);
/* Whole, from min to max, each as likely. */
int el_load_between(el_load_random *r, int min, int max);
/* Of mean shape. */
double el_load_gamma(el_load_random *r, double shape);

typedef struct el_load_workload {
  el_load_spec spec;
  double at;
  double *cumulative; /* [n_adapters] */
  el_load_random arrivals, adapters, lengths;
} el_load_workload;

el_status el_load_workload_init(el_load_workload *w, const el_load_spec *spec, el_error *err);
void el_load_workload_free(el_load_workload *w);
/* The next request. */
el_load_item el_load_workload_next(el_load_workload *w);

#endif
