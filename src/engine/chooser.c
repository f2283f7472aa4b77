/* Choosing an adapter for a request, when the first layers have seen its prompt. */
#include "engine/chooser.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/engine.h"
#include "router/prompt.h"

static el_status allocate(el_chooser *c, const char *path, el_error *err) {
  const el_router *r = c->router;
  c->features = malloc(sizeof *c->features * el_features_n(&r->features));
  c->vector = malloc(sizeof *c->vector * el_router_vector(r));
  if (!c->features || !c->vector) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  el_status status = el_pooler_new(&r->features, &c->pooler, err);
  return status ? status : el_bank_new(r, &c->bank, err);
}

/* What stands before a message that is the first one. */
static el_status find_lead(el_engine *e, el_error *err) {
  el_router_prompt p;
  el_status status = el_router_prompt_new(e->tokenizer, "x", &p, err);
  if (status) return status;
  e->chooser.lead = p.tokens;
  e->limits.choice = (el_choice_limits){e->chooser.router, p.tokens, (int)p.begin, e->limits.ctx_size};
  return EL_OK;
}

/* The router's own adapter is loaded from its file like others, but has no name. */
static el_status add_reader(el_engine *e, const char *path, el_error *err) {
  el_entry_spec spec = {.name = "router", .path = path, .dir = EL_NO_DIR};
  el_status status = el_signature_read(path, &spec.signature, err);
  return status ? status : el_registry_add_unlisted(e->registry, &spec, &e->chooser.reader, err);
}

el_status el_chooser_open(el_engine *e, const el_engine_options *o, el_error *err) {
  el_chooser *c = &e->chooser;
  const char *path = o->router_path;
  if (!path) return EL_OK;
  const el_hparams *h = el_model_hparams(e->model);
  const el_base_id base = {.name = e->name,
                           .architecture = e->architecture,
                           .n_layers = h->n_layers,
                           .n_embd = h->n_embd,
                           .n_vocab = h->n_vocab,
                           .fingerprint = el_model_fingerprint(e->model)};
  el_status status = el_router_open(path, &base, &c->router, err);
  if (!status) status = find_lead(e, err);
  if (!status) status = allocate(c, path, err);
  if (!status && c->router->lora_rank) status = add_reader(e, path, err);
  if (status) return status;
  c->top_k = o->router_top_k ? o->router_top_k : c->router->top_k;
  c->margin = o->router_margin >= 0 ? o->router_margin : c->router->margin;
  const el_features *f = &c->router->features;
  if ((status = el_step_taps(e->step, f->taps, f->n_taps, err))) return el_fail_prefix(err, path);
  e->scheduler.state_floats = (size_t)f->n_taps * (size_t)f->n_embd;
  el_logf(&e->log, EL_LOG_INFO, "router: reads the first %d tokens of a prompt through %d of %d layers; %s",
          f->max_tokens, f->taps[f->n_taps - 1], h->n_layers, path);
  return EL_OK;
}

void el_chooser_close(el_engine *e) {
  el_chooser *c = &e->chooser;
  el_registry_put(e->registry, c->reader);
  el_bank_free(c->bank);
  el_pooler_free(c->pooler);
  el_router_free(c->router);
  free(c->features);
  free(c->lead);
  free(c->vector);
  free(c->logits);
  free(c->allowed);
}

el_entry *el_chooser_reader(el_engine *e) {
  if (e->chooser.reader) el_registry_hold(e->registry, e->chooser.reader);
  return e->chooser.reader;
}

size_t el_chooser_n_adapters(el_engine *e) {
  el_chooser *c = &e->chooser;
  if (!c->bank) return 0;
  pthread_mutex_lock(&c->mutex);
  size_t n = el_bank_count(c->bank);
  pthread_mutex_unlock(&c->mutex);
  return n;
}

void el_chooser_mark(el_engine *e, el_adapter_info *list, size_t n) {
  el_chooser *c = &e->chooser;
  if (!c->bank) return;
  pthread_mutex_lock(&c->mutex);
  for (size_t i = 0; i < n; i++) list[i].in_router = el_bank_find(c->bank, list[i].id) != SIZE_MAX;
  pthread_mutex_unlock(&c->mutex);
}

/* -------------------------------------------------------------- candidates */

enum { MAX_RANKED = EL_MAX_SCORES };

/* Who may be chosen, best first, with references. */
typedef struct ranking {
  int n;
  el_entry *entries[MAX_RANKED]; /* NULL: the base */
  float logits[MAX_RANKED];
  bool resident[MAX_RANKED];
} ranking;

static bool is_resident(const el_entry *entry) {
  return !entry || entry->adapter || atomic_load(&entry->state) == EL_ADAPTER_LOADING;
}

