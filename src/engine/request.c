/* Requests as clients see them: submitted, cancelled, and their events delivered. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"
#include "engine/engine.h"

el_request el_request_default(void) {
  return (el_request){.max_tokens = -1, .speculate = -1, .sampling = el_sampling_default()};
}

/* ------------------------------------------------------- table; mutex held */

static el_seq **slot_of_id(el_engine *e, uint64_t id) {
  el_seq **at = &e->table[id % EL_TABLE];
  while (*at && (*at)->id != id) at = &(*at)->table_next;
  return at;
}

static void table_add(el_engine *e, el_seq *q) {
  el_seq **bucket = &e->table[q->id % EL_TABLE];
  q->table_next = *bucket;
  *bucket = q;
}

static void table_remove(el_engine *e, el_seq *q) {
  *slot_of_id(e, q->id) = q->table_next;
}

/* ---------------------------------------------------------- submit, cancel */

static int most_at_once(const el_engine *e) {
  return e->scheduler.n_slots + e->max_queue;
}

/* A full queue is to keep nobody out but whoever has filled it: beyond the limit a tenant may have as many as there are
 * slots, up to twice the limit, and its first one in any case. Mutex held. */
static bool has_place(const el_engine *e, uint64_t tenant) {
  const el_flow *flow = el_flows_find(&e->flows, tenant);
  const int limit = most_at_once(e), mine = flow ? flow->n_unfinished : 0;
  return e->n_unfinished < limit || !mine || (mine < e->scheduler.n_slots && e->n_unfinished / 2 < limit);
}

static el_status enqueue(el_engine *e, el_seq *q, const el_request *r, uint64_t *id, el_error *err) {
  el_status status = EL_OK;
  pthread_mutex_lock(&e->mutex);
  if (e->closing) {
    status = el_fail(err, EL_ERR_CLOSED, "the engine is shutting down");
  } else if (!q->is_reading && !has_place(e, r->tenant)) {
    status = el_fail(err, EL_ERR_BUSY, "%d requests run or wait, the limit is %d (n_slots and max_queue)",
                     e->n_unfinished, most_at_once(e));
  } else if (!(q->flow = el_flows_get(&e->flows, r->tenant, r->weight))) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory");
  } else {
    e->n_unfinished += !q->is_reading;
    q->flow->n_unfinished += !q->is_reading;
    e->n_readings += q->is_reading;
    q->id = ++e->n_submitted;
    if (id) *id = q->id;
    table_add(e, q);
    *e->inbox_end = q;
    e->inbox_end = &q->next;
    pthread_cond_signal(&e->work);
  }
  pthread_mutex_unlock(&e->mutex);
  return status;
}

/* Who is to answer: a reference in *out, or NULL for the base; with EL_BY_ROUTER, who reads for the router. */
static el_status find_adapter(el_engine *e, const el_adapter_selection *who, el_entry **out, el_error *err) {
  *out = NULL;
  switch (who->by) {
    case EL_BY_NAME:
      if (!who->name || !*who->name || !strcmp(who->name, e->name)) return EL_OK;
      return el_registry_get(e->registry, who->name, out, err);
    case EL_BY_HOLD:
      if (!who->held) return el_fail_field(err, EL_ERR_INVALID, "adapter.held", "adapter.held: is NULL");
      *out = el_presets_take_held(e, who->held);
      return EL_OK;
    case EL_BY_SCALES:
      return who->scales.n ? el_registry_combine(e->registry, who->scales.list, who->scales.n, out, err) : EL_OK;
    case EL_BY_ROUTER: *out = el_chooser_reader(&e->chooser); return EL_OK;
  }
  return el_fail_field(err, EL_ERR_INVALID, "adapter.by", "adapter.by: %d is none of the ways", (int)who->by);
}

