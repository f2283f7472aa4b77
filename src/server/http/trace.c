#include "server/http/trace.h"

#include <stdio.h>
#include <string.h>

/* Offsets in "00-TRACE-PARENT-FLAGS", and its length. */
enum { TRACE_AT = 3, PARENT_AT = 36, FLAGS_AT = 53, LENGTH = 55 };

static bool is_hex(const char *s, size_t n) {
  return strspn(s, "0123456789abcdef") >= n;
}

static bool is_all_zero(const char *s, size_t n) {
  return strspn(s, "0") >= n;
}

/* Later versions may append more. */
static bool is_valid(const char *s) {
  size_t len = strlen(s);
  if (len < LENGTH || s[2] != '-' || s[PARENT_AT - 1] != '-' || s[FLAGS_AT - 1] != '-') return false;
  if (!is_hex(s, 2) || !is_hex(s + TRACE_AT, EL_TRACE_ID) || !is_hex(s + PARENT_AT, EL_SPAN_ID) ||
      !is_hex(s + FLAGS_AT, 2))
    return false;
  if (is_all_zero(s + TRACE_AT, EL_TRACE_ID) || is_all_zero(s + PARENT_AT, EL_SPAN_ID) || !strncmp(s, "ff", 2))
    return false;
  return len == LENGTH || (strncmp(s, "00", 2) && s[LENGTH] == '-');
}

void el_trace_read(const char *traceparent, el_trace *out) {
  *out = (el_trace){0};
  if (!traceparent || !is_valid(traceparent)) return;
  memcpy(out->id, traceparent + TRACE_AT, EL_TRACE_ID);
  memcpy(out->parent, traceparent + PARENT_AT, EL_SPAN_ID);
  memcpy(out->flags, traceparent + FLAGS_AT, 2);
}

void el_trace_write(const el_trace *t, const char *request_id, char out[EL_TRACEPARENT_BYTES]) {
  snprintf(out, EL_TRACEPARENT_BYTES, "00-%s-%.*s-%s", t->id, EL_SPAN_ID, request_id, t->flags);
}
