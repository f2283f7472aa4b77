#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

el_status el_scheduler_init(el_scheduler *s, el_kv_pages *kv, int n_slots, int step_rows, int max_logits,
                            el_error *err) {
  assert(n_slots >= 1 && step_rows >= n_slots && max_logits >= n_slots);
  *s = (el_scheduler){.kv = kv, .n_slots = n_slots, .step_rows = step_rows, .max_logits = max_logits};
  s->waiting_end = &s->waiting;
  s->running = calloc((size_t)n_slots, sizeof *s->running);
  s->pieces = calloc((size_t)n_slots, sizeof *s->pieces);
  s->rows = calloc((size_t)step_rows, sizeof *s->rows);
  if (s->running && s->pieces && s->rows) return EL_OK;
  el_scheduler_free(s);
  return el_fail(err, EL_ERR_NO_MEMORY, "scheduler: out of memory");
}

void el_scheduler_free(el_scheduler *s) {
  free(s->running);
  free(s->pieces);
  free(s->rows);
  *s = (el_scheduler){0};
}

/* ------------------------------------------------------------ start and end */

/* Whatever runs is older than whatever waits, here and below. */
void el_scheduler_add(el_scheduler *s, el_seq *q) {
  q->next = NULL;
  *s->waiting_end = q;
  s->waiting_end = &q->next;
}

el_seq *el_scheduler_candidate(const el_scheduler *s) {
  el_seq *q = s->waiting;
  if (!q || s->n_running == s->n_slots) return NULL;
  /* A page for each running sequence stays free, so that starting this one does not at once drive one out. */
  return s->kv->n_free >= (uint32_t)(el_pages_for(q->n_tokens) + s->n_running) ? q : NULL;
}

void el_scheduler_start(el_scheduler *s) {
  el_seq *q = s->waiting;
  s->waiting = q->next;
  if (!s->waiting) s->waiting_end = &s->waiting;
  q->n_pages = el_pages_for(q->n_tokens);
  bool taken = el_kv_pages_take(s->kv, q->pages, q->n_pages);
  assert(taken);
  (void)taken;
  assert(!s->n_running || s->running[s->n_running - 1]->id < q->id);
  s->running[s->n_running++] = q;
}

static void drop_pages(el_scheduler *s, el_seq *q) {
  el_kv_pages_give(s->kv, q->pages, q->n_pages);
  q->n_pages = 0;
  q->n_computed = 0;
}

void el_scheduler_remove(el_scheduler *s, el_seq *q) {
  for (int i = 0; i < s->n_running; i++) {
    if (s->running[i] != q) continue;
    drop_pages(s, q);
    memmove(&s->running[i], &s->running[i + 1], (size_t)(s->n_running - i - 1) * sizeof *s->running);
    s->n_running--;
    return;
  }
  el_seq **at = &s->waiting;
  while (*at != q) at = &(*at)->next;
  *at = q->next;
  if (!*at) s->waiting_end = at;
}

static void preempt_youngest(el_scheduler *s) {
  el_seq *q = s->running[--s->n_running];
  drop_pages(s, q);
  assert(!s->waiting || q->id < s->waiting->id);
  q->next = s->waiting;
  s->waiting = q;
  if (!q->next) s->waiting_end = &q->next;
  s->n_preempted++;
}

/* ---------------------------------------------------------------- the step */

/* Pages for all tokens of every running sequence. */
static void grow(el_scheduler *s) {
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    while (i < s->n_running && q->n_pages < el_pages_for(q->n_tokens)) {
      if (el_kv_pages_take(s->kv, q->pages + q->n_pages, 1))
        q->n_pages++;
      else
        preempt_youngest(s); /* it may be q itself, which then is the last */
    }
  }
}

static bool generates(const el_seq *q) {
  return q->n_tokens > q->n_prompt && q->n_computed == q->n_tokens - 1;
}

static bool wants_logits(const el_seq *q, int pos) {
  return el_seq_draws(q, pos) || el_seq_scores_prompt(q, pos);
}

static const el_adapter *adapter_of(const el_seq *q) {
  return q->adapter ? q->adapter->adapter : NULL;
}

/* Puts pieces with the same adapter together: by the first of them, in the order that they had. */
static void group(el_scheduler *s) {
  for (int i = 0; i < s->n_pieces; i++) {
    const el_adapter *a = adapter_of(s->pieces[i].seq);
    int end = i + 1;
    for (int j = end; j < s->n_pieces; j++) {
      if (adapter_of(s->pieces[j].seq) != a) continue;
      el_piece p = s->pieces[j];
      memmove(&s->pieces[end + 1], &s->pieces[end], (size_t)(j - end) * sizeof p);
      s->pieces[end++] = p;
    }
    i = end - 1;
  }
}

void el_scheduler_plan(el_scheduler *s) {
  grow(s);
  int rows = s->step_rows, logits = s->max_logits;
  s->n_pieces = 0;
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    if (!generates(q)) continue;
    s->pieces[s->n_pieces++] = (el_piece){q, q->n_computed, 1};
    rows--;
    logits--;
  }
  for (int i = 0; i < s->n_running && rows > 0; i++) {
    el_seq *q = s->running[i];
    if (generates(q)) continue;
    el_piece p = {q, q->n_computed, 0};
    for (int pos = p.from; pos < q->n_tokens && p.n < rows; pos++, p.n++) {
      if (!wants_logits(q, pos)) continue;
      if (!logits) break;
      logits--;
    }
    if (!p.n) continue;
    s->pieces[s->n_pieces++] = p;
    rows -= p.n;
  }
  group(s);
  s->n_rows = 0;
  for (int i = 0; i < s->n_pieces; i++) {
    const el_piece *p = &s->pieces[i];
    const el_adapter *a = adapter_of(p->seq);
    for (int pos = p->from; pos < p->from + p->n; pos++)
      s->rows[s->n_rows++] = (el_row){p->seq->tokens[pos], pos, p->seq->pages, a, wants_logits(p->seq, pos)};
  }
  assert(s->n_rows > 0 || !s->n_running);
}
