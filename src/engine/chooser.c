/* Choosing an adapter for a request, when the first layers have seen its prompt. */
#include "engine/chooser.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
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
static el_status find_lead(el_chooser *c, const el_tokenizer *t, el_error *err) {
  el_router_prompt p;
  el_status status = el_router_prompt_new(t, "x", &p, err);
  if (status) return status;
  c->lead = p.tokens;
  c->n_lead = (int)p.begin;
  return EL_OK;
}

/* The router's own adapter is loaded from its file like others, but has no name. */
static el_status add_reader(el_chooser *c, const char *path, el_error *err) {
  el_entry_spec spec = {.name = "router", .path = path, .dir = EL_NO_DIR};
  el_status status = el_signature_read(path, &spec.signature, err);
  return status ? status : el_registry_add_unlisted(c->registry, &spec, &c->reader, err);
}

el_status el_chooser_open(el_chooser *c, const el_chooser_setup *s, el_error *err) {
  const char *path = s->options->router_path;
  c->registry = s->registry;
  c->memory = s->memory;
  c->log = s->log;
  c->base_name = s->base->name;
  el_status status = el_router_open(path, s->base, &c->router, err);
  if (!status) status = find_lead(c, s->tokenizer, err);
  if (!status) status = allocate(c, path, err);
  if (!status && c->router->lora_rank) status = add_reader(c, path, err);
  if (status) return status;
  c->top_k = s->options->router_top_k ? s->options->router_top_k : c->router->top_k;
  c->margin = s->options->router_margin >= 0 ? s->options->router_margin : c->router->margin;
  return EL_OK;
}

void el_chooser_close(el_chooser *c) {
  if (c->reader) el_registry_put(c->registry, c->reader);
  el_bank_free(c->bank);
  el_pooler_free(c->pooler);
  el_router_free(c->router);
  free(c->features);
  free(c->lead);
  free(c->vector);
  free(c->logits);
  free(c->allowed);
}

el_decision_limits el_chooser_limits(const el_chooser *c, int ctx_size) {
  return (el_decision_limits){c->router, c->lead, c->n_lead, ctx_size};
}

el_entry *el_chooser_reader(el_chooser *c) {
  if (c->reader) el_registry_hold(c->registry, c->reader);
  return c->reader;
}

size_t el_chooser_n_adapters(el_chooser *c) {
  if (!c->bank) return 0;
  pthread_mutex_lock(&c->mutex);
  size_t n = el_bank_count(c->bank);
  pthread_mutex_unlock(&c->mutex);
  return n;
}

void el_chooser_mark(el_chooser *c, el_adapter_info *list, size_t n) {
  if (!c->bank) return;
  pthread_mutex_lock(&c->mutex);
  for (size_t i = 0; i < n; i++) list[i].in_router = el_bank_find(c->bank, list[i].id) != SIZE_MAX;
  pthread_mutex_unlock(&c->mutex);
}

el_status el_chooser_put(el_chooser *c, uint64_t id, const char *name, const float *vectors, int n, el_error *err) {
  pthread_mutex_lock(&c->mutex);
  el_status status = el_bank_put(c->bank, id, name, vectors, n, NULL, err);
  pthread_mutex_unlock(&c->mutex);
  return status;
}

