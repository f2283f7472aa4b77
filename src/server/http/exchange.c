#include "server/http/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "server/http/key_limits.h"
#include "server/http/model_names.h"
#include "server/http/readers.h"
#include "server/http/state.h"

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
  if (x->caller) atomic_fetch_sub(&x->caller->bytes, x->body.len);
  el_buf_free(&x->body);
}

void el_exchange_release(el_exchange *x) {
  if (atomic_fetch_sub(&x->refs, 1) != 1) return;
  el_server *s = x->server;
  el_limits_leave(x);
  el_exchange_drop_body(x);
  if (x->caller) el_exchange_let_go(x, atomic_load(&x->held));
  el_reply_free(x->reply);
  for (size_t i = 0; x->chosen && i < x->request.n_prompts; i++) free(x->chosen[i]);
  free(x->chosen);
  el_adapter_release(s->options.engine, x->adapter);
  el_api_request_free(&x->request);
  el_api_keys_release(x->keys);
  el_buf_free(&x->taken);
  el_buf_free(&x->out);
  el_buf_free(&x->events);
  el_buf_free(&x->result);
  free(x->generations);
  pthread_mutex_destroy(&x->mutex);
  el_caller *caller = x->caller;
  free(x);
  pthread_mutex_lock(&s->mutex);
  el_callers_put(&s->callers, caller);
  s->n_exchanges--;
  pthread_cond_broadcast(&s->changed); /* under the mutex, as the thread that waits for this frees the server next */
  pthread_mutex_unlock(&s->mutex);
}

size_t el_exchange_max_bodies(const el_server *s) {
  return MAX_BODIES * s->options.max_body_bytes;
}

void el_exchange_body(el_exchange *x, const char *data, size_t len) {
  size_t limit = x->server->options.max_body_bytes;
  if (x->too_large || x->over_share || x->no_room || x->denied || x->unknown_coding || x->n_lengths > 1) return;
  /* Nobody but this thread adds. */
  size_t mine = atomic_load(&x->caller->bytes), all = atomic_load(&x->server->body_bytes);
  if (len > limit - x->body.len) {
    x->too_large = true;
  } else if (!el_share_allows(mine, len, all, el_exchange_max_bodies(x->server))) {
    /* A caller without another body was refused because of the other callers' bodies, which are very many then. */
    bool alone = mine == x->body.len;
    x->over_share = !alone;
    x->no_room = alone;
  } else if (!el_buf_append(&x->body, data, len)) {
    x->no_room = true;
  } else {
    atomic_fetch_add(&x->caller->bytes, len);
    atomic_fetch_add(&x->server->body_bytes, len);
  }
  if (x->too_large || x->over_share || x->no_room) el_exchange_drop_body(x);
}

bool el_exchange_fail_too_large(const el_exchange *x, el_api_error *e) {
  return el_api_fail(e, 413, "request_too_large", NULL, "The request body is longer than the limit of %zu bytes%s.",
                     x->server->options.max_body_bytes, x->coding && !x->too_large ? " once it is decoded" : "");
}

/* There are at most as many decoded bodies as readers, so they need no limit of their own. */
el_decoded el_exchange_decode(el_exchange *x, size_t limit, el_api_error *e) {
  el_buf out = {0};
  if (!x->coding) return EL_DECODED;
  el_decoded result = el_decode(x->coding, x->body.data, x->body.len, limit, &out, e);
  if (result != EL_DECODED) {
    el_buf_free(&out);
    return result;
  }
  el_exchange_drop_body(x);
  x->body = out;
  x->coding = EL_CODING_NONE;
  atomic_fetch_add(&x->server->body_bytes, out.len);
  atomic_fetch_add(&x->caller->bytes, out.len);
  return EL_DECODED;
}

/* ---------------------------------------------------------------- what clients do not take */

