/* Which sequences run, and which rows the next step has. Engine thread only.
 *
 * Sequences start in the order in which they were submitted. A step takes a row of every sequence that generates, then
 * chunks of prompts, the oldest sequence first, up to its number of rows. A sequence takes pages for its prompt when it
 * starts and one more whenever it has filled one. When there is none, the youngest running sequence gives up all of
 * its pages and waits, before all that has not started yet; its tokens are computed again later, which nobody notices,
 * since rows do not depend on who shares their step. The oldest one always goes on: the arena holds one whole context.
 */
#ifndef EL_ENGINE_SCHEDULER_H
#define EL_ENGINE_SCHEDULER_H

#include "engine/kv_pages.h"
#include "engine/seq.h"

/* Consecutive positions of one sequence in a step. */
typedef struct el_piece {
  el_seq *seq;
  int from, n;
} el_piece;

typedef struct el_scheduler {
  el_kv_pages *kv;
  int n_slots, step_rows, max_logits;
  el_seq *waiting, **waiting_end; /* a list in order of id */
  el_seq **running;               /* [n_running], in order of id */
  int n_running;
  uint64_t n_preempted;

  /* The next step. Pieces are in the order of their rows. */
  el_piece *pieces; /* [n_slots] */
  int n_pieces;
  el_row *rows; /* [step_rows] */
  int n_rows;
} el_scheduler;

/* step_rows and max_logits are n_slots at least. */
el_status el_scheduler_init(el_scheduler *s, el_kv_pages *kv, int n_slots, int step_rows, int max_logits,
                            el_error *err);
void el_scheduler_free(el_scheduler *s); /* what waits or runs is not freed */

/* Ids ascend from call to call. */
void el_scheduler_add(el_scheduler *s, el_seq *q);
/* The sequence that starts next, if there is a slot and there are pages for it; else NULL. */
el_seq *el_scheduler_candidate(const el_scheduler *s);
/* Starts the candidate, which has been prepared by el_seq_start. */
void el_scheduler_start(el_scheduler *s);
/* Takes a waiting or running sequence out; its pages are free. */
void el_scheduler_remove(el_scheduler *s, el_seq *q);
/* Fills rows and pieces; there is at least one row if anything runs. */
void el_scheduler_plan(el_scheduler *s);

#endif