el_status el_submit(el_engine *e, const el_request *request, uint64_t *id, el_error *err) {
  if (!e || !request) return el_fail(err, EL_ERR_INVALID, "request: is NULL");
  if (request->constraint && el_constraint_store_of(request->constraint) != e->constraints)
    return el_fail_field(err, EL_ERR_INVALID, "constraint", "constraint: belongs to another engine");
  el_seq *q = NULL;
  el_entry *adapter = NULL;
  el_request r = *request;
  const bool routed = r.adapter.by == EL_BY_ROUTER;
  el_status status = find_adapter(e, &r.adapter, &adapter, err);
  /* Several adapters together have the base's preset; whoever is chosen applies its own then. */
  const el_constraint *schema = NULL;
  if (!status && !routed) {
    const el_preset *preset = el_presets_of(e, r.adapter.by == EL_BY_SCALES ? NULL : adapter);
    el_presets_apply(preset, &r);
    bool open = !r.constraint && r.embed == EL_EMBED_NONE;
    status = el_presets_constraint(e, preset, open ? r.preset_fields : 0, &schema, err);
    if (schema) r.constraint = schema;
  }
  if (r.embed != EL_EMBED_NONE) r.max_tokens = 0;
  el_seq_limits limits = e->limits;
  if (!status && !routed) status = el_presets_tokenizer(e, adapter, &limits.tokenizer, err);
  limits.n_vocab = (int)el_tokenizer_n_vocab(limits.tokenizer);
  if (!status) status = el_seq_new(&r, &limits, &q, err);
  el_constraint_release(schema); /* the sequence has its own */
  if (!status && adapter && !q->decision) {
    snprintf(q->adapter_name, sizeof q->adapter_name, "%s", adapter->name);
    status = el_memory_check(&e->memory, adapter, (uint64_t)(q->n_prompt + q->max_new), EL_PAGE_TOKENS, err);
  }
  if (!status) {
    q->adapter = adapter;
    status = enqueue(e, q, request, id, err);
  }
  if (status) {
    el_registry_put(e->registry, adapter);
    el_seq_free(q);
  }
  return status;
}

static void ignore(const el_event *event) {}

el_status el_request_submit_reading(el_engine *e, const el_request *request, el_vector_fn on_vector, void *user,
                                    el_error *err) {
  el_seq *q = NULL;
  el_status status = el_seq_new(request, &e->limits, &q, err);
  if (status) return status;
  q->is_reading = true;
  q->on_event = ignore;
  q->decision->on_vector = on_vector;
  q->decision->vector_user = user;
  q->adapter = el_chooser_reader(&e->chooser);
  status = enqueue(e, q, request, NULL, err);
  if (!status) return EL_OK;
  el_registry_put(e->registry, q->adapter);
  el_seq_free(q);
  return status;
}

void el_cancel(el_engine *e, uint64_t id) {
  if (!e) return;
  pthread_mutex_lock(&e->mutex);
  el_seq *q = *slot_of_id(e, id);
  if (q && !q->done) {
    atomic_store(&q->cancelled, true);
    e->cancels = true;
    pthread_cond_signal(&e->work);
  }
  pthread_mutex_unlock(&e->mutex);
}

/* ----------------------------------------------------------------- listing */

static int by_id(const void *x, const void *y) {
  const el_request_info *a = x, *b = y;
  return a->id < b->id ? -1 : a->id > b->id;
}

el_status el_request_list(el_engine *e, el_request_info **out, size_t *n, el_error *err) {
  if (!e || !out || !n) return el_fail(err, EL_ERR_INVALID, "request list: an argument is NULL");
  uint64_t now = el_now_ns();
  pthread_mutex_lock(&e->mutex);
  size_t count = 0, n_listed = 0, bytes = 0;
  for (int i = 0; i < EL_TABLE; i++)
    for (const el_seq *q = e->table[i]; q; q = q->table_next) {
      if (q->done || q->is_reading) continue;
      bytes += sizeof **out + strlen(q->adapter_name) + 1;
      n_listed++;
    }
  el_request_info *list = malloc(bytes ? bytes : 1);
  char *strings = list ? (char *)(list + n_listed) : NULL;
  for (int i = 0; list && i < EL_TABLE; i++)
    for (const el_seq *q = e->table[i]; q; q = q->table_next) {
      if (q->done || q->is_reading) continue;
      list[count++] = (el_request_info){.id = q->id,
                                        .adapter = strings,
                                        .phase = (el_phase)atomic_load(&q->shown.phase),
                                        .slot = atomic_load(&q->shown.slot),
                                        .prompt_tokens = q->n_prompt,
                                        .computed_tokens = atomic_load(&q->shown.n_computed),
                                        .generated_tokens = atomic_load(&q->shown.n_new),
                                        .max_tokens = q->max_new,
                                        .overtaken = atomic_load(&q->shown.overtaken),
                                        .age_ms = (double)(now - q->submitted_ns) * 1e-6};
      strings = stpcpy(strings, q->adapter_name) + 1;
    }
  pthread_mutex_unlock(&e->mutex);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "request list: out of memory");
  qsort(list, count, sizeof *list, by_id);
  *out = list;
  *n = count;
  return EL_OK;
}

/* -------------------------------------------------------------- delivering */

static void address_event(el_event *event, const el_seq *q) {
  event->request = q->id;
  event->user = q->user;
}

bool el_request_deliver(el_engine *e, el_seq *q, el_event *event) {
  address_event(event, q);
  if (q->on_event) {
    q->on_event(event);
    return true;
  }
  pthread_mutex_lock(&e->mutex);
  bool ok = el_mailbox_put(&q->box, event);
  if (ok) pthread_cond_broadcast(&q->changed);
  pthread_mutex_unlock(&e->mutex);
  return ok;
}

