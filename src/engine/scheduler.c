#include "engine/scheduler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/invocation.h"

el_status el_scheduler_init(el_scheduler *s, el_memory *memory, int n_slots, int step_rows, int max_logits,
                            el_error *err) {
  assert(n_slots >= 1 && step_rows >= n_slots && max_logits >= n_slots);
  *s = (el_scheduler){.memory = memory, .n_slots = n_slots, .step_rows = step_rows, .max_logits = max_logits};
  s->running = calloc((size_t)n_slots, sizeof *s->running);
  s->pieces = calloc((size_t)n_slots * 2, sizeof *s->pieces);
  s->rows = calloc((size_t)step_rows, sizeof *s->rows);
  s->adapters = calloc((size_t)n_slots, sizeof *s->adapters);
  s->generating = calloc((size_t)n_slots, sizeof *s->generating);
  s->passed = calloc((size_t)n_slots * 2, sizeof *s->passed);
  s->flows = calloc((size_t)n_slots, sizeof *s->flows);
  const bool turns = el_turns_init(&s->turns, 2 * n_slots);
  if (s->running && s->pieces && s->rows && s->adapters && s->generating && s->passed && s->flows && turns)
    return EL_OK;
  el_scheduler_free(s);
  return el_fail(err, EL_ERR_NO_MEMORY, "scheduler: out of memory");
}

void el_scheduler_free(el_scheduler *s) {
  free(s->running);
  free(s->pieces);
  free(s->rows);
  free(s->adapters);
  free(s->generating);
  free(s->passed);
  free(s->flows);
  el_turns_free(&s->turns);
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
  el_turns_add(&s->turns, q);
}

static void remove_waiting(el_scheduler *s, el_seq *q) {
  el_seq **at = &s->waiting, *before = NULL;
  while (*at != q) before = *at, at = &before->next;
  *at = q->next;
  if (s->last_waiting == q) s->last_waiting = before;
  el_turns_remove(&s->turns, q);
}

/* ---------------------------------------------------------------- prefixes */

/* Whom a page of it in the prefix cache is for. */
static el_prefix_owner owner_of(const el_seq *q, int page) {
  const int base_tokens = q->adapter_from - page * EL_PAGE_TOKENS;
  if (base_tokens >= EL_PAGE_TOKENS) return (el_prefix_owner){NULL, q->prefix_domain, 0};
  return (el_prefix_owner){q->adapter, q->prefix_domain, base_tokens > 0 ? base_tokens : 0};
}

/* The page that the sequence's next one hangs on in the prefix cache. */
static uint32_t last_chained(const el_seq *q) {
  return q->n_chained ? q->pages[q->n_chained - 1] : (uint32_t)EL_NO_PAGE;
}

/* Positions that need not be computed by this sequence, if others have: all before the first whose logits or hidden
 * state are wanted, or whose state the router wants. */
static int reusable(const el_seq *q) {
  if (el_seq_chooses(q)) return q->decision->own && !q->adapter ? q->decision->n_lead : 0;
  if (q->embedding && el_embedding_next(q->embedding) < q->n_tokens) return el_embedding_next(q->embedding);
  int scored = q->n_prompt_logprobs - 1; /* the first position that still scores a token of the prompt */
  return q->wants_prompt_logprobs && q->n_prompt_logprobs < q->n_prompt ? scored : q->n_tokens - 1;
}

/* The first windowed page that a sequence wants which goes on behind n pages. */
static int window_begin(const el_scheduler *s, int n) {
  return el_window_begin(n * EL_PAGE_TOKENS, s->memory->layout.window);
}

/* How many of its first pages the prefix cache has, with the windowed ones without which it could not go on; *last: the
 * last of them. */
