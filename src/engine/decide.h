/* The router decides (chooser.h); here a sequence gets what was decided, and its client is told. Engine thread. */
#ifndef EL_ENGINE_DECIDE_H
#define EL_ENGINE_DECIDE_H

#include "engine/engine.h"

/* All rows that the router reads have been computed: decides, and lets the sequence go on, or ends it. */
void el_decide(el_engine *e, el_seq *q);
/* The adapter that was chosen for a waiting sequence cannot be used: it gets the next one, or the base. False: nobody
 * was chosen, or the client has been told of it, or there is no other; nothing has changed. */
bool el_decide_next(el_engine *e, el_seq *q, const el_error *why);
/* A sequence runs with what was chosen: tells its client, if that is still to be done. It may have failed and be gone
 * then. */
void el_decide_tell(el_engine *e, el_seq *q);

#endif
