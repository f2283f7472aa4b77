/* What happened to each request. Times are seconds since the run's start. */
#ifndef EL_BENCH_LOAD_RECORD_H
#define EL_BENCH_LOAD_RECORD_H

#include "bench/load/client.h"
#include "bench/load/workload.h"

typedef struct el_load_record {
  double at;    /* when it was due: latencies count from here, not from when there was time to send it */
  double sent;  /* when it was */
  double first; /* the first text; of an answer without any, its end. -1: it did not happen */
  double last;  /* the last text; -1 */
  double done;  /* the end of the answer, or of the attempt */
  int adapter, n_in, n_out;
  long long prompt_tokens, completion_tokens, cached_tokens; /* as the server counted; -1: it did not say */
  uint64_t texts;                                            /* events with text */
  el_load_end end;
  int status;
  bool ended; /* the rest of the above is known */
} el_load_record;

typedef struct el_load_log {
  el_load_record *records;
  size_t n, cap;
  float *gaps; /* between events with text, of all requests */
  size_t n_gaps, cap_gaps;
  size_t ends[EL_LOAD_N_ENDS];
  char why[EL_LOAD_N_ENDS][160]; /* in words, of the first that ended so */
  bool lost;                     /* there was no memory for a gap */
} el_load_log;

/* A request that is about to be sent. Its number; SIZE_MAX: no memory. */
size_t el_load_log_begin(el_load_log *log, const el_load_item *item);
void el_load_log_gap(el_load_log *log, double gap);
/* start: the run's, as answer->sent and the others count. */
void el_load_log_end(el_load_log *log, size_t number, const el_load_answer *answer, double start, double now);
void el_load_log_free(el_load_log *log);

#endif
