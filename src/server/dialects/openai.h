/* What other dialects use of OpenAI's. */
#ifndef EL_SERVER_OPENAI_H
#define EL_SERVER_OPENAI_H

#include "server/answers/writer.h"

extern const el_writer el_openai_writer; /* for chats and completions */
extern const el_writer el_route_writer;  /* for POST /v1/route */

/* Functions for the `el_api` of dialects whose bodies become chats. Their prompts are read by
 * el_api_messages_read. */
void el_openai_chat_defaults(el_api_request *r);
bool el_openai_check_chat(struct el_api_parse *p);

/* For `answer`: writes how many tokens the prompt has. */
bool el_openai_write_count(struct el_api_parse *p, el_buf *out);

#endif
