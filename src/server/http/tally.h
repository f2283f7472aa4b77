/* Counts requests, tokens and times by adapter, for GET /metrics. There may be ten thousand adapters, and a
 * monitoring system keeps every series for ever. So only the most used adapters have series of their own, and
 * all others share one.
 *
 * No counter ever goes down. An adapter that becomes one of the most used begins at zero. When
 * an adapter leaves them, its counts are added to the shared series. The sum over all series is right at any
 * time. Any thread may call. */
#ifndef EL_SERVER_TALLY_H
#define EL_SERVER_TALLY_H

#include <pthread.h>

#include "base/buf.h"
#include "edgelora.h"

enum {
  EL_TALLY_SHOWN = 32,    /* adapters with series of their own */
  EL_TALLY_TRACKED = 256, /* adapters whose use is tracked, so that they may get their own */
  EL_TALLY_BUCKETS = 14
};

typedef struct el_tally_sums {
  uint64_t requests, prompt_tokens, generated_tokens;
  uint64_t first_tokens; /* requests that had one */
  double first_token_seconds, seconds;
} el_tally_sums;

typedef struct el_tally_row {
  char *name; /* NULL: free */
  uint64_t hash;
  double weight; /* requests, each weighted by half for every 4096 that came after it */
  bool shown;
  el_tally_sums sums; /* while it is shown */
} el_tally_row;

typedef struct el_tally_histogram {
  uint64_t count[EL_TALLY_BUCKETS]; /* the last bucket has no upper bound */
  double sum;
} el_tally_histogram;

/* Sums of all requests. */
typedef struct el_tally_totals {
  uint64_t prompt_tokens, cached_tokens, generated_tokens;
  uint64_t first_tokens; /* requests that had one */
  uint64_t most_tokens;  /* of one request, including its answer */
  double prompt_seconds, decode_seconds;
} el_tally_totals;

typedef struct el_tally {
  pthread_mutex_t mutex;
  el_tally_row rows[EL_TALLY_TRACKED];
  int n_rows, n_shown;
  uint64_t n_counted;
  el_tally_sums other;
  el_tally_histogram first_token, whole;
  el_tally_totals totals;
} el_tally;

void el_tally_init(el_tally *t);
void el_tally_free(el_tally *t);

/* Counts a request at its DONE event. name: its adapter. NULL, or an adapter called "other", is counted in the
 * shared series. */
void el_tally_add(el_tally *t, const char *name, const el_event_done *done);

el_tally_totals el_tally_get(el_tally *t);

/* Appends the series in Prometheus' text format. False: out of memory. */
bool el_tally_write(el_tally *t, el_buf *out);

/* Writes a label's value with its quotes; backslash, quote and newline are escaped. */
bool el_metric_label(el_buf *out, const char *value);

#endif
