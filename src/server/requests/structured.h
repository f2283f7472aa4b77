/* Structured output: OpenAI's response_format, vLLM's guided_... and structured_outputs, llama-server's
 * grammar and json_schema. Each of them becomes one constraint. */
#ifndef EL_SERVER_STRUCTURED_H
#define EL_SERVER_STRUCTURED_H

#include <jansson.h>

#include "edgelora.h"

struct el_api_parse;
struct el_field;

/* The constraint while it is read. Strings are borrowed from the body, except texts that are made here from
 * its JSON. */
typedef struct el_structured {
  char field[96]; /* the field that gives it, for errors; "": none */
  el_constraint_source source;
  const char **choices;
  el_constraint_tag *tags;
  const char **triggers;
  json_t *parsed; /* from a text of JSON; NULL: none */
  char **texts;   /* [n_texts] texts made here */
  size_t n_texts;
} el_structured;

/* For rows of a dialect's table; each reads into p->structured. A JSON Schema (an object, a boolean, or a
 * text with one), a regular expression, texts to choose from, a GBNF grammar, or the objects that contain
 * one of these. */
bool el_read_response_format(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_structured_outputs(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_schema(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_regex(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_choices(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_grammar(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_json_object(struct el_api_parse *p, const struct el_field *f, const json_t *v);

/* Compiles it into p->out->constraint once the fields are read; does nothing if there is none. False:
 * *p->error names the field. */
bool el_structured_open(struct el_api_parse *p);
/* Once the prompt is known: if it has opened the model's reasoning, the reasoning is free and the
 * constraint applies to what follows it. */
bool el_structured_after_reasoning(struct el_api_parse *p);
void el_structured_free(el_structured *s);

#endif
