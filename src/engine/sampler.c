/* Sampling without sorting. Candidates are ordered by how far their logit is below the largest one, then by token;
 * top-k, top-p and min-p each keep a front part of that order. So each is a cut: a distance, and how many of the tokens
 * at exactly that distance stay. A cut is found by histograms over the bits of the distance (a float that is not
 * negative orders like its bits); then one token is drawn from what is left, in any order. */
#include "engine/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engine/rowmath.h"

enum {
  BLOCK = 64,        /* entries whose smallest distance is kept, to skip them together */
  NUCLEUS_TRY = 256, /* top-p first looks at this many: most often they hold the mass */
  HIST = 2048
};

struct el_sampler {
  int most, n_vocab; /* that there is room for; of the row at hand */
  float *work;       /* [n_vocab] logits with bias and penalties */
  int32_t *counts;   /* [n_vocab] all 0 between calls */

  /* The candidates. */
  int n;
  float *below; /* [n_vocab] max - logit */
  int32_t *ids; /* [n_vocab] their tokens, ascending; valid when `listed`, else candidate i is token i */
  bool listed;
  float *weights; /* [n_vocab] */
  double *sums;   /* [ceil(n_vocab / EL_ROW_CHUNK)] */
  float *nearest; /* [ceil(n_vocab / BLOCK)] the smallest `below` of each block, while not `listed` */
  uint64_t *mask; /* [ceil(n_vocab / 64)] the caller's */
  double hist[HIST];
};

/* What stays: distance < limit, and the first `ties` of those at the limit. */
typedef struct cut {
  float limit;
  int ties;
} cut;

static inline uint32_t key_of(float below) {
  uint32_t key;
  memcpy(&key, &below, sizeof key);
  return key;
}

/* The shortest front part of the order whose weights add up to `target`. weights: [n], the same for equal distances, or
 * NULL: each counts 1. */
static cut cut_at(double hist[HIST], const float *below, const float *weights, int n, double target) {
  static const struct { int shift, bits; } levels[] = {{20, 11}, {10, 10}, {0, 10}}; /* bit 31 is the sign, always 0 */
  uint32_t prefix = 0;
  double before = 0; /* weight of what is nearer than the prefix */
  for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
    int shift = levels[l].shift, above = shift + levels[l].bits;
    uint32_t n_buckets = 1u << levels[l].bits, mask = n_buckets - 1;
    memset(hist, 0, sizeof *hist * n_buckets);
    for (int i = 0; i < n; i++) {
      uint32_t key = key_of(below[i]);
      if (key >> above == prefix) hist[(key >> shift) & mask] += weights ? (double)weights[i] : 1.0;
    }
    uint32_t b = 0;
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
    for (int i = 0; i < n && each == 0; i++)
      if (below[i] == c.limit) each = (double)weights[i];
    double ties = each > 0 ? ceil((target - before) / each) : 1;
    c.ties = ties < 1 ? 1 : ties < n ? (int)ties : n;
  }
  return c;
}

static void keep(el_sampler *s, cut c) {
  int n = 0;
  for (int i = 0; i < s->n; i++) {
    while (!s->listed && i < s->n && i % BLOCK == 0 && s->nearest[i / BLOCK] > c.limit) i += BLOCK;
    if (i >= s->n) break;
    float below = s->below[i];
    if (below > c.limit || (below == c.limit && c.ties-- <= 0)) continue;
    s->ids[n] = s->listed ? s->ids[i] : i;
    s->below[n++] = below;
  }
  s->n = n;
  s->listed = true;
}

/* A distance within which there are k candidates at least: the k-th of the blocks' nearest ones. */
static float reach(el_sampler *s, int k) {
  int n_blocks = (s->n + BLOCK - 1) / BLOCK;
  if (s->listed || k > n_blocks) return INFINITY;
  return cut_at(s->hist, s->nearest, NULL, n_blocks, k).limit;
}

static void top_k(el_sampler *s, int k) {
  if (k >= s->n) return;
  keep(s, (cut){reach(s, k), s->n});
  if (k < s->n) keep(s, cut_at(s->hist, s->below, NULL, s->n, k));
}

static void top_p(el_sampler *s, float p) {
  double target = (double)p * el_row_exp(s->below, s->n, 0, -1.0f, s->weights, NULL);
  float limit = reach(s, NUCLEUS_TRY);
  if (limit < INFINITY) {
    double mass = 0;
    for (int i = 0; i < s->n; i++) {
      while (i < s->n && i % BLOCK == 0 && s->nearest[i / BLOCK] > limit) i += BLOCK;
      if (i < s->n && s->below[i] <= limit) mass += (double)s->weights[i];
    }
    if (mass >= target) {
      keep(s, (cut){limit, s->n});
      el_row_exp(s->below, s->n, 0, -1.0f, s->weights, NULL);
    }
  }
  keep(s, cut_at(s->hist, s->below, s->weights, s->n, target));
}