bool el_exchange_hold(el_exchange *x, size_t bytes) {
  size_t limit = EL_MAX_PENDING_ANSWERS * EL_MAX_PENDING_BYTES;
  el_server *s = x->server;
  /* Two threads at once may both pass: the limit need not be exact. */
  if (!el_share_allows(atomic_load(&x->caller->held), bytes, atomic_load(&s->held_bytes), limit)) return false;
  atomic_fetch_add(&x->held, bytes);
  atomic_fetch_add(&x->caller->held, bytes);
  atomic_fetch_add(&s->held_bytes, bytes);
  return true;
}

void el_exchange_let_go(el_exchange *x, size_t bytes) {
  if (!bytes) return;
  atomic_fetch_sub(&x->held, bytes);
  atomic_fetch_sub(&x->caller->held, bytes);
  atomic_fetch_sub(&x->server->held_bytes, bytes);
}

bool el_exchange_fail_held(const el_exchange *x, el_api_error *e) {
  return el_api_fail(e, 500, "answer_too_large", NULL,
                     "The answer is larger than what the server keeps: %zu bytes for one request, and for all of %s as "
                     "much as is left of %zu; ask for fewer choices or tokens, or read faster.",
                     EL_MAX_PENDING_BYTES, x->key ? "this API key" : "this address",
                     EL_MAX_PENDING_ANSWERS * EL_MAX_PENDING_BYTES);
}

/* ---------------------------------------------------------------- waking */

bool el_exchange_ready(const el_exchange *x) {
  if (x->gone || x->failed) return true;
  if (!x->submitted) return false;
  /* A stream begins with its header, which names the adapter and whose status says that the adapter could be loaded. */
  if (x->request.stream) return x->events.len && (!x->chosen || x->chosen[0] || x->generations[0].done);
  return !x->n_live && !x->n_waiting;
}

const char *el_exchange_adapter(const el_exchange *x) {
  return x->chosen ? x->chosen[0] : x->label;
}

void el_exchange_suspend(el_exchange *x) {
  x->suspended = true;
  MHD_suspend_connection(x->connection);
}

/* The mutex is held; it orders this after the suspension. */
static void wake_connection(el_exchange *x) {
  if (!x->suspended) return;
  x->suspended = false;
  MHD_resume_connection(x->connection);
}

void el_exchange_resume(el_exchange *x) {
  pthread_mutex_lock(&x->mutex);
  wake_connection(x);
  pthread_mutex_unlock(&x->mutex);
}

void el_exchange_stop_generations(el_exchange *x) {
  /* The engine may hold a lock of its own while it calls on_generation_event, which takes our mutex. So we never call
   * the engine with our mutex held. */
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
  el_exchange_let_go(x, x->events.len);
  el_buf_free(&x->events);
  wake_connection(x);
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
  wake_connection(x);
  pthread_mutex_unlock(&x->mutex);
  el_exchange_stop_generations(x);
}

/* ---------------------------------------------------------------- generations */

/* Packs the event for the HTTP thread. The mutex is held. If this fails, the watcher stops the generations, as the
 * engine's thread may not call the engine. */
static void pack_event(el_exchange *x, int choice, const el_event *ev) {
  if (x->gone || x->failed) return;
  if (ev->type == EL_EVENT_TOKEN && !ev->text_len && !x->request.request.logprobs && !x->request.list_tokens) return;
  size_t before = x->events.len;
  if (before > EL_MAX_PENDING_BYTES || !el_packed_event_append(&x->events, choice, ev) ||
      !el_exchange_hold(x, x->events.len - before)) {
    x->events.len = before;
    x->failed = true;
    el_exchange_fail_held(x, &x->error);
  }
}

/* The prompt of a generation, by its number. */
static size_t prompt_of_choice(const el_exchange *x, size_t choice) {
  return choice / (size_t)x->request.n;
}

/* The router has decided for a prompt. The mutex is held. Returns whether further choices of the prompt must be
 * submitted. They get the same adapter: so they belong to one answer, and the router reads the prompt once. */
