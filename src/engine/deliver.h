/* What a client hears of its sequence from the engine thread: events, with the text that is certain, and its end. */
#ifndef EL_ENGINE_DELIVER_H
#define EL_ENGINE_DELIVER_H

#include "engine/engine.h"

/* What an event says of a token. */
static inline el_event_token el_deliver_token(const el_seq *q, const el_drawn *d) {
  if (!q->logprobs) return (el_event_token){.id = d->token};
  return (el_event_token){.id = d->token, .logprob = d->logprob, .top = d->top, .n_top = (size_t)q->n_top};
}

/* Delivers an event with the text that is certain; false: the sequence has failed and is gone. */
bool el_deliver_event(el_engine *e, el_seq *q, el_event *event);
/* Ends a sequence that waits or runs, with its DONE event. `error` with EL_FINISH_ERROR; end: the token that ended it,
 * NULL: none did. */
void el_deliver_end(el_engine *e, el_seq *q, el_finish how, const el_error *error, const el_drawn *end);
/* Ends it with an error, which the log has too. */
void el_deliver_failure(el_engine *e, el_seq *q, const el_error *error);

#endif