static const char *name_of(const el_engine *e, const el_entry *entry) {
  return entry ? entry->name : e->name;
}

/* Which of the bank a request allows, one of its candidates after the other. Mutex held. */
typedef struct scope {
  el_chooser *c;
  const el_choice *choice;
} scope;

static void allow(void *user, uint64_t id, const char *name) {
  scope *s = user;
  size_t at = el_bank_find(s->c->bank, id);
  if (at != SIZE_MAX && el_choice_allows(s->choice, name)) s->c->allowed[at] = true;
}

/* Room for the logits of n adapters and the base; false: out of memory. */
static bool reserve(el_chooser *c, size_t n) {
  if (n < c->cap) return true;
  size_t cap = n + n / 2 + 64;
  float *logits = realloc(c->logits, cap * sizeof *logits);
  if (logits) c->logits = logits;
  bool *flags = realloc(c->allowed, cap * sizeof *flags);
  if (flags) c->allowed = flags;
  if (!logits || !flags) return false;
  c->cap = cap;
  return true;
}

/* The logit of every adapter in the bank, and the base's after them; those that the request does not allow have none.
 * Mutex held. */
static bool score(el_engine *e, const el_choice *choice) {
  el_chooser *c = &e->chooser;
  size_t n = el_bank_count(c->bank);
  if (!reserve(c, n)) return false;
  el_bank_logits(c->bank, c->vector, c->logits, &c->logits[n]);
  if (choice->n_candidates) {
    memset(c->allowed, 0, n * sizeof *c->allowed);
    el_registry_each(e->registry, allow, &(scope){c, choice});
    c->allowed[n] = el_choice_allows(choice, e->name);
    for (size_t i = 0; i <= n; i++)
      if (!c->allowed[i]) c->logits[i] = -INFINITY;
  }
  for (size_t i = 0; i <= n; i++)
    if (!isfinite(c->logits[i])) c->logits[i] = -INFINITY;
  return true;
}

/* Adds the i-th of the bank, or the base, to a ranking if it is still there and small enough to run with this request.
 */
static void add(el_engine *e, const el_seq *q, size_t i, size_t n, ranking *r) {
  el_chooser *c = &e->chooser;
  el_entry *entry = NULL;
  el_error error;
  if (i < n && !(entry = el_registry_find_id(e->registry, el_bank_id(c->bank, i)))) return;
  if (el_memory_check(&e->memory, entry, (uint64_t)(q->n_prompt + q->max_new), EL_PAGE_TOKENS, &error)) {
    el_registry_put(e->registry, entry);
    return;
  }
  r->entries[r->n] = entry;
  r->logits[r->n] = c->logits[i];
  r->resident[r->n++] = is_resident(entry);
}

/* As many as are told of or chosen among (with the base, which is not one of the top_k). False: out of memory. */
static bool rank(el_engine *e, const el_seq *q, ranking *r) {
  el_chooser *c = &e->chooser;
  size_t best[MAX_RANKED];
  int most = q->choice->n_scores > c->top_k ? q->choice->n_scores : c->top_k + 1;
  r->n = 0;
  pthread_mutex_lock(&c->mutex);
  size_t n = el_bank_count(c->bank), k = n + 1 < MAX_RANKED ? n + 1 : MAX_RANKED;
  bool ok = score(e, q->choice);
  if (ok) {
    el_router_top(c->logits, n + 1, k, best);
    for (size_t i = 0; i < k && r->n < most && isfinite(c->logits[best[i]]); i++) add(e, q, best[i], n, r);
  }
  pthread_mutex_unlock(&c->mutex);
  return ok;
}

static void put_all(el_engine *e, ranking *r) {
  for (int i = 0; i < r->n; i++) el_registry_put(e->registry, r->entries[i]);
}

/* Tells the client; false: the sequence has failed and is gone. */
static bool tell(el_engine *e, el_seq *q, const ranking *r, int chosen) {
  int n = r->n < q->choice->n_scores ? r->n : q->choice->n_scores;
  el_candidate candidates[MAX_RANKED];
  for (int i = 0; i < n; i++)
    candidates[i] = (el_candidate){name_of(e, r->entries[i]), el_router_sigmoid(r->logits[i]), r->resident[i]};
  el_event event = {.type = EL_EVENT_CHOICE,
                    .text = "",
                    .adapter = name_of(e, r->entries[chosen]),
                    .candidates = candidates,
                    .n_candidates = (size_t)n,
                    .choice_ms = (double)(el_now_ns() - q->choice->started_ns) * 1e-6};
  if (el_request_deliver(e, q, &event)) return true;
  el_error error;
  el_fail(&error, EL_ERR_NO_MEMORY, "out of memory for events that wait to be taken");
  el_loop_fail(e, q, &error);
  return false;
}

/* ------------------------------------------------------------------ choice */

