/* Anthropic's Messages: POST /v1/messages, and /v1/messages/count_tokens. */
#ifndef EL_SERVER_ANTHROPIC_H
#define EL_SERVER_ANTHROPIC_H

#include <jansson.h>

#include "server/answers/writer.h"
#include "server/requests/fields.h"

/* anthropic_input.c: rewrites the body to that of a chat. */
bool el_anthropic_prepare(el_api_parse *p, json_t *body);

/* anthropic_writer.c */
extern const el_writer el_anthropic_writer;
bool el_anthropic_write_error(const el_api_error *e, el_buf *out);

#endif
