/* What the router chose, for clients: as JSON, and as a header's value. */
#ifndef EL_SERVER_DECISION_H
#define EL_SERVER_DECISION_H

#include "server/answers/packed_event.h"

/* The header that names the adapter of an answer. */
#define EL_ADAPTER_HEADER "x-edgelora-adapter"

/* Members of an object: "adapter", "candidates": [{"name", "score", "resident"}], "choice_ms", of an EL_EVENT_CHOICE.
 * False: out of memory. */
bool el_decision_write(const el_packed_event *r, el_buf *out);

/* A name as a header can hold it: percent-encoded but for printable ASCII without blank and percent. */
bool el_decision_header(const char *name, el_buf *out);

#endif
