/* What a body says its answer must be: OpenAI's response_format, vLLM's guided_... and structured_outputs,
 * llama-server's grammar and json_schema. All come to one constraint. */
#ifndef EL_SERVER_STRUCTURED_H
#define EL_SERVER_STRUCTURED_H

#include <jansson.h>

#include "edgelora.h"

struct el_api_parse;
struct el_field;

/* As it is read; strings are borrowed from the body, but for texts of JSON, which are made of it. */
typedef struct el_structured {
  char field[96]; /* that says it, for errors; "": none does */
  el_constraint_source source;
  const char **choices;
  el_constraint_tag *tags;
  const char **triggers;
  json_t *parsed; /* of a text of JSON; NULL: none */
  char **texts;   /* [n_texts] that are ours */
  size_t n_texts;
} el_structured;

/* Rows of a dialect's table: a JSON Schema (an object, a boolean, or a text of one), a regular expression, texts to
 * choose from, a grammar in GBNF; the objects that name one of these. Into p->structured. */
bool el_read_response_format(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_structured_outputs(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_schema(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_regex(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_choices(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_grammar(struct el_api_parse *p, const struct el_field *f, const json_t *v);
bool el_read_json_object(struct el_api_parse *p, const struct el_field *f, const json_t *v);

/* Compiles it into p->out->constraint, once the fields are read; nothing, if none says anything. False: *p->error names
 * the field. */
bool el_structured_open(struct el_api_parse *p);
/* Once the prompt is known: where it has opened the model's reasoning, that is free, and what follows it is what the
 * answer must be. */
bool el_structured_after_reasoning(struct el_api_parse *p);
void el_structured_free(el_structured *s);

#endif
