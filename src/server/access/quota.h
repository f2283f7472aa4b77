/* What a key may use: requests and tokens a minute, requests at once. Arithmetic alone: whoever calls says what time it
 * is.
 *
 * A limit of n a minute is a bucket that holds n and fills at that rate: n at once after a minute's rest, then as they
 * come back, one by one. A request takes one; its prompt's tokens are taken when they have been counted, those of its
 * answer when it ends. So answers that run may take more than there is, and what comes next waits until that is made
 * up for. What wants more than the bucket holds is let through when it is full. */
#ifndef EL_SERVER_QUOTA_H
#define EL_SERVER_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EL_MAX_QUOTA = 1000000000 };

/* 0: no limit. */
typedef struct el_quota {
  int rpm, tpm, concurrent;
} el_quota;

/* Zeroed: full. */
typedef struct el_bucket {
  uint64_t full_ns; /* when it is full again */
} el_bucket;

/* How long until n can be taken; 0: now. limit: a minute's, positive. */
uint64_t el_bucket_wait_ns(const el_bucket *b, int limit, uint64_t n, uint64_t now_ns);
/* Takes n, whether they are there or not. */
void el_bucket_take(el_bucket *b, int limit, uint64_t n, uint64_t now_ns);
/* n that were taken and not used come back. */
void el_bucket_give(el_bucket *b, int limit, uint64_t n);
/* What is in it. */
uint64_t el_bucket_level(const el_bucket *b, int limit, uint64_t now_ns);
/* How long until it is full. */
uint64_t el_bucket_reset_ns(const el_bucket *b, uint64_t now_ns);

/* As OpenAI writes a time in its headers: "12ms", "7.5s", "6m0s". Rounded up. */
void el_quota_write_time(uint64_t ns, char out[32]);
/* Whole seconds, rounded up, 1 at least: for Retry-After. */
int el_quota_seconds(uint64_t ns);

#endif
