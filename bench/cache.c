/* edgelora-bench cache: which policy keeps the right adapters, by simulated requests. No model is needed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/cache.h"
#include "base/random.h"
#include "bench/commands.h"
#include "cli/options.h"

/* Requests follow a power law: the adapter at place i of the order of popularity is asked for with probability
 * proportional to 1 / i^alpha. Drift changes the order: every so many requests a random adapter becomes the most
 * popular one, and those that were before it move down a place. A scan requests every adapter once, as a nightly job
 * does.
 */
typedef struct trace {
  const char *name;
  float alpha;
  int drift_every; /* requests; 0: never */
  int scan_every;  /* requests; 0: never */
} trace;

static const trace traces[] = {
    {"alpha 0.6", 0.6f, 0, 0},
    {"alpha 1", 1, 0, 0},
    {"alpha 1.4", 1.4f, 0, 0},
    {"alpha 1, drift every 1000", 1, 1000, 0},
    {"alpha 1, drift every 200", 1, 200, 0},
    {"alpha 1, drift every 50", 1, 50, 0},
    {"alpha 1.4, drift every 200", 1.4f, 200, 0},
    {"alpha 1, scan every 20000", 1, 0, 20000},
};
enum { N_TRACES = sizeof traces / sizeof *traces };

typedef struct bench {
  int n_adapters, n_cached, n_requests;
  uint64_t seed;
} bench;

static bool any_may(const void *user, const el_cache_item *item) {
  return true;
}

static double next_unit(uint64_t *state) {
  return (double)(el_mix64(*state += EL_GOLDEN_GAMMA) >> 11) * 0x1p-53;
}

/* The first place whose cumulative probability is above u. */
static int place_of_draw(const double *cumulative, int n, double u) {
  int low = 0, high = n - 1;
  while (low < high) {
    int middle = (low + high) / 2;
    if (cumulative[middle] > u)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

typedef struct sim {
  double *cumulative; /* [n_adapters] */
  int *order;         /* [n_adapters] the adapter at each place */
  el_cache_item *items;
} sim;

static void reset_sim(const bench *b, const trace *t, sim *s) {
  double sum = 0;
  for (int i = 0; i < b->n_adapters; i++) s->cumulative[i] = sum += pow(i + 1, -(double)t->alpha);
  for (int i = 0; i < b->n_adapters; i++) {
    s->cumulative[i] /= sum;
    s->order[i] = i;
    s->items[i] = (el_cache_item){0};
  }
}

static void drift_popularity(const bench *b, sim *s, uint64_t *rng) {
  int from = (int)(next_unit(rng) * b->n_adapters), adapter = s->order[from];
  for (int i = from; i > 0; i--) s->order[i] = s->order[i - 1];
  s->order[0] = adapter;
}

/* The share of requests whose adapter was there. */
static double hit_rate_of(const bench *b, const trace *t, const char *policy, sim *s) {
  el_cache cache;
  uint64_t rng = b->seed, hits = 0;
  if (el_cache_init(&cache, policy, NULL)) return 0;
  reset_sim(b, t, s);
  int scanned = b->n_adapters;
  for (int i = 0; i < b->n_requests; i++) {
    if (t->drift_every && i % t->drift_every == 0) drift_popularity(b, s, &rng);
    if (t->scan_every && i % t->scan_every == t->scan_every - 1) scanned = 0;
    /* Among the requests of a scan there are as many of the usual ones. */
    int adapter = scanned < b->n_adapters && i % 2
                      ? scanned++
                      : s->order[place_of_draw(s->cumulative, b->n_adapters, next_unit(&rng))];
    el_cache_item *item = &s->items[adapter];
    el_cache_use(&cache, item);
    if (item->resident) {
      hits++;
      continue;
    }
    if (cache.n_items == (uint64_t)b->n_cached) el_cache_remove(&cache, el_cache_victim(&cache, any_may, NULL), true);
    el_cache_insert(&cache, item, 1);
  }
  return (double)hits / b->n_requests;
}

static int simulate_traces(const bench *b) {
  size_t n = (size_t)b->n_adapters;
  sim s = {malloc(n * sizeof *s.cumulative), malloc(n * sizeof *s.order), malloc(n * sizeof *s.items)};
  int code = s.cumulative && s.order && s.items ? EL_EXIT_OK : el_cli_no_memory();
  if (!code) {
    printf("%d adapters, room for %d, %d requests: hit rate in percent\n\n%-28s", b->n_adapters, b->n_cached,
           b->n_requests, "");
    for (int p = 0; el_cache_policy_name(p); p++) printf(" %10s", el_cache_policy_name(p));
    printf(" %10s\n", "the best");
    for (int t = 0; t < N_TRACES; t++) {
      printf("%-28s", traces[t].name);
      for (int p = 0; el_cache_policy_name(p); p++)
        printf(" %10.1f", 100 * hit_rate_of(b, &traces[t], el_cache_policy_name(p), &s));
      /* The hit rate of keeping the most popular adapters, if the order of popularity were known. */
      printf(" %10.1f\n", 100 * s.cumulative[b->n_cached - 1]);
      fflush(stdout);
    }
  }
  free(s.cumulative);
  free(s.order);
  free(s.items);
  return code ? code : el_cli_end(EL_EXIT_OK);
}

static int run_cache(const el_cli_command *self, int argc, char **argv) {
  bench b = {.n_adapters = 1000, .n_cached = 50, .n_requests = 200000, .seed = 1};
  const el_cli_option options[] = {
      {0, "adapters", "N", EL_CLI_INT, &b.n_adapters, 2, 1000000,
       "number of adapters that requests name; default 1000"},
      {0, "cached", "N", EL_CLI_INT, &b.n_cached, 1, 100000, "number of adapters that fit into memory; default 50"},
      {'n', "requests", "N", EL_CLI_INT, &b.n_requests, 1000, 100000000,
       "number of requests in each trace; default 200000"},
      {0, "seed", "N", EL_CLI_U64, &b.seed, 0, 0, "seed of the random numbers; default 1"},
  };
  const el_cli_group group = {"Simulation", options, sizeof options / sizeof *options};
  int code = el_cli_parse(self, &group, 1, argc, argv, NULL);
  if (code < 0 && b.n_cached >= b.n_adapters)
    code =
        el_cli_usage_error(self, "--cached: %d leaves nothing to choose among %d adapters", b.n_cached, b.n_adapters);
  return code < 0 ? simulate_traces(&b) : code;
}

const el_cli_command el_cmd_bench_cache = {
    .name = "cache",
    .summary = "hit rates of the cache's policies on simulated requests",
    .usage = "[--adapters N] [--cached N] [options]",
    .about =
        "Simulates requests for adapters for each policy of --cache-policy, and prints hit rates.\n"
        "Popularity follows a power law. In some traces it drifts, in one a scan asks for every adapter.\n"
        "'The best' is the hit rate of keeping the most popular adapters.",
    .examples =
        "  edgelora-bench cache\n"
        "  edgelora-bench cache --adapters 10000 --cached 200",
    .run = run_cache};