static bool take_router_decision(el_exchange *x, const el_generation *g, const el_event_decision *decision) {
  char **chosen = &x->chosen[prompt_of_choice(x, (size_t)g->choice)];
  if (*chosen) return false;
  if (!(*chosen = strdup(decision->adapter)) && !x->failed) {
    x->failed = true;
    el_api_fail(&x->error, 500, "no_memory", NULL, "Out of memory.");
  }
  return *chosen && x->n_waiting && !x->gone && !x->failed;
}

/* With the mutex held. */
static void end_generation(el_exchange *x, el_generation *g) {
  g->done = true;
  g->running = false;
  x->n_live--;
  /* It failed before the router decided, so the choices that wait for the decision fail too. */
  if (x->n_waiting && !x->chosen[prompt_of_choice(x, (size_t)g->choice)]) x->n_waiting -= (size_t)x->request.n - 1;
}

/* Counts a finished generation. The mutex is held. A prompt is counted once, whatever the number of its choices. */
static void count_done(el_exchange *x, const el_generation *g, const el_event *ev) {
  el_exchange_figures *f = &x->figures;
  bool done = ev->type == EL_EVENT_DONE;
  if (!f->first_ns && (ev->type == EL_EVENT_TOKEN || (done && ev->done.completion_tokens))) f->first_ns = el_now_ns();
  if (!done) return;
  f->n_done++;
  const el_event_done *end = &ev->done;
  f->completion_tokens += end->completion_tokens;
  if (end->queued_ms > f->queued_ms) f->queued_ms = end->queued_ms;
  if (end->load_ms > f->load_ms) f->load_ms = end->load_ms;
  if (g->choice % x->request.n) return;
  f->prompt_tokens += end->prompt_tokens;
  f->cached_tokens += end->cached_tokens;
}

/* Gives the exchange back to the readers. No mutex is held. */
static void hand_back_to_readers(el_exchange *x) {
  el_server *s = x->server;
  pthread_mutex_lock(&s->mutex);
  if (!s->stopping) el_readers_push(s, x);
  pthread_mutex_unlock(&s->mutex);
}

static void on_generation_event(const el_event *ev) {
  el_generation *g = ev->user;
  el_exchange *x = g->x;
  bool done = ev->type == EL_EVENT_DONE, more = false;
  /* Only this thread writes `chosen`. */
  if (done && !x->request.route)
    el_tally_add(&x->server->tally, x->chosen ? x->chosen[prompt_of_choice(x, (size_t)g->choice)] : x->label,
                 &ev->done);
  if (done) el_limits_count(x, (size_t)g->choice, &ev->done);
  pthread_mutex_lock(&x->mutex);
  if (ev->type == EL_EVENT_DECISION) more = take_router_decision(x, g, &ev->decision);
  pack_event(x, g->choice, ev);
  count_done(x, g, ev);
  if (done) end_generation(x, g);
  if (el_exchange_ready(x)) wake_connection(x);
  pthread_mutex_unlock(&x->mutex);
  if (more) hand_back_to_readers(x);
  if (done) el_exchange_release(x);
}

/* What people are told a request was for. */
static const char *name_of_answering(const el_adapter_selection *who) {
  switch (who->by) {
    case EL_BY_NAME: return who->name;
    case EL_BY_HOLD: return who->held->name;
    case EL_BY_SCALES: return EL_SCALED_LABEL;
    case EL_BY_ROUTER: break;
  }
  return EL_AUTO;
}

/* What the engine said of a request. */
static bool fail_submit(const el_exchange *x, const el_request *q, const el_error *err, el_api_error *e) {
  if (err->detail) el_logf(&x->server->log, EL_LOG_WARN, "%s: refused: %s", x->id, err->message);
  return el_api_fail_engine(e, err, name_of_answering(&q->adapter), el_key_is_limited(x->key));
}

/* Submits choice `i` with the adapters in q. False: *e, with which the exchange must fail. Until then the choice counts
 * as live, so that the end of the others does not look like the end of all. Does nothing if the client is gone. */
