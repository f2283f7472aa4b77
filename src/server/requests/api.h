/* A dialect: how a body becomes a request, and how its answer is written. Connections, queues, streams
 * and limits do not know dialects; endpoints/routes.c maps paths to them. */
#ifndef EL_SERVER_API_H
#define EL_SERVER_API_H

#include <jansson.h>

#include "base/buf.h"
#include "server/common/errors.h"

struct el_api_parse;   /* fields.h */
struct el_api_request; /* request.h */
struct el_field;       /* fields.h */
struct el_writer;      /* writer.h */

typedef struct el_api {
  const char *name;      /* for the log */
  const char *id_prefix; /* of the ids of its answers, such as "chatcmpl-" */

  /* The fields of its bodies: rows of its own, then the rows of OpenAI's table (openai_fields.c) that have a
   * bit of `shared`. Rows with a bit of `tolerated` are accepted and ignored. */
  const struct el_field *fields;
  size_t n_fields;
  unsigned shared, tolerated;

  /* Sets the dialect's defaults. r->n and r->request are already filled in; r->request samples greedily. */
  void (*defaults)(struct el_api_request *r);
  /* Rewrites the body in place to what the fields read. NULL: nothing to do. False: *p->error. */
  bool (*prepare)(struct el_api_parse *p, json_t *body);
  /* Checks rules between fields, after all have been read. NULL: there are none. */
  bool (*check)(struct el_api_parse *p);
  /* Reads what is to be continued into p->out->prompts: el_api_messages_read, el_api_prompts_read, or the
   * dialect's own function. The adapter that answers and its preset are known by then. */
  bool (*read_prompts)(struct el_api_parse *p);

  /* Writes the whole answer without a generation; a reader calls it. NULL: the engine generates. */
  bool (*answer)(struct el_api_parse *p, el_buf *out);

  const struct el_writer *writer; /* for what the engine generates */
  /* Writes the body of an error. NULL: in OpenAI's form. */
  bool (*write_error)(const el_api_error *e, el_buf *out);
} el_api;

/* api_responses.c */
extern const el_api el_api_responses, el_api_responses_count;

/* api_anthropic.c */
extern const el_api el_api_messages, el_api_count_tokens;

/* embeddings.c, ollama.c */
extern const el_api el_api_embeddings, el_api_ollama_chat, el_api_ollama_generate, el_api_ollama_embed,
    el_api_ollama_embeddings, el_api_ollama_show, el_api_ollama_refused;

/* rerank.c */
extern const el_api el_api_rerank;

/* api_vllm.c */
extern const el_api el_api_tokenize, el_api_detokenize;
/* openai.c */
extern const el_api el_api_chat, el_api_chat_count, el_api_text, el_api_route;

#endif
