#include "base/json_guard.h"

#include <stdint.h>
#include <stdlib.h>

/* What this thread has reserved while it parses; begin NULL: nothing. */
static _Thread_local struct {
  char *begin, *next, *end;
  bool failed;
} aside;

/* After the first failure jansson reads on to the end of the piece that it has, 1024 bytes.
 * Meanwhile the buffer of the token grows once, and so do the tables of the arrays and objects that
 * the piece adds to. Together these stay below 8 times the text, since a member takes at least 5
 * bytes of text and at most 32 bytes of a table. The other allocations are small. */
enum { TIMES = 8, SMALL = 1 << 18, ALIGN = 16 };

/* Of this thread. */
static _Thread_local size_t refused;

void *el_json_malloc(size_t n) {
  void *p = malloc(n);
  if (p) return p;
  refused++;
  if (!aside.begin) return NULL;
  aside.failed = true;
  if (n + ALIGN > (size_t)(aside.end - aside.next) || n + ALIGN < n) return NULL;
  p = aside.next;
  aside.next += (n + ALIGN - 1) / ALIGN * ALIGN;
  return p;
}

void el_json_free(void *p) {
  if (aside.begin && (char *)p >= aside.begin && (char *)p < aside.end) return;
  free(p);
}

bool el_json_begin(size_t n) {
  size_t bytes = n < SIZE_MAX / TIMES - SMALL ? TIMES * n + SMALL : 0;
  if (!bytes || !(aside.begin = malloc(bytes))) return false;
  aside.next = aside.begin;
  aside.end = aside.begin + bytes;
  aside.failed = false;
  return true;
}

bool el_json_short(void) {
  return aside.failed;
}

void el_json_end(void) {
  free(aside.begin);
  aside.begin = aside.next = aside.end = NULL;
}

size_t el_json_refused(void) {
  return refused;
}

size_t el_json_depth(const char *text, size_t len) {
  size_t depth = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < len; i++) {
    char c = text[i];
    if (quoted && c == '\\')
      i++;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '{' || c == '['))
      most = ++depth > most ? depth : most;
    else if (!quoted && (c == '}' || c == ']') && depth)
      depth--;
  }
  return most;
}
