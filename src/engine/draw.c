#include "engine/draw.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "engine/constrained.h"
#include "tokenizer/tokenizer.h"

/* A row of logits and whom it is for, or all rows of a sequence that generates. */
typedef struct job {
  el_seq *seq;
  int pos; /* the position that the logits are of */
  int row, n_rows;
  bool shared; /* threads share the first one */
} job;

struct el_draws {
  el_threads *threads;
  int max_logits;
  el_sampler **samplers; /* [threads] */
  job *jobs;             /* [max_logits] */
  int n_jobs;
  el_drawn *drawn; /* [max_logits] by row */
  const float *logits;
  size_t stride;
  el_cursor cursor;
  el_cursor parts[2]; /* of the rows that are shared: to look through, to weigh */
  int n_parts;        /* of each */
  int share_from;     /* rows of so many tokens are shared */
};

/* ------------------------------------------------------------------ a token */

static el_status pick_token(el_sampler *s, const el_tokenizer *t, el_seq *q, const float *logits, el_drawn *out) {
  const el_sampling sampling = el_seq_sampling(q);
  if (q->constraint) return el_constrained_pick(q, s, t, logits, &sampling, &out->token, &out->error);
  return el_sampler_pick(s, logits, &sampling, q->tokens, q->n_prompt, el_seq_n_known(q), &out->token, &out->error);
}

void el_draw_next(el_sampler *s, el_seq *q, const float *logits, el_drawn *out) {
  const el_tokenizer *t = q->tokenizer;
  el_sampler_use(s, (int)el_tokenizer_n_vocab(t));
  out->complete = out->ends = out->stop_token = false;
  out->logprob = 0;
  out->status = pick_token(s, t, q, logits, out);
  if (out->status) return;
  if (q->logprobs) {
    out->status = el_sampler_score(s, logits, out->token, q->n_top, &out->logprob, out->top, &out->error);
    if (out->status) return;
  }
  out->stop_token = el_seq_stops_at(q, out->token);
  out->ends = out->stop_token || (!q->ignore_eos && el_tokenizer_is_eog(t, out->token));
  if (out->ends) return;
  if (q->constraint) out->status = el_constrained_take(q, t, out->token, &out->complete, &out->error);
  if (!out->status) q->tokens[q->n_tokens + q->n_drawn++] = out->token;
}

/* The log probability of the prompt's token that follows position `pos`. */
static void score_row(el_sampler *s, el_seq *q, int pos, const float *logits, el_drawn *out) {
  el_token_logprob *top = q->n_prompt_top ? q->prompt_top + (size_t)(pos + 1) * (size_t)q->n_prompt_top : NULL;
  el_sampler_use(s, (int)el_tokenizer_n_vocab(q->tokenizer));
  out->status =
      el_sampler_score(s, logits, q->tokens[pos + 1], q->n_prompt_top, &q->prompt_logprobs[pos + 1], top, &out->error);
}

/* ---------------------------------------------------------------- the phase */

/* The token that follows a sequence's last one, and those that follow its guess, until that is wrong. */
static void draw_rows(const el_draws *d, el_sampler *s, const job *j) {
  for (int i = 0; i < j->n_rows; i++) {
    el_drawn *out = &d->drawn[j->row + i];
    el_draw_next(s, j->seq, d->logits + (size_t)(j->row + i) * d->stride, out);
    out->guessed = !out->status && el_draft_drawn(&j->seq->draft, out->token) && !out->ends && !out->complete;
    if (!out->guessed) return;
  }
}

static void run_job(el_draws *d, el_sampler *s, const job *j) {
  if (el_seq_draws(j->seq, j->pos))
    draw_rows(d, s, j);
  else
    score_row(s, j->seq, j->pos, d->logits + (size_t)j->row * d->stride, &d->drawn[j->row]);
}

/* A phase's function: threads take job after job. */
static void run_jobs(void *arg, int phase, el_turn turn) {
  el_draws *d = arg;
  for (int i; (i = el_cursor_take(&d->cursor, d->n_jobs)) >= 0;) run_job(d, d->samplers[turn.ith], &d->jobs[i]);
}

/* ------------------------------------------------------------- shared rows */

static bool is_shared(const el_draws *d, const job *j) {
  const el_sampling sampling = el_seq_sampling(j->seq);
  return el_seq_draws(j->seq, j->pos) && !j->seq->constraint && el_sampler_is_long(&sampling) &&
         el_tokenizer_n_vocab(j->seq->tokenizer) >= d->share_from;
}

