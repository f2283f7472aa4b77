#include "constraint/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "constraint/source.h"

struct el_constraint {
  el_constraint_store *store;
  el_compiled *compiled;
  el_buf source; /* all that it was made of, as bytes: two with the same are the same */
  size_t n_references;
  size_t bytes;        /* counted as open or as kept */
  el_constraint *next; /* all of the store; the one that was used last comes first */
};

struct el_constraint_store {
  const el_tokenizer *tokenizer;
  pthread_mutex_t mutex;
  el_constraint *all;
  size_t open_bytes, kept_bytes, n_kept;
  bool has_trie; /* made when the first source comes */
  el_trie trie;
};

/* --------------------------------------------------------------------- sources */

static bool put_key_bytes(el_buf *b, const void *data, size_t n) {
  uint64_t len = n;
  return el_buf_append(b, &len, sizeof len) && (!n || el_buf_append(b, data, n));
}

static bool put_key_text(el_buf *b, const char *text) {
  return put_key_bytes(b, text ? text : "", text ? strlen(text) : 0);
}

/* A source within the limits (source.h: they are checked again when it is compiled). */
static bool put_key_source(el_buf *b, const el_constraint_source *s) {
  const int facts[] = {(int)s->type, s->at_least_one, s->stop_after_first};
  bool ok = put_key_bytes(b, facts, sizeof facts) && put_key_bytes(b, s->text, s->text ? s->len : 0);
  ok = ok && put_key_bytes(b, s->shown_tokens, sizeof *s->shown_tokens * s->n_shown_tokens);
  bool choice = s->type == EL_CONSTRAINT_CHOICE, tags = s->type == EL_CONSTRAINT_TAGS;
  for (size_t i = 0; choice && i < s->n_choices && ok; i++) ok = put_key_text(b, s->choices[i]);
  for (size_t i = 0; tags && i < s->n_triggers && ok; i++) ok = put_key_text(b, s->triggers[i]);
  for (size_t i = 0; tags && i < s->n_tags && ok; i++) {
    const el_constraint_tag *t = &s->tags[i];
    int content = (int)t->content;
    ok = put_key_text(b, t->begin) && put_key_text(b, t->end) && put_key_bytes(b, &content, sizeof content) &&
         put_key_bytes(b, t->text, t->text ? t->len : 0);
  }
  return ok;
}

/* ----------------------------------------------------------------------- store */

el_status el_constraint_store_new(const el_tokenizer *t, el_constraint_store **out, el_error *err) {
  el_constraint_store *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "constraints: out of memory");
  s->tokenizer = t;
  pthread_mutex_init(&s->mutex, NULL);
  *out = s;
  return EL_OK;
}

static void free_constraint(el_constraint *c) {
  el_compiled_free(c->compiled);
  el_buf_free(&c->source);
  free(c);
}

void el_constraint_store_free(el_constraint_store *s) {
  if (!s) return;
  for (el_constraint *c = s->all, *next; c; c = next) {
    next = c->next;
    free_constraint(c);
  }
  if (s->has_trie) el_trie_free(&s->trie);
  pthread_mutex_destroy(&s->mutex);
  free(s);
}

/* Takes what nobody has and was used longest ago out of the store, until the rest is within the limits. Held. The
 * result is to be freed when the mutex is not. */
static el_constraint *take_surplus(el_constraint_store *s) {
  el_constraint *surplus = NULL;
  while (s->n_kept > EL_KEPT_CONSTRAINTS || s->kept_bytes > EL_KEPT_CONSTRAINT_BYTES) {
    el_constraint **oldest = NULL;
    for (el_constraint **at = &s->all; *at; at = &(*at)->next)
      if (!(*at)->n_references) oldest = at;
    if (!oldest) break;
    el_constraint *c = *oldest;
    *oldest = c->next;
    s->n_kept--;
    s->kept_bytes -= c->bytes;
    c->next = surplus;
    surplus = c;
  }
  return surplus;
}

static void free_constraints(el_constraint *c) {
  for (el_constraint *next; c; c = next) {
    next = c->next;
    free_constraint(c);
  }
}