/* Nothing of it is left. Mutex held. */
static void drop_request(el_engine *e, el_seq *q) {
  table_remove(e, q);
  q->dropped = true;
  if (!q->n_readers) el_seq_free(q);
}

static void untaken_remove(el_engine *e, el_seq *q) {
  *(q->untaken_prev ? &q->untaken_prev->untaken_next : &e->untaken) = q->untaken_next;
  *(q->untaken_next ? &q->untaken_next->untaken_prev : &e->untaken_last) = q->untaken_prev;
  e->n_untaken--;
}

/* Its end waits to be taken. A client that takes nothing would fill the memory request by request: of as many as may
 * run and wait at once the oldest goes, unless somebody is about to take it. */
static void untaken_add(el_engine *e, el_seq *q) {
  q->untaken_prev = e->untaken_last;
  *(e->untaken_last ? &e->untaken_last->untaken_next : &e->untaken) = q;
  e->untaken_last = q;
  if (++e->n_untaken <= most_at_once(e)) return;
  el_seq *oldest = e->untaken;
  while (oldest->n_readers && oldest != q) oldest = oldest->untaken_next;
  if (oldest == q) return;
  untaken_remove(e, oldest);
  drop_request(e, oldest);
}

void el_request_deliver_done(el_engine *e, el_seq *q, const el_event *event) {
  q->last = *event;
  address_event(&q->last, q);
  const el_event_token *token = &event->done.token;
  if (token->n_top) q->last.done.token.top = memcpy(q->last_top, token->top, token->n_top * sizeof *token->top);
  el_seq_end(q);
  bool called = q->on_event; /* else a client may take the event and free q once the mutex is open */
  pthread_mutex_lock(&e->mutex);
  e->n_unfinished -= !q->is_reading;
  q->flow->n_unfinished -= !q->is_reading;
  el_flows_put(&e->flows, q->flow, e->scheduler.turns.now);
  q->flow = NULL;
  q->done = true;
  if (called) {
    table_remove(e, q);
  } else {
    pthread_cond_broadcast(&q->changed);
    untaken_add(e, q);
  }
  pthread_mutex_unlock(&e->mutex);
  if (!called) return;
  q->on_event(&q->last);
  el_seq_free(q);
}

/* ----------------------------------------------------------------- polling */

/* Drops the request whose DONE event was taken longest ago. Mutex held. */
static void drop_oldest(el_engine *e) {
  el_seq *q = e->kept;
  e->kept = q->kept_next;
  if (!e->kept) e->kept_end = &e->kept;
  e->n_kept--;
  drop_request(e, q);
}

static void take_done(el_engine *e, el_seq *q, el_event *out) {
  *out = q->last;
  q->done_taken = true;
  untaken_remove(e, q);
  *e->kept_end = q;
  e->kept_end = &q->kept_next;
  if (++e->n_kept > EL_KEEP_DONE) drop_oldest(e);
}

el_status el_next_event(el_engine *e, uint64_t id, int timeout_ms, el_event *out) {
  if (!e || !out) return EL_ERR_INVALID;
  /* In a callback there is nothing to wait for: the events come from this very thread. */
  if (pthread_equal(pthread_self(), e->thread)) timeout_ms = 0;
  uint64_t deadline = el_deadline_in(timeout_ms);
  el_status status = EL_OK;
  pthread_mutex_lock(&e->mutex);
  el_seq *q = *slot_of_id(e, id);
  if (!q || q->on_event) {
    pthread_mutex_unlock(&e->mutex);
    return EL_ERR_NOT_FOUND;
  }
  q->n_readers++;
  e->n_readers++;
  bool late = timeout_ms == 0;
  for (;;) {
    if (el_mailbox_take(&q->box, out)) {
      address_event(out, q);
    } else if (q->done_taken) {
      status = EL_ERR_NOT_FOUND;
    } else if (q->done) {
      take_done(e, q, out);
    } else if (late) {
      status = EL_ERR_BUSY;
    } else {
      late = !el_cond_wait(&q->changed, &e->mutex, deadline);
      continue;
    }
    break;
  }
  if (!--q->n_readers && q->dropped) el_seq_free(q);
  if (!--e->n_readers) pthread_cond_broadcast(&e->readers_gone);
  pthread_mutex_unlock(&e->mutex);
  return status;
}

void el_request_free_all(el_engine *e) {
  for (int i = 0; i < EL_TABLE; i++)
    while (e->table[i]) {
      el_seq *q = e->table[i];
      assert(q->done);
      e->table[i] = q->table_next;
      el_seq_free(q);
    }
}
