/* OpenAI's Responses: POST /v1/responses, and its stored answers. */
#ifndef EL_SERVER_RESPONSES_H
#define EL_SERVER_RESPONSES_H

#include <jansson.h>

#include "server/answers/stored.h"
#include "server/answers/writer.h"
#include "server/requests/fields.h"

/* What the answer needs of the request; in el_api_request.own. */
typedef struct el_responses_request {
  el_stored *stored;
  uint64_t domain;
  bool store;
  json_t *items; /* the conversation so far */
  char *echo;    /* members of the answer that repeat the request: `,"tools":[...],...` */
} el_responses_request;

/* responses_input.c: rewrites the body to that of a chat. */
bool el_responses_prepare(el_api_parse *p, json_t *body);

/* responses_writer.c */
extern const el_writer el_responses_writer;

#endif
