/* A request body, read: OpenAI's JSON in, el_request out. */
#ifndef EL_SERVER_OPENAI_REQUEST_H
#define EL_SERVER_OPENAI_REQUEST_H

#include "edgelora.h"
#include "server/errors.h"

typedef struct el_api_prompt {
  int32_t *tokens;
  size_t n;
  char *text; /* only with `echo`: what the answer begins with */
  size_t text_len;
} el_api_prompt;

/* An adapter with a scale, as llama-server's clients name it. */
typedef struct el_lora_choice {
  uint64_t id; /* of el_adapter_info */
  float scale;
} el_lora_choice;

typedef struct el_api_request {
  bool chat, stream, include_usage, echo;
  char *model; /* as asked, or the base's name; what the answer repeats */
  int n;       /* choices of each prompt; choice i of a prompt draws with seed + i */
  el_api_prompt *prompts;
  size_t n_prompts;
  el_request request; /* all but the prompt and on_event; points into this struct */

  char **stop;
  size_t n_stop;
  el_logit_bias *bias;
  size_t n_bias;

  bool has_lora; /* the field was there: it says which adapters are applied, and none may be */
  el_lora_choice lora[EL_MAX_COMBINED];
  size_t n_lora;
} el_api_request;

/* Parses and checks a body and tokenizes its prompts; prompts × n may be max_choices at most. `*out` must be zeroed;
 * free it with el_api_request_free whether this succeeds or not. False: *e says what is wrong. */
bool el_api_request_parse(const el_tokenizer *t, const char *base_name, int max_choices, bool chat, const char *body,
                          size_t len, el_api_request *out, el_api_error *e);
void el_api_request_free(el_api_request *r);

#endif
