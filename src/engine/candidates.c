#include "engine/candidates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tuning.h"

enum {
  BUCKETS = 512, /* of distances */
  FEW = 256      /* so many are not put into buckets first */
};
#define PER_BUCKET 16.0f /* buckets of a distance of 1: exact, as it is a power of two */

/* What stays: distance < limit, and the first `ties` of those at the limit. */
typedef struct cut {
  float limit;
  int ties;
} cut;

bool el_candidates_open(el_candidates *c, const el_kernels *k, int n_vocab) {
  const size_t n = (size_t)n_vocab + EL_LANES; /* see row_near */
  *c = (el_candidates){.kernels = k, .n_vocab = n_vocab};
  c->most = malloc(sizeof *c->most * (size_t)el_row_blocks(n_vocab));
  c->ids = malloc(sizeof *c->ids * n);
  c->below = malloc(sizeof *c->below * n);
  c->weights = malloc(sizeof *c->weights * n);
  c->band = malloc(sizeof *c->band * n);
  c->scratch = malloc(sizeof *c->scratch * n);
  c->sums = malloc(sizeof *c->sums * (size_t)el_row_chunks(n_vocab));
  return c->most && c->ids && c->below && c->weights && c->band && c->scratch && c->sums;
}

void el_candidates_close(el_candidates *c) {
  free(c->most);
  free(c->ids);
  free(c->below);
  free(c->weights);
  free(c->band);
  free(c->scratch);
  free(c->sums);
}

void el_candidates_row(el_candidates *c, const float *x, float max) {
  c->x = x;
  c->max = max;
  c->listed = false;
  c->summed = 0;
}

void el_candidates_list(el_candidates *c, const float *x, float max, const uint64_t *bits) {
  el_candidates_row(c, x, max);
  c->listed = true;
  c->n = 0;
  for (int begin = 0; begin < c->n_vocab; begin += 64)
    for (uint64_t word = bits[begin / 64]; word; word &= word - 1) {
      const int i = begin + __builtin_ctzll(word);
      c->ids[c->n] = i;
      c->below[c->n++] = max - x[i];
    }
}

/* --------------------------------------------------------------------- cuts */

static inline uint32_t key_of_distance(float below) {
  uint32_t key;
  memcpy(&key, &below, sizeof key);
  return key;
}

/* The shortest front part of the order whose weights add up to `target`, by histograms over the bits of the distance (a
 * float that is not negative orders like its bits). The candidates: band[0 .. n), or NULL: 0 .. n - 1. weights: the
 * same for equal distances, or NULL: each counts 1. */
static cut cut_at(double *hist, const float *below, const float *weights, const int32_t *band, int n, double target) {
  static const struct { int shift, bits; } levels[] = {{20, 11}, {10, 10}, {0, 10}}; /* bit 31 is the sign, always 0 */
  uint32_t prefix = 0;
  double before = 0; /* weight of what is nearer than the prefix */
  for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
    const int shift = levels[l].shift, above = shift + levels[l].bits;
    const uint32_t n_buckets = 1u << levels[l].bits, mask = n_buckets - 1;
    uint32_t b = mask; /* the first that has something */
    memset(hist, 0, sizeof *hist * n_buckets);
    for (int k = 0; k < n; k++) {
      const int i = band ? band[k] : k;
      const uint32_t key = key_of_distance(below[i]);
      if (key >> above != prefix) continue;
      const uint32_t at = (key >> shift) & mask;
      hist[at] += weights ? (double)weights[i] : 1.0;
      b = at < b ? at : b;
    }
    while (b < n_buckets && before + hist[b] < target) before += hist[b++];
    if (b == n_buckets) return (cut){INFINITY, n}; /* all together weigh less */
    prefix = prefix << levels[l].bits | b;
  }
  cut c = {.ties = 1};
  memcpy(&c.limit, &prefix, sizeof c.limit);
  if (!weights) {
    c.ties = (int)(target - before);
  } else {
    double each = 0;
    for (int k = 0; k < n && each == 0; k++)
      if (below[band ? band[k] : k] == c.limit) each = (double)weights[band ? band[k] : k];
    const double ties = each > 0 ? ceil((target - before) / each) : 1;
    c.ties = ties < 1 ? 1 : ties < n ? (int)ties : n;
  }
  return c;
}

