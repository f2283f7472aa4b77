#include "engine/decision.h"

#include "adapter/discover.h"

#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "base/clock.h"
#include "base/error.h"

static el_status check_router_request(const el_request *r, el_error *err) {
  const size_t n = r->adapter.router.n_candidates;
  const int n_scores = r->adapter.router.n_scores;
  if (n > EL_MAX_CANDIDATES)
    return el_fail_field(err, EL_ERR_INVALID, "candidates", "candidates: %zu, the limit is %d", n, EL_MAX_CANDIDATES);
  if (n && !r->adapter.router.candidates)
    return el_fail_field(err, EL_ERR_INVALID, "candidates", "candidates: is NULL");
  for (size_t i = 0; i < n; i++) {
    const char *s = r->adapter.router.candidates[i];
    if (!s || !*s) return el_fail_field(err, EL_ERR_INVALID, "candidates", "candidates[%zu]: is empty", i);
    if (strnlen(s, EL_MAX_NAME_BYTES + 1) > EL_MAX_NAME_BYTES)
      return el_fail_field(err, EL_ERR_INVALID, "candidates", "candidates[%zu]: is longer than %d bytes", i,
                           EL_MAX_NAME_BYTES);
  }
  size_t end = r->focus_end ? r->focus_end : r->n_prompt;
  if (end > r->n_prompt || r->focus_begin >= end)
    return el_fail(err, EL_ERR_INVALID, "focus: tokens %zu to %zu of a prompt of %zu", r->focus_begin, r->focus_end,
                   r->n_prompt);
  if (n_scores < 0 || n_scores > EL_MAX_SCORES)
    return el_fail(err, EL_ERR_INVALID, "n_scores: %d is not in 0 to %d", n_scores, EL_MAX_SCORES);
  return EL_OK;
}

/* The pointers and the strings in one block; false: out of memory. */
static bool copy_candidates(el_decision *c, const el_request *r) {
  const char *const *candidates = r->adapter.router.candidates;
  const size_t n = r->adapter.router.n_candidates;
  if (!n) return true;
  size_t bytes = n * sizeof *c->candidates;
  for (size_t i = 0; i < n; i++) bytes += strlen(candidates[i]) + 1;
  if (!(c->candidates = malloc(bytes))) return false;
  char *at = (char *)(c->candidates + n);
  for (size_t i = 0; i < n; i++) {
    c->candidates[i] = at;
    at = stpcpy(at, candidates[i]) + 1;
  }
  c->n_candidates = n;
  return true;
}

/* The tokens to read: the same as for a table's prompt or an example. */
static void find_window(el_decision *c, const el_request *r, const el_decision_limits *limits) {
  size_t lead = (size_t)limits->n_lead, begin = r->focus_begin, end = r->focus_end ? r->focus_end : r->n_prompt;
  size_t most = (size_t)limits->router->features.max_tokens, first, last;
  if (most > (size_t)limits->ctx_size) most = (size_t)limits->ctx_size;
  el_router_window(lead, lead + (end - begin), most, &first, &last);
  c->lead = limits->lead;
  c->n_lead = first ? 0 : (int)lead;
  c->from = (int)begin;
  c->n = (int)(last - first);
  c->own = (size_t)c->n_lead == begin && !memcmp(c->lead, r->prompt, begin * sizeof *r->prompt);
}

el_status el_decision_new(const el_request *r, const el_decision_limits *limits, el_decision **out, el_error *err) {
  if (!limits->router)
    return el_fail_field(err, EL_ERR_INVALID, "adapter.by", "auto: there is no router that could choose an adapter");
  el_status status = check_router_request(r, err);
  if (status) return status;
  el_decision *c = calloc(1, sizeof *c);
  if (!c || !copy_candidates(c, r)) {
    free(c);
    return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory");
  }
  c->router = limits->router;
  find_window(c, r, limits);
  c->n_scores = r->adapter.router.n_scores;
  c->only_decide = r->adapter.router.only_decide;
  *out = c;
  return EL_OK;
}

void el_decision_free(el_decision *c) {
  if (!c) return;
  free(c->candidates);
  free(c->states);
  free(c->ranking);
  free(c);
}

el_status el_decision_start(el_decision *c, el_error *err) {
  const el_features *f = &c->router->features;
  c->states = malloc((size_t)c->n * (size_t)f->n_taps * (size_t)f->n_embd * sizeof *c->states);
  c->started_ns = el_now_ns();
  return c->states ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory for the states of %d tokens", c->n);
}

void el_decision_drop_states(el_decision *c) {
  free(c->states);
  c->states = NULL;
  c->goes_on = false;
}

bool el_decision_allows(const el_decision *c, const char *name) {
  if (!c->n_candidates) return true;
  for (size_t i = 0; i < c->n_candidates; i++) {
    const char *p = c->candidates[i];
    size_t len = strlen(p);
    if (p[len - 1] == '*' ? !strncmp(name, p, len - 1) : !strcmp(name, p)) return true;
  }
  return false;
}
