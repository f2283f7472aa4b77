/* What the router chose, for clients: as JSON, and as a header's value. */
#ifndef EL_SERVER_CHOICE_H
#define EL_SERVER_CHOICE_H

#include "server/answers/record.h"

/* The header that names the adapter of an answer. */
#define EL_ADAPTER_HEADER "x-edgelora-adapter"

/* Members of an object: "adapter", "candidates": [{"name", "score", "resident"}], "choice_ms", of a CHOICE record.
 * False: out of memory. */
bool el_choice_write(const el_record *r, el_buf *out);

/* A name as a header can hold it: percent-encoded but for printable ASCII without blank and percent. */
bool el_choice_header(const char *name, el_buf *out);

#endif