static bool submit_one(el_exchange *x, size_t i, el_request q, el_api_error *e) {
  const el_api_request *r = &x->request;
  const el_api_prompt *prompt = &r->prompts[prompt_of_choice(x, i)];
  el_generation *g = &x->generations[i];
  q.prompt = prompt->tokens;
  q.n_prompt = prompt->n;
  q.focus_begin = prompt->focus_begin;
  q.focus_end = prompt->focus_end;
  q.prompt_logprobs_from = prompt->scored_from;
  q.seed_offset = i % (size_t)r->n;
  q.on_event = on_generation_event;
  q.user = g;

  pthread_mutex_lock(&x->mutex);
  bool wanted = !x->gone && !x->failed;
  if (wanted) {
    g->submitted = true;
    x->n_live++;
    if (x->chosen && q.adapter.by != EL_BY_ROUTER)
      x->n_waiting--; /* both at once, so that it is never neither live nor waiting */
    el_exchange_retain(x);
  }
  pthread_mutex_unlock(&x->mutex);
  if (!wanted) return true;

  uint64_t id;
  el_error err;
  el_status status = el_submit(x->server->options.engine, &q, &id, &err);
  pthread_mutex_lock(&x->mutex);
  if (!status && !g->done) { /* events may have come before the id */
    g->id = id;
    g->running = true;
  }
  wanted = !x->gone && !x->failed;
  pthread_mutex_unlock(&x->mutex);
  if (!status) {
    el_logf(&x->server->log, EL_LOG_DEBUG, "%s: submitted as request %llu to %s", x->id, (unsigned long long)id,
            name_of_answering(&q.adapter));
    if (!wanted) el_exchange_stop_generations(x);
    return true;
  }
  el_exchange_release(x);
  return fail_submit(x, &q, &err, e);
}

/* Makes room for the generations and the decisions. */
static bool make_generations(el_exchange *x, el_api_error *e) {
  el_api_request *r = &x->request;
  r->request.prefix_domain = x->server->options.share_prefixes ? 0 : el_key_domain(x->key);
  r->request.tenant = el_key_domain(x->key);
  r->request.weight = x->key ? x->key->weight : 0;
  size_t n = r->n_prompts * (size_t)r->n;
  el_generation *all = calloc(n, sizeof *all);
  char **chosen = r->automatic ? calloc(r->n_prompts, sizeof *chosen) : NULL;
  if (!all || (r->automatic && !chosen)) {
    free(all);
    free(chosen);
    return el_api_fail(e, 500, "no_memory", NULL, "Out of memory while submitting the request.");
  }
  for (size_t i = 0; i < n; i++) all[i] = (el_generation){.x = x, .choice = (int)i};
  pthread_mutex_lock(&x->mutex);
  x->generations = all;
  x->n_generations = n;
  x->chosen = chosen;
  x->n_waiting = chosen ? n - r->n_prompts : 0;
  pthread_mutex_unlock(&x->mutex);
  return true;
}

/* Submits all choices with the adapters that the request names, in whatever way. */
static bool submit_named(el_exchange *x, el_api_error *e) {
  el_server *s = x->server;
  el_api_request *r = &x->request;
  el_scaled scaled;
  bool ok = el_scaled_find(s->options.engine, &s->scales, s->model.name, x->key, r, &scaled, e);
  x->label = scaled.n ? EL_SCALED_LABEL : r->model;
  el_request q = r->request;
  if (scaled.n)
    q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {scaled.list, scaled.n}};
  else if (x->adapter)
    q.adapter = (el_adapter_selection){.by = EL_BY_HOLD, .held = x->adapter};
  else /* the base, with 'lora' and none in it */
    q.adapter = (el_adapter_selection){.by = EL_BY_NAME, .name = r->model};
  for (size_t i = 0; ok && i < x->n_generations; i++) ok = submit_one(x, i, q, e);
  el_scaled_release(&scaled);
  return ok;
}

