/* The events of a request without a callback, until they are taken. Written by the engine thread, read by a client,
 * both under the engine's mutex.
 *
 * There are two buffers: events are appended to one while the client holds pointers into the other; they change places
 * when the client has read all of its own. So memory grows with what is waiting, and nothing is allocated per event. */
#ifndef EL_ENGINE_MAILBOX_H
#define EL_ENGINE_MAILBOX_H

#include "base/buf.h"
#include "edgelora.h"

typedef struct el_mailbox {
  el_buf in, out;
  size_t out_at; /* where the next event in `out` begins */
} el_mailbox;

/* Copies any event but DONE; false: out of memory. */
bool el_mailbox_put(el_mailbox *box, const el_event *event);
/* The next one; false: there is none. What it points to is valid until the next call. */
bool el_mailbox_take(el_mailbox *box, el_event *out);
void el_mailbox_free(el_mailbox *box);

#endif
