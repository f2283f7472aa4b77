/* Renders known messages of an assistant with a chat template: sentinels stand in the text where
 * the message has a name, a key or a value. */
#ifndef EL_ANSWER_PROBE_H
#define EL_ANSWER_PROBE_H

#include "base/text.h"
#include "edgelora.h"

/* No template contains these by itself; Mistral's demand an id of nine letters and digits. */
#define EL_PROBE_QUESTION "zq-question"
#define EL_PROBE_SAID "Zq-said"
#define EL_PROBE_THOUGHT "zq-thought"
#define EL_PROBE_NAME "zq_name"
#define EL_PROBE_NAME_2 "zq_other"
#define EL_PROBE_ID "zqid00001"
#define EL_PROBE_KEY "zq_key"
#define EL_PROBE_VALUE "zq-value"
#define EL_PROBE_KEY_2 "zq_num"
#define EL_PROBE_VALUE_2 "41753"

typedef enum el_probe_turn {
  EL_PROBE_SYSTEM,  /* as the next one, after a system message */
  EL_PROBE_OPENING, /* only the opening of an assistant's message */
  EL_PROBE_TEXT,
  EL_PROBE_REASONING, /* with a text */
  EL_PROBE_CALL,
  EL_PROBE_CALLS /* two calls */
} el_probe_turn;

typedef struct el_probe {
  const el_tokenizer *t;
  const el_chat_template *template; /* NULL: the model's own */
  bool text_arguments;              /* arguments are given as a string */
} el_probe;

/* *out ends in NUL, and the caller frees it; NULL: the template refuses such a conversation. An
 * error means out of memory. */
el_status el_probe_render(const el_probe *p, el_probe_turn turn, char **out, size_t *len, el_error *err);

#endif