static int32_t draw(el_sampler *s, float temperature, double u) {
  /* Below this temperature the second best token weighs nothing unless its logit is equal. */
  float t = temperature > 1e-6f ? temperature : 1e-6f;
  double total = el_row_exp(s->below, s->n, 0, -1.0f / t, s->weights, s->sums), target = u * total, sum = 0;
  int n_chunks = (s->n + EL_ROW_CHUNK - 1) / EL_ROW_CHUNK, c = 0, last = -1;
  while (c < n_chunks - 1 && sum + s->sums[c] <= target) sum += s->sums[c++];
  /* A chunk's sum was rounded in another order than here; then the last one with weight stands for the end. */
  for (int i = c * EL_ROW_CHUNK; i < s->n; i++) {
    sum += (double)s->weights[i];
    if (s->weights[i] > 0) last = i;
    if (sum > target) break;
  }
  for (int i = c * EL_ROW_CHUNK; last < 0;)
    if (s->weights[--i] > 0) last = i;
  return s->listed ? s->ids[last] : last;
}

double el_random_unit(uint64_t seed, uint64_t index) {
  uint64_t z = el_mix64(el_mix64(seed + EL_GOLDEN_GAMMA) + index * EL_GOLDEN_GAMMA);
  return (double)(el_mix64(z) >> 11) * 0x1p-53;
}

static void add_bias(float *x, const el_sampling *p) {
  for (size_t i = 0; i < p->n_logit_bias; i++) {
    float *logit = &x[p->logit_bias[i].token];
    *logit = p->logit_bias[i].bias <= EL_BANNED_BIAS ? -INFINITY : *logit + p->logit_bias[i].bias;
  }
}

static void penalize_repeats(el_sampler *s, const el_sampling *p, const int32_t *tokens, int n_tokens) {
  int from = p->repeat_last_n < 0 || p->repeat_last_n > n_tokens ? 0 : n_tokens - p->repeat_last_n;
  for (int i = from; i < n_tokens; i++) {
    if (s->counts[tokens[i]]++) continue;
    float *logit = &s->work[tokens[i]];
    *logit = *logit > 0 ? *logit / p->repeat_penalty : *logit * p->repeat_penalty;
  }
  for (int i = from; i < n_tokens; i++) s->counts[tokens[i]] = 0;
}

static void penalize_counts(el_sampler *s, const el_sampling *p, const int32_t *generated, int n) {
  for (int i = 0; i < n; i++) s->counts[generated[i]]++;
  for (int i = 0; i < n; i++) {
    int32_t *count = &s->counts[generated[i]];
    if (*count) s->work[generated[i]] -= p->presence_penalty + p->frequency_penalty * (float)*count;
    *count = 0;
  }
}

/* el_row_argmax among those whose bits are set, which are not NaN. */
static int argmax_among(const float *logits, const uint64_t *bits, int n_vocab, float *max) {
  int best = -1;
  *max = -INFINITY;
  for (int begin = 0; begin < n_vocab; begin += 64)
    for (uint64_t word = bits[begin / 64]; word; word &= word - 1) {
      int i = begin + __builtin_ctzll(word);
      if (logits[i] > *max) *max = logits[best = i];
    }
  return best;
}

/* All tokens are candidates. */
static void all_candidates(el_sampler *s, const float *logits, float max) {
  s->n = s->n_vocab;
  s->listed = false;
  for (int b = 0, i = 0; i < s->n; b++) {
    float nearest = INFINITY;
    for (int end = s->n - i < BLOCK ? s->n : i + BLOCK; i < end; i++) {
      s->below[i] = max - logits[i];
      nearest = s->below[i] < nearest ? s->below[i] : nearest;
    }
    s->nearest[b] = nearest;
  }
}

