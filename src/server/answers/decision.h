/* The router's decision for clients: as JSON, and as the value of a header. */
#ifndef EL_SERVER_DECISION_H
#define EL_SERVER_DECISION_H

#include "server/answers/packed_event.h"

/* The header that names the adapter of an answer. */
#define EL_ADAPTER_HEADER "x-edgelora-adapter"

/* Writes the members of an object from an EL_EVENT_DECISION: "adapter", "candidates": [{"name", "score",
 * "resident"}], "choice_ms". False: out of memory. */
bool el_decision_write(const el_packed_event *r, el_buf *out);

/* Writes a name for a header: everything but printable ASCII is percent-encoded, and so are blanks and
 * percent signs. */
bool el_decision_header(const char *name, el_buf *out);

#endif
