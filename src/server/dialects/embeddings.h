/* What the endpoints for embeddings share. */
#ifndef EL_SERVER_EMBEDDINGS_H
#define EL_SERVER_EMBEDDINGS_H

#include "server/answers/writer.h"
#include "server/requests/fields.h"

/* For `prepare`: makes it a request for vectors. */
bool el_embeddings_prepare(el_api_parse *p, json_t *body);
/* Before the texts are read: checks that one adapter, or none, reads all of them. */
bool el_embeddings_one_reader(el_api_parse *p);
/* For `read_prompts`: reads p->prompt, which is texts or token ids. */
bool el_embeddings_read_inputs(el_api_parse *p);
/* "dimensions": at most those of the model. */
bool el_read_dimensions(el_api_parse *p, const el_field *f, const json_t *v);

#endif
