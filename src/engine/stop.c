#include "engine/stop.h"

#include <string.h>

#include "tokenizer/tokenizer.h"

/* The length of the longest end of the text that begins a stop string. */
static size_t held(const el_stop *s) {
  size_t longest = 0;
  for (size_t i = 0; i < s->n; i++) {
    size_t n = strlen(s->strings[i]) - 1;
    if (n > s->text.len) n = s->text.len;
    while (n > longest && memcmp(s->text.data + s->text.len - n, s->strings[i], n)) n--;
    if (n > longest) longest = n;
  }
  return longest;
}

/* What was held back before is a part of `text` still, so a stop string that spans tokens is found here. */
static const char *find_stop(const el_stop *s, size_t *begin) {
  const char *found = NULL;
  size_t end = 0;
  for (size_t i = 0; i < s->n && s->text.len; i++) {
    size_t len = strlen(s->strings[i]);
    const char *at = memmem(s->text.data, s->text.len, s->strings[i], len);
    if (!at) continue;
    size_t b = (size_t)(at - s->text.data);
    if (found && (b + len > end || (b + len == end && b >= *begin))) continue;
    found = s->strings[i];
    *begin = b;
    end = b + len;
  }
  return found;
}

bool el_stop_push(el_stop *s, const char *bytes, size_t len, bool flush) {
  if (s->matched) return true;
  if (!el_buf_append(&s->bytes, bytes, len) || !el_utf8_take(&s->bytes, flush, &s->text)) return false;
  size_t begin;
  s->matched = find_stop(s, &begin);
  if (s->matched) {
    s->text.len = s->n_certain = s->include ? begin + strlen(s->matched) : begin;
    s->bytes.len = 0;
  } else {
    s->n_certain = flush ? s->text.len : s->text.len - held(s);
  }
  return true;
}

bool el_stop_push_certain(el_stop *s, const char *bytes, size_t len) {
  if (s->matched) return true;
  if (!el_buf_append(&s->bytes, bytes, len) || !el_utf8_take(&s->bytes, false, &s->text)) return false;
  s->n_certain = s->text.len;
  return true;
}

void el_stop_taken(el_stop *s) {
  el_buf_consume(&s->text, s->n_certain);
  s->n_certain = 0;
}

void el_stop_free(el_stop *s) {
  el_buf_free(&s->bytes);
  el_buf_free(&s->text);
}
