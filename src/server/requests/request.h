/* A request body, read: a dialect's JSON in, el_request out. */
#ifndef EL_SERVER_REQUEST_H
#define EL_SERVER_REQUEST_H

#include "base/log.h"
#include "edgelora.h"
#include "server/common/errors.h"
#include "server/common/vector.h"
#include "server/requests/api.h"
#include "server/requests/calling.h"

typedef struct el_api_prompt {
  int32_t *tokens;
  size_t n;
  char *text; /* with `echo`: what the answer begins with */
  size_t text_len;
  bool hidden;                   /* the first token, a BOS, is not in the text */
  size_t focus_begin, focus_end; /* as in el_request */
  size_t scored_from;            /* prompt_logprobs_from of el_request */
} el_api_prompt;

/* How a ranking of documents is told. */
typedef struct el_rank_form {
  int top_n;      /* of the best ones */
  bool as_array;  /* text-embeddings-inference's form; else Jina's */
  bool with_text; /* the documents' texts too, which are their prompts' `text` */
  bool raw;       /* logarithms */
  bool truncate;  /* documents that are too long are cut, instead of refused */
} el_rank_form;

/* An adapter with a scale, as llama-server's clients name it. */
typedef struct el_lora_scale {
  uint64_t id; /* of el_adapter_info */
  float scale;
} el_lora_scale;

typedef struct el_api_request {
  const el_api *api;
  bool chat, stream, include_usage, echo;
  bool route;  /* only the router's choice is asked for, for a chat or for one prompt */
  char *model; /* as asked, then the name of whoever is to answer, and what the answer repeats unless the router chooses
                */
  int n;       /* choices of each prompt; choice i of a prompt draws with seed + i */
  el_api_prompt *prompts;
  size_t n_prompts;
  el_request request; /* all but the prompt and on_event; points into this struct */

  char **stop;
  size_t n_stop;
  el_logit_bias *bias;
  size_t n_bias;
  int32_t *stop_tokens, *allowed_tokens, *bad_words; /* as many as the request says */
  bool prompt_logprobs;  /* the answer is to tell them as vLLM does, apart from the text's, */
  int n_prompt_logprobs; /* with so many alternatives */

  bool has_lora; /* the field was there: it says which adapters are applied, and none may be */
  el_lora_scale lora[EL_MAX_COMBINED];
  size_t n_lora;

  el_vector_form vector; /* with request.embed */
  el_rank_form rank;     /* of the dialect that ranks, with request.prompt_logprobs */

  char **candidates; /* what "auto" may choose among: names and patterns; none: all */
  size_t n_candidates;
  bool scores; /* the answer is to tell the router's */

  el_engine *engine;               /* that has compiled it: */
  const el_constraint *constraint; /* what the answer must be; NULL: any text */

  void *own; /* the dialect's, as long as the request is there; NULL: nothing */
  void (*free_own)(void *own);
  el_calling calling; /* of a chat */

  /* llama-server's */
  bool list_tokens;     /* choices keep the ids of their tokens */
  bool return_tokens;   /* an answer in one piece tells them */
  int asked_tokens;     /* request.max_tokens before it was fitted into the context */
  char **answer_fields; /* what of an answer is wanted; none: all */
  bool verbose;         /* an answer of OpenAI's form has llama-server's beside it */
  size_t n_answer_fields;
} el_api_request;

/* What a request calls the router's choice. An adapter of this name, or a base, comes first. */
#define EL_AUTO "auto"

/* What a body is read with. */
typedef struct el_api_setup {
  const el_tokenizer *tokenizer;
  int max_choices;   /* prompts × n */
  size_t max_tokens; /* of a prompt, the context: what is longer is given up as soon as that is certain */
  /* Finds who is to answer, once all fields but the prompt are read: r->model as asked (NULL: nobody is named), to be
   * set to the name of whoever answers, and who is held for it (NULL: `auto`, or several). False: *e. */
  bool (*resolve)(void *user, el_api_request *r, const el_held_adapter **held, el_api_error *e);
  /* Whose tokens a body's fields name, where it asks for this model and they are more than the base has; NULL:
   * nobody's. Valid until resolve. */
  const el_tokenizer *(*peek)(void *user, const char *model);
  /* A field is not known, and ignored; `hint` is what else there is to say, or empty. NULL: it is an error. */
  void (*tell_unknown)(void *user, const char *name, const char *hint);
  void *user;
  const el_api *api;
  uint64_t domain; /* of whoever asks: el_key_domain */
  /* Of the server, for whoever asks what else there is. */
  el_engine *engine;
  const el_model_info *model;
  const el_log *log;
  el_formats *formats;
  struct el_stored *stored; /* answers/stored.h */
  int64_t started;          /* seconds since the epoch */
  bool verbose;             /* what "verbose" is unless the request says otherwise */
  /* An object: what templates get unless the request says otherwise; NULL: nothing. */
  const el_value *template_variables;
} el_api_setup;

/* Parses and checks a body and tokenizes its prompts, as the preset of whoever answers says; where the dialect answers
 * by itself, into `answer`. `*out` must be zeroed; free it with el_api_request_free whether this succeeds or not.
 * False: *e says what is wrong. */
bool el_api_request_parse(const el_api_setup *setup, const char *body, size_t len, el_api_request *out, el_buf *answer,
                          el_api_error *e);
void el_api_request_free(el_api_request *r);

#endif
