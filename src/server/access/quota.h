/* What a key may use: requests per minute, tokens per minute, requests at once. This is arithmetic only;
 * the caller passes the time.
 *
 * A limit of n per minute is a token bucket that holds n and fills at that rate: after a minute's rest
 * n can be taken at once, then one by one as they come back. A request takes 1 from its bucket. The
 * tokens of its prompt are taken when they are counted, those of its answer at its end. So running
 * answers may take more than there is, and the next request waits until the bucket has recovered. A
 * request for more than the bucket holds is admitted when the bucket is full. */
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

/* How long until n can be taken; 0: now. limit: per minute, positive. */
uint64_t el_bucket_wait_ns(const el_bucket *b, int limit, uint64_t n, uint64_t now_ns);
/* Takes n, even if fewer are there. */
void el_bucket_take(el_bucket *b, int limit, uint64_t n, uint64_t now_ns);
/* Gives back n that were taken and not used. */
void el_bucket_give(el_bucket *b, int limit, uint64_t n);
/* How many are there now. */
uint64_t el_bucket_level(const el_bucket *b, int limit, uint64_t now_ns);
/* How long until it is full. */
uint64_t el_bucket_reset_ns(const el_bucket *b, uint64_t now_ns);

/* Writes a time as OpenAI's headers do: "12ms", "7.5s", "6m0s". Rounded up. */
void el_quota_write_time(uint64_t ns, char out[32]);
/* Whole seconds for Retry-After: rounded up, at least 1. */
int el_quota_seconds(uint64_t ns);

#endif