static int find_prefix(const el_scheduler *s, const el_seq *q, uint32_t *last) {
  const el_prefix *p = &s->memory->prefix;
  const int most = reusable(q) / EL_PAGE_TOKENS;
  int n = q->n_chained, missing = -1; /* the last page without a windowed one */
  uint32_t page = last_chained(q);
  for (int i = n; i < most; i++) {
    page = el_prefix_find(p, owner_of(q, i), page, q->tokens + i * EL_PAGE_TOKENS);
    if (page == EL_NO_PAGE) break;
    if (p->windowed && p->pages[page].windowed == EL_NO_PAGE) missing = i;
    if (p->windowed && missing >= window_begin(s, i + 1)) continue;
    n = i + 1;
    *last = page;
  }
  return n;
}

/* Gives back what windowed pages the window has passed. */
static void pass_window(el_scheduler *s, el_seq *q) {
  el_prefix *p = &s->memory->prefix;
  if (!p->windowed) return;
  const int begin = el_window_begin(q->n_computed, s->memory->layout.window),
            n = (begin < q->windowed_end ? begin : q->windowed_end) - q->windowed_begin;
  if (n > 0) el_prefix_release_windowed(p, q->windowed + q->windowed_begin, n, true);
  if (begin > q->windowed_begin) q->windowed_begin = begin;
  if (q->windowed_end < begin) q->windowed_end = begin;
  while (q->alone && p->windowed->n_idle) el_prefix_evict_windowed(p); /* they would keep blocks from being filled */
}

/* The pages [q->n_chained, n) of the prefix cache, of which `last` is the last, become its own. */
static void use_prefix(el_scheduler *s, el_seq *q, int n, uint32_t last) {
  el_prefix *p = &s->memory->prefix;
  const int before = q->n_chained, own = q->n_pages, own_windowed = q->windowed_end;
  if (q->n_pages < n) q->n_pages = n;
  if (p->windowed && q->windowed_end < n) q->windowed_end = n;
  for (int i = n; i-- > before; last = p->pages[last].parent) {
    el_prefix_use(p, last);
    if (i < own) el_prefix_release(p, &q->pages[i], 1); /* its own is not needed */
    q->pages[i] = last;
  }
  q->n_chained = n;
  q->n_computed = n * EL_PAGE_TOKENS;
  if (!p->windowed) return;
  const int begin = window_begin(s, n);
  for (int i = before; i < n; i++) {
    if (i < own_windowed) el_prefix_release_windowed(p, &q->windowed[i], 1, true);
    if (i >= begin) q->windowed[i] = el_prefix_use_windowed(p, q->pages[i]);
  }
  /* Of those before, and they alone are its own, the window has passed some. */
  for (; q->windowed_begin < begin; q->windowed_begin++)
    if (q->windowed_begin < before) el_prefix_release_windowed(p, &q->windowed[q->windowed_begin], 1, true);
}

/* Takes whole pages of what comes next from the prefix cache, as far as it has them; they are not counted. */
static void reuse(el_scheduler *s, el_seq *q) {
  uint32_t last = EL_NO_PAGE;
  if (q->n_computed != q->n_chained * EL_PAGE_TOKENS) return;
  const int n = find_prefix(s, q, &last);
  if (n > q->n_chained) use_prefix(s, q, n, last);
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
  for (int i = q->n_chained; p->on && (i + 1) * EL_PAGE_TOKENS <= q->n_computed; i++) {
    q->pages[i] = el_prefix_insert(p, owner_of(q, i), last_chained(q), q->tokens + i * EL_PAGE_TOKENS, q->pages[i]);
    if (p->windowed) q->windowed[i] = el_prefix_insert_windowed(p, q->pages[i], q->windowed[i]);
    q->n_chained++;
  }
  pass_window(s, q);
}