/* Those whose bits are set: as a list when they are few, else the others are infinitely far. */
static void candidates_among(el_sampler *s, const float *logits, float max, const uint64_t *bits) {
  _Static_assert(BLOCK == 64, "a block is a word of bits");
  int n_words = (s->n_vocab + 63) / 64, n = 0;
  for (int b = 0; b < n_words; b++) n += __builtin_popcountll(bits[b]);
  s->listed = n < s->n_vocab / 16;
  s->n = s->listed ? 0 : s->n_vocab;
  for (int b = 0; b < n_words; b++) {
    uint64_t word = bits[b];
    int begin = b * 64, end = s->n_vocab - begin < 64 ? s->n_vocab : begin + 64;
    if (s->listed) {
      for (; word; word &= word - 1) {
        int i = begin + __builtin_ctzll(word);
        s->ids[s->n] = i;
        s->below[s->n++] = max - logits[i];
      }
      continue;
    }
    float nearest = INFINITY;
    for (int i = begin; i < end; i++) s->below[i] = word ? max - logits[i] : INFINITY;
    for (uint64_t not_these = word ? ~word : 0; not_these; not_these &= not_these - 1) {
      int i = begin + __builtin_ctzll(not_these);
      if (i >= end) break;
      s->below[i] = INFINITY;
    }
    for (int i = begin; i < end; i++) nearest = s->below[i] < nearest ? s->below[i] : nearest;
    s->nearest[b] = nearest;
  }
}

el_status el_sampler_pick(el_sampler *s, const float *logits, const el_sampling *p, const int32_t *tokens, int n_prompt,
                          int n_tokens, int32_t *token, el_error *err) {
  return el_sampler_pick_among(s, logits, NULL, p, tokens, n_prompt, n_tokens, token, err);
}

el_status el_sampler_pick_among(el_sampler *s, const float *logits, const uint64_t *allowed, const el_sampling *p,
                                const int32_t *tokens, int n_prompt, int n_tokens, int32_t *token, el_error *err) {
  float max;
  int best = el_row_argmax(logits, s->n_vocab, &max);
  if (best < 0) return el_fail(err, EL_ERR_FORMAT, "the model gave a logit that is not finite");
  if (p->n_allowed_tokens) {
    for (int i = 0; i < s->n_vocab; i++) s->work[i] = -INFINITY;
    for (size_t i = 0; i < p->n_allowed_tokens; i++) s->work[p->allowed_tokens[i]] = logits[p->allowed_tokens[i]];
    logits = s->work;
    best = el_row_argmax(logits, s->n_vocab, &max);
  }
  bool repeats = p->repeat_penalty != 1 && p->repeat_last_n != 0;
  bool counts = p->frequency_penalty != 0 || p->presence_penalty != 0;
  if (p->n_logit_bias || repeats || counts) {
    if (logits != s->work) memcpy(s->work, logits, sizeof *logits * (size_t)s->n_vocab);
    add_bias(s->work, p);
    if (repeats) penalize_repeats(s, p, tokens, n_tokens);
    if (counts) penalize_counts(s, p, tokens + n_prompt, n_tokens - n_prompt);
    logits = s->work;
    best = el_row_argmax(logits, s->n_vocab, &max);
  }
  if (best < 0) return el_fail(err, EL_ERR_INVALID, "logit_bias: bans every token");
  if (allowed && !(allowed[best / 64] >> best % 64 & 1)) best = argmax_among(logits, allowed, s->n_vocab, &max);
  if (best < 0)
    return el_fail(err, EL_ERR_INVALID,
                   "constraint: no token of the vocabulary that may be drawn goes on with the text");
  *token = best;
  if (p->temperature == 0 || p->top_k == 1) return EL_OK;

  if (allowed)
    candidates_among(s, logits, max, allowed);
  else
    all_candidates(s, logits, max);
  if (p->top_k > 0) top_k(s, p->top_k);
  if (p->top_p < 1) top_p(s, p->top_p);
  if (p->min_p > 0) keep(s, (cut){-logf(p->min_p), s->n});
  *token = draw(s, p->temperature, el_random_unit(p->seed, (uint64_t)(n_tokens - n_prompt)));
  return EL_OK;
}

uint64_t *el_sampler_mask(el_sampler *s) {
  return s->mask;
}

el_sampling el_sampling_default(void) {
  return (el_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};
}

