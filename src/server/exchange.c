#include "server/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "server/private.h"

/* Bodies of all connections together, in units of the limit of one. */
#define MAX_BODIES 16

el_exchange *el_exchange_new(el_server *s, struct MHD_Connection *connection) {
  el_exchange *x = calloc(1, sizeof *x);
  if (!x) return NULL;
  unsigned char random[12];
  if (pthread_mutex_init(&x->mutex, NULL) || getrandom(random, sizeof random, 0) != sizeof random) {
    free(x);
    return NULL;
  }
  for (size_t i = 0; i < sizeof random; i++) snprintf(x->id + 2 * i, 3, "%02x", random[i]);
  x->server = s;
  x->connection = connection;
  x->refs = 1;
  x->started_ns = el_now_ns();
  pthread_mutex_lock(&s->mutex);
  s->n_exchanges++;
  pthread_mutex_unlock(&s->mutex);
  return x;
}

void el_exchange_retain(el_exchange *x) {
  atomic_fetch_add(&x->refs, 1);
}

void el_exchange_drop_body(el_exchange *x) {
  atomic_fetch_sub(&x->server->body_bytes, x->body.len);
  el_buf_free(&x->body);
}

void el_exchange_release(el_exchange *x) {
  if (atomic_fetch_sub(&x->refs, 1) != 1) return;
  el_server *s = x->server;
  el_exchange_drop_body(x);
  el_reply_free(x->reply);
  el_api_request_free(&x->request);
  el_buf_free(&x->taken);
  el_buf_free(&x->out);
  el_buf_free(&x->records);
  el_buf_free(&x->result);
  free(x->generations);
  pthread_mutex_destroy(&x->mutex);
  free(x);
  pthread_mutex_lock(&s->mutex);
  s->n_exchanges--;
  pthread_cond_broadcast(&s->changed); /* under the mutex: whoever waits for this frees the server next */
  pthread_mutex_unlock(&s->mutex);
}

void el_exchange_body(el_exchange *x, const char *data, size_t len) {
  size_t limit = x->server->options.max_body_bytes;
  if (x->too_large || x->no_room) return;
  if (len > limit - x->body.len) {
    x->too_large = true;
  } else if (atomic_fetch_add(&x->server->body_bytes, len) > (MAX_BODIES - 1) * limit) {
    atomic_fetch_sub(&x->server->body_bytes, len);
    x->no_room = true;
  } else if (!el_buf_append(&x->body, data, len)) {
    atomic_fetch_sub(&x->server->body_bytes, len);
    x->no_room = true;
  }
  if (x->too_large || x->no_room) el_exchange_drop_body(x);
}

/* ---------------------------------------------------------------- waking */

bool el_exchange_ready(const el_exchange *x) {
  if (x->gone || x->failed) return true;
  return x->submitted && (x->request.stream || !x->n_live);
}

void el_exchange_suspend(el_exchange *x) {
  x->suspended = true;
  MHD_suspend_connection(x->connection);
}

/* With the mutex held: it is what orders this after the suspension. */
static void wake(el_exchange *x) {
  if (!x->suspended) return;
  x->suspended = false;
  MHD_resume_connection(x->connection);
}

void el_exchange_stop_generations(el_exchange *x) {
  /* The engine may hold a lock of its own while it calls on_event, which takes ours: so it is never called with ours
   * held. */
  for (size_t i = 0;; i++) {
    pthread_mutex_lock(&x->mutex);
    bool more = i < x->n_generations;
    bool stop = more && x->generations[i].running;
    uint64_t id = stop ? x->generations[i].id : 0;
    if (stop) x->generations[i].running = false;
    pthread_mutex_unlock(&x->mutex);
    if (!more) return;
    if (stop) el_cancel(x->server->options.engine, id);
  }
}

void el_exchange_leave(el_exchange *x) {
  pthread_mutex_lock(&x->mutex);
  x->gone = true;
  el_buf_free(&x->records);
  wake(x);
  pthread_mutex_unlock(&x->mutex);
}

void el_exchange_abandon(el_exchange *x) {
  el_exchange_leave(x);
  el_exchange_stop_generations(x);
}

void el_exchange_fail(el_exchange *x, const el_api_error *e) {
  pthread_mutex_lock(&x->mutex);
  if (!x->failed && !x->gone) {
    x->failed = true;
    x->error = *e;
  }
  wake(x);
  pthread_mutex_unlock(&x->mutex);
  el_exchange_stop_generations(x);
}

/* ---------------------------------------------------------------- generations */

/* Leaves the event for the HTTP thread. With the mutex held. What fails here is stopped by the watcher: the engine's
 * thread does not call the engine. */