/* Distances by buckets: the last one has all that is further away. */
static void add_to_buckets(double *hist, const float *below, const float *weights, int n) {
  int32_t bucket[EL_LOGIT_CHUNK];
  for (int i = 0; i < n; i++) {
    const float scaled = below[i] * PER_BUCKET, most = BUCKETS - 1;
    bucket[i] = (int32_t)(scaled < most ? scaled : most);
  }
  for (int i = 0; i < n; i++) hist[bucket[i]] += weights ? (double)weights[i] : 1.0;
}

/* Where the bucket ends. */
static float end_of_bucket(int b) {
  return b < BUCKETS - 1 ? (float)(b + 1) / PER_BUCKET : INFINITY;
}

/* The band: what of the list is at `from` or further. Returns how many those are. */
static int find_band(el_candidates *c, float from) {
  return c->kernels->row_near(c->below, c->n, 0, 0, -from, c->band, c->scratch);
}

/* Adds the band up by distance; returns its mass. */
static double weigh_band(el_candidates *c, int n) {
  double mass = 0;
  memset(c->hist, 0, sizeof *c->hist * BUCKETS);
  for (int begin = 0; begin < n; begin += EL_LOGIT_CHUNK) {
    const int m = n - begin < EL_LOGIT_CHUNK ? n - begin : EL_LOGIT_CHUNK;
    float below[EL_LOGIT_CHUNK], weights[EL_LOGIT_CHUNK];
    for (int k = 0; k < m; k++) {
      below[k] = c->below[c->band[begin + k]];
      weights[k] = c->weights[c->band[begin + k]];
    }
    add_to_buckets(c->hist, below, weights, m);
  }
  for (int b = 0; b < BUCKETS; b++) mass += c->hist[b];
  return mass;
}

/* Leaves of the band what is in a bucket. */
static int narrow_band(el_candidates *c, int n, int bucket) {
  const float from = (float)bucket / PER_BUCKET, to = end_of_bucket(bucket), *below = c->below;
  int32_t *band = c->band;
  int left = 0;
  for (int k = 0; k < n; k++) {
    const int i = band[k];
    band[left] = i;
    left += (below[i] >= from) & (below[i] < to);
  }
  return left;
}

/* cut_at of the list, which weighs `mass`: in the band that begins at `from`, if that is not too far, which bucket it
 * lies in, then where in it. */
static cut cut_list(el_candidates *c, double mass, float from, double target) {
  if (c->n <= FEW) return cut_at(c->hist, c->below, c->weights, NULL, c->n, target);
  int n = find_band(c, from);
  double before = mass - weigh_band(c, n);
  if (from <= 0 || before >= target) {
    n = find_band(c, 0);
    weigh_band(c, n);
    before = 0;
  }
  int b = 0;
  while (b < BUCKETS && before + c->hist[b] < target) before += c->hist[b++];
  if (b == BUCKETS) return (cut){INFINITY, c->n};
  n = narrow_band(c, n, b);
  cut at = cut_at(c->hist, c->below, c->weights, c->band, n, target - before);
  if (at.limit < INFINITY) return at;
  at.limit = 0; /* it was rounded in another order: all of the bucket, then */
  for (int k = 0; k < n; k++) at.limit = c->below[c->band[k]] > at.limit ? c->below[c->band[k]] : at.limit;
  return at;
}

