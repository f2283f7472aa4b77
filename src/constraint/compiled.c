#include "constraint/compiled.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "constraint/source.h"
#include "tokenizer/tokenizer.h"

struct el_compiled {
  el_automaton automaton;
  int32_t *extra;
  pthread_mutex_t mutex; /* guards what follows, which grows with each new state that an answer reaches */
  el_states states;
  el_masks masks;
  el_matcher *matchers; /* their states are renumbered when states get new numbers */
  size_t n_matchers;
};

el_status el_compiled_new(const el_constraint_source *source, const el_trie *trie, el_compiled **out, el_error *err) {
  el_compiled *c = calloc(1, sizeof *c);
  el_grammar *g = NULL;
  if (!c) return el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory");
  pthread_mutex_init(&c->mutex, NULL);
  size_t n = source->n_shown_tokens;
  el_status status = el_source_check(source, trie->tokenizer, err);
  if (!status && n) {
    c->extra = malloc(sizeof *c->extra * n);
    if (c->extra)
      memcpy(c->extra, source->shown_tokens, sizeof *c->extra * n);
    else
      status = el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory");
  }
  if (!status) status = el_grammar_new(&g, err);
  if (!status) status = el_grammar_finish(g, el_source_parse(g, source), err);
  if (!status) status = el_automaton_build(g, &c->automaton, err);
  if (!status) status = el_states_open(&c->states, &c->automaton, err);
  if (!status) status = el_masks_open(&c->masks, &c->states, trie, c->extra, n, err);
  el_grammar_free(g);
  if (status)
    el_compiled_free(c);
  else
    *out = c;
  return status;
}

void el_compiled_free(el_compiled *c) {
  if (!c) return;
  el_masks_close(&c->masks);
  el_states_close(&c->states);
  el_automaton_free(&c->automaton);
  free(c->extra);
  pthread_mutex_destroy(&c->mutex);
  free(c);
}

size_t el_compiled_bytes(el_compiled *c) {
  pthread_mutex_lock(&c->mutex);
  size_t bytes = sizeof *c + c->automaton.bytes + c->states.bytes + el_masks_bytes(&c->masks);
  pthread_mutex_unlock(&c->mutex);
  return bytes;
}

void el_compiled_counts(el_compiled *c, uint64_t *walks, uint64_t *looked) {
  pthread_mutex_lock(&c->mutex);
  *walks = c->masks.n_walks;
  *looked = c->masks.n_looked;
  pthread_mutex_unlock(&c->mutex);
}

/* ------------------------------------------------------------------- matchers */

void el_matcher_begin(el_matcher *m, el_compiled *c) {
  pthread_mutex_lock(&c->mutex);
  *m = (el_matcher){.compiled = c, .state = c->states.start, .credit = EL_MATCHER_CREDIT, .next = c->matchers};
  if (c->matchers) c->matchers->previous = m;
  c->matchers = m;
  c->n_matchers++;
  pthread_mutex_unlock(&c->mutex);
}

void el_matcher_end(el_matcher *m) {
  el_compiled *c = m->compiled;
  if (!c) return;
  pthread_mutex_lock(&c->mutex);
  if (m->next) m->next->previous = m->previous;
  if (m->previous)
    m->previous->next = m->next;
  else
    c->matchers = m->next;
  c->n_matchers--;
  pthread_mutex_unlock(&c->mutex);
  *m = (el_matcher){0};
}

/* There was no room: forgets states that no answer needs. The mutex is held. False, with the reason: this does not
 * help. */
static bool forget_unused_states(el_compiled *c, int tried, el_error *err) {
  el_states *s = &c->states;
  if (s->too_slow) {
    s->too_slow = false;
    el_fail(err, EL_ERR_TOO_LONG, "constraint: it takes too much time to tell how the text may go on");
    return false;
  }
  if (s->too_many) {
    s->too_many = false;
    el_fail(err, EL_ERR_TOO_LONG, "constraint: more than %d ways to read the text at once", EL_MAX_WAYS);
    return false;
  }
  el_state **roots = tried || s->no_memory ? NULL : malloc(sizeof *roots * (c->n_matchers + 1));
  s->no_memory = false;
  if (!roots) {
    el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory, or more than the %d MiB that a constraint may take",
            EL_STATES_BYTES >> 20);
    return false;
  }
  size_t n = 0;
  for (el_matcher *m = c->matchers; m; m = m->next) roots[n++] = &m->state;
  el_states_collect(s, roots, n);
  el_masks_forget(&c->masks);
  free(roots);
  return true;
}

