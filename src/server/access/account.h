/* What a key has used, and what it may use yet. It belongs to the key's secret: a reload of the keys' file leaves it as
 * it is. Any thread may call. */
#ifndef EL_SERVER_ACCOUNT_H
#define EL_SERVER_ACCOUNT_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/access/quota.h"

typedef enum el_limit { EL_LIMIT_REQUESTS, EL_LIMIT_TOKENS, EL_LIMIT_CONCURRENT, EL_N_LIMITS } el_limit;

typedef struct el_key_usage {
  uint64_t requests; /* that were let in */
  uint64_t prompt_tokens, generated_tokens;
  uint64_t refused[EL_N_LIMITS];
  int running; /* now */
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

/* What is refused, and after what time it would not be: as far as is known, as what runs may use more by then. */
typedef struct el_refusal {
  el_limit limit;
  uint64_t wait_ns;
} el_refusal;

/* A request comes. False: *why; nothing has been taken. True: el_account_leave is to follow. */
bool el_account_enter(el_account *a, const el_quota *q, uint64_t now_ns, el_refusal *why);
/* Its prompts have so many tokens. False: *why; it is as if the request had not come, but that it has to leave. */
bool el_account_take_prompt(el_account *a, const el_quota *q, uint64_t n, uint64_t now_ns, el_refusal *why);
/* They were taken, and the request has been refused elsewhere. */
void el_account_give_prompt(el_account *a, const el_quota *q, uint64_t n);
/* An answer has ended. */
void el_account_add(el_account *a, const el_quota *q, uint64_t prompt, uint64_t generated, uint64_t now_ns);
void el_account_leave(el_account *a);

el_key_usage el_account_usage(el_account *a);

/* For headers: what is left, and how long until all is there again. Of limits that there are. */
typedef struct el_allowance {
  uint64_t requests, tokens, requests_reset_ns, tokens_reset_ns;
} el_allowance;
el_allowance el_account_allowance(el_account *a, const el_quota *q, uint64_t now_ns);

#endif
