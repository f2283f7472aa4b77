/* What a server, or a trace, gives edgelora-bench load. The input is a byte that says what it is and in which pieces it
 * comes, then the bytes. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/http.h"
#include "bench/load/offers.h"
#include "bench/load/sse.h"
#include "bench/load/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the client does: a body goes to the events. */
static void answer(const char *data, size_t size, size_t piece) {
  el_http h;
  el_sse s = {0};
  bool bad = false;
  el_http_reset(&h);
  for (size_t at = 0; at < size && !bad && h.state != EL_HTTP_DONE && h.state != EL_HTTP_BAD;) {
    size_t n = size - at < piece ? size - at : piece, n_body, used;
    const char *body;
    used = el_http_read(&h, data + at, n, &body, &n_body);
    assert(used > 0 && used <= n && n_body <= used);
    at += used;
    while (n_body && !bad) {
      el_load_event e;
      el_sse_result r = el_sse_read(&s, body, n_body, &used);
      bad = r == EL_SSE_BAD;
      assert(bad || (used > 0 && used <= n_body));
      if (r == EL_SSE_EVENT && el_load_event_read(s.data.data, s.data.len, &e))
        assert(strlen(e.error) < sizeof e.error);
      body += used;
      n_body -= used;
    }
  }
  el_http_end(&h);
  assert(h.state == EL_HTTP_DONE || (h.state == EL_HTTP_BAD && h.why) || bad);
  el_sse_free(&s);
}

static void trace(const char *data, size_t size) {
  el_load_trace t;
  el_error err = {0};
  FILE *f = fmemopen((void *)data, size, "r");
  if (!f) return;
  el_status status = el_load_trace_read(f, "t", &t, &err);
  fclose(f);
  assert(status ? err.message[0] && !t.n : t.n > 0);
  for (size_t i = 0; i < t.n; i++) {
    const el_load_item *x = &t.items[i];
    assert(x->at >= 0 && (i == 0 || x->at >= x[-1].at) && x->n_in >= 1 && x->n_out >= 1);
    assert(x->adapter >= EL_LOAD_AUTO && x->adapter < (int)t.names.n);
  }
  el_load_trace_free(&t);
}

static void offers(el_load_api api, const char *data, size_t size) {
  el_load_names names = {0};
  char *base;
  el_error err = {0};
  el_status status = el_load_offers_read(api, data, size, "a", &names, &base, &err);
  assert(!status || err.message[0]);
  for (size_t i = 0; i < names.n; i++) assert(el_load_names_find(&names, names.items[i]) <= i);
  free(base);
  el_load_names_free(&names);
  el_load_counters_read(data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  const char *rest = (const char *)data + 1;
  size_t piece = (size_t)(data[0] >> 2) + 1;
  switch (data[0] & 3) {
    case 0: answer(rest, size - 1, piece); break;
    case 1: trace(rest, size - 1); break;
    case 2: offers(EL_LOAD_OPENAI, rest, size - 1); break;
    default: offers(EL_LOAD_LLAMA_SERVER, rest, size - 1); break;
  }
  return 0;
}