/* A reference to the constraint of this source, which comes to the front; NULL: it is not there. Held. */
static el_constraint *find_compiled(el_constraint_store *s, const el_buf *source) {
  for (el_constraint **at = &s->all; *at; at = &(*at)->next) {
    el_constraint *c = *at;
    if (c->source.len != source->len || memcmp(c->source.data, source->data, source->len)) continue;
    *at = c->next;
    c->next = s->all;
    s->all = c;
    if (!c->n_references++) {
      s->n_kept--;
      s->kept_bytes -= c->bytes;
      s->open_bytes += c->bytes;
    }
    return c;
  }
  return NULL;
}

static el_status prepare_trie(el_constraint_store *s, el_error *err) {
  pthread_mutex_lock(&s->mutex);
  el_status status = s->has_trie ? EL_OK : el_trie_build(s->tokenizer, &s->trie, err);
  s->has_trie = !status;
  pthread_mutex_unlock(&s->mutex);
  return status;
}

/* A constraint that is in no store yet. source is used up on success. */
static el_status make_compiled(el_constraint_store *s, const el_constraint_source *source, el_buf *key,
                               el_constraint **out, el_error *err) {
  el_compiled *compiled = NULL;
  el_status status = prepare_trie(s, err);
  if (!status) status = el_compiled_new(source, &s->trie, &compiled, err);
  if (status) return status;
  el_constraint *c = calloc(1, sizeof *c);
  if (!c) {
    el_compiled_free(compiled);
    return el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory");
  }
  *c = (el_constraint){.store = s, .compiled = compiled, .source = *key, .n_references = 1};
  c->bytes = sizeof *c + c->source.cap + el_compiled_bytes(compiled);
  *key = (el_buf){0};
  *out = c;
  return EL_OK;
}

el_status el_constraint_store_open(el_constraint_store *s, const el_constraint_source *source,
                                   const el_constraint **out, el_error *err) {
  el_status status = el_source_check(source, s->tokenizer, err);
  if (status) return status;
  el_buf key = {0};
  if (!put_key_source(&key, source)) {
    el_buf_free(&key);
    return el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory");
  }
  pthread_mutex_lock(&s->mutex);
  el_constraint *c = find_compiled(s, &key), *made = NULL, *surplus = NULL;
  pthread_mutex_unlock(&s->mutex);
  if (!c) {
    status = make_compiled(s, source, &key, &made, err);
    pthread_mutex_lock(&s->mutex);
    if (!status) c = find_compiled(s, &made->source); /* another may have been faster */
    if (!status && !c) {
      if (made->bytes > EL_OPEN_CONSTRAINT_BYTES - s->open_bytes || s->open_bytes > EL_OPEN_CONSTRAINT_BYTES) {
        status = el_fail(err, EL_ERR_BUSY, "constraints: those of requests that run or wait take all of the %d MiB",
                         EL_OPEN_CONSTRAINT_BYTES >> 20);
      } else {
        c = made;
        made = NULL;
        c->next = s->all;
        s->all = c;
        s->open_bytes += c->bytes;
      }
    }
    surplus = take_surplus(s);
    pthread_mutex_unlock(&s->mutex);
    if (made) free_constraint(made);
    free_constraints(surplus);
  }
  el_buf_free(&key);
  if (!status) *out = c;
  return status;
}

void el_constraint_keep(const el_constraint *constraint) {
  el_constraint *c = (el_constraint *)constraint;
  pthread_mutex_lock(&c->store->mutex);
  c->n_references++;
  pthread_mutex_unlock(&c->store->mutex);
}

void el_constraint_release(const el_constraint *constraint) {
  el_constraint *c = (el_constraint *)constraint, *surplus = NULL;
  if (!c) return;
  el_constraint_store *s = c->store;
  pthread_mutex_lock(&s->mutex);
  if (!--c->n_references) {
    s->open_bytes -= c->bytes;
    c->bytes = sizeof *c + c->source.cap + el_compiled_bytes(c->compiled); /* it has grown, and nobody uses it now */
    s->kept_bytes += c->bytes;
    s->n_kept++;
    surplus = take_surplus(s);
  }
  pthread_mutex_unlock(&s->mutex);
  free_constraints(surplus);
}

const el_constraint_store *el_constraint_store_of(const el_constraint *c) {
  return c->store;
}

el_compiled *el_constraint_compiled(const el_constraint *c) {
  return c->compiled;
}