/* The first choice of each prompt. */
static bool submit_auto(el_exchange *x, el_api_error *e) {
  const el_api_request *r = &x->request;
  const char **candidates;
  size_t n_candidates;
  el_request q = r->request;
  if (r->has_lora)
    return el_api_fail(e, 400, "invalid_value", "lora",
                       "'lora' says which adapters are applied; with 'model' '" EL_AUTO "' the router does.");
  if (!el_key_candidates(x->key, r->candidates, r->n_candidates, &candidates, &n_candidates, e)) return false;
  q.adapter = (el_adapter_selection){
      .by = EL_BY_ROUTER,
      .router = {
          .candidates = candidates, .n_candidates = n_candidates, .n_scores = r->n_scores, .only_decide = r->route}};
  bool ok = true;
  for (size_t i = 0; ok && i < x->n_generations; i += (size_t)r->n) ok = submit_one(x, i, q, e);
  free(candidates);
  return ok;
}

/* Submits the other choices of prompts for which the router has decided since. */
static bool submit_chosen(el_exchange *x, el_api_error *e) {
  el_request q = x->request.request;
  bool ok = true;
  for (size_t i = 0; ok && i < x->n_generations; i++) {
    pthread_mutex_lock(&x->mutex);
    const char *name = x->chosen[prompt_of_choice(x, i)];
    q.adapter = (el_adapter_selection){.by = EL_BY_NAME, .name = name};
    bool wanted = name && !x->generations[i].submitted && !x->gone && !x->failed;
    pthread_mutex_unlock(&x->mutex);
    ok = !wanted || submit_one(x, i, q, e);
  }
  return ok;
}

/* The model for a request that names none: the operator's default if the key may name it, else the base. A request with
 * scales of its own is for the base with these. */
static const char *default_model_name(const el_exchange *x) {
  el_server *s = x->server;
  const char *name = s->options.default_adapter;
  if (x->request.route) return EL_AUTO;
  if (!name || x->request.has_lora) return s->model.name;
  return el_models_is_auto(s, x->key, name) || el_models_allows(s, x->key, name) ? name : s->model.name;
}

/* Holds the adapter that the request names, by name or alias. A key allows adapters by their own names. This is checked
 * before any file is looked at, so that the time does not tell whether an adapter exists. */
