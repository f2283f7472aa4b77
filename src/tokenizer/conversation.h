/* Conversations as the values that chat templates read, and as text. */
#ifndef EL_TOKENIZER_CONVERSATION_H
#define EL_TOKENIZER_CONVERSATION_H

#include "template/template.h"

struct el_chat_template {
  el_template *program;
  bool takes_parts;   /* it takes contents that are arrays of parts */
  bool takes_strings; /* it takes contents that are strings */
};

/* Compiles a template and finds out what it takes. */
el_status el_chat_template_new(el_str text, el_chat_template **out, el_error *err);

/* Sources of the spans of a rendered text. Everything else comes from the template. */
enum { EL_FROM_CHAT = 1, EL_FROM_LAST_USER, EL_FROM_LAST_MESSAGE };

/* template: the tokenizer's, unless the chat has another. The texts of special tokens that do not
 * exist are empty. */
typedef struct el_special_texts {
  el_str bos, eos, unk;
} el_special_texts;

el_status el_conversation_render(const el_chat_template *template, const el_chat *chat,
                                 const el_special_texts *specials, el_rendered *out, el_error *err);

#endif
