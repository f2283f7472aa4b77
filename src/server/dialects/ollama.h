/* What the files of Ollama's dialect share. */
#ifndef EL_SERVER_OLLAMA_H
#define EL_SERVER_OLLAMA_H

#include "server/answers/writer.h"
#include "server/requests/fields.h"

/* The version of Ollama whose API this is. Clients ask for it, to know which features there are. */
#define EL_OLLAMA_VERSION "0.13.5"

/* Names of models have a tag in Ollama, and this is the default one. Our names are listed with it, and found
 * with and without it. */
#define EL_OLLAMA_TAG ":latest"

/* ollama_request.c: rewrites a body in place to OpenAI's fields. */
bool el_ollama_prepare_chat(el_api_parse *p, json_t *body);
bool el_ollama_prepare_generate(el_api_parse *p, json_t *body);
bool el_ollama_prepare_embed(el_api_parse *p, json_t *body);
/* Puts the name from "model", or from "name" as older clients have it, into "model", without the default tag
 * unless a name of ours has that tag. */
bool el_ollama_prepare_model(el_api_parse *p, json_t *body);

/* ollama_writer.c */
extern const el_writer el_ollama_chat_writer, el_ollama_generate_writer, el_ollama_embed_writer,
    el_ollama_embeddings_writer;
/* Adapters come and go by the operator's hand, through endpoints of ours that ask for more than a model's name. False,
 * and *e says so. */
bool el_ollama_refuse(el_api_error *e);
bool el_ollama_write_error(const el_api_error *e, el_buf *out);
/* `"2026-11-30T12:00:00Z"`, quotes included. */
bool el_ollama_write_time(int64_t seconds, el_buf *out);

/* ollama_show.c: POST /api/show, and the `"details":{...}` of a model in all lists. parent: the base model of
 * an adapter; NULL: it is the base itself. */
bool el_ollama_show(el_api_parse *p, el_buf *out);
bool el_ollama_write_details(const el_model_info *base, const char *parent, el_buf *out);
/* A name as Ollama writes it, with a tag. */
bool el_ollama_write_name(const char *name, el_buf *out);

#endif
