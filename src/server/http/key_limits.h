/* A request and what its key may use: taken when it comes and when its prompts have been counted, given back at its
 * end. Requests without a key have no limits. */
#ifndef EL_SERVER_KEY_LIMITS_H
#define EL_SERVER_KEY_LIMITS_H

#include "server/http/exchange.h"

/* Its body has come, and is for a model or its tokens. False: *e, a 429. The HTTP thread. */
bool el_limits_enter(el_exchange *x, el_api_error *e);
/* Its prompts have been read. False: *e, a 429. A reader, as the next. */
bool el_limits_take_prompts(el_exchange *x, el_api_error *e);
/* It was refused after that. */
void el_limits_give_prompts(el_exchange *x);
/* One of its generations has ended, and its client has not heard of it. */
void el_limits_count(el_exchange *x, size_t choice, const el_event *done);
/* Its answer is complete, or it is gone. More than once is allowed. Any thread. */
void el_limits_leave(el_exchange *x);

/* What is left to the key, as OpenAI tells it. */
void el_limits_add_headers(const el_exchange *x, struct MHD_Response *r);

#endif
