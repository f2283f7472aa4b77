/* W3C's trace context: which larger operation of the caller's a request is a part of. */
#ifndef EL_SERVER_TRACE_H
#define EL_SERVER_TRACE_H

#include <stdbool.h>

enum { EL_TRACE_ID = 32, EL_SPAN_ID = 16, EL_TRACEPARENT_BYTES = 56 };

/* Lowercase hexadecimal; "": there is none. */
typedef struct el_trace {
  char id[EL_TRACE_ID + 1], parent[EL_SPAN_ID + 1], flags[3];
} el_trace;

/* Of the header; NULL, or anything but what the recommendation allows: there is none. */
void el_trace_read(const char *traceparent, el_trace *out);
/* What is answered: the request's own part of the trace. Its number is the beginning of the request's id. */
void el_trace_write(const el_trace *t, const char *request_id, char out[EL_TRACEPARENT_BYTES]);

#endif
