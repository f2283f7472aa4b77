#include "template/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- writing */

static void reserve_text(el_writer *w, size_t extra) {
  size_t want = (size_t)w->len + extra, most = w->most ? w->most : UINT32_MAX / 2;
  if (want > most)
    el_task_fail(w->task, EL_ERR_INVALID, "the chat template makes a text of more than the limit, %zu bytes", most);
  if (want <= w->cap) return;
  size_t cap = w->cap ? (size_t)w->cap * 2 : 64;
  if (cap < want) cap = want;
  if (cap > most) cap = most;
  w->data = el_task_grow(w->task, w->data, w->len, cap);
  w->cap = (uint32_t)cap;
}

static void add_span(el_writer *w, uint32_t begin, uint32_t end, uint32_t source) {
  el_span *last = w->n_spans ? &w->spans[w->n_spans - 1] : NULL;
  if (last && last->end == begin && last->source == source) {
    last->end = end;
    return;
  }
  if (w->n_spans == w->cap_spans) {
    uint32_t cap = w->cap_spans ? w->cap_spans * 2 : 4;
    w->spans = el_task_grow(w->task, w->spans, w->n_spans * sizeof *w->spans, cap * sizeof *w->spans);
    w->cap_spans = cap;
  }
  w->spans[w->n_spans++] = (el_span){begin, end, source};
}

void el_write(el_writer *w, const char *data, size_t len, uint32_t source) {
  if (!len) return;
  reserve_text(w, len);
  memcpy(w->data + w->len, data, len);
  if (source) add_span(w, w->len, w->len + (uint32_t)len, source);
  w->len += (uint32_t)len;
}

void el_write_cstring(el_writer *w, const char *s) {
  el_write(w, s, strlen(s), 0);
}

