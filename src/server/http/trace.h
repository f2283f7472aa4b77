/* W3C trace context: to which larger operation of the caller a request belongs. */
#ifndef EL_SERVER_TRACE_H
#define EL_SERVER_TRACE_H

#include <stdbool.h>

enum { EL_TRACE_ID = 32, EL_SPAN_ID = 16, EL_TRACEPARENT_BYTES = 56 };

/* Lowercase hexadecimal; "": no trace. */
typedef struct el_trace {
  char id[EL_TRACE_ID + 1], parent[EL_SPAN_ID + 1], flags[3];
} el_trace;

/* Reads the header. NULL, or a value that the W3C recommendation does not allow: no trace. */
void el_trace_read(const char *traceparent, el_trace *out);
/* Writes the traceparent of the answer. The request's own span id is the beginning of its request id. */
void el_trace_write(const el_trace *t, const char *request_id, char out[EL_TRACEPARENT_BYTES]);

#endif
