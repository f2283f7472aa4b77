/* Applies a key's limits to its requests. A request takes from its account when it arrives and when its prompts
 * have been counted, and leaves it at its end. Requests without a key have no limits. */
#ifndef EL_SERVER_KEY_LIMITS_H
#define EL_SERVER_KEY_LIMITS_H

#include "server/http/exchange.h"

/* The body of a request to a dialect has arrived. False: *e, a 429. Called by the HTTP thread. */
bool el_limits_enter(el_exchange *x, el_api_error *e);
/* Its prompts have been read. False: *e, a 429. This and the next are called by a reader. */
bool el_limits_take_prompts(el_exchange *x, el_api_error *e);
/* It was refused after its prompts were taken. */
void el_limits_give_prompts(el_exchange *x);
/* One of its generations has ended; called before its client can know. */
void el_limits_count(el_exchange *x, size_t choice, const el_event_done *done);
/* Its answer is complete, or its client is gone. May be called more than once, by any thread. */
void el_limits_leave(el_exchange *x);

/* Adds OpenAI's headers about what is left to the key. */
void el_limits_add_headers(const el_exchange *x, struct MHD_Response *r);

#endif
