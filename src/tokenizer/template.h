/* Chat templates. The file's template is a Jinja program; we do not run it, but recognise the family that it belongs to
 * by what such programs contain, and render that family here. */
#ifndef EL_TOKENIZER_TEMPLATE_H
#define EL_TOKENIZER_TEMPLATE_H

#include "base/buf.h"
#include "edgelora.h"
#include "tokenizer/special.h"

typedef enum el_chat_family {
  EL_CHAT_UNKNOWN,
  EL_CHAT_CHATML,
  EL_CHAT_PHI4,
  EL_CHAT_PHI3,
  EL_CHAT_ZEPHYR,
  EL_CHAT_LLAMA3,
  EL_CHAT_GEMMA,
  EL_CHAT_DEEPSEEK,
  EL_CHAT_LLAMA2,
  EL_CHAT_MISTRAL_V0, /* the first one, without system messages of its own */
  EL_CHAT_MISTRAL_V1,
  EL_CHAT_MISTRAL_V3,
  EL_CHAT_MISTRAL_V3_TEKKEN,
  EL_CHAT_MISTRAL_V7,
  EL_CHAT_N_FAMILIES
} el_chat_family;

typedef struct el_template {
  el_chat_family family;
  bool bos;            /* the text begins with BOS */
  bool bos_turns;      /* Llama 2: so does every turn of the user */
  bool always_open;    /* the answer is opened whether one is asked for or not */
  bool trim;           /* white space around contents is dropped */
  bool eos_at_end;     /* EOS follows when no answer is asked for */
  bool tool_responses; /* ChatML: tool messages are a user turn with <tool_response> tags */
  bool think;          /* DeepSeek: the answer is opened with <think> */
  bool drop_thoughts;  /* DeepSeek: of an answer in the past, what stands before </think> is left out */
  char *system;        /* the message that comes first when the conversation has no system message; NULL: none */
  char *date;          /* Llama 3.1 on: "Today Date" of the system message; NULL: the template has no such line */
  char *bos_text, *eos_text;
} el_template;

/* source: the Jinja text. A template of no known family opens too; rendering then says what is wrong. */
el_status el_template_open(el_str source, el_str bos, el_str eos, el_template **out, el_error *err);
void el_template_close(el_template *t);

typedef struct el_rendered {
  el_buf text;
  el_range *content; /* what came from messages and not from the template; in order */
  size_t n_content, cap;
  el_range user; /* the content of the last user message; empty: there is none */
  bool no_memory;
} el_rendered;

/* `out` starts as zeros; free it with el_rendered_free, after a failure too. */
el_status el_template_render(const el_template *t, const el_message *messages, size_t n, bool add_generation_prompt,
                             el_rendered *out, el_error *err);
void el_rendered_free(el_rendered *r);

#endif
