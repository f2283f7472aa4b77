/* Tokens of a single prompt, as a router reads it in training, in examples, and in a chat's first
 * message. */
#ifndef EL_ROUTER_PROMPT_H
#define EL_ROUTER_PROMPT_H

#include "edgelora.h"

typedef struct el_router_prompt {
  int32_t *tokens; /* [n]; the caller frees them */
  size_t n;
  size_t begin, end; /* the tokens of the prompt's own text: at least one */
} el_router_prompt;

/* The text as a user's first message in the model's chat template, or as plain text if the model has no
 * usable template. */
el_status el_router_prompt_new(const el_tokenizer *t, const char *text, el_router_prompt *out, el_error *err);

#endif
