#include "template/task.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { ALIGN = 16, FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

struct el_chunk {
  _Alignas(ALIGN) el_chunk *next;
  size_t size;
};

void el_task_fail(el_task *t, el_status code, const char *fmt, ...) {
  char message[sizeof t->err->message];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  if (t->line)
    el_fail(t->err, code, "line %d: %s", t->line, message);
  else
    el_fail(t->err, code, "%s", message);
  longjmp(t->escape, (int)code);
}

static size_t round_to_align(size_t n) {
  return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Chunks double in size, so that a small rendering takes little memory and a large one few
 * calls. */
static void add_arena_chunk(el_task *t, size_t n) {
  size_t size = t->taken < FIRST_CHUNK ? FIRST_CHUNK : t->taken;
  if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
  if (size < n + sizeof(el_chunk)) size = n + sizeof(el_chunk);
  if (size > t->most - t->taken) size = n + sizeof(el_chunk);
  if (size > t->most - t->taken)
    el_task_fail(t, EL_ERR_INVALID, "the chat template needs more memory than the limit, %zu bytes", t->most);
  el_chunk *c = malloc(size);
  if (!c) el_task_fail(t, EL_ERR_NO_MEMORY, "no memory for a chat template: %zu bytes", size);
  *c = (el_chunk){t->chunks, size};
  t->chunks = c;
  t->taken += size;
  t->at = (char *)(c + 1);
  t->end = (char *)c + size;
}

void *el_task_alloc(el_task *t, size_t n) {
  if (n > t->most)
    el_task_fail(t, EL_ERR_INVALID, "the chat template needs more memory than the limit, %zu bytes", t->most);
  n = round_to_align(n ? n : 1);
  if ((size_t)(t->end - t->at) < n) add_arena_chunk(t, n);
  void *p = t->at;
  t->at += n;
  return p;
}

void *el_task_zeroed(el_task *t, size_t n) {
  return memset(el_task_alloc(t, n), 0, n);
}

void *el_task_grow(el_task *t, void *p, size_t old, size_t n) {
  size_t had = round_to_align(old ? old : 1), want = round_to_align(n ? n : 1);
  if (n <= t->most && p && (char *)p + had == t->at && want >= had && want - had <= (size_t)(t->end - t->at)) {
    t->at += want - had;
    return p;
  }
  void *grown = el_task_alloc(t, n);
  if (p && old) memcpy(grown, p, old < n ? old : n);
  return grown;
}

void el_task_free(el_task *t) {
  for (el_chunk *c = t->chunks, *next; c; c = next) {
    next = c->next;
    free(c);
  }
  t->chunks = NULL;
  t->at = t->end = NULL;
  t->taken = 0;
}
