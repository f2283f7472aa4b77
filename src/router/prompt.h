/* A prompt on its own as tokens, as a router sees it in training, in examples, and in a chat's first message. */
#ifndef EL_ROUTER_PROMPT_H
#define EL_ROUTER_PROMPT_H

#include "edgelora.h"

typedef struct el_router_prompt {
  int32_t *tokens; /* [n] the caller frees it */
  size_t n;
  size_t begin, end; /* those that are the prompt's own: at least one */
} el_router_prompt;

/* As a user's first message in the model's chat template, or as it stands when the model has none that can be used. */
el_status el_router_prompt_new(const el_tokenizer *t, const char *text, el_router_prompt *out, el_error *err);

#endif