/* The first span that ends after `at`. */
static uint32_t first_span(const el_text *s, size_t at) {
  uint32_t low = 0, high = s->n_spans;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (s->spans[mid].end <= at)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

void el_write_range(el_writer *w, const el_text *s, size_t begin, size_t end) {
  if (begin >= end) return;
  uint32_t at = w->len;
  el_write(w, s->data + begin, end - begin, 0);
  for (uint32_t i = first_span(s, begin); i < s->n_spans && s->spans[i].begin < end; i++) {
    size_t b = s->spans[i].begin > begin ? s->spans[i].begin - begin : 0;
    size_t e = s->spans[i].end < end ? s->spans[i].end - begin : end - begin;
    add_span(w, at + (uint32_t)b, at + (uint32_t)e, s->spans[i].source);
  }
}

void el_write_text(el_writer *w, const el_text *s) {
  el_write_range(w, s, 0, s->len);
}

void el_write_repeated(el_writer *w, const char *s, size_t times, uint32_t source) {
  size_t len = strlen(s);
  if (times > UINT32_MAX) times = UINT32_MAX;
  reserve_text(w, times * len);
  for (size_t i = 0; i < times; i++) el_write(w, s, len, source);
}

void el_write_printf(el_writer *w, uint32_t source, const char *fmt, ...) {
  char out[512];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(out, sizeof out, fmt, args);
  va_end(args);
  el_write(w, out, n < (int)sizeof out ? (size_t)n : sizeof out - 1, source);
}

const el_text *el_written(el_writer *w) {
  el_text *s = el_task_alloc(w->task, sizeof *s);
  *s = (el_text){w->data ? w->data : "", w->len, w->n_spans, w->spans};
  *w = (el_writer){.task = w->task, .most = w->most};
  return s;
}

/* --- whole strings */

const el_text *el_text_new(el_task *t, const char *data, size_t len, uint32_t source) {
  if (len > UINT32_MAX / 2) el_task_fail(t, EL_ERR_INVALID, "a text of %zu bytes is too long for a chat template", len);
  el_text *s = el_task_alloc(t, sizeof *s);
  *s = (el_text){.data = data ? data : "", .len = (uint32_t)len};
  if (source && len) {
    el_span *span = el_task_alloc(t, sizeof *span);
    *span = (el_span){0, (uint32_t)len, source};
    s->spans = span;
    s->n_spans = 1;
  }
  return s;
}

const el_text *el_text_copy(el_task *t, const char *data, size_t len, uint32_t source) {
  char *copy = el_task_alloc(t, len);
  if (len) memcpy(copy, data, len);
  return el_text_new(t, copy, len, source);
}

const el_text *el_text_cut(el_task *t, const el_text *s, size_t begin, size_t end) {
  if (end > s->len) end = s->len;
  if (begin > end) begin = end;
  if (begin == 0 && end == s->len) return s;
  el_text *cut = el_task_alloc(t, sizeof *cut);
  *cut = (el_text){.data = s->data + begin, .len = (uint32_t)(end - begin)};
  uint32_t first = first_span(s, begin), last = first;
  while (last < s->n_spans && s->spans[last].begin < end) last++;
  if (first == last) return cut;
  el_span *spans = el_task_alloc(t, (last - first) * sizeof *spans);
  for (uint32_t i = first; i < last; i++) {
    size_t b = s->spans[i].begin > begin ? s->spans[i].begin : begin, e = s->spans[i].end < end ? s->spans[i].end : end;
    spans[i - first] = (el_span){(uint32_t)(b - begin), (uint32_t)(e - begin), s->spans[i].source};
  }
  cut->spans = spans;
  cut->n_spans = last - first;
  return cut;
}

uint32_t el_text_source(const el_text *s, size_t at) {
  uint32_t i = first_span(s, at);
  return i < s->n_spans && s->spans[i].begin <= at ? s->spans[i].source : 0;
}

uint32_t el_text_any_source(const el_text *s) {
  return s->n_spans ? s->spans[0].source : 0;
}

bool el_text_eq(const el_text *a, const el_text *b) {
  return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

bool el_text_is(const el_text *s, const char *literal) {
  return el_str_eq((el_str){s->data, s->len}, literal);
}

int el_text_cmp(const el_text *a, const el_text *b) {
  return el_str_cmp((el_str){a->data, a->len}, (el_str){b->data, b->len});
}

size_t el_text_find(const el_text *s, const el_text *what, size_t from) {
  if (from > s->len || what->len > s->len - from) return SIZE_MAX;
  if (!what->len) return from;
  const char *p = memmem(s->data + from, s->len - from, what->data, what->len);
  return p ? (size_t)(p - s->data) : SIZE_MAX;
}

size_t el_text_find_last(const el_text *s, const el_text *what, size_t before) {
  if (before > s->len) before = s->len;
  if (what->len > before) return SIZE_MAX;
  for (size_t at = before - what->len;; at--) {
    if (!what->len || (s->data[at] == what->data[0] && memcmp(s->data + at, what->data, what->len) == 0)) return at;
    if (at == 0) return SIZE_MAX;
  }
}

/* --- characters */

size_t el_char_size(const char *data, size_t len) {
  if (!((unsigned char)data[0] & 0x80)) return 1;
  int n = el_utf8_length(data, len);
  return n ? (size_t)n : 1;
}

uint32_t el_char_code(const char *data, size_t len, size_t *size) {
  const unsigned char *p = (const unsigned char *)data;
  *size = el_char_size(data, len);
  switch (*size) {
    case 2: return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    case 3: return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    case 4: return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    default: return p[0] < 0x80 ? p[0] : 0xdc00u + p[0];
  }
}

size_t el_text_length(const el_text *s) {
  size_t n = 0;
  for (size_t at = 0; at < s->len; at += el_char_size(s->data + at, s->len - at)) n++;
  return n;
}

size_t el_text_offset(const el_text *s, size_t index) {
  size_t at = 0;
  while (index-- && at < s->len) at += el_char_size(s->data + at, s->len - at);
  return at;
}

size_t el_char_before(const el_text *s, size_t at) {
  for (size_t n = 2; n <= 4 && n <= at; n++)
    if (el_char_size(s->data + at - n, n) == n) return at - n;
  return at - 1;
}
