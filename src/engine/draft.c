#include "engine/draft.h"

#include <string.h>

#include "engine/tuning.h"

enum { OWN_KINDS = 5 };

static const float usual[EL_DRAFT_KINDS] = EL_DRAFT_USUAL;

/* Of a guess from a place with so many tokens in common. */
static uint8_t own_kind(int match) {
  return match < 4 ? 0 : match < 6 ? 1 : match < 10 ? 2 : match < 20 ? 3 : 4;
}

static uint8_t table_kind(int n_confirmed) {
  return (uint8_t)(OWN_KINDS + (n_confirmed < 2 ? 0 : n_confirmed < 6 ? 1 : 2));
}

el_status el_draft_new(int most, el_draft *out, el_error *err) {
  memset(out, 0, sizeof *out);
  for (int i = 0; i < EL_DRAFT_KINDS; i++) out->rates[i].share = usual[i];
  return el_ngrams_new(most, &out->own, err);
}

void el_draft_free(el_draft *d) {
  el_ngrams_free(&d->own);
}

void el_draft_teach(el_draft *d, el_ngram_table *t, const int32_t *tokens, int n_prompt, int n_tokens) {
  int i = d->n_learnt > n_prompt ? d->n_learnt : n_prompt;
  for (; t && i < n_tokens; i++)
    if (i >= EL_NGRAM) el_ngram_table_learn(t, tokens + i - EL_NGRAM, tokens[i]);
  d->n_learnt = n_tokens;
}

float el_draft_chance(const el_draft *d, int i) {
  return d->rates[d->guess.kinds[i]].share;
}

/* What followed the place that has most in common with the end. */
static void guess_own(el_draft *d, const int32_t *tokens, int n_tokens, int most, el_guess *g) {
  int match;
  g->n = 0;
  el_ngrams_extend(&d->own, tokens, n_tokens);
  const int at = el_ngrams_find(&d->own, tokens, &match);
  for (int i = at; at >= 0 && g->n < most; i++) {
    /* A place near the end runs into the guess itself: what repeats goes on to. */
    g->tokens[g->n] = i < n_tokens ? tokens[i] : g->tokens[i - n_tokens];
    g->kinds[g->n++] = own_kind(match + i - at);
  }
}

/* What the table says, as far as it says anything. */
static void guess_table(const el_ngram_table *t, const int32_t *tokens, int n_tokens, int most, el_guess *g) {
  int32_t context[EL_NGRAM];
  g->n = 0;
  if (!t || n_tokens < EL_NGRAM) return;
  memcpy(context, tokens + n_tokens - EL_NGRAM, sizeof context);
  for (int n_confirmed; g->n < most;) {
    const int32_t next = el_ngram_table_guess(t, context, &n_confirmed);
    if (next < 0) return;
    g->tokens[g->n] = next;
    g->kinds[g->n++] = table_kind(n_confirmed);
    memmove(context, context + 1, sizeof context - sizeof *context);
    context[EL_NGRAM - 1] = next;
  }
}

static float first_chance(const el_draft *d, const el_guess *g) {
  return g->n ? d->rates[g->kinds[0]].share : 0;
}

void el_draft_guess(el_draft *d, const el_ngram_table *t, const int32_t *tokens, int n_tokens, int most) {
  if (most > EL_MAX_SPECULATE) most = EL_MAX_SPECULATE;
  d->n_rows = d->n_drawn = d->n_came = 0;
  guess_own(d, tokens, n_tokens, most, &d->guess);
  guess_table(t, tokens, n_tokens, most, &d->other);
  if (first_chance(d, &d->other) <= first_chance(d, &d->guess)) return;
  const el_guess better = d->other;
  d->other = d->guess;
  d->guess = better;
}

static void judge(el_draft_rate *r, bool came) {
  /* What is usual counts as four guesses. */
  const int most = EL_DRAFT_MEMORY - 4;
  if (r->n < most) r->n++;
  r->share += ((came ? 1.0f : 0.0f) - r->share) / (float)(r->n + 4);
}

bool el_draft_drawn(el_draft *d, int32_t token) {
  const int i = d->n_drawn++;
  if (!i && d->other.n) judge(&d->rates[d->other.kinds[0]], token == d->other.tokens[0]);
  if (i >= d->guess.n || i > d->n_rows) return false;
  const bool came = token == d->guess.tokens[i];
  judge(&d->rates[d->guess.kinds[i]], came);
  if (!came || i == d->n_rows) return false;
  d->n_came++;
  return true;
}
