#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

el_status el_scheduler_init(el_scheduler *s, el_memory *memory, int n_slots, int step_rows, int max_logits,
                            el_error *err) {
  assert(n_slots >= 1 && step_rows >= n_slots && max_logits >= n_slots);
  *s = (el_scheduler){.memory = memory, .n_slots = n_slots, .step_rows = step_rows, .max_logits = max_logits};
  s->running = calloc((size_t)n_slots, sizeof *s->running);
  s->pieces = calloc((size_t)n_slots * 2, sizeof *s->pieces);
  s->rows = calloc((size_t)step_rows, sizeof *s->rows);
  s->adapters = calloc((size_t)n_slots, sizeof *s->adapters);
  if (s->running && s->pieces && s->rows && s->adapters) return EL_OK;
  el_scheduler_free(s);
  return el_fail(err, EL_ERR_NO_MEMORY, "scheduler: out of memory");
}

void el_scheduler_free(el_scheduler *s) {
  free(s->running);
  free(s->pieces);
  free(s->rows);
  free(s->adapters);
  *s = (el_scheduler){0};
}

/* ----------------------------------------------------------------- waiting */

void el_scheduler_add(el_scheduler *s, el_seq *q) {
  el_seq **at = &s->waiting;
  /* New ones are the youngest; one that was preempted goes before them. */
  if (s->waiting && s->last_waiting->id < q->id)
    at = &s->last_waiting->next;
  else
    while (*at && (*at)->id < q->id) at = &(*at)->next;
  q->next = *at;
  *at = q;
  if (!q->next) s->last_waiting = q;
}

static void remove_waiting(el_scheduler *s, el_seq *q) {
  el_seq **at = &s->waiting, *before = NULL;
  while (*at != q) before = *at, at = &before->next;
  *at = q->next;
  if (s->last_waiting == q) s->last_waiting = before;
}

/* ---------------------------------------------------------------- prefixes */

/* Whom its pages in the prefix cache are for. */
static el_prefix_owner owner_of(const el_seq *q) {
  return (el_prefix_owner){q->adapter, q->prefix_domain};
}

/* The page that the sequence's next one hangs on in the prefix cache. */
static uint32_t last_chained(const el_seq *q) {
  return q->n_chained ? q->pages[q->n_chained - 1] : (uint32_t)EL_NO_PAGE;
}

/* Positions that need not be computed by this sequence, if others have: all before the first whose logits are wanted,
 * or whose state the router wants. */
static int reusable(const el_seq *q) {
  if (el_seq_chooses(q)) return q->choice->own && !q->adapter ? q->choice->n_lead : 0;
  int scored = q->n_prompt_logprobs - 1; /* the first position that still scores a token of the prompt */
  return q->wants_prompt_logprobs && q->n_prompt_logprobs < q->n_prompt ? scored : q->n_tokens - 1;
}

/* Takes whole pages of what comes next from the prefix cache, as far as it has them; they are not counted. */
static void reuse(el_scheduler *s, el_seq *q) {
  el_prefix *p = &s->memory->prefix;
  while (q->n_computed == q->n_chained * EL_PAGE_TOKENS && q->n_computed + EL_PAGE_TOKENS <= reusable(q)) {
    uint32_t page = el_prefix_find(p, owner_of(q), last_chained(q), q->tokens + q->n_computed);
    if (page == EL_NO_PAGE) break;
    el_prefix_use(p, page);
    if (q->n_chained < q->n_pages)
      el_prefix_release(p, &q->pages[q->n_chained], 1); /* its own is not needed */
    else
      q->n_pages++;
    q->pages[q->n_chained++] = page;
    q->n_computed += EL_PAGE_TOKENS;
  }
}

/* Of n_computed positions, those from `from` on came from the prefix cache. */
static void count_reused(el_scheduler *s, el_seq *q, int from) {
  atomic_fetch_add(&s->memory->count.prefix_tokens, (uint64_t)(q->n_computed - from));
  if (q->n_computed <= q->n_reached) return;
  q->cached_tokens += q->n_computed - (from > q->n_reached ? from : q->n_reached);
  q->n_reached = q->n_computed;
}