static bool hold_adapter(el_exchange *x, el_api_error *e) {
  el_server *s = x->server;
  el_api_request *r = &x->request;
  el_error err = {.code = EL_ERR_NOT_FOUND};
  if (!el_models_may_ask(s, x->key, r->model)) return el_api_fail_engine(e, &err, r->model, true);
  if (el_adapter_hold(s->options.engine, r->model, &x->adapter, &err))
    return fail_submit(x, &(el_request){.adapter = {.name = r->model}}, &err, e);
  const char *name = x->adapter->name;
  if (!strcmp(name, r->model)) return true;
  if (!el_key_allows(x->key, name)) /* an alias of another one by now */
    return el_api_fail_engine(e, &(el_error){.code = EL_ERR_NOT_FOUND}, r->model, true);
  free(r->model);
  return (r->model = strdup(name)) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* Replaces an alias of the base by its name, if the key allows the base. */
static bool name_base(el_exchange *x, el_api_error *e) {
  el_server *s = x->server;
  char **model = &x->request.model;
  if (!strcmp(*model, s->model.name) || !el_models_is_base(s, *model) || !el_key_allows(x->key, s->model.name))
    return true;
  free(*model);
  return (*model = strdup(s->model.name)) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

static void let_go_of_adapter(el_exchange *x) {
  el_adapter_release(x->server->options.engine, x->adapter);
  x->adapter = NULL;
}

/* The adapter is held until resolve_model decides. What a key does not allow does not exist for it. */
static const el_tokenizer *peek_tokenizer(void *exchange, const char *model) {
  el_exchange *x = exchange;
  el_server *s = x->server;
  if (x->adapter) return x->adapter->tokenizer;
  if (el_models_is_auto(s, x->key, model) || !el_models_may_ask(s, x->key, model)) return NULL;
  if (el_adapter_hold(s->options.engine, model, &x->adapter, NULL)) x->adapter = NULL;
  if (x->adapter && !el_key_allows(x->key, x->adapter->name)) let_go_of_adapter(x);
  return x->adapter ? x->adapter->tokenizer : NULL;
}

static bool resolve_model(void *exchange, el_api_request *r, const el_held_adapter **held, el_api_error *e) {
  el_exchange *x = exchange;
  el_server *s = x->server;
  let_go_of_adapter(x);
  if (!r->model && !(r->model = strdup(default_model_name(x))))
    return el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  if (!name_base(x, e)) return false;
  r->automatic = r->route || el_models_is_auto(s, x->key, r->model);
  if (r->automatic) return true;
  if (r->scores || r->n_candidates)
    return el_api_fail(e, 400, "invalid_value", "edgelora",
                       "'edgelora.scores' and 'edgelora.candidates' are allowed only when 'model' is '" EL_AUTO "'.");
  if (r->has_lora)
    return el_key_allows(x->key, r->model) ||
           el_api_fail_engine(e, &(el_error){.code = EL_ERR_NOT_FOUND}, r->model, true);
  if (!hold_adapter(x, e)) return false;
  *held = x->adapter;
  return true;
}

/* Logs an unknown field, once for each name. */
static void tell_unknown(void *exchange, const char *name, const char *hint) {
  el_exchange *x = exchange;
  el_server *s = x->server;
  switch (el_unknown_add(&s->unknown, name)) {
    case EL_UNKNOWN_NEW:
      el_logf(&s->log, EL_LOG_WARN, "%s: unknown field '%.80s' is ignored, now and later.%s", x->what, name, hint);
      break;
    case EL_UNKNOWN_LAST:
      el_logf(&s->log, EL_LOG_WARN, "%d unknown fields have been logged; further ones are ignored silently",
              EL_MAX_UNKNOWN);
      break;
    case EL_UNKNOWN_OLD: break;
  }
}

static bool submit_exchange(el_exchange *x, el_api_error *e) {
  el_server *s = x->server;
  el_api_request *r = &x->request;
  const el_api_setup setup = {.tokenizer = el_engine_tokenizer(s->options.engine),
                              .max_choices = s->options.max_choices,
                              .max_tokens = (size_t)s->model.ctx_size,
                              .verbose = s->options.verbose_answers,
                              .template_variables = &s->template_variables,
                              .resolve = resolve_model,
                              .peek = peek_tokenizer,
                              .tell_unknown = s->options.strict ? NULL : tell_unknown,
                              .user = x,
                              .api = x->api,
                              .domain = el_key_domain(x->key),
                              .engine = s->options.engine,
                              .model = &s->model,
                              .log = &s->log,
                              .formats = &s->formats,
                              .stored = &s->stored,
                              .started = s->started};
  x->result_type = "application/json";
  bool ok = el_api_request_parse(&setup, x->body.data, x->body.len, r, &x->result, e);
  el_exchange_drop_body(x);
  if (!ok || x->api->answer) return ok;
  if (!el_limits_take_prompts(x, e)) return false;
  ok = make_generations(x, e) && (r->automatic ? submit_auto(x, e) : submit_named(x, e));
  if (!ok) el_limits_give_prompts(x);
  return ok;
}

void el_exchange_submitted(el_exchange *x, const el_api_error *e) {
  pthread_mutex_lock(&x->mutex);
  x->submitted = true;
  if (e && !x->failed) {
    x->failed = true;
    x->error = *e;
  }
  if (el_exchange_ready(x)) wake_connection(x);
  pthread_mutex_unlock(&x->mutex);
  if (e) el_exchange_stop_generations(x);
}

void el_exchange_submit(el_exchange *x) {
  el_api_error e;
  pthread_mutex_lock(&x->mutex);
  bool wanted = !x->gone && !x->failed, first = !x->submitted;
  pthread_mutex_unlock(&x->mutex);
  bool ok = !wanted || (first ? submit_exchange(x, &e) : submit_chosen(x, &e));
  el_exchange_submitted(x, ok ? NULL : &e);
}
