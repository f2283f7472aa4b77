/* The engine thread: takes what clients have left, starts sequences, runs a step, draws tokens, delivers events. */
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"
#include "engine/admission.h"
#include "engine/decide.h"
#include "engine/deliver.h"
#include "tokenizer/tokenizer.h"

/* ------------------------------------------------------------------ results */

/* Adds a token's text to what is there; false: the sequence has failed and is gone. */
static bool push_text(el_engine *e, el_seq *q, int32_t token) {
  int32_t before = q->n_tokens ? q->tokens[q->n_tokens - 1] : -1;
  el_str bytes = el_token_text(q->tokenizer, before, token, el_seq_shows(q, token));
  if (el_seq_n_new(q) < q->min_new ? el_stop_push_certain(&q->stop, bytes.data, bytes.len)
                                   : el_stop_push(&q->stop, bytes.data, bytes.len, false))
    return true;
  el_error error;
  el_fail(&error, EL_ERR_NO_MEMORY, "out of memory for the text");
  el_deliver_failure(e, q, &error);
  return false;
}

/* What was drawn for a sequence, its next token. False: that was its end, and it is gone. */
static bool deliver_drawn(el_engine *e, el_seq *q, const el_drawn *d) {
  if (d->status) {
    el_deliver_failure(e, q, &d->error);
    return false;
  }
  if (!q->first_ns) q->first_ns = el_now_ns();
  if (d->ends) {
    if (d->stop_token && q->include_stop && !push_text(e, q, d->token)) return false;
    el_deliver_end(e, q, EL_FINISH_STOP, NULL, d);
    return false;
  }
  if (!push_text(e, q, d->token)) return false;
  q->n_drawn--;
  q->n_tokens++;
  el_flow_charge(q->flow, 1);
  atomic_fetch_add(&e->count.generated_tokens, 1);
  el_event event = {.type = EL_EVENT_TOKEN, .token = el_deliver_token(q, d)};
  if (!el_deliver_event(e, q, &event)) return false;
  if (!q->stop.matched && !d->complete && el_seq_n_new(q) < q->max_new) return true;
  el_deliver_end(e, q, q->stop.matched || d->complete ? EL_FINISH_STOP : EL_FINISH_LENGTH, NULL, NULL);
  return false;
}

/* False: the sequence is gone. */
static bool deliver_embedding(el_engine *e, el_seq *q) {
  el_error error;
  if (!el_embedding_end(q->embedding)) {
    el_fail(&error, EL_ERR_FORMAT, "the model gave a hidden state that is not finite");
    el_deliver_failure(e, q, &error);
    return false;
  }
  el_event event = {.type = EL_EVENT_EMBEDDING, .embedding = {q->embedding->vector, (size_t)q->embedding->n_embd}};
  return el_deliver_event(e, q, &event);
}

/* The prompt has been computed, for the first time. False: the sequence is gone. */
static bool end_prompt(el_engine *e, el_seq *q) {
  atomic_fetch_add(&e->count.prompt_tokens, (uint64_t)q->n_prompt);
  if (q->wants_prompt_logprobs) {
    el_event event = {.type = EL_EVENT_PROMPT,
                      .prompt = {.logprobs = q->prompt_logprobs,
                                 .n = (size_t)q->n_prompt,
                                 .top = q->prompt_top,
                                 .n_top = (size_t)q->n_prompt_top}};
    if (!el_deliver_event(e, q, &event)) return false;
  }
  if (q->embedding && !deliver_embedding(e, q)) return false;
  if (q->max_new) return true;
  el_deliver_end(e, q, EL_FINISH_LENGTH, NULL, NULL);
  return false;
}

/* What a step gave: moves over the rows that want it. */
typedef struct results {
  const el_drawn *drawn; /* of the next row that wants logits */
  const float *hidden;
} results;

/* What the step gave for a sequence that generates: the token that follows its last one, and those that follow its
 * guess as far as that came true. What is computed moves on with each, as if each row had had a step of its own. */
static void take_generated(el_engine *e, const el_piece *p, results *r) {
  const el_drawn *drawn = r->drawn;
  r->drawn += p->n;
  el_seq *q = p->seq;
  if (!q) return;
  el_speculation_count(&e->speculation, q, p->n - 1);
  for (;; drawn++) {
    el_scheduler_computed(&e->scheduler, q, 1);
    if (!deliver_drawn(e, q, drawn)) return;
    if (!drawn->guessed || atomic_load(&q->cancelled)) break;
  }
  q->n_drawn = 0; /* of one that is cancelled */
}

