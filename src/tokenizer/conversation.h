/* Conversations as what chat templates read, and as text. */
#ifndef EL_TOKENIZER_CONVERSATION_H
#define EL_TOKENIZER_CONVERSATION_H

#include "template/template.h"

struct el_chat_template {
  el_template *program;
  bool takes_parts;   /* contents that are arrays of parts */
  bool takes_strings; /* contents that are strings */
};

/* Compiles it, and finds out what it takes. */
el_status el_chat_template_new(el_str text, el_chat_template **out, el_error *err);

/* Where parts of a rendered text come from. What is none of these is the template's own. */
enum { EL_FROM_CHAT = 1, EL_FROM_LAST_USER, EL_FROM_LAST_MESSAGE };

/* `template`: the tokenizer's, unless the chat has another. The special tokens' texts are empty where there are none.
 */
typedef struct el_special_texts {
  el_str bos, eos, unk;
} el_special_texts;

el_status el_conversation_render(const el_chat_template *template, const el_chat *chat,
                                 const el_special_texts *specials, el_rendered *out, el_error *err);

#endif
