/* Parts of OpenAI's dialect that others share. */
#ifndef EL_SERVER_OPENAI_H
#define EL_SERVER_OPENAI_H

#include "server/writer.h"

extern const el_writer el_openai_writer; /* of chats and of completions */
extern const el_writer el_route_writer;  /* of POST /v1/route */

/* `"usage":{...}` */
bool el_openai_write_usage(const el_reply *r, el_buf *out);
/* For `answer`: how many tokens the prompt has. */
bool el_openai_write_count(struct el_api_parse *p, el_buf *out);

#endif