/* What the step gave for one piece. */
static void take_results(el_engine *e, const el_piece *p, results *r) {
  el_seq *q = p->seq;
  const el_drawn *drawn = NULL, *failed = NULL;
  if (q && p->layers == EL_ROW_FIRST_LAYERS) {
    q->decision->n_read += p->n;
    if (q->decision->n_read == q->decision->n) el_decide(e, q);
    return;
  }
  for (int i = 0; i < p->n; i++) {
    const el_row *row = &e->scheduler.rows[p->row + i];
    int pos = p->from + i;
    if (row->wants_hidden) {
      if (q) el_embedding_add(q->embedding, pos, r->hidden);
      r->hidden += e->limits.embedding.n_embd;
    }
    if (!row->wants_logits) continue;
    const el_drawn *d = r->drawn++;
    if (q && el_seq_draws(q, pos)) {
      drawn = d;
    } else if (q && el_seq_scores_prompt(q, pos)) {
      q->n_prompt_logprobs = pos + 2;
      if (d->status) failed = d;
    }
  }
  if (!q) return;
  el_scheduler_computed(&e->scheduler, q, p->n);
  if (failed) {
    el_deliver_failure(e, q, &failed->error);
    return;
  }
  if (q->decision && q->n_computed >= el_decision_headed(q->decision)) el_decision_drop_states(q->decision);
  if (q->n_computed < q->n_tokens) return;
  if (q->n_tokens == q->n_prompt && !end_prompt(e, q)) return;
  deliver_drawn(e, q, drawn);
}

/* Where the sequences of the next step are, for el_request_list. */
static void show_progress(el_engine *e) {
  for (int i = 0; i < e->scheduler.n_pieces; i++) {
    el_seq *q = e->scheduler.pieces[i].seq;
    atomic_store(&q->shown.phase, el_seq_chooses(q)             ? EL_PHASE_DECISION
                                  : q->n_computed < q->n_prompt ? EL_PHASE_PROMPT
                                                                : EL_PHASE_GENERATION);
    atomic_store(&q->shown.n_computed, q->n_computed);
    atomic_store(&q->shown.n_new, el_seq_n_new(q));
  }
}

/* False: nothing runs, or what runs waits for a load to end. */
static bool run_step(el_engine *e) {
  el_scheduler *s = &e->scheduler;
  uint64_t preempted = s->n_preempted;
  el_scheduler_plan(s);
  if (s->n_preempted != preempted) {
    atomic_store(&e->count.preempted, s->n_preempted);
    el_logf(&e->log, EL_LOG_DEBUG, "memory: %llu sequences wait for pages of older ones",
            (unsigned long long)(s->n_preempted - preempted));
  }
  atomic_store(&e->count.running, s->n_running);
  el_memory_publish(&e->memory);
  el_loader_while_computing(e->memory.loader, s->n_rows > 0);
  if (!s->n_rows) return false;
  show_progress(e);
  uint64_t begin = el_now_ns();
  const float *logits = el_step_run(e->step, s->rows, s->n_rows);
  results r = {.hidden = el_step_hidden(e->step)};
  atomic_fetch_add(&e->count.step_ns, el_now_ns() - begin);
  atomic_fetch_add(&e->count.steps, 1);
  atomic_fetch_add(&e->count.rows, (uint64_t)s->n_rows);
  r.drawn = el_draws_run(e->draws, s, logits, el_step_logits_stride(e->step));
  for (int i = 0; i < s->n_pieces; i++) {
    const el_piece *p = &s->pieces[i];
    (p->generates ? take_generated : take_results)(e, p, &r);
  }
  if (s->n_generating == s->n_pieces)
    el_speculation_took(&e->speculation, s->n_generating, s->n_rows, (double)(el_now_ns() - begin));
  return true;
}

/* ----------------------------------------------------------------- the loop */

static void finish_cancelled(el_engine *e, bool all) {
  el_scheduler *s = &e->scheduler;
  for (int i = s->n_running - 1; i >= 0; i--)
    if (all || atomic_load(&s->running[i]->cancelled))
      el_deliver_end(e, s->running[i], EL_FINISH_CANCELLED, NULL, NULL);
  for (el_seq *q = s->waiting, *next; q; q = next) {
    next = q->next;
    if (all || atomic_load(&q->cancelled)) el_deliver_end(e, q, EL_FINISH_CANCELLED, NULL, NULL);
  }
}

/* A request cannot have the adapter that it waits for: it gets the router's next decision, or ends with the reason. */
static void refuse(el_engine *e, el_seq *q, const el_error *error) {
  if (!el_decide_next(e, q, error)) el_deliver_failure(e, q, error);
}

/* An adapter cannot be loaded. */
static void refuse_waiting(void *user, el_entry *entry, const el_error *error) {
  el_engine *e = user;
  for (el_seq *q = e->scheduler.waiting, *next; q; q = next) {
    next = q->next;
    if (q->adapter == entry) refuse(e, q, error);
  }
}

/* Sleeps until there is something to do; memory that nobody has is given back when that takes long. Mutex held. */
static void wait_for_work(el_engine *e) {
  uint64_t deadline = el_deadline_in(EL_IDLE_FORGET_S * 1000);
  for (; !e->closing && !e->inbox && !e->cancels && !e->news; e->n_turns++) {
    bool idle_memory = el_pool_holds_idle_memory(&e->memory.pool);
    if (!el_cond_wait(&e->work, &e->mutex, idle_memory ? deadline : EL_FOREVER)) {
      pthread_mutex_unlock(&e->mutex);
      el_pool_forget(&e->memory.pool);
      pthread_mutex_lock(&e->mutex);
    }
  }
}

/* Moves what others have left to the engine thread, and waits for it when there is nothing else to do. False: the
 * engine closes. */
