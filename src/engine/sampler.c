/* From a row of logits to a token: biases, penalties and masks; candidates.c does the rest. */
#include "engine/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engine/candidates.h"

struct el_sampler {
  int most, n_vocab; /* that there is room for; of the row at hand */
  float *work;       /* [n_vocab] logits with bias and penalties, or of what is allowed */
  int32_t *counts;   /* [n_vocab] all 0 between calls */
  uint64_t *mask;    /* [ceil(n_vocab / 64)] the caller's */
  el_candidates candidates;

  /* Of a row that threads share. */
  const float *shared; /* NULL: there is none */
  float scale;         /* what it is weighed with */
  float *part_most;    /* [el_row_parts(n_vocab)] */
  bool *part_finite;   /* the same */
};

double el_random_unit(uint64_t seed, uint64_t index) {
  uint64_t z = el_mix64(el_mix64(seed + EL_GOLDEN_GAMMA) + index * EL_GOLDEN_GAMMA);
  return (double)(el_mix64(z) >> 11) * 0x1p-53;
}

static bool repeats(const el_sampling *p) {
  return p->repeat_penalty != 1 && p->repeat_last_n != 0;
}

static bool counts(const el_sampling *p) {
  return p->frequency_penalty != 0 || p->presence_penalty != 0;
}

/* Whether a request has the model's logits changed. */
static bool changes(const el_sampling *p) {
  return p->n_allowed_tokens || p->n_logit_bias || p->n_bad_words || repeats(p) || counts(p);
}

static void add_bias(float *x, const el_sampling *p) {
  for (size_t i = 0; i < p->n_logit_bias; i++) {
    float *logit = &x[p->logit_bias[i].token];
    *logit = p->logit_bias[i].bias <= EL_BANNED_BIAS ? -INFINITY : *logit + p->logit_bias[i].bias;
  }
}

