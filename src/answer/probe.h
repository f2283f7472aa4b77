/* What a chat template makes of an assistant's message that is known: the sentinels stand in its text where a name, a
 * key, a value stood in the message. */
#ifndef EL_ANSWER_PROBE_H
#define EL_ANSWER_PROBE_H

#include "base/text.h"
#include "edgelora.h"

/* No template has these by itself, and Mistral's demand nine letters and digits of an id. */
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
  EL_PROBE_SYSTEM,  /* as the next, after a message of the system */
  EL_PROBE_OPENING, /* no assistant's message, but its opening */
  EL_PROBE_TEXT,
  EL_PROBE_REASONING, /* and a text */
  EL_PROBE_CALL,
  EL_PROBE_CALLS /* two */
} el_probe_turn;

typedef struct el_probe {
  const el_tokenizer *t;
  const el_chat_template *template; /* NULL: the model's own */
  bool text_arguments;              /* arguments are given as a string */
} el_probe;

/* *out ends in NUL, the caller's to free; NULL: the template refuses such a conversation. Error: no memory. */
el_status el_probe_render(const el_probe *p, el_probe_turn turn, char **out, size_t *len, el_error *err);

#endif