static void keep(el_candidates *c, cut at) {
  int n = 0;
  for (int i = 0; i < c->n; i++) {
    const float below = c->below[i];
    if (below > at.limit || (below == at.limit && at.ties-- <= 0)) continue;
    c->ids[n] = c->ids[i];
    c->below[n++] = below;
  }
  c->n = n;
}

/* As keep, where much stays: what does not is infinitely far. */
static void hide(el_candidates *c, cut at) {
  int n_ties = 0;
  for (int i = 0; i < c->n; i++) {
    n_ties += c->below[i] == at.limit;
    c->below[i] = c->below[i] <= at.limit ? c->below[i] : INFINITY;
  }
  for (int i = c->n - 1; n_ties > at.ties; i--)
    if (c->below[i] == at.limit) {
      c->below[i] = INFINITY;
      n_ties--;
    }
}

/* -------------------------------------------------------------------- lists */

/* The weights of the list at a temperature of 1 / scale; returns their sum. */
static double weigh_list(el_candidates *c, float scale) {
  return el_row_exp(c->kernels, c->below, c->n, 0, -scale, c->weights, c->sums);
}

/* The sum of the weights of the row, and c->sums. */
static double weigh_row(el_candidates *c, float scale) {
  if (c->summed == scale) return el_row_total(c->sums, c->n_vocab);
  return el_row_exp(c->kernels, c->x, c->n_vocab, c->max, scale, NULL, c->sums);
}

/* A distance within which there are k candidates of the row at least: so many blocks have one there. */
static float reach(el_candidates *c, int k) {
  const int n_blocks = el_row_blocks(c->n_vocab);
  if (k > n_blocks) return INFINITY;
  memset(c->hist, 0, sizeof *c->hist * BUCKETS);
  for (int begin = 0; begin < n_blocks; begin += EL_LOGIT_CHUNK) {
    const int n = n_blocks - begin < EL_LOGIT_CHUNK ? n_blocks - begin : EL_LOGIT_CHUNK;
    float below[EL_LOGIT_CHUNK];
    for (int b = 0; b < n; b++) below[b] = c->max - c->most[begin + b];
    add_to_buckets(c->hist, below, NULL, n);
  }
  int b = 0;
  for (double n = c->hist[0]; n < k;) n += c->hist[++b];
  return end_of_bucket(b);
}

/* Lists what of the row is within a distance. Blocks that have something are taken together with those beside them. */
static void list_within(el_candidates *c, float limit) {
  const int n_blocks = el_row_blocks(c->n_vocab);
  c->n = 0;
  for (int b = 0, end; b < n_blocks; b = end + 1) {
    for (end = b; end < n_blocks && c->max - c->most[end] <= limit;) end++;
    const int first = b * EL_LOGIT_BLOCK, last = end * EL_LOGIT_BLOCK < c->n_vocab ? end * EL_LOGIT_BLOCK : c->n_vocab;
    if (end > b)
      c->n += c->kernels->row_near(c->x + first, last - first, first, c->max, limit, c->ids + c->n, c->below + c->n);
  }
  c->listed = true;
}

void el_candidates_top_k(el_candidates *c, int k) {
  if (k >= (c->listed ? c->n : c->n_vocab)) return;
  if (!c->listed) list_within(c, reach(c, k));
  if (k < c->n) keep(c, cut_at(c->hist, c->below, NULL, NULL, c->n, k));
}

/* Distances between which the front part most likely ends behind which `tail` of the mass is: a part of the row tells,
 * since what weighs little is many. */