/* Of each sequence whose beginning the generated text ends with, the last token. */
static void ban_words(float *x, const el_sampling *p, const int32_t *generated, int n_generated) {
  for (size_t at = 0; at < p->n_bad_words;) {
    const int32_t *word = &p->bad_words[at];
    int n = 0;
    while (word[n] >= 0) n++;
    at += (size_t)n + 1;
    if (n - 1 <= n_generated && !memcmp(word, generated + n_generated - (n - 1), sizeof *word * (size_t)(n - 1)))
      x[word[n - 1]] = -INFINITY;
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

/* Copies the logits of tokens whose bits are set; the others are -infinity. to may be from. */
static void mask_row(const float *from, const uint64_t *bits, int n_vocab, float *to) {
  for (int begin = 0; begin < n_vocab; begin += 64) {
    const uint64_t word = bits[begin / 64];
    const int end = n_vocab - begin < 64 ? n_vocab : begin + 64;
    for (int i = begin; i < end; i++) to[i] = word >> (i - begin) & 1 ? from[i] : -INFINITY;
  }
}

static int count_bits(const uint64_t *bits, int n_vocab) {
  int n = 0;
  for (int b = 0; b < (n_vocab + 63) / 64; b++) n += __builtin_popcountll(bits[b]);
  return n;
}

/* ------------------------------------------------------------- shared rows */

bool el_sampler_is_long(const el_sampling *p) {
  return p->temperature > 0 && !p->top_k && (p->top_p < 1 || p->min_p == 0) && !changes(p);
}

void el_sampler_share(el_sampler *s, const float *logits, const el_sampling *p) {
  s->shared = logits;
  s->scale = p->top_p < 1 ? 1.0f : el_candidates_scale(p->temperature);
}

static int part_of(const el_sampler *s, int part, int *begin) {
  *begin = part * EL_ROW_PART;
  return s->n_vocab - *begin < EL_ROW_PART ? s->n_vocab - *begin : EL_ROW_PART;
}

void el_sampler_look(el_sampler *s, int part) {
  const el_candidates *c = &s->candidates;
  int begin, n = part_of(s, part, &begin);
  float *most = c->most + begin / EL_LOGIT_BLOCK;
  s->part_finite[part] = c->kernels->row_most(s->shared + begin, n, most);
  s->part_most[part] = -INFINITY;
  for (int b = 0; b < el_row_blocks(n); b++)
    if (most[b] > s->part_most[part]) s->part_most[part] = most[b];
}

/* The largest logit of a shared row; -infinity: it has one that is not finite, or nothing else. */
static float shared_max(const el_sampler *s) {
  float max = -INFINITY;
  for (int i = 0; i < el_row_parts(s->n_vocab); i++) {
    if (!s->part_finite[i]) return -INFINITY;
    if (s->part_most[i] > max) max = s->part_most[i];
  }
  return max;
}

void el_sampler_weigh(el_sampler *s, int part) {
  const el_candidates *c = &s->candidates;
  const float max = shared_max(s);
  int begin, n = part_of(s, part, &begin);
  if (max > -INFINITY) c->kernels->row_exp(s->shared + begin, n, max, s->scale, NULL, c->sums + begin / EL_LOGIT_CHUNK);
}

/* el_row_argmax of the row that is drawn from. */
static int find_best(el_sampler *s, const float *logits, float *max) {
  el_candidates *c = &s->candidates;
  if (logits != s->shared) return el_row_argmax(c->kernels, logits, s->n_vocab, c->most, max);
  return shared_max(s) > -INFINITY ? el_row_find(logits, s->n_vocab, c->most, max) : -1;
}

/* --------------------------------------------------------------------- picks */

int el_sampler_likeliest(el_sampler *s, const float *logits) {
  float max;
  return el_row_argmax(s->candidates.kernels, logits, s->n_vocab, s->candidates.most, &max);
}

el_status el_sampler_score(el_sampler *s, const float *logits, int32_t token, int n_top, float *logprob,
                           el_token_logprob *top, el_error *err) {
  el_candidates *c = &s->candidates;
  float max;
  if (el_row_argmax(c->kernels, logits, s->n_vocab, c->most, &max) < 0)
    return el_fail(err, EL_ERR_FORMAT, "the model gave a logit that is not finite");
  const double log_sum = el_row_log_sum_exp(c->kernels, logits, s->n_vocab, max, c->sums);
  *logprob = (float)((double)logits[token] - log_sum);
  el_row_top(logits, s->n_vocab, c->most, log_sum, n_top, top);
  return EL_OK;
}

el_status el_sampler_pick(el_sampler *s, const float *logits, const el_sampling *p, const int32_t *tokens, int n_prompt,
                          int n_tokens, int32_t *token, el_error *err) {
  return el_sampler_pick_among(s, logits, NULL, p, tokens, n_prompt, n_tokens, token, err);
}

/* The logits with all that the request has them changed by: *x, which are then in `work`. The best one; -1: all are
 * banned. */
static int change(el_sampler *s, const el_sampling *p, const int32_t *tokens, int n_prompt, int n_tokens,
                  const float **x, int best, float *max) {
  if (!changes(p)) return best;
  if (p->n_allowed_tokens) {
    for (int i = 0; i < s->n_vocab; i++) s->work[i] = -INFINITY;
    for (size_t i = 0; i < p->n_allowed_tokens; i++) s->work[p->allowed_tokens[i]] = (*x)[p->allowed_tokens[i]];
  } else {
    memcpy(s->work, *x, sizeof **x * (size_t)s->n_vocab);
  }
  add_bias(s->work, p);
  ban_words(s->work, p, tokens + n_prompt, n_tokens - n_prompt);
  if (repeats(p)) penalize_repeats(s, p, tokens, n_tokens);
  if (counts(p)) penalize_counts(s, p, tokens + n_prompt, n_tokens - n_prompt);
  *x = s->work;
  return el_row_argmax(s->candidates.kernels, *x, s->n_vocab, s->candidates.most, max);
}

el_status el_sampler_pick_among(el_sampler *s, const float *logits, const uint64_t *allowed, const el_sampling *p,
                                const int32_t *tokens, int n_prompt, int n_tokens, int32_t *token, el_error *err) {
  el_candidates *c = &s->candidates;
  float max;
  const float *shared = s->shared;
  int best = find_best(s, logits, &max);
  s->shared = NULL;
  if (best < 0) return el_fail(err, EL_ERR_FORMAT, "the model gave a logit that is not finite");
  best = change(s, p, tokens, n_prompt, n_tokens, &logits, best, &max);
  if (best < 0) return el_fail(err, EL_ERR_INVALID, "logit_bias, bad_words: every token is banned");
  if (allowed && !(allowed[best / 64] >> best % 64 & 1)) best = argmax_among(logits, allowed, s->n_vocab, &max);
  if (best < 0)
    return el_fail(err, EL_ERR_INVALID,
                   "constraint: no token of the vocabulary that may be drawn goes on with the text");
  *token = best;
  if (p->temperature == 0 || p->top_k == 1) return EL_OK;

  if (allowed && count_bits(allowed, s->n_vocab) < s->n_vocab / 16) {
    el_candidates_list(c, logits, max, allowed);
  } else {
    if (allowed) {
      mask_row(logits, allowed, s->n_vocab, s->work);
      logits = s->work;
      el_row_argmax(c->kernels, logits, s->n_vocab, c->most, &max);
    }
    el_candidates_row(c, logits, max);
    if (logits == shared) c->summed = s->scale;
  }
  if (p->top_k > 0) el_candidates_top_k(c, p->top_k);
  if (p->top_p < 1) el_candidates_top_p(c, p->top_p);
  if (p->min_p > 0) el_candidates_min_p(c, p->min_p);
  *token = el_candidates_draw(c, p->temperature, el_random_unit(p->seed, (uint64_t)(n_tokens - n_prompt)));
  return EL_OK;
}

uint64_t *el_sampler_mask(el_sampler *s) {
  return s->mask;
}

el_sampling el_sampling_default(void) {
  return (el_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};
}

static el_status check_bad_words(const el_sampling *p, int n_vocab, el_error *err) {
  int32_t before = -1;
  if (p->n_bad_words > EL_MAX_BAD_WORDS)
    return el_fail_field(err, EL_ERR_INVALID, "bad_words", "bad_words: %zu numbers, the limit is %d", p->n_bad_words,
                         EL_MAX_BAD_WORDS);
  if (p->n_bad_words && !p->bad_words) return el_fail_field(err, EL_ERR_INVALID, "bad_words", "bad_words: is NULL");
  for (size_t i = 0; i < p->n_bad_words; before = p->bad_words[i++]) {
    const int32_t token = p->bad_words[i];
    if (token < -1 || token >= n_vocab)
      return el_fail_field(err, EL_ERR_INVALID, "bad_words", "bad_words[%zu]: token %d is not in 0 to %d", i,
                           (int)token, n_vocab - 1);
    if (token < 0 && before < 0)
      return el_fail_field(err, EL_ERR_INVALID, "bad_words", "bad_words[%zu]: a sequence has no tokens", i);
  }
  if (p->n_bad_words && before >= 0)
    return el_fail_field(err, EL_ERR_INVALID, "bad_words", "bad_words: the last sequence does not end with -1");
  return EL_OK;
}

el_status el_sampling_check(const el_sampling *p, int n_vocab, el_error *err) {
  if (!(p->temperature >= 0) || !isfinite(p->temperature))
    return el_fail_field(err, EL_ERR_INVALID, "temperature", "temperature: %g is not a finite number of 0 or more",
                         (double)p->temperature);
  if (p->top_k < 0) return el_fail_field(err, EL_ERR_INVALID, "top_k", "top_k: %d is below 0", p->top_k);
  if (!(p->top_p > 0 && p->top_p <= 1))
    return el_fail_field(err, EL_ERR_INVALID, "top_p", "top_p: %g is not above 0 and at most 1", (double)p->top_p);
  if (!(p->min_p >= 0 && p->min_p <= 1))
    return el_fail_field(err, EL_ERR_INVALID, "min_p", "min_p: %g is not in 0 to 1", (double)p->min_p);
  if (!(p->repeat_penalty >= EL_MIN_REPEAT_PENALTY && p->repeat_penalty <= EL_MAX_PENALTY))
    return el_fail_field(err, EL_ERR_INVALID, "repeat_penalty", "repeat_penalty: %g is not in %g to %g",
                         (double)p->repeat_penalty, (double)EL_MIN_REPEAT_PENALTY, (double)EL_MAX_PENALTY);
  if (!(fabsf(p->frequency_penalty) <= EL_MAX_PENALTY))
    return el_fail_field(err, EL_ERR_INVALID, "frequency_penalty", "frequency_penalty: %g is not in %g to %g",
                         (double)p->frequency_penalty, -(double)EL_MAX_PENALTY, (double)EL_MAX_PENALTY);
  if (!(fabsf(p->presence_penalty) <= EL_MAX_PENALTY))
    return el_fail_field(err, EL_ERR_INVALID, "presence_penalty", "presence_penalty: %g is not in %g to %g",
                         (double)p->presence_penalty, -(double)EL_MAX_PENALTY, (double)EL_MAX_PENALTY);
  if (p->repeat_last_n < -1)
    return el_fail_field(err, EL_ERR_INVALID, "repeat_last_n", "repeat_last_n: %d is below -1", p->repeat_last_n);
  if (p->n_logit_bias > EL_MAX_LOGIT_BIAS)
    return el_fail_field(err, EL_ERR_INVALID, "logit_bias", "logit_bias: %zu entries, the limit is %d", p->n_logit_bias,
                         EL_MAX_LOGIT_BIAS);
  if (p->n_logit_bias && !p->logit_bias) return el_fail_field(err, EL_ERR_INVALID, "logit_bias", "logit_bias: is NULL");
  if (p->n_allowed_tokens && !p->allowed_tokens)
    return el_fail_field(err, EL_ERR_INVALID, "allowed_tokens", "allowed_tokens: is NULL");
  if (p->n_allowed_tokens > (size_t)n_vocab)
    return el_fail_field(err, EL_ERR_INVALID, "allowed_tokens", "allowed_tokens: %zu tokens, the vocabulary has %d",
                         p->n_allowed_tokens, n_vocab);
  for (size_t i = 0; i < p->n_allowed_tokens; i++)
    if (p->allowed_tokens[i] < 0 || p->allowed_tokens[i] >= n_vocab)
      return el_fail_field(err, EL_ERR_INVALID, "allowed_tokens", "allowed_tokens[%zu]: token %d is not in 0 to %d", i,
                           (int)p->allowed_tokens[i], n_vocab - 1);
  for (size_t i = 0; i < p->n_logit_bias; i++) {
    const el_logit_bias *b = &p->logit_bias[i];
    if (b->token < 0 || b->token >= n_vocab)
      return el_fail_field(err, EL_ERR_INVALID, "logit_bias", "logit_bias[%zu]: token %d is not in 0 to %d", i,
                           (int)b->token, n_vocab - 1);
    if (!(fabsf(b->bias) <= EL_MAX_BIAS))
      return el_fail_field(err, EL_ERR_INVALID, "logit_bias", "logit_bias[%zu]: %g is not in %g to %g", i,
                           (double)b->bias, -(double)EL_MAX_BIAS, (double)EL_MAX_BIAS);
  }
  return check_bad_words(p, n_vocab, err);
}

el_status el_sampler_new(const el_kernels *k, int n_vocab, el_sampler **out, el_error *err) {
  assert(n_vocab > 0);
  el_sampler *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "sampler: out of memory");
  const size_t n = (size_t)n_vocab;
  s->most = s->n_vocab = n_vocab;
  s->work = malloc(sizeof *s->work * n);
  s->counts = calloc(n, sizeof *s->counts);
  s->mask = malloc(sizeof *s->mask * (n / 64 + 1));
  s->part_most = malloc(sizeof *s->part_most * (size_t)el_row_parts(n_vocab));
  s->part_finite = malloc(sizeof *s->part_finite * (size_t)el_row_parts(n_vocab));
  if (!el_candidates_open(&s->candidates, k, n_vocab) || !s->work || !s->counts || !s->mask || !s->part_most ||
      !s->part_finite) {
    el_sampler_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "sampler: out of memory");
  }
  *out = s;
  return EL_OK;
}

void el_sampler_use(el_sampler *s, int n_vocab) {
  assert(n_vocab > 0 && n_vocab <= s->most);
  s->n_vocab = s->candidates.n_vocab = n_vocab;
}

void el_sampler_free(el_sampler *s) {
  if (!s) return;
  el_candidates_close(&s->candidates);
  free(s->work);
  free(s->counts);
  free(s->mask);
  free(s->part_most);
  free(s->part_finite);
  free(s);
}