/* A running sequence lets go of its pages and its adapter. */
static void release(el_scheduler *s, el_seq *q) {
  if (q->decision) el_decision_restart(q->decision);
  if (s->memory->prefix.windowed)
    el_prefix_release_windowed(&s->memory->prefix, q->windowed + q->windowed_begin, q->windowed_end - q->windowed_begin,
                               false);
  el_prefix_release(&s->memory->prefix, q->pages, q->n_pages);
  el_memory_unpin(s->memory, q->adapter);
  q->n_pages = q->n_chained = q->n_computed = q->windowed_begin = q->windowed_end = 0;
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

/* One past the last windowed page that a sequence wants: all that it ever has at once, as far as it has tokens. */
static int windowed_wanted(const el_scheduler *s, const el_seq *q) {
  if (!s->memory->prefix.windowed) return 0;
  const int all = el_seq_n_pages(q), most = q->windowed_begin + s->memory->layout.most_windowed;
  return all < most ? all : most;
}

/* The pages that a sequence begins with; none, and false, if there is no room. */
static bool take_first_pages(el_scheduler *s, el_seq *q) {
  el_memory *m = s->memory;
  const int n = el_seq_n_pages(q) - q->n_pages, n_windowed = windowed_wanted(s, q) - q->windowed_end,
            others = m->prefix.windowed ? s->n_running : 0;
  /* A page for each running sequence stays free, so that starting this one does not at once drive one out. */
  if (!el_memory_make_pages(m, (uint64_t)(n + s->n_running), (uint64_t)(n_windowed + others))) return false;
  bool taken = el_prefix_take(&m->prefix, q->pages + q->n_pages, n);
  if (taken) q->n_pages += n;
  if (taken && n_windowed) taken = el_prefix_take_windowed(&m->prefix, q->windowed + q->windowed_end, n_windowed);
  if (taken)
    q->windowed_end += n_windowed;
  else
    el_bug(m->log, "request %llu: %d and %d pages are not there, though room was made for them",
           (unsigned long long)q->id, n, n_windowed);
  return taken;
}

/* Whether its pages may lie anywhere: then those that it finds may leave it without a block for the other kind. */
static bool may_scatter(const el_scheduler *s, const el_seq *q) {
  return s->memory->prefix.windowed && !q->alone && !el_loader_n(s->memory->loader);
}

/* A router's own adapter, with which a prompt is read before the decision, is never an activated one. */
static int adapter_from(const el_seq *q) {
  return q->adapter ? el_invocation_find(&q->adapter->adapter->invocation, q->tokens, q->n_prompt) : 0;
}

bool el_scheduler_start(el_scheduler *s, el_seq *q) {
  if (s->n_running == s->n_slots || (s->n_running && (q->alone || s->running[0]->alone))) return false;
  el_prefix *p = &s->memory->prefix;
  q->adapter_from = adapter_from(q);
  while (q->alone && el_prefix_n_idle(p)) el_prefix_evict(p);
  el_memory_pin(s->memory, q->adapter); /* its room must not be taken from its adapter */
  reuse(s, q);                          /* nor from the pages that it finds */
  if (!take_first_pages(s, q)) {
    release(s, q);
    if (s->n_running || !may_scatter(s, q)) return false;
    q->alone = true;
    return el_scheduler_start(s, q);
  }
  count_reused(s, q, 0);
  remove_waiting(s, q);
  /* Once: what is computed again as others had wanted its pages is not its fault. */
  if (!q->has_run) el_flow_charge(q->flow, q->n_tokens - q->n_computed);
  q->has_run = true;
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

bool el_scheduler_unscatter(el_scheduler *s) {
  if (s->n_running != 1 || !may_scatter(s, s->running[0])) return false;
  s->running[0]->alone = true;
  preempt_youngest(s);
  return true;
}

/* Takes a page that a sequence wants; false: it has all (*has_all), or there is none. */
static bool grow_one(el_scheduler *s, el_seq *q, bool *has_all) {
  const bool full = q->n_pages < el_seq_n_pages(q);
  *has_all = !full && q->windowed_end >= windowed_wanted(s, q);
  if (*has_all) return false;
  /* What could begin anew alone drives out no adapter that is to stay. */
  const bool last = s->n_running == 1 && (q->alone || !s->memory->prefix.windowed);
  if (!el_memory_grow(s->memory, !full, last, full ? q->pages + q->n_pages : q->windowed + q->windowed_end))
    return false;
  ++*(full ? &q->n_pages : &q->windowed_end);
  return true;
}

/* Pages for all tokens of every running sequence. */
static void grow(el_scheduler *s) {
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    q->stalled = false;
    for (bool has_all = false; i < s->n_running;) {
      if (grow_one(s, q, &has_all)) continue;
      if (has_all) break;
      if (s->n_running > 1) {
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

/* Of a guess, behind those that are there. */
static int32_t token_at(const el_seq *q, int pos) {
  return pos < q->n_tokens ? q->tokens[pos] : q->draft.guess.tokens[pos - q->n_tokens];
}

/* What computes a position. */
static const el_adapter *adapter_at(const el_seq *q, int pos) {
  return q->adapter && pos >= q->adapter_from ? q->adapter->adapter : NULL;
}

/* Where a piece stands in a step: LAST_LAYERS, ALL_LAYERS, FIRST_LAYERS, and of the ALL_LAYERS ones last those of a
 * sequence from the first hidden state on that is wanted of it. */
static int rank_of_key(const el_piece *p) {
  static const int ranks[] = {[EL_ROW_LAST_LAYERS] = 0, [EL_ROW_ALL_LAYERS] = 1, [EL_ROW_FIRST_LAYERS] = 3};
  const el_embedding *m = p->seq->embedding;
  return ranks[p->layers] + (m && el_embedding_next(m) < p->from + p->n);
}

static void sort_pieces(el_scheduler *s) {
  for (int i = 1; i < s->n_pieces; i++) {
    el_piece p = s->pieces[i];
    int at = i;
    for (; at > 0 && rank_of_key(&s->pieces[at - 1]) > rank_of_key(&p); at--) s->pieces[at] = s->pieces[at - 1];
    s->pieces[at] = p;
  }
}

/* Moves the pieces of an adapter to place `at`, from there as far as the rank goes, in the order that they had; returns
 * the place behind them. */
static int gather(el_scheduler *s, int at, const el_adapter *a) {
  for (int j = at, same = rank_of_key(&s->pieces[at]); j < s->n_pieces && rank_of_key(&s->pieces[j]) == same; j++) {
    if (s->pieces[j].adapter != a) continue;
    el_piece p = s->pieces[j];
    memmove(&s->pieces[at + 1], &s->pieces[at], (size_t)(j - at) * sizeof p);
    s->pieces[at++] = p;
  }
  return at;
}

/* A sequence goes on with its adapter in the very step in which the base ends. */
static bool has_border(const el_scheduler *s) {
  for (int i = 1; i < s->n_pieces; i++)
    if (s->pieces[i].seq == s->pieces[i - 1].seq && s->pieces[i].adapter != s->pieces[i - 1].adapter) return true;
  return false;
}

/* Puts pieces with the same adapter together, by the first of them; the base's before all others where a sequence goes
 * on from them. */
static void group(el_scheduler *s, bool base_first) {
  for (int i = 0; i < s->n_pieces;) {
    if (base_first && (!i || rank_of_key(&s->pieces[i]) != rank_of_key(&s->pieces[i - 1]))) {
      const int begin = i;
      i = gather(s, begin, NULL);
      if (i == s->n_pieces || rank_of_key(&s->pieces[i]) != rank_of_key(&s->pieces[begin])) continue;
    }
    i = gather(s, i, s->pieces[i].adapter);
  }
}

/* Positions [from, to) of a sequence, which one adapter or the base computes, as far as there is room; returns how many
 * there are. */
static int add_chunk(el_scheduler *s, el_seq *q, el_row_layers layers, int from, int to, int *rows, int *logits) {
  int n = 0;
  for (; from + n < to && n < *rows; n++) {
    if (!wants_logits(q, from + n)) continue;
    if (!*logits) break;
    --*logits;
  }
  if (n) s->pieces[s->n_pieces++] = (el_piece){q, layers, false, adapter_at(q, from), from, n, 0};
  *rows -= n;
  return n;
}

static float *states_at(const el_scheduler *s, const el_seq *q, int i) {
  return q->decision->states + (size_t)i * s->state_floats;
}

static void add_head_rows(el_scheduler *s, const el_piece *p) {
  const el_seq *q = p->seq;
  for (int i = p->from; i < p->from + p->n; i++)
    s->rows[s->n_rows++] = (el_row){.token = el_decision_token(q->decision, q->tokens, i),
                                    .pos = i,
                                    .pages = q->pages,
                                    .windowed = q->windowed,
                                    .adapter = p->adapter,
                                    .layers = EL_ROW_FIRST_LAYERS,
                                    .states = states_at(s, q, i)};
}

/* Whether the step may have what computes a position of this sequence; then it has it. The oldest one is asked first.
 */
static bool admits(el_scheduler *s, const el_seq *q, int pos) {
  if (!s->step_adapters || s->step_adapters >= s->n_slots) return true;
  const el_adapter *a = adapter_at(q, pos);
  for (int i = 0; i < s->n_adapters; i++)
    if (s->adapters[i] == a) return true;
  if (s->n_adapters == s->step_adapters) return false;
  s->adapters[s->n_adapters++] = a;
  return true;
}

/* Others may have computed what comes next since a sequence has started: those look that are likely to have rows in the
 * step, before pages are taken for them. */
static void reuse_again(el_scheduler *s) {
  int rows = s->step_rows;
  for (int i = 0; i < s->n_running; i++) rows -= generates(s->running[i]);
  for (int i = 0; i < s->n_running && (rows > 0 || s->step_adapters); i++) {
    el_seq *q = s->running[i];
    const int from = q->n_computed;
    if (generates(q) || el_seq_chooses(q)) continue;
    reuse(s, q);
    count_reused(s, q, from);
    rows -= q->n_tokens - q->n_computed;
  }
}

/* The part of its prompt that a sequence has in the step, as far as there is room. */
static void add_prompt(el_scheduler *s, el_seq *q, int *rows, int *logits) {
  const int headed = q->decision ? el_decision_headed(q->decision) : 0;
  const int base_end = q->adapter && q->adapter_from < q->n_tokens ? q->adapter_from : q->n_tokens;
  int from = q->n_computed;
  if (!admits(s, q, from)) return;
  if (from < headed) from += add_chunk(s, q, EL_ROW_LAST_LAYERS, from, headed, rows, logits);
  if (from >= headed && from < base_end) from += add_chunk(s, q, EL_ROW_ALL_LAYERS, from, base_end, rows, logits);
  if (from >= base_end && from < q->n_tokens && *rows && admits(s, q, from))
    add_chunk(s, q, EL_ROW_ALL_LAYERS, from, q->n_tokens, rows, logits);
}

/* Rows that a prompt wants before its first token, or the router of it. */
static int prompt_rows(const el_seq *q) {
  if (!el_seq_chooses(q)) return q->n_tokens - q->n_computed;
  return q->decision->n - (q->decision->n_read < q->n_computed ? q->n_computed : q->decision->n_read);
}

/* Divides the rows that are left among those that have prompts to be computed. */
static void share_rows_by_keys(el_scheduler *s, int rows) {
  int n = 0;
  for (int i = 0; i < s->n_running; i++) s->running[i]->flow->want = 0;
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    el_flow *f = q->flow;
    const int want = q->stalled || generates(q) || f->want >= rows ? 0 : prompt_rows(q);
    if (!want || !admits(s, q, el_seq_chooses(q) ? 0 : q->n_computed)) continue;
    if (!f->want) s->flows[n++] = f;
    f->want += want;
  }
  el_turns_share(s->flows, n, rows);
}

/* Pages for the rows of a guess, or fewer rows: nobody gives way to a guess. */
static void take_draft_pages(el_scheduler *s, el_seq *q) {
  el_memory *m = s->memory;
  el_draft *d = &q->draft;
  const int n = el_pages_for(q->n_tokens + d->n_rows), others = s->n_running;
  const bool split = m->prefix.windowed;
  if (!d->n_rows || (n <= q->n_pages && (!split || n <= q->windowed_end))) return;
  const int n_full = n > q->n_pages ? n - q->n_pages : 0,
            n_windowed = split && n > q->windowed_end ? n - q->windowed_end : 0;
  if (!q->alone && el_memory_make_pages(m, (uint64_t)(n_full + others), (uint64_t)(split ? n_windowed + others : 0)) &&
      el_prefix_take(&m->prefix, q->pages + q->n_pages, n_full)) {
    q->n_pages += n_full;
    if (!n_windowed || el_prefix_take_windowed(&m->prefix, q->windowed + q->windowed_end, n_windowed)) {
      q->windowed_end += n_windowed;
      return;
    }
  }
  const int pages = split && q->windowed_end < q->n_pages ? q->windowed_end : q->n_pages;
  d->n_rows = pages * EL_PAGE_TOKENS - q->n_tokens;
}

/* Finds those that generate, and what they guess. */
static void speculate(el_scheduler *s) {
  bool alone = true;
  s->n_generating = 0;
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    if (q->stalled) continue;
    if (!generates(q))
      alone = false;
    else if (admits(s, q, q->n_computed))
      s->generating[s->n_generating++] = q;
  }
  if (!s->speculation) return;
  /* A prompt keeps half of the room that is left, so that it goes on. */
  int room = (s->step_rows < s->max_logits ? s->step_rows : s->max_logits) - s->n_generating;
  if (!alone) room /= 2;
  el_speculation_plan(s->speculation, s->generating, s->n_generating, room, alone);
  for (int i = 0; i < s->n_generating; i++) take_draft_pages(s, s->generating[i]);
}

void el_scheduler_plan(el_scheduler *s) {
  reuse_again(s);
  grow(s);
  int rows = s->step_rows, logits = s->max_logits;
  s->n_pieces = s->n_adapters = 0;
  if (s->n_running) admits(s, s->running[0], s->running[0]->n_computed);
  speculate(s);
  for (int i = 0; i < s->n_generating; i++) {
    el_seq *q = s->generating[i];
    const int n = 1 + q->draft.n_rows;
    s->pieces[s->n_pieces++] =
        (el_piece){q, EL_ROW_ALL_LAYERS, true, adapter_at(q, q->n_computed), q->n_computed, n, 0};
    rows -= n;
    logits -= n;
  }
  share_rows_by_keys(s, rows);
  for (int i = 0; i < s->n_running; i++) {
    el_seq *q = s->running[i];
    int *share = &q->flow->share;
    if (q->stalled || generates(q) || !q->flow->want || !*share) continue;
    if (el_seq_chooses(q)) {
      if (!admits(s, q, 0)) continue;
      if (q->decision->n_read < q->n_computed) q->decision->n_read = q->n_computed;
      int from = q->decision->n_read, left = q->decision->n - from, n = left < *share ? left : *share;
      s->pieces[s->n_pieces++] = (el_piece){q, EL_ROW_FIRST_LAYERS, false, adapter_at(q, 0), from, n, 0};
      *share -= n;
      continue;
    }
    add_prompt(s, q, share, &logits);
  }
  const bool base_first = has_border(s);
  sort_pieces(s);
  group(s, base_first);
  s->n_rows = 0;
  for (int i = 0; i < s->n_pieces; i++) {
    el_piece *p = &s->pieces[i];
    p->row = s->n_rows;
    if (p->layers == EL_ROW_FIRST_LAYERS) {
      add_head_rows(s, p);
      continue;
    }
    for (int pos = p->from; pos < p->from + p->n; pos++)
      s->rows[s->n_rows++] = (el_row){.token = token_at(p->seq, pos),
                                      .pos = pos,
                                      .pages = p->seq->pages,
                                      .windowed = p->seq->windowed,
                                      .adapter = p->adapter,
                                      .wants_logits = pos >= p->seq->n_tokens || wants_logits(p->seq, pos),
                                      .wants_hidden = el_seq_pools(p->seq, pos),
                                      .layers = p->layers,
                                      .states = p->layers == EL_ROW_LAST_LAYERS ? states_at(s, p->seq, pos) : NULL};
  }
}
