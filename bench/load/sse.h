/* A stream of server-sent events, and what an event of OpenAI's completions says. */
#ifndef EL_BENCH_LOAD_SSE_H
#define EL_BENCH_LOAD_SSE_H

#include "base/buf.h"

enum { EL_SSE_MAX_EVENT = 1 << 20 }; /* more than any token needs; a server may not fill our memory */

typedef struct el_sse {
  el_buf data; /* of the event that is being read, or has just been */
  el_buf line;
  bool after_cr, has_data, whole; /* whole: `data` is an event that was returned */
} el_sse;

typedef enum el_sse_result { EL_SSE_MORE, EL_SSE_EVENT, EL_SSE_BAD } el_sse_result;

/* Reads to the end of an event, whose data then are s->data until the next call, or of the bytes. */
el_sse_result el_sse_read(el_sse *s, const char *bytes, size_t len, size_t *used);
void el_sse_reset(el_sse *s);
void el_sse_free(el_sse *s);

typedef struct el_load_event {
  bool done;                                                 /* [DONE] */
  bool text;                                                 /* brings text */
  bool finished;                                             /* a reason for the end of the text is given */
  bool failed;                                               /* an error object */
  char error[96];                                            /* its message */
  long long prompt_tokens, completion_tokens, cached_tokens; /* -1: not told */
} el_load_event;

/* Of an event's data, or of a whole answer. false: it is nothing that such a server says. */
bool el_load_event_read(const char *data, size_t len, el_load_event *out);

#endif
