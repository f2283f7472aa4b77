/* llama-server's own API beside OpenAI's: /completion, /infill, /embedding, /apply-template. (api_vllm.c has
 * /tokenize, endpoints/llama_props.c has /props.) */
#ifndef EL_SERVER_LLAMA_H
#define EL_SERVER_LLAMA_H

#include "server/answers/reply.h"
#include "server/answers/writer.h"
#include "server/requests/api.h"
#include "server/requests/fields.h"

extern const el_api el_llama_completion, el_llama_infill, el_llama_template, el_llama_embeddings;
extern const el_writer el_llama_writer;

/* llama_prompt.c: read p->prompt, or the parts of an infill, into p->out->prompts. */
bool el_llama_prompts_read(el_api_parse *p);
bool el_llama_infill_read(el_api_parse *p);

/* The tokens of a text, or of an array of texts and token ids that form one text. `flags` are for the texts;
 * at most `most` tokens. *out is malloc's and the caller's. False: *p->error names `param`. */
bool el_llama_tokens(el_api_parse *p, const json_t *v, const char *param, int flags, size_t most, int32_t **out,
                     size_t *n);

/* llama_settings.c: writes the value of "generation_settings" for a request. */
bool el_llama_write_settings(const el_tokenizer *t, const el_api_request *r, el_buf *out);

/* A choice in the form of /completion. */
bool el_llama_write_choice(const el_reply *r, el_choice *c, el_buf *out);
/* `"timings":{...}` of all choices together. */
bool el_llama_write_timings(const el_reply *r, el_buf *out);

/* {"error": {"code": 400, "message", "type", "param"}}, with llama-server's types. */
bool el_llama_write_error(const el_api_error *e, el_buf *out);

#endif
