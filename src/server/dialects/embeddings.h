/* What the endpoints for vectors of texts share. */
#ifndef EL_SERVER_EMBEDDINGS_H
#define EL_SERVER_EMBEDDINGS_H

#include "server/answers/writer.h"
#include "server/requests/fields.h"

/* For `prepare`: a request for vectors, of as many texts as one may have. */
bool el_embeddings_prepare(el_api_parse *p, json_t *body);
/* Before the texts are read: one adapter, or none, reads them all. */
bool el_embeddings_one_reader(el_api_parse *p);
/* For `read_prompts`: p->prompt, texts or token ids. */
bool el_embeddings_read_inputs(el_api_parse *p);
/* "dimensions": of the model's at most. */
bool el_read_dimensions(el_api_parse *p, const el_field *f, const json_t *v);

#endif
