/* What a key has used, and what it may still use. An account belongs to the key's secret, so reloading
 * the file of keys does not change it. Any thread may call. */
#ifndef EL_SERVER_ACCOUNT_H
#define EL_SERVER_ACCOUNT_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/access/quota.h"

typedef enum el_limit { EL_LIMIT_REQUESTS, EL_LIMIT_TOKENS, EL_LIMIT_CONCURRENT, EL_N_LIMITS } el_limit;

typedef struct el_key_usage {
  uint64_t requests; /* that were admitted */
  uint64_t prompt_tokens, generated_tokens;
  uint64_t refused[EL_N_LIMITS];
  int running; /* requests that run now */
} el_key_usage;

typedef struct el_account {
  atomic_int refs;
  uint64_t domain; /* its number, see el_key_domain */
  pthread_mutex_t mutex;
  el_bucket requests, tokens;
  el_key_usage usage;
} el_account;

/* With a reference; NULL: out of memory. */
el_account *el_account_new(uint64_t domain);
el_account *el_account_retain(el_account *a);
void el_account_release(el_account *a); /* NULL is allowed */

/* Which limit refuses a request, and how long until it would not. The time is a lower bound, as running
 * requests may use more by then. */
typedef struct el_refusal {
  el_limit limit;
  uint64_t wait_ns;
} el_refusal;

/* A request arrives. True: the caller must call el_account_leave at its end. False: *why; nothing was
 * taken. */
bool el_account_enter(el_account *a, const el_quota *q, uint64_t now_ns, el_refusal *why);
/* The request's prompts have n tokens. False: *why; everything is as if the request had not arrived,
 * but it must still leave. */
bool el_account_take_prompt(el_account *a, const el_quota *q, uint64_t n, uint64_t now_ns, el_refusal *why);
/* Gives prompt tokens back, as the request was refused elsewhere. */
void el_account_give_prompt(el_account *a, const el_quota *q, uint64_t n);
/* An answer has ended: takes its tokens. */
void el_account_add(el_account *a, const el_quota *q, uint64_t prompt, uint64_t generated, uint64_t now_ns);
void el_account_leave(el_account *a);

el_key_usage el_account_usage(el_account *a);

/* For response headers: what is left of each limit that is set, and how long until all of it is there
 * again. */
typedef struct el_allowance {
  uint64_t requests, tokens, requests_reset_ns, tokens_reset_ns;
} el_allowance;
el_allowance el_account_allowance(el_account *a, const el_quota *q, uint64_t now_ns);

#endif
