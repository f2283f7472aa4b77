/* Which sequences run, and which rows the next step has. Engine thread only.
 *
 * A step takes a row of every sequence that generates, then chunks of prompts, the oldest sequence first, up to its
 * number of rows. A sequence takes pages for its prompt when it starts and one more whenever it has filled one. When
 * there is none and no adapter that could leave, the youngest running sequence gives up all of its pages and waits,
 * before all that are younger; its tokens are computed again later, which nobody notices, since rows do not depend on
 * who shares their step. The oldest one always goes on: its adapter and its pages fit the pool (el_memory_check), and
 * what else is in the pool then can be had, but for the blocks of a load, which ends.
 *
 * Where there are windowed pages, a sequence has those that its next step reads or writes, as many from its start on as
 * it ever needs, and gives each back when the window has passed. A block has pages of one kind, so sequences that have
 * shared blocks and are gone may leave the last one with its pages so scattered that a block for the other kind is
 * missing, though all that it needs would fit. It then gives up its pages, nothing stays in the prefix cache, and it
 * begins anew alone: nobody starts beside it, so its pages lie side by side.
 *
 * Where prompts of several tenants are computed, each tenant has a part of the rows that are left, by its weight, so
 * that nobody's first token waits for the end of another's long prompts (turns.h).
 *
 * With a limit on a step's adapters, sequences of others sit out: those of the oldest one's adapter never do.
 *
 * An activated adapter computes a sequence from its invocation on, the base what comes before. Rows of both may be in
 * one step: the base's come first.
 *
 * Behind the row of its last token a sequence that generates may have rows of what it guesses comes next
 * (speculation.h). Until their tokens have been drawn they count as not computed, so nothing of them is ever in the
 * prefix cache; and pages for them are taken only where a request could start beside them.
 *
 * A sequence whose adapter is to be chosen has FIRST_LAYERS rows until the router has read its prompt. They write keys
 * and values of the first layers into its pages, which count as not computed until LAST_LAYERS rows have done the other
 * layers.
 */
#ifndef EL_ENGINE_SCHEDULER_H
#define EL_ENGINE_SCHEDULER_H

#include "engine/memory.h"
#include "engine/seq.h"
#include "engine/speculation.h"
#include "engine/turns.h"

/* Consecutive positions of one sequence in a step. */
typedef struct el_piece {
  el_seq *seq; /* NULL: it has ended since */
  el_row_layers layers;
  bool generates;            /* the row of its last token, and those of a guess */
  const el_adapter *adapter; /* NULL: the base */
  int from, n;               /* FIRST_LAYERS: counted from the first that the router reads */
  int row;                   /* of the step, the first one's */
} el_piece;

typedef struct el_scheduler {
  el_memory *memory;
  int n_slots, step_rows, max_logits;
  int step_adapters;              /* a step's, the base is one; 0: all that run. May be changed between steps */
  size_t state_floats;            /* of a row that the router reads */
  el_seq *waiting, *last_waiting; /* a list in order of id */
  el_turns turns;                 /* the same as they are next */
  el_seq **passed;                /* [2 * n_slots] for admission */
  el_seq **running;               /* [n_running], in order of id */
  int n_running;
  uint64_t n_preempted;
  el_speculation *speculation; /* NULL: nobody speculates */

  /* The next step. Pieces are in the order of their rows. */
  const el_adapter **adapters; /* [n_slots] those that it has so far, while it is planned with a limit */
  int n_adapters;
  el_piece *pieces; /* [2 * n_slots]: a sequence may have a LAST_LAYERS and an ALL_LAYERS one, or one of the base and
                     * one of its adapter */
  int n_pieces;
  el_flow **flows;     /* [n_slots] of those that have prompts in it */
  el_seq **generating; /* [n_slots] of the running ones, that have a row for their next token */
  int n_generating;
  el_row *rows; /* [step_rows] */
  int n_rows;
} el_scheduler;

/* step_rows and max_logits are n_slots at least. */
el_status el_scheduler_init(el_scheduler *s, el_memory *memory, int n_slots, int step_rows, int max_logits,
                            el_error *err);
void el_scheduler_free(el_scheduler *s); /* what waits or runs is not freed */

/* Puts a sequence among those that wait. */
void el_scheduler_add(el_scheduler *s, el_seq *q);
/* Starts a waiting sequence, if there is a slot, and pages for its tokens and one more for each that runs; its adapter
 * is resident, and el_seq_start has prepared it. */
bool el_scheduler_start(el_scheduler *s, el_seq *q);
/* Takes a waiting or running sequence out; its pages are free. */
void el_scheduler_remove(el_scheduler *s, el_seq *q);
/* n more positions of a running sequence have been computed: what pages that fills others may use from now on. */
void el_scheduler_computed(el_scheduler *s, el_seq *q, int n);
/* What the next step would have has no rows, and no load is under way: makes the only sequence that runs begin anew
 * alone. False: nothing runs, or it is alone already. */
bool el_scheduler_unscatter(el_scheduler *s);
/* Fills rows and pieces. There is none if nothing runs, or if the only one that runs is stalled: it waits for memory
 * that a load has. */
void el_scheduler_plan(el_scheduler *s);

#endif
