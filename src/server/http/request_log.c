/* Logs one line per request: the caller, the endpoint, the adapter, times and tokens, and its trace. */
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "server/http/state.h"

static bool write_request_line(el_buf *b, const el_server_request *r) {
  bool ok = el_buf_printf(b, "%s %d %zu bytes %.1f ms%s %s", r->what, r->status, r->bytes, r->total_ms,
                          r->cut_off ? " (cut off)" : "", r->id);
  if (ok && r->key) ok = el_buf_printf(b, ", key %s", r->key);
  if (ok && r->adapter) ok = el_buf_printf(b, ", %s", r->adapter);
  if (ok && r->has_generations)
    ok = el_buf_printf(b, ", %ld+%ld tokens, %ld cached, queue %.1f ms", r->prompt_tokens, r->completion_tokens,
                       r->cached_tokens, r->queue_ms);
  if (ok && r->load_ms > 0) ok = el_buf_printf(b, ", load %.1f ms", r->load_ms);
  if (ok && r->has_generations && r->first_token_ms >= 0)
    ok = el_buf_printf(b, ", first token %.1f ms", r->first_token_ms);
  if (ok && r->trace_id) ok = el_buf_printf(b, ", trace %s", r->trace_id);
  return ok;
}

void el_request_log(el_exchange *x, bool cut_off) {
  const el_server *s = x->server;
  if (!s->log.fn) return;
  pthread_mutex_lock(&x->mutex); /* generations may still run if the client has gone */
  const el_exchange_figures f = x->figures;
  const char *adapter = x->submitted ? el_exchange_adapter(x) : NULL;
  pthread_mutex_unlock(&x->mutex);
  char key[24], span[EL_SPAN_ID + 1];
  if (x->key) snprintf(key, sizeof key, "%zu", (size_t)(x->key - x->keys->list) + 1);
  snprintf(span, sizeof span, "%.*s", EL_SPAN_ID, x->id);
  el_server_request r = {
      .id = x->id,
      .what = x->what,
      .status = x->status,
      .bytes = x->sent_bytes,
      .cut_off = cut_off,
      .total_ms = el_ms_between(x->started_ns, el_now_ns()),
      .key = x->key && *x->key->name ? x->key->name
             : x->key                ? key
                                     : NULL,
      .adapter = adapter,
      .has_generations = f.n_done > 0,
      .prompt_tokens = f.prompt_tokens,
      .completion_tokens = f.completion_tokens,
      .cached_tokens = f.cached_tokens,
      .queue_ms = f.queued_ms,
      .load_ms = f.load_ms,
      .first_token_ms = f.first_ns ? el_ms_between(x->started_ns, f.first_ns) : -1,
  };
  if (*x->trace.id) {
    r.trace_id = x->trace.id;
    r.span_id = span;
    r.parent_span_id = x->trace.parent;
  }
  el_buf line = {0};
  if (write_request_line(&line, &r)) {
    r.line = line.data;
    if (s->options.log_request)
      s->options.log_request(s->options.log_user, &r);
    else
      el_logf(&s->log, EL_LOG_INFO, "%s", r.line);
  }
  el_buf_free(&line);
}
