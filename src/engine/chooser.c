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

/* What the router reads stays until the other layers have gone on from it, windowed pages too. */
static void keep_read_pages(el_engine *e, int max_tokens) {
  el_kv_layout *l = &e->memory.layout;
  const int n = el_pages_for(max_tokens < e->limits.ctx_size ? max_tokens : e->limits.ctx_size) + 1;
  if (!l->windowed_per_block || n <= l->most_windowed) return;
  l->most_windowed = n;
  const uint64_t most = el_kv_layout_most(l, e->memory.kv.max_blocks) * EL_PAGE_TOKENS;
  if (most >= (uint64_t)e->limits.ctx_size) return;
  e->limits.ctx_size = (int)most;
  el_logf(&e->log, EL_LOG_WARN, "router: what it reads leaves memory for sequences of %d tokens", e->limits.ctx_size);
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
  if ((status = el_step_taps(e->step, f->taps, f->n_taps, err))) return el_fail_prefix(err, "%s", path);
  keep_read_pages(e, f->max_tokens);
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

/* Those of a ranking that come into question now, best first, with references. */
typedef struct finalists {
  int n;
  el_entry *entries[MAX_RANKED]; /* NULL: the base */
  const el_ranked *ranks;        /* [n] the ranking's first ones */
} finalists;

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

/* The best of the bank and the base, whether or not they can be used. False: out of memory. */
static bool rank(el_engine *e, el_choice *choice) {
  el_chooser *c = &e->chooser;
  size_t best[MAX_RANKED];
  pthread_mutex_lock(&c->mutex);
  size_t n = el_bank_count(c->bank), k = n + 1 < MAX_RANKED ? n + 1 : MAX_RANKED;
  el_ranked *ranking = malloc(k * sizeof *ranking);
  bool ok = ranking && score(e, choice);
  choice->n_ranked = 0;
  if (ok) {
    el_router_top(c->logits, n + 1, k, best);
    for (size_t i = 0; i < k && isfinite(c->logits[best[i]]); i++)
      ranking[choice->n_ranked++] =
          (el_ranked){.id = best[i] < n ? el_bank_id(c->bank, best[i]) : EL_NO_ID, .logit = c->logits[best[i]]};
  }
  pthread_mutex_unlock(&c->mutex);
  if (!ok) free(ranking);
  choice->ranking = ok ? ranking : NULL;
  return ok;
}

/* Drops from the ranking whom there is no more and who is too large to run with this request, until there are as many
 * as are told of or chosen among (with the base, which is not one of the top_k). False: none is left; *why is about the
 * best one. */
static bool find_finalists(el_engine *e, const el_seq *q, finalists *f, el_error *why) {
  el_choice *choice = q->choice;
  int most = choice->n_scores > e->chooser.top_k ? choice->n_scores : e->chooser.top_k + 1, i = 0;
  bool refused = false;
  f->n = 0;
  f->ranks = choice->ranking;
  for (; i < choice->n_ranked && f->n < most; i++) {
    el_ranked *r = &choice->ranking[i];
    el_entry *entry = NULL;
    el_error error;
    if (r->id != EL_NO_ID && !(entry = el_registry_find_id(e->registry, r->id))) continue;
    if (entry && entry->preset_error) error = *entry->preset_error;
    if ((entry && entry->preset_error) ||
        el_memory_check(&e->memory, entry, (uint64_t)(q->n_prompt + q->max_new), EL_PAGE_TOKENS, &error)) {
      el_registry_put(e->registry, entry);
      if (!refused) *why = error;
      refused = true;
      continue;
    }
    r->resident = is_resident(entry);
    f->entries[f->n] = entry;
    choice->ranking[f->n++] = *r;
  }
  memmove(&choice->ranking[f->n], &choice->ranking[i], (size_t)(choice->n_ranked - i) * sizeof *choice->ranking);
  choice->n_ranked -= i - f->n;
  if (!f->n && !refused)
    el_fail_field(why, EL_ERR_NOT_FOUND, "candidates",
                  "candidates: the router knows none of the adapters that may be chosen");
  return f->n > 0;
}

static void put_all(el_engine *e, finalists *f) {
  for (int i = 0; i < f->n; i++) el_registry_put(e->registry, f->entries[i]);
}

/* Tells the client what was chosen, once, with the best as they were when it was; false: the sequence has failed and is
 * gone. */
static bool tell(el_engine *e, el_seq *q, const el_entry *chosen) {
  el_choice *choice = q->choice;
  el_candidate candidates[MAX_RANKED];
  finalists told = {0};
  for (int i = 0; i < choice->n_ranked && told.n < choice->n_scores; i++) {
    const el_ranked *r = &choice->ranking[i];
    el_entry *entry = NULL;
    if (r->id != EL_NO_ID && !(entry = el_registry_find_id(e->registry, r->id))) continue; /* it has gone meanwhile */
    candidates[told.n] = (el_candidate){name_of(e, entry), el_router_sigmoid(r->logit), r->resident};
    told.entries[told.n++] = entry;
  }
  el_event event = {
      .type = EL_EVENT_DECISION,
      .text = "",
      .decision = {
          .adapter = name_of(e, chosen), .candidates = candidates, .n_candidates = (size_t)told.n, .ms = choice->ms}};
  bool delivered = el_request_deliver(e, q, &event);
  put_all(e, &told);
  free(choice->ranking);
  choice->ranking = NULL;
  if (delivered) return true;
  el_error error;
  el_fail(&error, EL_ERR_NO_MEMORY, "out of memory for events that wait to be taken");
  el_loop_fail(e, q, &error);
  return false;
}

/* ------------------------------------------------------------------ choice */

static void count(el_engine *e, const el_seq *q, bool base, bool best) {
  el_chooser *c = &e->chooser;
  uint64_t ns = el_now_ns() - q->choice->started_ns;
  q->choice->ms = (double)ns * 1e-6;
  atomic_fetch_add(&c->n_choices, 1);
  atomic_fetch_add(&c->n_base, base);
  atomic_fetch_add(&c->n_resident, !best);
  atomic_fetch_add(&c->n_tokens, (uint64_t)(q->choice->n - q->n_computed));
  atomic_fetch_add(&c->ns, ns);
}

/* What the request leaves open is as the chosen one's preset says. False: the sequence has failed and is gone. */
static bool apply_preset(el_engine *e, el_seq *q, const el_entry *chosen) {
  el_error error;
  const el_constraint *schema;
  if (el_presets_constraint(e, el_presets_of(e, chosen), q->preset_fields, &schema, &error)) {
    el_loop_fail(e, q, &error);
    return false;
  }
  pthread_mutex_lock(&e->mutex); /* el_request_list reads how many tokens there may be */
  bool ok = el_seq_apply_preset(q, el_presets_of(e, chosen), schema);
  pthread_mutex_unlock(&e->mutex);
  if (ok) return true;
  el_constraint_close(e, schema);
  el_fail(&error, EL_ERR_NO_MEMORY, "auto: out of memory for the stop strings of a preset");
  el_loop_fail(e, q, &error);
  return false;
}

/* The sequence goes on with the base, from where the router's layers ended if it can. */
static void go_on_with_base(el_engine *e, el_seq *q) {
  q->choice->goes_on = q->choice->own && !q->adapter;
  if (!q->choice->goes_on) el_choice_drop_states(q->choice);
  el_memory_unpin(&e->memory, q->adapter);
  el_registry_put(e->registry, q->adapter);
  q->adapter = NULL;
}

/* A waiting sequence has this adapter from now on (NULL: the base), and the reference to it. */
static void give(el_engine *e, el_seq *q, el_entry *adapter) {
  el_registry_put(e->registry, q->adapter);
  q->adapter = adapter;
  q->cached_tokens = q->n_reached = 0; /* they were another one's */
  pthread_mutex_lock(&e->mutex);       /* el_request_list reads the name */
  snprintf(q->adapter_name, sizeof q->adapter_name, "%s", adapter ? adapter->name : "");
  pthread_mutex_unlock(&e->mutex);
  el_memory_use(&e->memory, adapter);
}

/* The sequence begins anew with an adapter, of which it gets a reference: it waits, in the place that it had, and
 * starts before the next step if nothing else is in its way. */
static void begin_with(el_engine *e, el_seq *q, el_entry *adapter) {
  el_scheduler_remove(&e->scheduler, q);
  el_choice_drop_states(q->choice);
  give(e, q, adapter); /* instead of what the prompt was read with */
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
static int pick(const el_chooser *c, const finalists *f) {
  float logits[MAX_RANKED];
  bool resident[MAX_RANKED];
  int at[MAX_RANKED], n = 0;
  if (!f->entries[0]) return 0;
  for (int i = 0; i < f->n; i++) {
    if (!f->entries[i]) continue;
    at[n] = i;
    logits[n] = f->ranks[i].logit;
    resident[n++] = f->ranks[i].resident;
  }
  return at[el_router_choose(logits, resident, (size_t)n, c->top_k, c->margin)];
}

static void choose(el_engine *e, el_seq *q) {
  finalists f;
  el_error error;
  if (!rank(e, q->choice)) {
    el_fail(&error, EL_ERR_NO_MEMORY, "auto: out of memory for the scores of the adapters");
    el_loop_fail(e, q, &error);
    return;
  }
  if (!find_finalists(e, q, &f, &error)) {
    el_loop_fail(e, q, &error);
    return;
  }
  int chosen = pick(&e->chooser, &f);
  el_entry *entry = f.entries[chosen];
  el_logf(&e->log, EL_LOG_DEBUG, "request %llu: the router chose %s (%.3f%s), best is %s (%.3f)",
          (unsigned long long)q->id, name_of(e, entry), (double)el_router_sigmoid(f.ranks[chosen].logit),
          f.ranks[chosen].resident ? ", in memory" : "", name_of(e, f.entries[0]),
          (double)el_router_sigmoid(f.ranks[0].logit));
  count(e, q, !entry, chosen == 0);
  if (q->choice->only_choose) {
    if (tell(e, q, entry)) el_loop_finish(e, q, EL_FINISH_LENGTH, NULL);
  } else if (!apply_preset(e, q, entry)) {
    /* it is gone */
  } else if (!entry) {
    if (tell(e, q, NULL)) go_on_with_base(e, q);
  } else {
    f.entries[chosen] = NULL; /* its reference is the sequence's now */
    begin_with(e, q, entry);
  }
  put_all(e, &f);
}

bool el_chooser_choose_next(el_engine *e, el_seq *q, const el_error *why) {
  el_choice *choice = q->choice;
  finalists f;
  el_error none;
  if (!choice || !choice->ranking || !q->adapter) return false;
  int kept = 0;
  for (int i = 0; i < choice->n_ranked; i++)
    if (choice->ranking[i].id != q->adapter->id) choice->ranking[kept++] = choice->ranking[i];
  choice->n_ranked = kept;
  if (!find_finalists(e, q, &f, &none)) return false;
  int chosen = pick(&e->chooser, &f);
  el_entry *entry = f.entries[chosen];
  el_logf(&e->log, EL_LOG_INFO, "request %llu: %s takes the place of %s, which the router had chosen: %s",
          (unsigned long long)q->id, name_of(e, entry), q->adapter->name, why->message);
  f.entries[chosen] = NULL;
  give(e, q, entry);
  put_all(e, &f);
  apply_preset(e, q, entry);
  return true;
}

void el_chooser_settle(el_engine *e, el_seq *q) {
  if (q->choice && q->choice->ranking) tell(e, q, q->adapter);
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