/* Which rows are shared: job i has sampler i, whoever computes a part of it. False: none is. */
static bool share_rows_by_threads(el_draws *d) {
  d->n_parts = 0;
  if (d->n_jobs >= el_threads_count(d->threads)) return false;
  for (int i = 0; i < d->n_jobs; i++) {
    job *j = &d->jobs[i];
    if (!(j->shared = is_shared(d, j))) continue;
    const el_sampling sampling = el_seq_sampling(j->seq);
    const int n_vocab = (int)el_tokenizer_n_vocab(j->seq->tokenizer), n_parts = el_row_parts(n_vocab);
    el_sampler_use(d->samplers[i], n_vocab);
    el_sampler_share(d->samplers[i], d->logits + (size_t)j->row * d->stride, &sampling);
    d->n_parts = n_parts > d->n_parts ? n_parts : d->n_parts;
  }
  return d->n_parts;
}

/* The phases' function: rows are looked through, weighed, and drawn from. */
static void run_shared(void *arg, int phase, el_turn turn) {
  el_draws *d = arg;
  if (phase == 2) {
    for (int i; (i = el_cursor_take(&d->cursor, d->n_jobs)) >= 0;) run_job(d, d->samplers[i], &d->jobs[i]);
    return;
  }
  for (int i; (i = el_cursor_take(&d->parts[phase], d->n_jobs * d->n_parts)) >= 0;) {
    const job *j = &d->jobs[i / d->n_parts];
    const int part = i % d->n_parts;
    if (j->shared && part < el_row_parts((int)el_tokenizer_n_vocab(j->seq->tokenizer)))
      (phase ? el_sampler_weigh : el_sampler_look)(d->samplers[i / d->n_parts], part);
  }
}

static void find_jobs(el_draws *d, const el_scheduler *s) {
  int row = 0;
  d->n_jobs = 0;
  for (int i = 0; i < s->n_pieces; i++) {
    const el_piece *p = &s->pieces[i];
    if (p->generates) {
      assert(row + p->n <= d->max_logits);
      if (p->seq) d->jobs[d->n_jobs++] = (job){.seq = p->seq, .pos = p->from, .row = row, .n_rows = p->n};
      row += p->n;
      continue;
    }
    for (int k = 0; k < p->n; k++) {
      if (!s->rows[p->row + k].wants_logits) continue;
      assert(row < d->max_logits);
      const int pos = p->from + k;
      if (p->seq && (el_seq_draws(p->seq, pos) || el_seq_scores_prompt(p->seq, pos)))
        d->jobs[d->n_jobs++] = (job){.seq = p->seq, .pos = pos, .row = row, .n_rows = 1};
      row++;
    }
  }
}

const el_drawn *el_draws_run(el_draws *d, const el_scheduler *s, const float *logits, size_t stride) {
  find_jobs(d, s);
  d->logits = logits;
  d->stride = stride;
  atomic_store_explicit(&d->cursor.next, 0, memory_order_relaxed);
  if (share_rows_by_threads(d)) {
    for (int i = 0; i < 2; i++) atomic_store_explicit(&d->parts[i].next, 0, memory_order_relaxed);
    el_threads_run_phases(d->threads, 3, run_shared, d);
  } else if (d->n_jobs > 1) {
    el_threads_run_phases(d->threads, 1, run_jobs, d);
  } else {
    run_jobs(d, 0, (el_turn){.size = 1});
  }
  return d->drawn;
}

el_status el_draws_new(const el_kernels *k, el_threads *threads, int n_vocab, int max_logits, el_draws **out,
                       el_error *err) {
  void *memory = NULL;
  if (posix_memalign(&memory, _Alignof(el_draws), sizeof(el_draws)))
    return el_fail(err, EL_ERR_NO_MEMORY, "drawing: out of memory");
  el_draws *d = memory;
  const int nth = el_threads_count(threads);
  *d = (el_draws){.threads = threads, .max_logits = max_logits, .share_from = EL_DRAW_SHARE_FROM};
  d->samplers = calloc((size_t)nth, sizeof(el_sampler *));
  d->jobs = calloc((size_t)max_logits, sizeof *d->jobs);
  d->drawn = calloc((size_t)max_logits, sizeof *d->drawn);
  el_status status = EL_OK;
  if (!d->samplers || !d->jobs || !d->drawn) status = el_fail(err, EL_ERR_NO_MEMORY, "drawing: out of memory");
  for (int i = 0; i < nth && !status; i++) status = el_sampler_new(k, n_vocab, &d->samplers[i], err);
  if (status)
    el_draws_free(d);
  else
    *out = d;
  return status;
}

void el_draws_share_from(el_draws *d, int n_vocab) {
  d->share_from = n_vocab;
}

void el_draws_free(el_draws *d) {
  if (!d) return;
  for (int i = 0; d->samplers && i < el_threads_count(d->threads); i++) el_sampler_free(d->samplers[i]);
  free(d->samplers);
  free(d->jobs);
  free(d->drawn);
  free(d);
}
