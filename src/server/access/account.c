#include "server/access/account.h"

#include <stdlib.h>

el_account *el_account_new(uint64_t domain) {
  el_account *a = calloc(1, sizeof *a);
  if (!a) return NULL;
  if (pthread_mutex_init(&a->mutex, NULL)) {
    free(a);
    return NULL;
  }
  a->refs = 1;
  a->domain = domain;
  return a;
}

el_account *el_account_retain(el_account *a) {
  atomic_fetch_add(&a->refs, 1);
  return a;
}

void el_account_release(el_account *a) {
  if (!a || atomic_fetch_sub(&a->refs, 1) != 1) return;
  pthread_mutex_destroy(&a->mutex);
  free(a);
}

/* The mutex is held. False. */
static bool refuse_account(el_account *a, el_limit limit, uint64_t wait_ns, el_refusal *why) {
  a->usage.refused[limit]++;
  *why = (el_refusal){limit, wait_ns};
  return false;
}

bool el_account_enter(el_account *a, const el_quota *q, uint64_t now_ns, el_refusal *why) {
  bool ok = true;
  pthread_mutex_lock(&a->mutex);
  const uint64_t wait = q->rpm ? el_bucket_wait_ns(&a->requests, q->rpm, 1, now_ns) : 0;
  if (wait) {
    ok = refuse_account(a, EL_LIMIT_REQUESTS, wait, why);
  } else if (q->concurrent && a->usage.running >= q->concurrent) {
    ok = refuse_account(a, EL_LIMIT_CONCURRENT, 0, why); /* until an answer ends, which cannot be predicted */
  } else {
    if (q->rpm) el_bucket_take(&a->requests, q->rpm, 1, now_ns);
    a->usage.requests++;
    a->usage.running++;
  }
  pthread_mutex_unlock(&a->mutex);
  return ok;
}

bool el_account_take_prompt(el_account *a, const el_quota *q, uint64_t n, uint64_t now_ns, el_refusal *why) {
  if (!q->tpm || !n) return true;
  bool ok = true;
  pthread_mutex_lock(&a->mutex);
  const uint64_t wait = el_bucket_wait_ns(&a->tokens, q->tpm, n, now_ns);
  if (wait) {
    if (q->rpm) el_bucket_give(&a->requests, q->rpm, 1);
    a->usage.requests--;
    ok = refuse_account(a, EL_LIMIT_TOKENS, wait, why);
  } else {
    el_bucket_take(&a->tokens, q->tpm, n, now_ns);
  }
  pthread_mutex_unlock(&a->mutex);
  return ok;
}

void el_account_give_prompt(el_account *a, const el_quota *q, uint64_t n) {
  if (!q->tpm) return;
  pthread_mutex_lock(&a->mutex);
  el_bucket_give(&a->tokens, q->tpm, n);
  pthread_mutex_unlock(&a->mutex);
}

void el_account_add(el_account *a, const el_quota *q, uint64_t prompt, uint64_t generated, uint64_t now_ns) {
  pthread_mutex_lock(&a->mutex);
  a->usage.prompt_tokens += prompt;
  a->usage.generated_tokens += generated;
  if (q->tpm) el_bucket_take(&a->tokens, q->tpm, generated, now_ns);
  pthread_mutex_unlock(&a->mutex);
}

void el_account_leave(el_account *a) {
  pthread_mutex_lock(&a->mutex);
  a->usage.running--;
  pthread_mutex_unlock(&a->mutex);
}

el_key_usage el_account_usage(el_account *a) {
  pthread_mutex_lock(&a->mutex);
  const el_key_usage usage = a->usage;
  pthread_mutex_unlock(&a->mutex);
  return usage;
}

el_allowance el_account_allowance(el_account *a, const el_quota *q, uint64_t now_ns) {
  el_allowance left = {0};
  pthread_mutex_lock(&a->mutex);
  if (q->rpm) {
    left.requests = el_bucket_level(&a->requests, q->rpm, now_ns);
    left.requests_reset_ns = el_bucket_reset_ns(&a->requests, now_ns);
  }
  if (q->tpm) {
    left.tokens = el_bucket_level(&a->tokens, q->tpm, now_ns);
    left.tokens_reset_ns = el_bucket_reset_ns(&a->tokens, now_ns);
  }
  pthread_mutex_unlock(&a->mutex);
  return left;
}
