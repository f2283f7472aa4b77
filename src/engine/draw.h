/* What becomes of a step's logits: tokens are drawn, and prompts scored, by all compute threads together.
 *
 * A sequence's draw depends on its logits, its parameters and its own tokens alone, so threads take sequences in any
 * order; the rows of a guess are drawn one after the other, as far as it comes true. Where sequences are fewer than
 * threads and the vocabulary is large, threads share the long passes over a row, which are by parts anyway. Clients
 * hear of it afterwards, from the engine thread. */
#ifndef EL_ENGINE_DRAW_H
#define EL_ENGINE_DRAW_H

#include "base/threads.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

/* What was drawn from one row, before its client hears of it. */
typedef struct el_drawn {
  el_status status; /* not EL_OK: error says why nothing was drawn, and the request fails */
  int32_t token;
  float logprob; /* where the request wants it, with q->n_top alternatives */
  el_token_logprob top[EL_MAX_TOP_LOGPROBS];
  bool stop_token; /* it is one of the request's, */
  bool ends;       /* or ends the generation: it is not part of the answer */
  bool complete;   /* nothing can follow it, by the constraint */
  bool guessed;    /* the sequence has guessed it, so the next row's token is drawn too */
  el_error error;
} el_drawn;

/* Draws the next token of a sequence out of a row of logits, behind those that were drawn and not told (q->n_drawn),
 * and puts it there unless it ends the generation. What the sequence's penalties, constraint and random numbers depend
 * on has moved on then, so the next row's token may be drawn at once. One thread for one sequence; each thread has a
 * sampler. */
void el_draw_next(el_sampler *s, el_seq *q, const float *logits, el_drawn *out);

typedef struct el_draws el_draws;
/* threads: stay where they are. n_vocab: tokens that any sequence may have. max_logits: rows of a step that may want
 * logits. */
el_status el_draws_new(const el_kernels *k, el_threads *threads, int n_vocab, int max_logits, el_draws **out,
                       el_error *err);
void el_draws_free(el_draws *d);
/* Threads share rows of so many tokens where there are fewer rows than threads; for tests, whose rows are short. */
void el_draws_share_from(el_draws *d, int n_vocab);
/* All that the step's pieces want of its logits, `stride` values from one row that wants them to the next: the result
 * for each row is at [row]. Of a position of a prompt: its score is where it belongs, and `status` says whether its
 * logits were finite. */
const el_drawn *el_draws_run(el_draws *d, const el_scheduler *s, const float *logits, size_t stride);

#endif
