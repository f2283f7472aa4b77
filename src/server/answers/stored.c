#include "server/answers/stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void el_stored_init(el_stored *s) {
  *s = (el_stored){0};
  pthread_mutex_init(&s->mutex, NULL);
}

static size_t stored_size(const el_stored_answer *a) {
  return sizeof *a + a->body_len + a->items_len;
}

static void drop_stored(el_stored *s, el_stored_answer *a) {
  *(a->newer ? &a->newer->older : &s->newest) = a->older;
  *(a->older ? &a->older->newer : &s->oldest) = a->newer;
  s->n--;
  s->bytes -= stored_size(a);
  free(a);
}

void el_stored_free(el_stored *s) {
  while (s->oldest) drop_stored(s, s->oldest);
  pthread_mutex_destroy(&s->mutex);
}

/* The mutex is held. */
static el_stored_answer *find_stored(el_stored *s, const char *id, uint64_t domain) {
  for (el_stored_answer *a = s->newest; a; a = a->older)
    if (a->domain == domain && !strcmp(a->id, id)) return a;
  return NULL;
}

static void push_stored(el_stored *s, el_stored_answer *a) {
  a->newer = NULL;
  a->older = s->newest;
  *(s->newest ? &s->newest->newer : &s->oldest) = a;
  s->newest = a;
}

void el_stored_put(el_stored *s, const char *id, uint64_t domain, const el_buf *body, const el_buf *items,
                   size_t input_len) {
  if (strlen(id) >= EL_STORED_ID || body->len > EL_MAX_STORED_BYTES || items->len > EL_MAX_STORED_BYTES - body->len)
    return;
  size_t bytes = sizeof(el_stored_answer) + body->len + items->len;
  el_stored_answer *a = bytes <= EL_MAX_STORED_BYTES ? malloc(bytes) : NULL;
  if (!a) return;
  *a = (el_stored_answer){.domain = domain, .body_len = body->len, .items_len = items->len, .input_len = input_len};
  snprintf(a->id, sizeof a->id, "%s", id);
  memcpy(a->text, body->data, body->len);
  memcpy(a->text + body->len, items->data, items->len);
  pthread_mutex_lock(&s->mutex);
  while (s->oldest && (s->n >= EL_MAX_STORED || s->bytes + bytes > EL_MAX_STORED_BYTES)) drop_stored(s, s->oldest);
  push_stored(s, a);
  s->n++;
  s->bytes += bytes;
  pthread_mutex_unlock(&s->mutex);
}

bool el_stored_get(el_stored *s, const char *id, uint64_t domain, el_stored_section section, el_buf *out, bool *found) {
  pthread_mutex_lock(&s->mutex);
  const el_stored_answer *a = find_stored(s, id, domain);
  *found = a != NULL;
  bool body = section == EL_STORED_BODY, input = section == EL_STORED_INPUT;
  bool ok = !a || el_buf_append(out, a->text + (body ? 0 : a->body_len),
                                body    ? a->body_len
                                : input ? a->input_len
                                        : a->items_len);
  ok = ok && (!a || !input || el_buf_append(out, "]", 1));
  pthread_mutex_unlock(&s->mutex);
  return ok;
}

bool el_stored_delete(el_stored *s, const char *id, uint64_t domain) {
  pthread_mutex_lock(&s->mutex);
  el_stored_answer *a = find_stored(s, id, domain);
  if (a) drop_stored(s, a);
  pthread_mutex_unlock(&s->mutex);
  return a != NULL;
}