static void estimate(el_candidates *c, double tail, float *from, float *to) {
  float weights[EL_LOGIT_CHUNK], below[EL_LOGIT_CHUNK];
  double sum = 0;
  int n_chunks = 0;
  memset(c->hist, 0, sizeof *c->hist * BUCKETS);
  for (int begin = EL_NUCLEUS_SAMPLE / 2 * EL_LOGIT_CHUNK; begin + EL_LOGIT_CHUNK <= c->n_vocab;
       begin += EL_NUCLEUS_SAMPLE * EL_LOGIT_CHUNK) {
    c->kernels->row_exp(c->x + begin, EL_LOGIT_CHUNK, c->max, 1.0f, weights, NULL);
    for (int i = 0; i < EL_LOGIT_CHUNK; i++) below[i] = c->max - c->x[begin + i];
    add_to_buckets(c->hist, below, weights, EL_LOGIT_CHUNK);
    n_chunks++;
  }
  tail *= (double)n_chunks * EL_LOGIT_CHUNK / c->n_vocab;
  int b = BUCKETS - 1;
  while (b > 0 && sum + c->hist[b] <= tail / EL_NUCLEUS_MARGIN) sum += c->hist[b--];
  *to = end_of_bucket(b);
  while (b > 0 && sum <= tail * EL_NUCLEUS_MARGIN) sum += c->hist[b--];
  *from = (float)b / PER_BUCKET;
}

void el_candidates_top_p(el_candidates *c, float p) {
  float from = 0, to;
  double mass, target;
  if (c->listed) {
    mass = weigh_list(c, 1.0f);
    target = (double)p * mass;
  } else {
    const double total = weigh_row(c, 1.0f);
    target = (double)p * total;
    if (total < EL_NUCLEUS_FLAT) list_within(c, reach(c, EL_NUCLEUS_TRY));
    mass = total < EL_NUCLEUS_FLAT ? weigh_list(c, 1.0f) : 0;
    if (mass < target) {
      estimate(c, total - target, &from, &to);
      list_within(c, to);
      mass = weigh_list(c, 1.0f);
    }
    if (mass < target) {
      list_within(c, INFINITY);
      mass = weigh_list(c, 1.0f);
    }
  }
  hide(c, cut_list(c, mass, from, target));
}

void el_candidates_min_p(el_candidates *c, float p) {
  const float limit = -logf(p);
  if (c->listed)
    keep(c, (cut){limit, c->n});
  else
    list_within(c, limit);
}

/* ------------------------------------------------------------------ drawing */

/* The weights of a chunk of the list, or of the row. */
static const float *chunk_weights(el_candidates *c, int begin, int end, float scale) {
  if (!c->listed) c->kernels->row_exp(c->x + begin, end - begin, c->max, scale, c->weights + begin, NULL);
  return c->weights;
}

int32_t el_candidates_draw(el_candidates *c, float temperature, double u) {
  const float scale = el_candidates_scale(temperature);
  const int n = c->listed ? c->n : c->n_vocab;
  const double total = c->listed ? weigh_list(c, scale) : weigh_row(c, scale);
  const double target = u * total;
  double sum = 0;
  int begin = 0, last = -1;
  while (begin + EL_LOGIT_CHUNK < n && sum + c->sums[begin / EL_LOGIT_CHUNK] <= target) {
    sum += c->sums[begin / EL_LOGIT_CHUNK];
    begin += EL_LOGIT_CHUNK;
  }
  /* A chunk's sum was rounded in another order than here; then the last one with weight stands for the end. */
  const int first = begin;
  for (; begin < n && sum <= target; begin += EL_LOGIT_CHUNK) {
    const int end = n - begin < EL_LOGIT_CHUNK ? n : begin + EL_LOGIT_CHUNK;
    const float *weights = chunk_weights(c, begin, end, scale);
    for (int i = begin; i < end && sum <= target; i++) {
      sum += (double)weights[i];
      if (weights[i] > 0) last = i;
    }
  }
  for (begin = first - EL_LOGIT_CHUNK; last < 0; begin -= EL_LOGIT_CHUNK) {
    const float *weights = chunk_weights(c, begin, begin + EL_LOGIT_CHUNK, scale);
    for (int i = begin + EL_LOGIT_CHUNK - 1; i >= begin && last < 0; i--)
      if (weights[i] > 0) last = i;
  }
  return c->listed ? c->ids[last] : last;
}
