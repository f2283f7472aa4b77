/* JSON when there is no memory left.
 *
 * jansson's lexer (2.14) does not notice that the buffer of the token it reads could not grow, and then looks for the
 * closing quote of a string beyond its end: a long string in a request ended the process. So the program gives jansson
 * these functions to allocate with, and parsing sets addresses aside before, which take no memory until they are used:
 * when memory runs out, what is still asked for comes from there, the text ends at once, and the parse has failed.
 *
 * Its copies and its texts (json_copy, json_dumps) go on after some of their own failures too, and lack a part of what
 * they should be then; so these are taken only where no memory was refused meanwhile.
 *
 * A library has no business to set the functions of a jansson that others use too; where they are not set, this is
 * json_loadb, json_copy and json_dumps. */
#ifndef EL_BASE_JSON_GUARD_H
#define EL_BASE_JSON_GUARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* For json_set_alloc_funcs, before there are threads. */
void *el_json_malloc(size_t n);
void el_json_free(void *p);

/* This thread is about to parse a text of n bytes; false: out of memory, and no end is needed. */
bool el_json_begin(size_t n);
/* Whether memory has run out since. */
bool el_json_short(void);
/* What has been parsed with too little memory must have been released before. */
void el_json_end(void);

/* How often these functions have refused memory to this thread. */
size_t el_json_refused(void);

/* How deep a text's brackets go, whatever else it is: to be asked before anything recurses. */
size_t el_json_depth(const char *text, size_t len);

typedef struct el_json_text {
  const char *at;
  size_t left;
} el_json_text;

static inline size_t el_json_more(void *buffer, size_t size, void *text) {
  el_json_text *t = text;
  size_t n = el_json_short() ? 0 : t->left < size ? t->left : size;
  memcpy(buffer, t->at, n);
  t->at += n;
  t->left -= n;
  return n;
}

/* As json_loadb. *no_memory: that is why there is nothing. */
static inline json_t *el_json_load(const char *text, size_t n, size_t flags, json_error_t *error, bool *no_memory) {
  el_json_text t = {text, n};
  *no_memory = true;
  if (!el_json_begin(n)) return NULL;
  json_t *j = json_load_callback(el_json_more, &t, flags, error);
  *no_memory = el_json_short();
  if (*no_memory) json_decref(j);
  el_json_end();
  return *no_memory ? NULL : j;
}

/* As json_dumps; NULL: out of memory. */
static inline char *el_json_dumps(const json_t *v, size_t flags) {
  size_t before = el_json_refused();
  char *text = json_dumps(v, flags);
  if (text && el_json_refused() == before) return text;
  el_json_free(text);
  return NULL;
}

/* A copy, if no memory was refused since `before`; else NULL, and it is gone. */
static inline json_t *el_json_if_whole(json_t *copy, size_t before) {
  if (copy && el_json_refused() == before) return copy;
  json_decref(copy);
  return NULL;
}

/* As json_copy; NULL: out of memory. */
static inline json_t *el_json_copy(const json_t *v) {
  size_t before = el_json_refused();
  return el_json_if_whole(json_copy((json_t *)v), before);
}

/* As json_deep_copy; NULL: out of memory. */
static inline json_t *el_json_deep_copy(const json_t *v) {
  size_t before = el_json_refused();
  return el_json_if_whole(json_deep_copy(v), before);
}

#endif