el_status el_sampling_check(const el_sampling *p, int n_vocab, el_error *err) {
  if (!(p->temperature >= 0) || !isfinite(p->temperature))
    return el_fail(err, EL_ERR_INVALID, "temperature: %g is not a finite number of 0 or more", (double)p->temperature);
  if (p->top_k < 0) return el_fail(err, EL_ERR_INVALID, "top_k: %d is below 0", p->top_k);
  if (!(p->top_p > 0 && p->top_p <= 1))
    return el_fail(err, EL_ERR_INVALID, "top_p: %g is not above 0 and at most 1", (double)p->top_p);
  if (!(p->min_p >= 0 && p->min_p <= 1))
    return el_fail(err, EL_ERR_INVALID, "min_p: %g is not in 0 to 1", (double)p->min_p);
  if (!(p->repeat_penalty >= EL_MIN_REPEAT_PENALTY && p->repeat_penalty <= EL_MAX_PENALTY))
    return el_fail(err, EL_ERR_INVALID, "repeat_penalty: %g is not in %g to %g", (double)p->repeat_penalty,
                   (double)EL_MIN_REPEAT_PENALTY, (double)EL_MAX_PENALTY);
  if (!(fabsf(p->frequency_penalty) <= EL_MAX_PENALTY))
    return el_fail(err, EL_ERR_INVALID, "frequency_penalty: %g is not in %g to %g", (double)p->frequency_penalty,
                   -(double)EL_MAX_PENALTY, (double)EL_MAX_PENALTY);
  if (!(fabsf(p->presence_penalty) <= EL_MAX_PENALTY))
    return el_fail(err, EL_ERR_INVALID, "presence_penalty: %g is not in %g to %g", (double)p->presence_penalty,
                   -(double)EL_MAX_PENALTY, (double)EL_MAX_PENALTY);
  if (p->repeat_last_n < -1) return el_fail(err, EL_ERR_INVALID, "repeat_last_n: %d is below -1", p->repeat_last_n);
  if (p->n_logit_bias > EL_MAX_LOGIT_BIAS)
    return el_fail(err, EL_ERR_INVALID, "logit_bias: %zu entries, the limit is %d", p->n_logit_bias, EL_MAX_LOGIT_BIAS);
  if (p->n_logit_bias && !p->logit_bias) return el_fail(err, EL_ERR_INVALID, "logit_bias: is NULL");
  if (p->n_allowed_tokens && !p->allowed_tokens) return el_fail(err, EL_ERR_INVALID, "allowed_tokens: is NULL");
  if (p->n_allowed_tokens > (size_t)n_vocab)
    return el_fail(err, EL_ERR_INVALID, "allowed_tokens: %zu tokens, the vocabulary has %d", p->n_allowed_tokens,
                   n_vocab);
  for (size_t i = 0; i < p->n_allowed_tokens; i++)
    if (p->allowed_tokens[i] < 0 || p->allowed_tokens[i] >= n_vocab)
      return el_fail(err, EL_ERR_INVALID, "allowed_tokens[%zu]: token %d is not in 0 to %d", i,
                     (int)p->allowed_tokens[i], n_vocab - 1);
  for (size_t i = 0; i < p->n_logit_bias; i++) {
    const el_logit_bias *b = &p->logit_bias[i];
    if (b->token < 0 || b->token >= n_vocab)
      return el_fail(err, EL_ERR_INVALID, "logit_bias[%zu]: token %d is not in 0 to %d", i, (int)b->token, n_vocab - 1);
    if (!(fabsf(b->bias) <= EL_MAX_BIAS))
      return el_fail(err, EL_ERR_INVALID, "logit_bias[%zu]: %g is not in %g to %g", i, (double)b->bias,
                     -(double)EL_MAX_BIAS, (double)EL_MAX_BIAS);
  }
  return EL_OK;
}

el_status el_sampler_new(int n_vocab, el_sampler **out, el_error *err) {
  assert(n_vocab > 0);
  el_sampler *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "sampler: out of memory");
  size_t n = (size_t)n_vocab;
  s->most = s->n_vocab = n_vocab;
  s->work = malloc(sizeof *s->work * n);
  s->counts = calloc(n, sizeof *s->counts);
  s->below = malloc(sizeof *s->below * n);
  s->ids = malloc(sizeof *s->ids * n);
  s->weights = malloc(sizeof *s->weights * n);
  s->sums = malloc(sizeof *s->sums * (n / EL_ROW_CHUNK + 1));
  s->nearest = malloc(sizeof *s->nearest * (n / BLOCK + 1));
  s->mask = malloc(sizeof *s->mask * (n / 64 + 1));
  if (!s->work || !s->counts || !s->below || !s->ids || !s->weights || !s->sums || !s->nearest || !s->mask) {
    el_sampler_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "sampler: out of memory");
  }
  *out = s;
  return EL_OK;
}

void el_sampler_use(el_sampler *s, int n_vocab) {
  assert(n_vocab > 0 && n_vocab <= s->most);
  s->n_vocab = n_vocab;
}

void el_sampler_free(el_sampler *s) {
  if (!s) return;
  free(s->work);
  free(s->counts);
  free(s->below);
  free(s->ids);
  free(s->weights);
  free(s->sums);
  free(s->nearest);
  free(s->mask);
  free(s);
}
