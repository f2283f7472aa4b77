/* The fields of a request body, one row of a table each, and how their values are checked. For dialects. */
#ifndef EL_SERVER_FIELDS_H
#define EL_SERVER_FIELDS_H

#include <jansson.h>

#include "server/requests/request.h"
#include "server/requests/structured.h"

/* The state while the fields of a body are read, in the order in which they stand. */
typedef struct el_api_parse {
  const el_api_setup *setup;
  const el_tokenizer *tokenizer;
  int max_choices;   /* prompts × n */
  size_t max_tokens; /* of one prompt */
  el_api_request *out;
  el_api_error *error;
  const json_t *body;
  const char *prompt_name; /* the name of the field that `prompt` came from; NULL: "prompt" */
  /* Borrowed from the body; NULL: not given. */
  const json_t *prompt, *messages, *stream_options, *tools, *documents, *template_variables;
  const json_t *infill_prefix, *infill_suffix, *infill_files; /* llama-server's */
  bool opening, has_opening, goes_on; /* add_generation_prompt, whether it was given; continue_final_message */
  const json_t *tool_choice, *suffix;
  bool one_call, keep_reasoning;         /* parallel_tool_calls is false; reasoning_format is "none" */
  bool no_bos, plain;                    /* for a completion's text: add_special_tokens, parse_special are false */
  int truncate;                          /* truncate_prompt_tokens; 0: not given */
  unsigned given;                        /* bits of EL_PRESET_...: settings that the request gives itself */
  const el_preset *preset;               /* of the adapter that answers; NULL: none, or it does not apply */
  const char *system;                    /* from a preset, for a conversation without a system message; NULL: none */
  const el_chat_template *chat_template; /* NULL: the model's own */
  bool has_seed, has_max_completion, has_best_of;
  int best_of;
  el_structured structured; /* what the answer must be */
  void *state;              /* for the dialect while it reads; the dialect frees it */
} el_api_parse;

typedef struct el_field el_field;
typedef bool (*el_field_fn)(el_api_parse *p, const el_field *f, const json_t *v);

struct el_field {
  const char *name;
  unsigned where; /* bits of EL_AT_...; 0 in a dialect's own table */
  el_field_fn read;
  size_t offset; /* of the value in el_api_request, for the generic functions below */
  double min, max;
  unsigned preset; /* the EL_PRESET_... that it overrides */
};

/* Which bodies have a row of OpenAI's table. ROUTE accepts the rows of the other two as well and ignores
 * their values, so that the body of a request can be sent there unchanged. */
enum {
  EL_AT_TEXT = 1,
  EL_AT_CHAT = 2,
  EL_AT_ROUTE = 4,
  EL_AT_BOTH = EL_AT_TEXT | EL_AT_CHAT,
  EL_AT_ALL = EL_AT_BOTH | EL_AT_ROUTE
};

/* Whether `id` is a token of the model that the body names. */
bool el_api_is_token(el_api_parse *p, json_int_t id);

/* A row without numbers; and the place where a generic function puts a value. */
#define EL_FIELD(name, where, fn) \
  { name, where, fn, 0, 0, 0, 0 }
#define EL_FIELD_AT(member) offsetof(el_api_request, member)
#define EL_FIELD_SAMPLING(member) EL_FIELD_AT(request.sampling.member)

/* OpenAI's, with what vLLM and llama-server add to it. */
extern const el_field el_openai_fields[];
extern const size_t el_n_openai_fields;

/* Reads every field but the prompt into p->out. Wrong types and values out of range are errors. A null is
 * a field that is not given. Unknown names are reported (el_api_unknown). */
bool el_api_fields_read(el_api_parse *p, const json_t *body);
/* Reports an unknown field, such as "stream_options.x". False: with --strict this is an error. */
bool el_api_unknown(el_api_parse *p, const char *name, const char *hint);

/* Read an integer, a number or a boolean within [min, max] into its place; ignore a value that has no
 * effect; check an integer. */
bool el_read_int(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_float(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_bool(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_ignored(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_integer(el_api_parse *p, const el_field *f, const json_t *v, json_int_t *out);
/* Accepts a field that the dialect's `prepare` has read from the body. */
bool el_read_kept(el_api_parse *p, const el_field *f, const json_t *v);
/* A feature that would change the answer and is not supported: only its "off" value is accepted. */
bool el_read_unsupported(el_api_parse *p, const el_field *f, const json_t *v);
bool el_api_unsupported(el_api_parse *p, const el_field *f);
bool el_api_value_error(el_api_parse *p, const el_field *f, const char *what);
/* Token ids that end an answer; token ids of which alone it may consist. */
bool el_read_stop_tokens(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_allowed_tokens(el_api_parse *p, const el_field *f, const json_t *v);
/* Texts that the answer must not contain; each of them also with a space before it. */
bool el_read_bad_words(el_api_parse *p, const el_field *f, const json_t *v);
/* {"id": bias, ...}, or llama-server's [[id or text, bias or false], ...]. */
bool el_read_logit_bias(el_api_parse *p, const el_field *f, const json_t *v);
/* A boolean that is stored negated, such as skip_special_tokens in request.show_special. */
bool el_read_not(el_api_parse *p, const el_field *f, const json_t *v);
/* Rows of OpenAI's table that other dialects have too. */
bool el_read_model(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_prompt(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_max_tokens(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_top_k(el_api_parse *p, const el_field *f, const json_t *v);
bool el_read_top_p(el_api_parse *p, const el_field *f, const json_t *v);

/* How many candidates' scores an answer has unless a number is given. */
enum { EL_DEFAULT_SCORES = 10 };
/* Reads the object with edgelora's own fields, {"scores": ..., "candidates": [...]}, into p->out. */
bool el_api_additions_read(el_api_parse *p, const json_t *v);

/* Read p->messages, or p->prompt, into p->out->prompts. */
bool el_api_messages_read(el_api_parse *p);
bool el_api_prompts_read(el_api_parse *p);

/* Parses a body: a JSON object, or with `array` an array. The caller frees it. NULL: *e. */
json_t *el_api_body_load(const char *body, size_t len, bool array, el_api_error *e);

/* Reads [{"id": 1, "scale": 0.5}, ...] into out[EL_MAX_COMBINED]. Errors name it `param`. False: *e. */
bool el_api_lora_read(const json_t *v, const char *param, el_lora_scale *out, size_t *n, el_api_error *e);

/* Whether it was an integer of more than 64 bits; such integers are replaced by texts of their digits. */
bool el_json_is_huge(const json_t *v);
/* The type of a value for messages: "an array", "a string", ... */
const char *el_json_type_name(const json_t *v);
bool el_api_type_error(el_api_parse *p, const char *param, const char *expected, const json_t *got);
bool el_api_no_memory(el_api_parse *p);

#endif
