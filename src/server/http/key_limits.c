#include "server/http/key_limits.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/http/state.h"

static const char *key_name_of(const el_key *key) {
  return *key->name ? key->name : "this API key";
}

/* As OpenAI's clients expect it: one `code` for all limits; `type` says which limit. */
static bool fail_key_limit(const el_exchange *x, const el_refusal *why, el_api_error *e) {
  const el_quota *q = &x->key->quota;
  char time[32];
  el_quota_write_time(why->wait_ns, time);
  if (why->limit == EL_LIMIT_CONCURRENT) {
    el_api_fail(e, 429, "rate_limit_exceeded", NULL,
                "Rate limit reached for %s: %d requests at once. Please try again when one has been answered.",
                key_name_of(x->key), q->concurrent);
  } else {
    const bool tokens = why->limit == EL_LIMIT_TOKENS;
    el_api_fail(e, 429, "rate_limit_exceeded", NULL,
                "Rate limit reached for %s: %d %s per minute. Please try again in %s.", key_name_of(x->key),
                tokens ? q->tpm : q->rpm, tokens ? "tokens" : "requests", time);
  }
  e->type = why->limit == EL_LIMIT_TOKENS ? "tokens" : "requests";
  e->retry_s = el_quota_seconds(why->wait_ns);
  return false;
}

bool el_limits_enter(el_exchange *x, el_api_error *e) {
  el_refusal why;
  if (!x->key) return true;
  if (!el_account_enter(x->key->account, &x->key->quota, el_now_ns(), &why)) return fail_key_limit(x, &why, e);
  atomic_store(&x->entered, true);
  return true;
}

/* Each prompt counts once, however many choices it has. */
static uint64_t count_prompt_tokens(const el_exchange *x) {
  uint64_t n = 0;
  for (size_t i = 0; i < x->request.n_prompts; i++) n += x->request.prompts[i].n;
  return n;
}

bool el_limits_take_prompts(el_exchange *x, el_api_error *e) {
  el_refusal why;
  return !x->key ||
         el_account_take_prompt(x->key->account, &x->key->quota, count_prompt_tokens(x), el_now_ns(), &why) ||
         fail_key_limit(x, &why, e);
}

void el_limits_give_prompts(el_exchange *x) {
  if (x->key) el_account_give_prompt(x->key->account, &x->key->quota, count_prompt_tokens(x));
}

void el_limits_count(el_exchange *x, size_t choice, const el_event_done *done) {
  if (!x->key) return;
  const bool first = choice % (size_t)x->request.n == 0;
  el_account_add(x->key->account, &x->key->quota, first ? (uint64_t)done->prompt_tokens : 0,
                 (uint64_t)done->completion_tokens, el_now_ns());
}

void el_limits_leave(el_exchange *x) {
  if (atomic_exchange(&x->entered, false)) el_account_leave(x->key->account);
}

static void add_limit_headers(struct MHD_Response *r, const char *what, int limit, uint64_t left, uint64_t reset_ns) {
  char name[64], value[32];
  snprintf(name, sizeof name, "x-ratelimit-limit-%s", what);
  snprintf(value, sizeof value, "%d", limit);
  MHD_add_response_header(r, name, value);
  snprintf(name, sizeof name, "x-ratelimit-remaining-%s", what);
  snprintf(value, sizeof value, "%" PRIu64, left);
  MHD_add_response_header(r, name, value);
  snprintf(name, sizeof name, "x-ratelimit-reset-%s", what);
  el_quota_write_time(reset_ns, value);
  MHD_add_response_header(r, name, value);
}

void el_limits_add_headers(const el_exchange *x, struct MHD_Response *r) {
  if (!x->key || x->work != EL_WORK_API || (!x->key->quota.rpm && !x->key->quota.tpm)) return;
  const el_quota *q = &x->key->quota;
  const el_allowance left = el_account_allowance(x->key->account, q, el_now_ns());
  if (q->rpm) add_limit_headers(r, "requests", q->rpm, left.requests, left.requests_reset_ns);
  if (q->tpm) add_limit_headers(r, "tokens", q->tpm, left.tokens, left.tokens_reset_ns);
}
