/* JSON when memory runs out.
 *
 * jansson's lexer (2.14) does not notice if the buffer of the token that it reads could not grow,
 * and then looks for the closing quote of a string beyond the buffer's end: a long string in a
 * request ended the process. Therefore the program gives jansson these functions to allocate with,
 * and reserves addresses before it parses, which take no memory until they are used. When memory
 * runs out, further requests are served from there, the text ends at once, and the parse fails.
 *
 * jansson's copies and texts (json_copy, json_dumps) also go on after some of their own failures,
 * and then lack a part of what they should be. So their results are used only if no memory was
 * refused meanwhile.
 *
 * A library must not replace the functions of a jansson that others use too. Where they are not
 * replaced, the functions below are json_loadb, json_copy and json_dumps. */
#ifndef EL_BASE_JSON_GUARD_H
#define EL_BASE_JSON_GUARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* For json_set_alloc_funcs, before there are threads. */
void *el_json_malloc(size_t n);
void el_json_free(void *p);

/* Before this thread parses a text of n bytes. False: out of memory, and el_json_end is not needed.
 */
bool el_json_begin(size_t n);
/* Whether memory has run out since el_json_begin. */
bool el_json_short(void);
/* Ends what el_json_begin began. What was parsed with too little memory must have been released
 * before. */
void el_json_end(void);

/* How often these functions have refused memory to this thread. */
size_t el_json_refused(void);

/* How deep the brackets of a text go, whatever else it contains; to be checked before anything
 * recurses. */
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

/* As json_loadb. *no_memory: whether that is why it failed. */
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

/* Returns a copy if no memory was refused since `before`; else releases it and returns NULL. */
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