/* Held. */
static bool step_matcher(el_matcher *m, const char *bytes, size_t len, bool take, el_error *err) {
  el_states *s = &m->compiled->states;
  s->credit = m->credit;
  for (int tried = 0;; tried++) {
    el_state state = m->state;
    for (size_t i = 0; i < len && state != EL_STATE_DEAD && state != EL_STATE_FULL; i++)
      state = el_states_step(s, state, (unsigned char)bytes[i]);
    m->credit = s->credit;
    if (state == EL_STATE_FULL) {
      if (!forget_unused_states(m->compiled, tried, err)) return false;
      continue;
    }
    if (take && state != EL_STATE_DEAD) {
      m->state = state;
      if (m->credit < EL_MATCHER_CREDIT) m->credit += EL_MATCHER_CREDIT_TOKEN;
    }
    return state != EL_STATE_DEAD;
  }
}

static bool step_matcher_retrying(el_matcher *m, const char *bytes, size_t len, bool take, el_error *err) {
  pthread_mutex_lock(&m->compiled->mutex);
  bool leads_on = step_matcher(m, bytes, len, take, err);
  pthread_mutex_unlock(&m->compiled->mutex);
  return leads_on;
}

bool el_matcher_take(el_matcher *m, const char *bytes, size_t len, el_error *err) {
  err->code = EL_OK;
  return step_matcher_retrying(m, bytes, len, true, err);
}

bool el_matcher_would_take(el_matcher *m, const char *bytes, size_t len, el_error *err) {
  err->code = EL_OK;
  return step_matcher_retrying(m, bytes, len, false, err);
}

bool el_matcher_would_take_token(el_matcher *m, int32_t token, bool begins) {
  const el_compiled *c = m->compiled;
  const el_tokenizer *t = c->masks.trie->tokenizer;
  bool is_extra = false;
  el_error err;
  for (size_t i = 0; i < c->masks.n_extra; i++) is_extra = is_extra || c->extra[i] == token;
  if (!is_extra && el_tokenizer_is_eog(t, token)) return false;
  /* The previous token is not known here. -1, no token, is right where it makes a difference: at the beginning of a
   * text. */
  el_str text = begins ? el_token_text(t, -1, token, is_extra) : el_token_bytes(t, token, is_extra);
  return text.len && text.len <= EL_MAX_TOKEN_BYTES && el_matcher_would_take(m, text.data, text.len, &err);
}

/* Held. */
static const uint64_t *find_matcher_mask(el_matcher *m, bool begins, el_error *err) {
  m->compiled->states.credit = m->credit;
  for (int tried = 0;; tried++) {
    const uint64_t *bits = el_masks_of(&m->compiled->masks, m->state, begins);
    m->credit = m->compiled->states.credit;
    if (bits || !forget_unused_states(m->compiled, tried, err)) return bits;
  }
}

bool el_matcher_mask(el_matcher *m, bool begins, uint64_t *bits, el_error *err) {
  el_compiled *c = m->compiled;
  err->code = EL_OK;
  pthread_mutex_lock(&c->mutex);
  const uint64_t *found = find_matcher_mask(m, begins, err);
  if (found) memcpy(bits, found, sizeof *bits * c->masks.n_words);
  pthread_mutex_unlock(&c->mutex);
  return found;
}

const int32_t *el_matcher_ends(const el_matcher *m, size_t *n) {
  *n = m->compiled->masks.trie->n_ends;
  return m->compiled->masks.trie->ends;
}

bool el_matcher_may_end(const el_matcher *m) {
  pthread_mutex_lock(&m->compiled->mutex);
  bool may = el_states_may_end(&m->compiled->states, m->state);
  pthread_mutex_unlock(&m->compiled->mutex);
  return may;
}

bool el_matcher_may_go_on(const el_matcher *m) {
  pthread_mutex_lock(&m->compiled->mutex);
  bool may = el_states_may_go_on(&m->compiled->states, m->state);
  pthread_mutex_unlock(&m->compiled->mutex);
  return may;
}