static void record(el_exchange *x, int choice, const el_event *ev) {
  if (x->gone || x->failed) return;
  if (ev->type == EL_EVENT_TOKEN && !ev->text_len && !x->request.request.logprobs) return;
  if (x->records.len > EL_MAX_PENDING_BYTES || !el_record_append(&x->records, choice, ev)) {
    x->failed = true;
    el_api_fail(&x->error, 500, "answer_too_large", NULL,
                "The answer is larger than what the server keeps for one request; ask for fewer choices or tokens, or "
                "read faster.");
  }
}

static void on_event(const el_event *ev) {
  el_generation *g = ev->user;
  el_exchange *x = g->x;
  bool done = ev->type == EL_EVENT_DONE;
  if (done) el_tally_add(&x->server->tally, x->label, ev);
  pthread_mutex_lock(&x->mutex);
  record(x, g->choice, ev);
  if (done) {
    g->done = true;
    g->running = false;
    x->n_live--;
  }
  if (el_exchange_ready(x)) wake(x);
  pthread_mutex_unlock(&x->mutex);
  if (done) el_exchange_release(x);
}

/* Submits choice `i`. False: *e, or nobody waits for it any more. */
static bool submit_one(el_exchange *x, size_t i, const el_scaled *scaled, el_api_error *e) {
  const el_api_request *r = &x->request;
  const el_api_prompt *prompt = &r->prompts[i / (size_t)r->n];
  el_generation *g = &x->generations[i];
  *g = (el_generation){.x = x, .choice = (int)i};

  el_request q = r->request;
  q.prompt = prompt->tokens;
  q.n_prompt = prompt->n;
  q.sampling.seed += i % (size_t)r->n;
  q.adapters = scaled->list;
  q.n_adapters = scaled->n;
  q.on_event = on_event;
  q.user = g;

  pthread_mutex_lock(&x->mutex);
  bool wanted = !x->gone && !x->failed;
  if (wanted) {
    x->n_generations++;
    x->n_live++;
    el_exchange_retain(x);
  }
  pthread_mutex_unlock(&x->mutex);
  if (!wanted) return true;

  uint64_t id;
  el_error err;
  el_status status = el_submit(x->server->options.engine, &q, &id, &err);
  pthread_mutex_lock(&x->mutex);
  if (status) {
    x->n_generations--;
    x->n_live--;
  } else if (!g->done) { /* events may have come before the id */
    g->id = id;
    g->running = true;
  }
  wanted = !x->gone && !x->failed;
  pthread_mutex_unlock(&x->mutex);
  if (!status) {
    el_logf(&x->server->log, EL_LOG_DEBUG, "%s: submitted as request %llu to %s", x->id, (unsigned long long)id,
            r->model);
    if (!wanted) el_exchange_stop_generations(x);
    return true;
  }
  el_exchange_release(x);
  el_api_fail_engine(e, &err, r->model);
  return false;
}

static bool submit_all(el_exchange *x, el_api_error *e) {
  el_server *s = x->server;
  el_api_request *r = &x->request;
  bool ok = el_api_request_parse(el_engine_tokenizer(s->options.engine), s->model.name, s->options.max_choices,
                                 x->work == EL_WORK_CHAT, x->body.data, x->body.len, r, e);
  el_exchange_drop_body(x);
  if (!ok) return false;
  size_t n = r->n_prompts * (size_t)r->n;
  pthread_mutex_lock(&x->mutex);
  x->generations = calloc(n, sizeof *x->generations);
  pthread_mutex_unlock(&x->mutex);
  if (!x->generations) return el_api_fail(e, 500, "no_memory", NULL, "Out of memory while submitting the request.");
  el_scaled scaled;
  ok = el_scaled_find(s->options.engine, &s->scales, s->model.name, r, &scaled, e);
  x->label = el_scaled_label(&scaled, r->model);
  for (size_t i = 0; ok && i < n; i++) ok = submit_one(x, i, &scaled, e);
  el_scaled_release(&scaled);
  return ok;
}

void el_exchange_submitted(el_exchange *x, const el_api_error *e) {
  pthread_mutex_lock(&x->mutex);
  x->submitted = true;
  if (e && !x->failed) {
    x->failed = true;
    x->error = *e;
  }
  if (el_exchange_ready(x)) wake(x);
  pthread_mutex_unlock(&x->mutex);
  if (e) el_exchange_stop_generations(x);
}

void el_exchange_submit(el_exchange *x) {
  el_api_error e;
  pthread_mutex_lock(&x->mutex);
  bool wanted = !x->gone && !x->failed;
  pthread_mutex_unlock(&x->mutex);
  bool ok = !wanted || submit_all(x, &e);
  el_exchange_submitted(x, ok ? NULL : &e);
}
