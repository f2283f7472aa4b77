#include "bench/load/sse.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

void el_sse_free(el_sse *s) {
  el_buf_free(&s->data);
  el_buf_free(&s->line);
}

void el_sse_reset(el_sse *s) {
  el_buf_consume(&s->data, s->data.len);
  el_buf_consume(&s->line, s->line.len);
  s->after_cr = s->has_data = s->whole = false;
}

/* A line is a field, "data: ..."; all fields but data, and comments, say nothing here. */
static bool take_line(el_sse *s) {
  const char *p = s->line.data;
  size_t n = s->line.len;
  if (n < 4 || memcmp(p, "data", 4) != 0 || (n > 4 && p[4] != ':')) return true;
  p += n > 4 ? 5 : 4;
  n -= n > 4 ? 5 : 4;
  if (n && *p == ' ') {
    p++;
    n--;
  }
  bool ok = (!s->has_data || el_buf_append(&s->data, "\n", 1)) && el_buf_append(&s->data, p, n);
  s->has_data = true;
  return ok && s->data.len <= EL_SSE_MAX_EVENT;
}

el_sse_result el_sse_read(el_sse *s, const char *bytes, size_t len, size_t *used) {
  *used = 0;
  if (s->whole) {
    el_buf_consume(&s->data, s->data.len);
    s->has_data = s->whole = false;
  }
  for (size_t i = 0; i < len;) {
    if (s->after_cr && bytes[i] == '\n') { /* CR LF is one end of a line */
      s->after_cr = false;
      *used = ++i;
      continue;
    }
    size_t n = 0;
    while (i + n < len && bytes[i + n] != '\n' && bytes[i + n] != '\r') n++;
    if (s->line.len + n > EL_SSE_MAX_EVENT || !el_buf_append(&s->line, bytes + i, n)) return EL_SSE_BAD;
    s->after_cr = false;
    *used = i += n;
    if (i == len) break;
    s->after_cr = bytes[i] == '\r';
    *used = ++i;
    bool empty = s->line.len == 0;
    if (!empty && !take_line(s)) return EL_SSE_BAD;
    el_buf_consume(&s->line, s->line.len);
    if (empty && s->has_data) {
      s->whole = true;
      return EL_SSE_EVENT;
    }
  }
  return EL_SSE_MORE;
}

/* ---- what it says */

/* No text has as many tokens, and sums of counts stay far from their limit. */
#define MAX_COUNT 1000000000

static long long count_fields(const json_t *object, const char *key) {
  const json_t *v = json_object_get(object, key);
  json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
  return n < 0 || n > MAX_COUNT ? -1 : n;
}

static void read_choice(const json_t *choice, el_load_event *e) {
  const json_t *delta = json_object_get(choice, "delta");
  const json_t *text = delta ? json_object_get(delta, "content") : json_object_get(choice, "text");
  if (json_is_string(text) && json_string_length(text)) e->text = true;
  if (json_is_string(json_object_get(choice, "finish_reason"))) e->finished = true;
}

static void read_error(const json_t *error, el_load_event *e) {
  const json_t *message = json_is_object(error) ? json_object_get(error, "message") : error;
  e->failed = true;
  snprintf(e->error, sizeof e->error, "%s", json_is_string(message) ? json_string_value(message) : "no message");
  for (char *p = e->error; *p; p++) /* it is shown on a terminal, and is a stranger's; it may be cut in a character */
    if (*p < ' ' || *p > '~') *p = '?';
}

bool el_load_event_read(const char *data, size_t len, el_load_event *out) {
  *out = (el_load_event){.prompt_tokens = -1, .completion_tokens = -1, .cached_tokens = -1};
  if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
    out->done = true;
    return true;
  }
  json_t *event = json_loadb(data, len, JSON_ALLOW_NUL, NULL);
  if (!json_is_object(event)) {
    json_decref(event);
    return false;
  }
  const json_t *error = json_object_get(event, "error"), *usage = json_object_get(event, "usage");
  if (error && !json_is_null(error)) read_error(error, out);
  size_t i;
  json_t *choice;
  json_array_foreach(json_object_get(event, "choices"), i, choice) read_choice(choice, out);
  out->prompt_tokens = count_fields(usage, "prompt_tokens");
  out->completion_tokens = count_fields(usage, "completion_tokens");
  out->cached_tokens = count_fields(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
  json_decref(event);
  return true;
}
