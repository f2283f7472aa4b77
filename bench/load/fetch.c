#include "bench/load/fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

static void keep_body(void *user, uint64_t id, el_load_answer *answer) {
  el_load_answer *out = user;
  *out = *answer;
  answer->body = (el_buf){0};
}

static void no_gap(void *user, uint64_t id, double gap) {}

el_status el_load_fetch(const el_load_url *url, const char *path, const char *body, double seconds, int watched,
                        el_load_answer *out, el_error *err) {
  *out = (el_load_answer){.end = EL_LOAD_LOCAL};
  const el_load_hooks hooks = {out, no_gap, keep_body};
  el_load_client *c;
  el_status status = el_load_client_new(url, &hooks, watched, &c, err);
  if (status) return status;
  const el_load_call call = {.method = body ? "POST" : "GET",
                             .path = path,
                             .body = body,
                             .body_len = body ? strlen(body) : 0,
                             .deadline = el_seconds() + seconds};
  if (!el_load_client_send(c, &call)) status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  while (el_load_client_running(c))
    if (el_load_client_wait(c, call.deadline)) el_load_client_cut(c);
  el_load_client_free(c);
  return status;
}

void el_load_say(const el_load_answer *a, char *out, size_t size) {
  if (a->end == EL_LOAD_STATUS)
    snprintf(out, size, "status %d%s%s", a->status, a->why[0] ? ": " : "", a->why);
  else
    snprintf(out, size, "%s%s%s", el_load_end_name(a->end), a->why[0] ? ": " : "", a->why);
}
