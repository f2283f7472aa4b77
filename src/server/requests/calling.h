/* The tools of a chat: what the request says about them, what the conversation must tell the model about
 * them, and what a reply needs to split an answer into text, reasoning and calls. */
#ifndef EL_SERVER_CALLING_H
#define EL_SERVER_CALLING_H

#include <pthread.h>

#include "edgelora.h"

struct el_api_parse;

/* The answer format of the model's own template, which is found when the first chat arrives. */
typedef struct el_formats {
  pthread_mutex_t mutex;
  el_answer_format *own; /* NULL: not yet */
} el_formats;

void el_formats_init(el_formats *f);
void el_formats_free(el_formats *f);

typedef struct el_calling {
  const el_answer_format *format; /* NULL: answers are not split */
  el_answer_format *of_preset;    /* the format of a preset's template, if it has one; otherwise NULL */
  el_tools *tools;                /* the tools that may be called; NULL: none */
  el_call_rules rules;
  char *only;          /* of the rules */
  bool keep_reasoning; /* reasoning stays in the content */
  char *prompt;        /* the end of the prompt, as text */
  size_t prompt_len;
} el_calling;

/* Before messages are read: finds the format, reads the tools and the rules for calls. */
bool el_calling_begin(struct el_api_parse *p);
/* Whether the template wants the arguments of calls in messages as text. */
bool el_calling_wants_text(const el_calling *c);
/* After messages have been checked: adds to them what the template does not tell the model. */
bool el_calling_tell(struct el_api_parse *p);
/* After messages have become tokens. */
bool el_calling_end(struct el_api_parse *p);
void el_calling_free(el_calling *c);

#endif
