#include "engine/constrained.h"

#include "base/error.h"
#include "tokenizer/extension.h"

static int32_t last_token(const el_seq *q) {
  const int n = el_seq_n_known(q);
  return n ? q->tokens[n - 1] : -1;
}

/* Tokens that are control tokens to others are text here if the constraint says so, and if it does not, they are not
 * among those that it allows. */
static el_str text_of(const el_seq *q, const el_tokenizer *t, int32_t token) {
  return el_token_text(t, last_token(q), token, true);
}

static bool is_end(const el_seq *q, const el_tokenizer *t, int32_t token) {
  return el_seq_stops_at(q, token) || (!q->ignore_eos && el_tokenizer_is_eog(t, token));
}

/* A token that ends an answer of the adapter's, and not one of the base's. */
static bool is_own_end(const el_tokenizer *t, int32_t token) {
  size_t n;
  const int32_t *ends = el_tokenizer_own_ends(t, &n);
  for (size_t i = 0; i < n; i++)
    if (ends[i] == token) return true;
  return false;
}

/* The most likely token, where that is what is asked for and the constraint allows it: then no mask is needed. -1: it
 * is not so. */
static int32_t likeliest(el_seq *q, el_sampler *s, const el_tokenizer *t, const float *logits, const el_sampling *p) {
  bool plain = (p->temperature == 0 || p->top_k == 1) && !p->n_logit_bias && !p->n_allowed_tokens && !p->n_bad_words &&
               (p->repeat_penalty == 1 || p->repeat_last_n == 0) && p->frequency_penalty == 0 &&
               p->presence_penalty == 0;
  if (!plain) return -1;
  int best = el_sampler_likeliest(s, logits);
  if (best < 0) return -1;
  if (is_end(q, t, best) && el_matcher_may_end(&q->matcher)) return best;
  if (el_tokenizer_is_own(t, best) || is_own_end(t, best)) return -1; /* to the constraint they are nothing */
  return el_matcher_would_take_token(&q->matcher, best, el_token_begins(t, last_token(q))) ? best : -1;
}

static void allow_tokens(uint64_t *mask, const int32_t *tokens, size_t n) {
  for (size_t i = 0; i < n; i++) mask[tokens[i] / 64] |= (uint64_t)1 << tokens[i] % 64;
}

/* A constraint knows the base's tokens. What an adapter has of its own is not allowed, but for the tokens that end its
 * answers: their texts can be written with the base's. */
static void forbid_own(uint64_t *mask, const el_tokenizer *t) {
  size_t n, n_ends;
  const int32_t *own = el_tokenizer_own(t, &n), *ends = el_tokenizer_own_ends(t, &n_ends);
  if (!n) return;
  for (int32_t i = (el_tokenizer_n_base(t) + 63) / 64; i < (el_tokenizer_n_vocab(t) + 63) / 64; i++) mask[i] = 0;
  for (size_t i = 0; i < n; i++) mask[own[i] / 64] &= ~((uint64_t)1 << own[i] % 64);
  for (size_t i = 0; i < n_ends; i++) mask[ends[i] / 64] &= ~((uint64_t)1 << ends[i] % 64);
}

/* Those of the base's ends that are ends still, and the adapter's. */
static void allow_ends(uint64_t *mask, const el_tokenizer *t, const int32_t *ends, size_t n) {
  size_t n_own;
  const int32_t *own = el_tokenizer_own_ends(t, &n_own);
  for (size_t i = 0; i < n; i++)
    if (el_tokenizer_is_eog(t, ends[i])) allow_tokens(mask, &ends[i], 1);
  allow_tokens(mask, own, n_own);
}

el_status el_constrained_pick(el_seq *q, el_sampler *s, const el_tokenizer *t, const float *logits,
                              const el_sampling *p, int32_t *token, el_error *err) {
  int32_t best = likeliest(q, s, t, logits, p);
  if (best >= 0) {
    *token = best;
    return EL_OK;
  }
  uint64_t *allowed = el_sampler_mask(s);
  if (!el_matcher_mask(&q->matcher, el_token_begins(t, last_token(q)), allowed, err)) return err->code;
  forbid_own(allowed, t);
  if (el_matcher_may_end(&q->matcher)) {
    size_t n_ends = 0;
    const int32_t *ends = el_matcher_ends(&q->matcher, &n_ends);
    if (!q->ignore_eos) allow_ends(allowed, t, ends, n_ends);
    allow_tokens(allowed, q->lists, q->n_stop_tokens);
  }
  return el_sampler_pick_among(s, logits, allowed, p, q->tokens, q->n_prompt, el_seq_n_known(q), token, err);
}

el_status el_constrained_take(el_seq *q, const el_tokenizer *t, int32_t token, bool *complete, el_error *err) {
  el_str text = text_of(q, t, token);
  if (!el_matcher_take(&q->matcher, text.data, text.len, err))
    return err->code ? err->code : el_fail(err, EL_ERR_INVALID, "constraint: a token was drawn that it does not allow");
  *complete = !el_matcher_may_go_on(&q->matcher);
  return EL_OK;
}