void el_chooser_remove(el_chooser *c, uint64_t id) {
  pthread_mutex_lock(&c->mutex);
  el_bank_remove(c->bank, id);
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

const char *el_chooser_name_of(const el_chooser *c, const el_entry *entry) {
  return entry ? entry->name : c->base_name;
}

/* Which of the bank a request allows, one of its candidates after the other. Mutex held. */
typedef struct scope {
  el_chooser *c;
  const el_decision *decision;
} scope;

static void allow_adapter(void *user, uint64_t id, const char *name) {
  scope *s = user;
  size_t at = el_bank_find(s->c->bank, id);
  if (at != SIZE_MAX && el_decision_allows(s->decision, name)) s->c->allowed[at] = true;
}

/* Room for the logits of n adapters and the base; false: out of memory. */
static bool reserve_scores(el_chooser *c, size_t n) {
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
static bool score_adapters(el_chooser *c, const el_decision *decision) {
  size_t n = el_bank_count(c->bank);
  if (!reserve_scores(c, n)) return false;
  el_bank_logits(c->bank, c->vector, c->logits, &c->logits[n]);
  if (decision->n_candidates) {
    memset(c->allowed, 0, n * sizeof *c->allowed);
    el_registry_each(c->registry, allow_adapter, &(scope){c, decision});
    c->allowed[n] = el_decision_allows(decision, c->base_name);
    for (size_t i = 0; i <= n; i++)
      if (!c->allowed[i]) c->logits[i] = -INFINITY;
  }
  for (size_t i = 0; i <= n; i++)
    if (!isfinite(c->logits[i])) c->logits[i] = -INFINITY;
  return true;
}

/* The best of the bank and the base, whether or not they can be used. False: out of memory. */
static bool rank_adapters(el_chooser *c, el_decision *decision) {
  size_t best[MAX_RANKED];
  pthread_mutex_lock(&c->mutex);
  size_t n = el_bank_count(c->bank), k = n + 1 < MAX_RANKED ? n + 1 : MAX_RANKED;
  el_ranked *ranking = malloc(k * sizeof *ranking);
  bool ok = ranking && score_adapters(c, decision);
  decision->n_ranked = 0;
  if (ok) {
    el_router_top(c->logits, n + 1, k, best);
    for (size_t i = 0; i < k && isfinite(c->logits[best[i]]); i++)
      ranking[decision->n_ranked++] =
          (el_ranked){.id = best[i] < n ? el_bank_id(c->bank, best[i]) : EL_NO_ID, .logit = c->logits[best[i]]};
  }
  pthread_mutex_unlock(&c->mutex);
  if (!ok) free(ranking);
  decision->ranking = ok ? ranking : NULL;
  return ok;
}

/* Drops from the ranking whom there is no more and who is too large to run with this request, until there are as many
 * as are told of or chosen among (with the base, which is not one of the top_k). False: none is left; *why is about the
 * best one. */
static bool find_finalists(el_chooser *c, const el_seq *q, finalists *f, el_error *why) {
  el_decision *decision = q->decision;
  int most = decision->n_scores > c->top_k ? decision->n_scores : c->top_k + 1, i = 0;
  bool refused = false;
  f->n = 0;
  f->ranks = decision->ranking;
  for (; i < decision->n_ranked && f->n < most; i++) {
    el_ranked *r = &decision->ranking[i];
    el_entry *entry = NULL;
    el_error error;
    if (r->id != EL_NO_ID && !(entry = el_registry_find_id(c->registry, r->id))) continue;
    if (entry && entry->preset_error) error = *entry->preset_error;
    if ((entry && entry->preset_error) ||
        el_memory_check(c->memory, entry, (uint64_t)(q->n_prompt + q->max_new), EL_PAGE_TOKENS, &error)) {
      el_registry_put(c->registry, entry);
      if (!refused) *why = error;
      refused = true;
      continue;
    }
    r->resident = is_resident(entry);
    f->entries[f->n] = entry;
    decision->ranking[f->n++] = *r;
  }
  memmove(&decision->ranking[f->n], &decision->ranking[i],
          (size_t)(decision->n_ranked - i) * sizeof *decision->ranking);
  decision->n_ranked -= i - f->n;
  if (!f->n && !refused)
    el_fail_field(why, EL_ERR_NOT_FOUND, "candidates",
                  "candidates: the router knows none of the adapters that may be chosen");
  return f->n > 0;
}

static void put_all(const el_chooser *c, const finalists *f) {
  for (int i = 0; i < f->n; i++) el_registry_put(c->registry, f->entries[i]);
}

void el_chooser_list(const el_chooser *c, const el_decision *decision, el_candidate_list *out) {
  out->n = 0;
  for (int i = 0; i < decision->n_ranked && out->n < decision->n_scores; i++) {
    const el_ranked *r = &decision->ranking[i];
    el_entry *entry = NULL;
    if (r->id != EL_NO_ID && !(entry = el_registry_find_id(c->registry, r->id))) continue; /* it has gone meanwhile */
    out->items[out->n] = (el_candidate){el_chooser_name_of(c, entry), el_router_sigmoid(r->logit), r->resident};
    out->entries[out->n++] = entry;
  }
}

void el_chooser_unlist(const el_chooser *c, el_candidate_list *list) {
  for (int i = 0; i < list->n; i++) el_registry_put(c->registry, list->entries[i]);
  list->n = 0;
}

/* ---------------------------------------------------------------- decision */

static void count(el_chooser *c, const el_seq *q, bool base, bool best) {
  uint64_t ns = el_now_ns() - q->decision->started_ns;
  q->decision->ms = (double)ns * 1e-6;
  atomic_fetch_add(&c->n_decisions, 1);
  atomic_fetch_add(&c->n_base, base);
  atomic_fetch_add(&c->n_resident, !best);
  atomic_fetch_add(&c->n_tokens, (uint64_t)(q->decision->n - q->n_computed));
  atomic_fetch_add(&c->ns, ns);
}

void el_chooser_read(el_chooser *c, const el_decision *decision, size_t state_floats) {
  el_pooler_reset(c->pooler);
  for (int i = decision->n_lead; i < decision->n; i++)
    el_pooler_add(c->pooler, decision->states + (size_t)i * state_floats);
  el_pooler_get(c->pooler, c->features);
  el_router_embed(c->router, c->features, c->vector);
}

/* The base is chosen when it is the best. It does not stand in for a better adapter because it is in memory: it always
 * is. */
static int pick_finalist(const el_chooser *c, const finalists *f) {
  float logits[MAX_RANKED];
  bool resident[MAX_RANKED];
  int at[MAX_RANKED] = {0}, n = 0;
  if (!f->entries[0]) return 0;
  for (int i = 0; i < f->n; i++) {
    if (!f->entries[i]) continue;
    at[n] = i;
    logits[n] = f->ranks[i].logit;
    resident[n++] = f->ranks[i].resident;
  }
  return at[el_router_choose(logits, resident, (size_t)n, c->top_k, c->margin)];
}

/* The finalist at `at` with its reference; the others' are given back. */
static el_entry *take_finalist(const el_chooser *c, finalists *f, int at) {
  el_entry *entry = f->entries[at];
  f->entries[at] = NULL;
  put_all(c, f);
  return entry;
}

el_status el_chooser_decide(el_chooser *c, el_seq *q, el_entry **out, el_error *err) {
  finalists f;
  if (!rank_adapters(c, q->decision))
    return el_fail(err, EL_ERR_NO_MEMORY, "auto: out of memory for the scores of the adapters");
  if (!find_finalists(c, q, &f, err)) return err->code;
  int chosen = pick_finalist(c, &f);
  const el_entry *entry = f.entries[chosen];
  el_logf(c->log, EL_LOG_DEBUG, "request %llu: the router chose %s (%.3f%s), best is %s (%.3f)",
          (unsigned long long)q->id, el_chooser_name_of(c, entry), (double)el_router_sigmoid(f.ranks[chosen].logit),
          f.ranks[chosen].resident ? ", in memory" : "", el_chooser_name_of(c, f.entries[0]),
          (double)el_router_sigmoid(f.ranks[0].logit));
  count(c, q, !entry, chosen == 0);
  *out = take_finalist(c, &f, chosen);
  return EL_OK;
}

bool el_chooser_decide_next(el_chooser *c, el_seq *q, const el_error *why, el_entry **out) {
  el_decision *decision = q->decision;
  finalists f;
  el_error none;
  if (!decision || !decision->ranking || !q->adapter) return false;
  int kept = 0;
  for (int i = 0; i < decision->n_ranked; i++)
    if (decision->ranking[i].id != q->adapter->id) decision->ranking[kept++] = decision->ranking[i];
  decision->n_ranked = kept;
  if (!find_finalists(c, q, &f, &none)) return false;
  *out = take_finalist(c, &f, pick_finalist(c, &f));
  el_logf(c->log, EL_LOG_INFO, "request %llu: %s takes the place of %s, which the router had chosen: %s",
          (unsigned long long)q->id, el_chooser_name_of(c, *out), q->adapter->name, why->message);
  return true;
}
