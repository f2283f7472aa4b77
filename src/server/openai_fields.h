/* The fields of a request body, one table row each, and how their values are checked. Private to openai_*.c. */
#ifndef EL_SERVER_OPENAI_FIELDS_H
#define EL_SERVER_OPENAI_FIELDS_H

#include <jansson.h>

#include "server/openai_request.h"

/* What is known while the fields are read, in whatever order they stand. */
typedef struct el_api_parse {
  const el_tokenizer *tokenizer;
  int max_choices;   /* prompts × n */
  size_t max_tokens; /* of a prompt */
  el_api_request *out;
  el_api_error *error;
  /* Borrowed from the body; NULL: not given. */
  const json_t *prompt, *messages, *stream_options, *tools, *documents, *template_variables;
  bool opening, has_opening, goes_on; /* add_generation_prompt, whether it was given; continue_final_message */
  bool no_tool_choice;
  unsigned given;                        /* of EL_PRESET_...: what the request says itself */
  const char *system;                    /* of a preset, for a conversation that has no system message; NULL: none */
  const el_chat_template *chat_template; /* NULL: the model's own */
  bool has_seed, has_max_tokens, has_top_logprobs, has_best_of;
  int best_of;
} el_api_parse;

/* Reads every field but the prompt into p->out. Unknown names, wrong types and values out of range are errors. */
bool el_api_fields_read(el_api_parse *p, const json_t *body);

/* The scores of candidates that are told unless a number is given. */
enum { EL_DEFAULT_SCORES = 10 };
/* The object of our own additions, {"scores": ..., "candidates": [...]}, into p->out. */
bool el_api_additions_read(el_api_parse *p, const json_t *v);

/* p->messages or p->prompt into p->out->prompts. */
bool el_api_messages_read(el_api_parse *p);
bool el_api_prompts_read(el_api_parse *p);

/* A body as a JSON object, or an array with `array`; the caller's. NULL: *e. */
json_t *el_api_body_load(const char *body, size_t len, bool array, el_api_error *e);

/* [{"id": 1, "scale": 0.5}, ...] into out[EL_MAX_COMBINED]; `param` is what errors call it. False: *e. */
bool el_api_lora_read(const json_t *v, const char *param, el_lora_choice *out, size_t *n, el_api_error *e);

/* "an array", "a string", ...: what a value is, for messages. */
const char *el_json_type_name(const json_t *v);
bool el_api_type_error(el_api_parse *p, const char *param, const char *expected, const json_t *got);
bool el_api_no_memory(el_api_parse *p);

#endif