void el_scheduler_computed(el_scheduler *s, el_seq *q, int n) {
  el_prefix *p = &s->memory->prefix;
  q->n_computed += n;
  assert(q->n_computed <= q->n_tokens);
  if (q->n_computed > q->n_reached) q->n_reached = q->n_computed;
  if (!p->on) return;
  for (int i = q->n_chained; (i + 1) * EL_PAGE_TOKENS <= q->n_computed; i++) {
    q->pages[i] = el_prefix_insert(p, owner_of(q), last_chained(q), q->tokens + i * EL_PAGE_TOKENS, q->pages[i]);
    q->n_chained++;
  }
}

/* A running sequence lets go of its pages and its adapter. */
static void release(el_scheduler *s, el_seq *q) {
  if (q->choice) el_choice_restart(q->choice);
  el_prefix_release(&s->memory->prefix, q->pages, q->n_pages);
  el_memory_unpin(s->memory, q->adapter);
  q->n_pages = q->n_chained = q->n_computed = 0;
  atomic_store(&q->shown.slot, -1);
}

/* ------------------------------------------------------------ start and end */

/* The lowest number that no running sequence has; there is one. */
static int free_slot(const el_scheduler *s) {
  for (int slot = 0;; slot++) {
    int i = 0;
    while (i < s->n_running && s->running[i]->slot != slot) i++;
    if (i == s->n_running) return slot;
  }
}

bool el_scheduler_start(el_scheduler *s, el_seq *q) {
  if (s->n_running == s->n_slots) return false;
  el_memory_pin(s->memory, q->adapter); /* its room must not be taken from its adapter */
  reuse(s, q);                          /* nor from the pages that it finds */
  int n = el_seq_n_pages(q) - q->n_pages;
  /* A page for each running sequence stays free, so that starting this one does not at once drive one out. */
  if (!el_memory_make_pages(s->memory, (uint64_t)(n + s->n_running))) {
    release(s, q);
    return false;
  }
  if (!el_prefix_take(&s->memory->prefix, q->pages + q->n_pages, n)) {
    el_bug(s->memory->log, "request %llu: %d pages are not there, though room was made for them",
           (unsigned long long)q->id, n);
    release(s, q);
    return false;
  }
  q->n_pages += n;
  count_reused(s, q, 0);
  remove_waiting(s, q);
  q->slot = free_slot(s);
  atomic_store(&q->shown.slot, q->slot);
  int at = s->n_running++;
  for (; at > 0 && s->running[at - 1]->id > q->id; at--) s->running[at] = s->running[at - 1];
  s->running[at] = q;
  return true;
}

void el_scheduler_remove(el_scheduler *s, el_seq *q) {
  for (int i = 0; i < s->n_pieces; i++)
    if (s->pieces[i].seq == q) s->pieces[i].seq = NULL;
  for (int i = 0; i < s->n_running; i++) {
    if (s->running[i] != q) continue;
    release(s, q);
    memmove(&s->running[i], &s->running[i + 1], (size_t)(s->n_running - i - 1) * sizeof *s->running);
    s->n_running--;
    return;
  }
  remove_waiting(s, q);
}

static void preempt_youngest(el_scheduler *s) {
  el_seq *q = s->running[--s->n_running];
  release(s, q);
  el_scheduler_add(s, q);
  s->n_preempted++;
}

/* ---------------------------------------------------------------- the step */

