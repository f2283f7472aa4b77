/* Tools of a chat, and how its answer is read: what the request says of them, what of it goes into the conversation,
 * and what a reply needs to take an answer to pieces. */
#ifndef EL_SERVER_CALLING_H
#define EL_SERVER_CALLING_H

#include <pthread.h>

#include "edgelora.h"

struct el_api_parse;

/* The format of the model's own template, found out when the first chat comes. */
typedef struct el_formats {
  pthread_mutex_t mutex;
  el_answer_format *own; /* NULL: not yet */
} el_formats;

void el_formats_init(el_formats *f);
void el_formats_free(el_formats *f);

typedef struct el_calling {
  const el_answer_format *format; /* NULL: answers are not read */
  el_answer_format *of_preset;    /* where the format is not the model's own */
  el_tools *tools;                /* that may be called; NULL: none */
  el_call_rules rules;
  char *only;          /* of the rules */
  bool keep_reasoning; /* it is part of the content */
  char *prompt;        /* the end of it, as text */
  size_t prompt_len;
} el_calling;

/* Before messages are read: the format, the tools and the rules. */
bool el_calling_begin(struct el_api_parse *p);
/* Whether calls in messages keep their arguments as text, as the template wants them. */
bool el_calling_wants_text(const el_calling *c);
/* After they have been checked: what the template does not tell the model goes into them. */
bool el_calling_tell(struct el_api_parse *p);
/* After they have become tokens. */
bool el_calling_end(struct el_api_parse *p);
void el_calling_free(el_calling *c);

#endif
