#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool el_buf_reserve(el_buf *b, size_t extra) {
  if (extra > SIZE_MAX / 2 - b->len) return false;
  size_t need = b->len + extra + 1; /* one more for the NUL */
  if (need <= b->cap) return true;
  size_t cap = b->cap ? b->cap : 64;
  while (cap < need) cap *= 2;
  char *p = realloc(b->data, cap);
  if (!p) return false;
  if (!b->data) p[0] = 0;
  b->data = p;
  b->cap = cap;
  return true;
}

bool el_buf_append(el_buf *b, const void *data, size_t len) {
  if (!el_buf_reserve(b, len)) return false;
  if (len) memcpy(b->data + b->len, data, len);
  b->len += len;
  b->data[b->len] = 0;
  return true;
}

bool el_buf_printf(el_buf *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  bool ok = n >= 0 && el_buf_reserve(b, (size_t)n);
  if (ok) {
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
  }
  va_end(again);
  return ok;
}

void el_buf_consume(el_buf *b, size_t n) {
  if (n > b->len) n = b->len;
  if (!b->data) return;
  memmove(b->data, b->data + n, b->len - n);
  b->len -= n;
  b->data[b->len] = 0;
}

void el_buf_free(el_buf *b) {
  free(b->data);
  *b = (el_buf){0};
}