/* Pages for all tokens of every running sequence. */
static void grow(el_scheduler *s) {
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    q->stalled = false;
    while (i < s->n_running && q->n_pages < el_seq_n_pages(q)) {
      if (el_memory_grow(s->memory, s->n_running == 1, q->pages + q->n_pages)) {
        q->n_pages++;
      } else if (s->n_running > 1) {
        preempt_youngest(s); /* it may be q itself, which then is the last */
      } else {
        q->stalled = true; /* what it needs is being loaded into, and can be had when that has ended */
        return;
      }
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

/* In the order that a step wants: TAIL, WHOLE, HEAD. */
static void sort_parts(el_scheduler *s) {
  static const int rank[] = {[EL_ROW_TAIL] = 0, [EL_ROW_WHOLE] = 1, [EL_ROW_HEAD] = 2};
  for (int i = 1; i < s->n_pieces; i++) {
    el_piece p = s->pieces[i];
    int at = i;
    for (; at > 0 && rank[s->pieces[at - 1].part] > rank[p.part]; at--) s->pieces[at] = s->pieces[at - 1];
    s->pieces[at] = p;
  }
}

/* Puts pieces with the same adapter together: by the first of them, in the order that they had. */
static void group(el_scheduler *s) {
  for (int i = 0; i < s->n_pieces; i++) {
    const el_adapter *a = adapter_of(s->pieces[i].seq);
    int end = i + 1;
    for (int j = end; j < s->n_pieces && s->pieces[j].part == s->pieces[i].part; j++) {
      if (adapter_of(s->pieces[j].seq) != a) continue;
      el_piece p = s->pieces[j];
      memmove(&s->pieces[end + 1], &s->pieces[end], (size_t)(j - end) * sizeof p);
      s->pieces[end++] = p;
    }
    i = end - 1;
  }
}

/* Positions [from, to) of a sequence as far as there is room; returns how many there are. */
static int add_chunk(el_scheduler *s, el_seq *q, el_row_part part, int from, int to, int *rows, int *logits) {
  int n = 0;
  for (; from + n < to && n < *rows; n++) {
    if (!wants_logits(q, from + n)) continue;
    if (!*logits) break;
    --*logits;
  }
  if (n) s->pieces[s->n_pieces++] = (el_piece){q, part, from, n, 0};
  *rows -= n;
  return n;
}

static float *states_at(const el_scheduler *s, const el_seq *q, int i) {
  return q->choice->states + (size_t)i * s->state_floats;
}

static void add_head_rows(el_scheduler *s, const el_piece *p) {
  const el_seq *q = p->seq;
  for (int i = p->from; i < p->from + p->n; i++)
    s->rows[s->n_rows++] = (el_row){.token = el_choice_token(q->choice, q->tokens, i),
                                    .pos = i,
                                    .pages = q->pages,
                                    .adapter = adapter_of(q),
                                    .part = EL_ROW_HEAD,
                                    .states = states_at(s, q, i)};
}

/* Whether the step may have this sequence's adapter; then it has it. The oldest sequence is asked first. */
static bool admits(el_scheduler *s, const el_seq *q) {
  if (!s->step_adapters || s->step_adapters >= s->n_slots) return true;
  const el_adapter *a = adapter_of(q);
  for (int i = 0; i < s->n_adapters; i++)
    if (s->adapters[i] == a) return true;
  if (s->n_adapters == s->step_adapters) return false;
  s->adapters[s->n_adapters++] = a;
  return true;
}

void el_scheduler_plan(el_scheduler *s) {
  grow(s);
  int rows = s->step_rows, logits = s->max_logits;
  s->n_pieces = s->n_adapters = 0;
  if (s->n_running) admits(s, s->running[0]);
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    if (q->stalled || !generates(q) || !admits(s, q)) continue;
    s->pieces[s->n_pieces++] = (el_piece){q, EL_ROW_WHOLE, q->n_computed, 1, 0};
    rows--;
    logits--;
  }
  for (int i = 0; i < s->n_running && rows > 0; i++) {
    el_seq *q = s->running[i];
    if (q->stalled || generates(q) || !admits(s, q)) continue;
    if (el_seq_chooses(q)) {
      if (q->choice->n_read < q->n_computed) q->choice->n_read = q->n_computed;
      int from = q->choice->n_read, left = q->choice->n - from, n = left < rows ? left : rows;
      s->pieces[s->n_pieces++] = (el_piece){q, EL_ROW_HEAD, from, n, 0};
      rows -= n;
      continue;
    }
    int from = q->n_computed, headed = q->choice ? el_choice_headed(q->choice) : 0;
    reuse(s, q); /* others may have computed it since this one started */
    count_reused(s, q, from);
    from = q->n_computed;
    if (from < headed) from += add_chunk(s, q, EL_ROW_TAIL, from, headed, &rows, &logits);
    if (from >= headed) add_chunk(s, q, EL_ROW_WHOLE, from, q->n_tokens, &rows, &logits);
  }
  sort_parts(s);
  group(s);
  s->n_rows = 0;
  for (int i = 0; i < s->n_pieces; i++) {
    el_piece *p = &s->pieces[i];
    p->row = s->n_rows;
    if (p->part == EL_ROW_HEAD) {
      add_head_rows(s, p);
      continue;
    }
    const el_adapter *a = adapter_of(p->seq);
    for (int pos = p->from; pos < p->from + p->n; pos++)
      s->rows[s->n_rows++] = (el_row){.token = p->seq->tokens[pos],
                                      .pos = pos,
                                      .pages = p->seq->pages,
                                      .adapter = a,
                                      .wants_logits = wants_logits(p->seq, pos),
                                      .part = p->part,
                                      .states = p->part == EL_ROW_TAIL ? states_at(s, p->seq, pos) : NULL};
  }
}