static void count(el_engine *e, const el_seq *q, bool base, bool best) {
  el_chooser *c = &e->chooser;
  atomic_fetch_add(&c->n_choices, 1);
  atomic_fetch_add(&c->n_base, base);
  atomic_fetch_add(&c->n_resident, !best);
  atomic_fetch_add(&c->n_tokens, (uint64_t)(q->choice->n - q->n_computed));
  atomic_fetch_add(&c->ns, el_now_ns() - q->choice->started_ns);
}

/* The sequence goes on with the base, from where the router's layers ended if it can. */
static void go_on_with_base(el_engine *e, el_seq *q) {
  q->choice->goes_on = q->choice->own && !q->adapter;
  if (!q->choice->goes_on) el_choice_drop_states(q->choice);
  el_memory_unpin(&e->memory, q->adapter);
  el_registry_put(e->registry, q->adapter);
  q->adapter = NULL;
}

/* The sequence begins anew with an adapter, of which it gets a reference: it waits, in the place that it had, and
 * starts before the next step if nothing else is in its way. */
static void begin_with(el_engine *e, el_seq *q, el_entry *adapter) {
  el_scheduler_remove(&e->scheduler, q);
  el_choice_drop_states(q->choice);
  el_registry_put(e->registry, q->adapter); /* what the prompt was read with */
  q->adapter = adapter;
  q->cached_tokens = q->n_reached = 0; /* they were the base's */
  pthread_mutex_lock(&e->mutex);       /* el_request_list reads the name */
  snprintf(q->adapter_name, sizeof q->adapter_name, "%s", adapter->name);
  pthread_mutex_unlock(&e->mutex);
  el_memory_use(&e->memory, adapter);
  el_scheduler_add(&e->scheduler, q);
}

/* The vector of the tokens that count. */
static void embed(el_chooser *c, const el_choice *choice, size_t state_floats) {
  el_pooler_reset(c->pooler);
  for (int i = choice->n_lead; i < choice->n; i++) el_pooler_add(c->pooler, choice->states + (size_t)i * state_floats);
  el_pooler_get(c->pooler, c->features);
  el_router_embed(c->router, c->features, c->vector);
}

/* The base is chosen when it is the best. It does not stand in for a better adapter because it is in memory: it always
 * is. */
static int pick(const el_chooser *c, const ranking *r) {
  float logits[MAX_RANKED];
  bool resident[MAX_RANKED];
  int at[MAX_RANKED], n = 0;
  if (!r->entries[0]) return 0;
  for (int i = 0; i < r->n; i++) {
    if (!r->entries[i]) continue;
    at[n] = i;
    logits[n] = r->logits[i];
    resident[n++] = r->resident[i];
  }
  return at[el_router_choose(logits, resident, (size_t)n, c->top_k, c->margin)];
}

static void choose(el_engine *e, el_seq *q) {
  el_chooser *c = &e->chooser;
  el_choice *choice = q->choice;
  ranking r;
  el_error error;
  if (!rank(e, q, &r)) {
    el_fail(&error, EL_ERR_NO_MEMORY, "auto: out of memory for the scores of the adapters");
    el_loop_fail(e, q, &error);
    return;
  }
  if (!r.n) {
    el_fail(&error, EL_ERR_NOT_FOUND, "auto: the router knows none of the adapters that may be chosen");
    el_loop_fail(e, q, &error);
    return;
  }
  int chosen = pick(c, &r);
  el_logf(&e->log, EL_LOG_DEBUG, "request %llu: the router chose %s (%.3f%s), best is %s (%.3f)",
          (unsigned long long)q->id, name_of(e, r.entries[chosen]), (double)el_router_sigmoid(r.logits[chosen]),
          r.resident[chosen] ? ", in memory" : "", name_of(e, r.entries[0]), (double)el_router_sigmoid(r.logits[0]));
  count(e, q, !r.entries[chosen], chosen == 0);
  if (tell(e, q, &r, chosen)) {
    if (choice->only_choose) {
      el_loop_finish(e, q, EL_FINISH_LENGTH, NULL);
    } else {
      if (r.entries[chosen])
        begin_with(e, q, r.entries[chosen]);
      else
        go_on_with_base(e, q);
      r.entries[chosen] = NULL; /* its reference is the sequence's now */
    }
  }
  put_all(e, &r);
}

void el_chooser_choose(el_engine *e, el_seq *q) {
  el_choice *choice = q->choice;
  choice->made = true;
  embed(&e->chooser, choice, e->scheduler.state_floats);
  if (!choice->on_vector) {
    choose(e, q);
    return;
  }
  choice->on_vector(choice->vector_user, e->chooser.vector);
  choice->on_vector = NULL;
  el_loop_finish(e, q, EL_FINISH_LENGTH, NULL);
}