static bool take_work(el_engine *e, bool idle, bool *cancels, bool *news) {
  el_scheduler *s = &e->scheduler;
  pthread_mutex_lock(&e->mutex);
  e->n_turns++;
  if (idle) wait_for_work(e);
  while (e->inbox) {
    el_seq *q = e->inbox;
    e->inbox = q->next;
    el_scheduler_add(s, q);
  }
  e->inbox_end = &e->inbox;
  *cancels = e->cancels;
  *news = e->news;
  e->cancels = e->news = false;
  bool open = !e->closing;
  pthread_mutex_unlock(&e->mutex);
  return open;
}

void el_loop_notify(void *engine) {
  el_engine *e = engine;
  pthread_mutex_lock(&e->mutex);
  e->news = true;
  pthread_cond_signal(&e->work);
  pthread_mutex_unlock(&e->mutex);
}

/* Woken with nothing to do, the engine thread counts, and sleeps on to the same deadline. */
uint64_t el_engine_turns(el_engine *e) {
  pthread_mutex_lock(&e->mutex);
  uint64_t n = e->n_turns;
  pthread_cond_signal(&e->work);
  pthread_mutex_unlock(&e->mutex);
  return n;
}

/* ------------------------------------------------------------- going on
 *
 * Something that is unfinished always has something that comes and moves it: rows in the next step, or a load that
 * ends. Where neither is, nothing would ever wake this thread for it, so it must not sleep: what was to see to it has a
 * bug. Then the oldest one that is stuck ends with an error, and the others are looked at again. */

typedef struct admission_round {
  el_engine *e;
  bool refused; /* somebody has ended or has another adapter: the others' turn may have come */
} admission_round;

static void refuse_admitted(void *round, el_seq *q, const el_error *error) {
  admission_round *r = round;
  r->refused = true;
  refuse(r->e, q, error);
}

static void fail_stuck(el_engine *e, el_seq *q, const char *what) {
  const el_memory *m = &e->memory;
  el_pack_size size = {0};
  uint64_t file_bytes;
  el_error error;
  if (q->adapter) el_registry_size(e->registry, q->adapter, &size, &file_bytes);
  el_fail(&error, EL_ERR_NO_MEMORY,
          "request: %s, and nothing is under way that it could wait for: a bug. It has %d tokens, %d pages and adapter "
          "'%.255s' of %u blocks (state %d); of %u blocks %u are free, %u hold pages, %u adapters",
          what, q->n_tokens, q->n_pages, q->adapter ? q->adapter->name : "", size.n_blocks,
          q->adapter ? atomic_load(&q->adapter->state) : -1, m->pool.n_blocks, m->pool.count[EL_USE_FREE],
          m->pool.count[EL_USE_KV], m->pool.count[EL_USE_ADAPTER]);
  el_bug(&e->log, "request %llu: %s", (unsigned long long)q->id, error.message);
  el_fail_hidden(&error); /* the figures are everybody's */
  el_deliver_failure(e, q, &error);
}

static bool loads(const el_engine *e) {
  return el_loader_n(e->memory.loader) > 0;
}

/* Starts what can be. Afterwards something runs or loads, or nobody waits. */
static void admit(el_engine *e) {
  el_scheduler *s = &e->scheduler;
  admission_round round = {.e = e};
  const el_admission_end end = {refuse_admitted, &round};
  do {
    round.refused = false;
    el_admission_run(s, el_now_ns(), &end);
    if (s->n_running || !s->waiting || loads(e)) break;
    if (!round.refused) fail_stuck(e, s->waiting, "it can neither start nor have its adapter loaded");
  } while (s->waiting);
  for (int i = s->n_running - 1; i >= 0; i--) el_decide_tell(e, s->running[i]);
}

/* Runs a step. True: there is nothing to do until a load ends or somebody comes. */
static bool go_on(el_engine *e) {
  el_scheduler *s = &e->scheduler;
  if (run_step(e)) return false;
  if (loads(e)) return true;
  if (el_scheduler_unscatter(s)) return false;
  if (s->n_running) fail_stuck(e, s->running[0], "it runs and has no row in the next step");
  return !s->n_running && !s->waiting;
}

/* False: the engine closes. *idle: there was nothing to do after the last turn, and after this one. */
static bool turn(el_engine *e, bool *idle) {
  bool cancels, news;
  if (!take_work(e, *idle, &cancels, &news)) return false;
  if (news) {
    el_memory_collect(&e->memory, refuse_waiting, e);
    el_memory_bury(&e->memory);
  }
  if (cancels) finish_cancelled(e, false);
  admit(e);
  el_memory_keep(&e->memory);
  *idle = go_on(e);
  return true;
}

bool el_loop_turn(el_engine *e) {
  bool idle = false;
  turn(e, &idle);
  return !idle;
}

void *el_engine_main(void *arg) {
  el_engine *e = arg;
  bool idle = true;
  pthread_setname_np(pthread_self(), "el-engine");
  el_threads_pin_caller(e->threads);
  while (turn(e, &idle)) continue;
  finish_cancelled(e, true);
  return NULL;
}
