/* Packed events in, an answer out: one object, or a stream of events, as the request's dialect writes them. */
#ifndef EL_SERVER_REPLY_H
#define EL_SERVER_REPLY_H

#include "server/answers/packed_event.h"
#include "server/common/errors.h"
#include "server/requests/request.h"

typedef struct el_reply el_reply;
typedef struct el_writer el_writer;

/* What an answer says of itself. */
typedef struct el_reply_info {
  const char *id;
  int64_t created;
  const char *model; /* that it comes from */
  const char *asked; /* borrowed: what errors call the adapter as long as the router has chosen none */
  bool limited;      /* its caller's key is: see el_api_fail_engine */
} el_reply_info;

/* `request` and the tokenizer are borrowed. Choices are numbered as OpenAI does: choice i of prompt p is p·n + i. NULL:
 * out of memory. */
el_reply *el_reply_new(const el_tokenizer *t, const el_api_request *request, const el_reply_info *head);
void el_reply_free(el_reply *r);

/* Takes in the events from *pos on, and moves it. A stream's events that became ready are appended to `stream`, until
 * enough are there to send; it is NULL for an answer in one piece. False: out of memory. */
bool el_reply_feed(el_reply *r, const el_buf *events, size_t *pos, el_buf *stream);
/* Ends a stream with an error. False: out of memory. */
bool el_reply_fail(el_reply *r, const el_api_error *e, el_buf *stream);
/* Whether all choices have ended, or one has failed, and with it the answer. */
bool el_reply_finished(const el_reply *r);
/* The answer in one piece, once finished. False: *e says why there is none. */
bool el_reply_write(el_reply *r, el_buf *out, el_api_error *e);

#endif
