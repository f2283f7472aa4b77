/* A dialect: how a body becomes a request, and how its answer is written. Connections, queues, streams and limits know
 * none of them; routes.c says which path leads to which. */
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
  const char *id_prefix; /* of its answers' ids, such as "chatcmpl-" */

  /* The fields of its bodies: rows of its own, then those of OpenAI's table (openai_fields.c) that have a bit of
   * `shared`. Names with a bit of `tolerated` are let pass unread. */
  const struct el_field *fields;
  size_t n_fields;
  unsigned shared, tolerated;

  /* What a body that says nothing gets; r->n and r->request are filled in already, r->request greedy. */
  void (*defaults)(struct el_api_request *r);
  /* Makes of the body, in place, what the fields read. NULL: nothing is to be done. False: *p->error. */
  bool (*prepare)(struct el_api_parse *p, json_t *body);
  /* Rules between fields, after all have been read. NULL: none. */
  bool (*check)(struct el_api_parse *p);
  /* What is to be continued, into p->out->prompts: el_api_messages_read, el_api_prompts_read or its own. Whoever
   * answers is known by then, and that one's preset. */
  bool (*read_prompts)(struct el_api_parse *p);

  /* Without a generation: the whole answer is made of the request by a reader. NULL: the engine generates. */
  bool (*answer)(struct el_api_parse *p, el_buf *out);

  const struct el_writer *writer; /* of what the engine generates */
  /* An error's body. NULL: as OpenAI has it. */
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
