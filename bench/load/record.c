#include "bench/load/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/load/fetch.h"

/* Room for one more; NULL: no memory. */
static void *grown_array(void *items, size_t n, size_t *cap, size_t size) {
  if (n < *cap) return items;
  size_t more = *cap ? *cap * 2 : 1024;
  void *p = more > SIZE_MAX / size ? NULL : realloc(items, more * size);
  if (p) *cap = more;
  return p;
}

size_t el_load_log_begin(el_load_log *log, const el_load_item *item) {
  el_load_record *p = grown_array(log->records, log->n, &log->cap, sizeof *p);
  if (!p) return SIZE_MAX;
  log->records = p;
  p[log->n] = (el_load_record){.at = item->at,
                               .sent = -1,
                               .first = -1,
                               .last = -1,
                               .done = -1,
                               .adapter = item->adapter,
                               .n_in = item->n_in,
                               .n_out = item->n_out,
                               .prompt_tokens = -1,
                               .completion_tokens = -1,
                               .cached_tokens = -1};
  return log->n++;
}

void el_load_log_gap(el_load_log *log, double gap) {
  float *p = grown_array(log->gaps, log->n_gaps, &log->cap_gaps, sizeof *p);
  if (!p) {
    log->lost = true;
    return;
  }
  log->gaps = p;
  p[log->n_gaps++] = (float)gap;
}

void el_load_log_end(el_load_log *log, size_t number, const el_load_answer *a, double start, double now) {
  assert(number < log->n);
  el_load_record *r = &log->records[number];
  assert(!r->ended);
  r->ended = true;
  r->end = a->end;
  r->status = a->status;
  r->sent = a->sent - start;
  r->done = (a->end == EL_LOAD_DONE ? a->done : now) - start;
  if (a->first > 0) r->first = a->first - start;
  if (a->last > 0) r->last = a->last - start;
  /* All of its tokens were without text: what a reader sees first is the end. */
  if (a->end == EL_LOAD_DONE && r->first < 0) r->first = r->done;
  r->texts = a->texts;
  r->prompt_tokens = a->prompt_tokens;
  r->completion_tokens = a->completion_tokens;
  r->cached_tokens = a->cached_tokens;
  if (log->ends[a->end]++ == 0) el_load_say(a, log->why[a->end], sizeof log->why[a->end]);
}

void el_load_log_free(el_load_log *log) {
  free(log->records);
  free(log->gaps);
  *log = (el_load_log){0};
}
