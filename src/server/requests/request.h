/* Reads a request body: a dialect's JSON in, an el_request out. */
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
  char *text; /* with `echo`: the beginning of the answer */
  size_t text_len;
  bool hidden;                   /* the first token, a BOS, is not in the text */
  size_t focus_begin, focus_end; /* as in el_request */
  size_t scored_from;            /* prompt_logprobs_from of el_request */
} el_api_prompt;

/* How a ranking of documents is written. */
typedef struct el_rank_form {
  int top_n;      /* how many of the best documents */
  bool as_array;  /* in the form of text-embeddings-inference; otherwise of Jina */
  bool with_text; /* with the documents' texts, which are the `text` of their prompts */
  bool raw;       /* logarithms */
  bool truncate;  /* documents that are too long are truncated instead of refused */
} el_rank_form;

/* An adapter with a scale, as llama-server's clients name it. */
typedef struct el_lora_scale {
  uint64_t id; /* of el_adapter_info */
  float scale;
} el_lora_scale;

typedef struct el_api_request {
  const el_api *api;
  bool chat, stream, include_usage, echo;
  bool route;  /* only the router's decision is asked for, for a chat or for one prompt */
  char *model; /* as asked; then the name of the adapter or base that answers, which the answer repeats unless the
                  router decides */
  int n;       /* choices of each prompt; choice i of a prompt draws with seed + i */
  el_api_prompt *prompts;
  size_t n_prompts;
  bool automatic;     /* the router decides who answers */
  el_request request; /* everything but `adapter`, the prompt and on_event; points into this struct */

  char **stop;
  size_t n_stop;
  el_logit_bias *bias;
  size_t n_bias;
  int32_t *stop_tokens, *allowed_tokens, *bad_words; /* their numbers are in `request` */
  bool prompt_logprobs;  /* the answer has them in vLLM's form, apart from those of the text, */
  int n_prompt_logprobs; /* with so many alternatives */

  bool has_lora; /* the field "lora" was there: it lists the adapters to apply, perhaps none */
  el_lora_scale lora[EL_MAX_COMBINED];
  size_t n_lora;

  el_vector_form vector; /* with request.embed */
  el_rank_form rank;     /* for rankings, with request.prompt_logprobs */

  char **candidates; /* among which "auto" chooses: names and patterns; none: all */
  size_t n_candidates;
  bool scores;  /* the answer has the router's scores, */
  int n_scores; /* of so many candidates */

  el_engine *engine;               /* that has compiled `constraint` */
  const el_constraint *constraint; /* that the answer must satisfy; NULL: any text */

  void *own; /* for the dialect, as long as the request lives; NULL: nothing */
  void (*free_own)(void *own);
  el_calling calling; /* of a chat */

  /* llama-server's */
  bool list_tokens;     /* choices keep the ids of their tokens */
  bool return_tokens;   /* an answer in one piece tells them */
  int asked_tokens;     /* request.max_tokens before it was reduced to fit the context */
  char **answer_fields; /* the members of the answer that are wanted; none: all */
  bool verbose;         /* an answer in OpenAI's form contains llama-server's form as well */
  size_t n_answer_fields;
} el_api_request;

/* The model name that asks for the router's decision. An adapter or a base of this name comes first. */
#define EL_AUTO "auto"

/* What is needed to read a body. */
typedef struct el_api_setup {
  const el_tokenizer *tokenizer;
  int max_choices;   /* prompts × n */
  size_t max_tokens; /* of one prompt: the context. A longer prompt is refused as soon as that is certain */
  /* Finds the adapter that answers, once all fields but the prompt are read. It gets r->model as asked (NULL:
   * none is named) and sets it to the name of the adapter or base that answers. *held: the adapter held
   * for that; NULL: `auto`, or several adapters. False: *e. */
  bool (*resolve)(void *user, el_api_request *r, const el_held_adapter **held, el_api_error *e);
  /* The tokenizer for token ids in a body that asks for this model, if it has more tokens than the base's;
   * NULL: the base's. Valid until resolve. */
  const el_tokenizer *(*peek)(void *user, const char *model);
  /* Reports an unknown field, which is ignored; `hint` is further advice, or empty. NULL: unknown fields are
   * errors. */
  void (*tell_unknown)(void *user, const char *name, const char *hint);
  void *user;
  const el_api *api;
  uint64_t domain; /* the caller's el_key_domain */
  /* Of the server, for dialects that need it. */
  el_engine *engine;
  const el_model_info *model;
  const el_log *log;
  el_formats *formats;
  struct el_stored *stored; /* answers/stored.h */
  int64_t started;          /* seconds since the epoch */
  bool verbose;             /* the default of "verbose" */
  /* An object: variables for chat templates unless the request gives them; NULL: none. */
  const el_value *template_variables;
} el_api_setup;

/* Parses and checks a body and tokenizes its prompts, with the preset of the adapter that answers. If the
 * dialect answers without a generation, the answer goes into `answer`. *out must be zeroed; free it with
 * el_api_request_free, also after a failure. False: *e says what is wrong. */
bool el_api_request_parse(const el_api_setup *setup, const char *body, size_t len, el_api_request *out, el_buf *answer,
                          el_api_error *e);
void el_api_request_free(el_api_request *r);

#endif
