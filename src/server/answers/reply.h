/* Turns packed events into an answer: one object, or a stream of events, in the request's dialect. */
#ifndef EL_SERVER_REPLY_H
#define EL_SERVER_REPLY_H

#include "server/answers/packed_event.h"
#include "server/common/errors.h"
#include "server/requests/request.h"

typedef struct el_reply el_reply;
typedef struct el_writer el_writer;

/* What an answer says about itself. */
typedef struct el_reply_info {
  const char *id;
  int64_t created;
  const char *model; /* the name of the model that answers */
  const char *asked; /* borrowed: how errors name the adapter until the router has chosen one */
  bool limited;      /* the caller's key is limited: see el_api_fail_engine */
} el_reply_info;

/* `request` and the tokenizer are borrowed. Choices are numbered as OpenAI numbers them: choice i of
 * prompt p is p·n + i. NULL: out of memory. */
el_reply *el_reply_new(const el_tokenizer *t, const el_api_request *request, const el_reply_info *head);
void el_reply_free(el_reply *r);

/* Takes in the events from *pos on, and moves *pos. For a stream, appends what is ready to `stream`, until
 * there is enough to send. `stream` is NULL for an answer in one piece. False: out of memory. */
bool el_reply_feed(el_reply *r, const el_buf *events, size_t *pos, el_buf *stream);
/* Ends a stream with an error. False: out of memory. */
bool el_reply_fail(el_reply *r, const el_api_error *e, el_buf *stream);
/* Whether all choices have ended, or one has failed and with it the whole answer. */
bool el_reply_finished(const el_reply *r);
/* Writes the answer in one piece, once it is finished. False: *e says why there is none. */
bool el_reply_write(el_reply *r, el_buf *out, el_api_error *e);

#endif
