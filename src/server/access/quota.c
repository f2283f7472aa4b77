#include "server/access/quota.h"

#include <inttypes.h>
#include <stdio.h>

#define MINUTE_NS 60000000000u
#define MS_NS 1000000u

/* The time in which n come back; the largest 64-bit number if it is longer. */
static uint64_t refill_time(int limit, uint64_t n) {
  const double ns = (double)n * (double)MINUTE_NS / limit;
  return ns < 0x1p62 ? (uint64_t)ns : (uint64_t)1 << 62;
}

uint64_t el_bucket_reset_ns(const el_bucket *b, uint64_t now_ns) {
  return b->full_ns > now_ns ? b->full_ns - now_ns : 0;
}

uint64_t el_bucket_wait_ns(const el_bucket *b, int limit, uint64_t n, uint64_t now_ns) {
  uint64_t wants = refill_time(limit, n);
  if (wants > MINUTE_NS) wants = MINUTE_NS;
  const uint64_t missing = el_bucket_reset_ns(b, now_ns), room = MINUTE_NS - wants;
  return missing > room ? missing - room : 0;
}

void el_bucket_take(el_bucket *b, int limit, uint64_t n, uint64_t now_ns) {
  if (b->full_ns < now_ns) b->full_ns = now_ns;
  const uint64_t wants = refill_time(limit, n), most = UINT64_MAX - b->full_ns;
  b->full_ns += wants < most ? wants : most;
}

void el_bucket_give(el_bucket *b, int limit, uint64_t n) {
  const uint64_t back = refill_time(limit, n);
  b->full_ns -= back < b->full_ns ? back : b->full_ns;
}

uint64_t el_bucket_level(const el_bucket *b, int limit, uint64_t now_ns) {
  const uint64_t missing = el_bucket_reset_ns(b, now_ns);
  return missing < MINUTE_NS ? (uint64_t)((double)(MINUTE_NS - missing) * limit / (double)MINUTE_NS + 1e-6) : 0;
}

void el_quota_write_time(uint64_t ns, char out[32]) {
  const uint64_t ms = ns / MS_NS + (ns % MS_NS != 0), tenths = ms / 100 + (ms % 100 != 0),
                 s = ms / 1000 + (ms % 1000 != 0);
  if (ms < 1000)
    snprintf(out, 32, "%" PRIu64 "ms", ms);
  else if (tenths < 600)
    snprintf(out, 32, "%" PRIu64 ".%" PRIu64 "s", tenths / 10, tenths % 10);
  else
    snprintf(out, 32, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
}

int el_quota_seconds(uint64_t ns) {
  const uint64_t s = ns / 1000000000u + (ns % 1000000000u != 0);
  return s < 1 ? 1 : s > 86400 ? 86400 : (int)s;
}
