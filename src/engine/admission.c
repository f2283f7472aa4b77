/* Which waiting requests start, and which adapters are loaded for those that cannot yet.
 *
 * Requests are looked at as they have their turns: those of one tenant in order of arrival (turns.h). One whose adapter
 * is in memory starts when there is a slot and room for its pages; when there is not, nobody behind it starts either.
 * One whose adapter is not in memory has it loaded, and lets others pass meanwhile: EL_MAX_OVERTAKEN of those whose
 * turn is later, then nobody behind it starts any more, what runs ends, and its turn comes. Requests that wait for a
 * slot have their adapters loaded ahead, with room that nobody before them needs.
 *
 * That the first one starts when nothing runs and nothing loads rests on this: what it needs fits the pool
 * (el_memory_check, asked whenever it is looked at and whenever a load has told a size), nothing is held before it, and
 * all that is neither pinned nor a load's can be evicted. So what waits for room waits for a sequence or a load to end,
 * and what waits behind others, for those. Whose turn is first changes when rows have
 * been computed or somebody comes, so not for ever while nothing runs. */
#include "engine/admission.h"

typedef struct admission {
  el_scheduler *s;
  const el_admission_end *end;
  uint64_t now_ns;
  bool starts;  /* those that come next may start */
  bool loads;   /* their adapters may be loaded */
  int n_passed; /* s->passed: those that were looked at and wait on */
} admission;

/* Its adapter is in memory. False: it has failed and is gone. */
static bool start(admission *a, el_seq *q) {
  el_scheduler *s = a->s;
  el_error error;
  if (s->n_running == s->n_slots) {
    a->starts = false;
    return true;
  }
  /* Once: what is allocated stays until the sequence ends. */
  if ((!q->started_ns && el_seq_start(q, a->s->speculation && a->s->speculation->most, &error)) ||
      el_seq_settle_tokens(q, &error)) {
    a->end->fail(a->end->user, q, &error);
    return false;
  }
  if (!q->started_ns) q->started_ns = a->now_ns;
  if (!el_scheduler_start(s, q)) {
    a->starts = a->loads = false; /* memory goes to the first one first */
    return true;
  }
  el_logf(s->memory->log, EL_LOG_DEBUG, "request %llu: %s in slot %d after %.1f ms, %d prompt tokens, %d more at most",
          (unsigned long long)q->id, q->adapter ? q->adapter_name : "base", q->slot,
          (double)(a->now_ns - q->submitted_ns) * 1e-6, q->n_prompt, q->max_new);
  for (int i = 0; i < a->n_passed; i++) {
    el_seq *w = s->passed[i];
    w->overtaken++;
    atomic_store(&w->shown.overtaken, w->overtaken);
    if (w->overtaken >= EL_MAX_OVERTAKEN) a->starts = false;
  }
  return true;
}

/* What its adapter takes may not have been known when it was submitted, or be another size than then: its files may
 * have changed, or the router has chosen it since. False: it can never start, and has failed. */
static bool check_seq_fits(admission *a, el_seq *q) {
  el_error error;
  if (!q->adapter || !el_memory_check(a->s->memory, q->adapter, el_seq_most_tokens(q), EL_PAGE_TOKENS, &error))
    return true;
  a->end->fail(a->end->user, q, &error);
  return false;
}

/* A load has told a size: whom it concerns need not wait for a turn to hear of it. */
static void check_all(admission *a) {
  a->s->memory->learnt = false;
  for (el_seq *q = a->s->waiting, *next; q; q = next) {
    next = q->next;
    check_seq_fits(a, q);
  }
}

/* Looks at one waiting request. */
static void look_at_seq(admission *a, el_seq *q) {
  el_memory *m = a->s->memory;
  el_entry *adapter = q->adapter;
  if (!q->seen) {
    q->seen = true;
    el_memory_use(m, adapter);
  }
  if (!check_seq_fits(a, q)) return;
  if (adapter && !adapter->adapter) {
    el_want want = a->loads ? el_memory_want(m, adapter) : EL_WANT_NO_ROOM;
    el_error error;
    if (want == EL_WANT_NO_ROOM && !a->n_passed && !a->s->n_running && el_memory_is_split(m, adapter, &error)) {
      a->end->fail(a->end->user, q, &error);
      return;
    }
    if (want != EL_WANT_COMING) a->loads = false;
    bool loading = atomic_load(&adapter->state) == EL_ADAPTER_LOADING;
    if (loading && !q->loading_ns) q->loading_ns = a->now_ns;
    atomic_store(&q->shown.phase, loading ? EL_PHASE_LOADING : EL_PHASE_QUEUED);
  } else {
    if (q->loading_ns && !q->loaded_ns) q->loaded_ns = a->now_ns;
    atomic_store(&q->shown.phase, EL_PHASE_QUEUED);
    if (a->starts && (!start(a, q) || q->n_pages)) return;
  }
  /* It waits on: what it needs is kept from those behind it. */
  el_memory_hold(m, adapter);
  a->s->passed[a->n_passed++] = q;
  if (q->overtaken >= EL_MAX_OVERTAKEN) a->starts = a->loads = false;
}

void el_admission_run(el_scheduler *s, uint64_t now_ns, const el_admission_end *end) {
  admission a = {.s = s, .end = end, .now_ns = now_ns, .starts = true, .loads = true};
  if (s->memory->learnt) check_all(&a);
  el_memory_begin(s->memory);
  int window = 2 * s->n_slots;
  el_turns_begin(&s->turns);
  for (el_seq *q; window-- && (a.starts || a.loads) && (q = el_turns_next(&s->turns));) look_at_seq(&a, q);
  el_memory_end(s->memory);
}
