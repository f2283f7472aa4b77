/* JSON Schema -> grammar, drafts 7 to 2020-12 (el_schema_parse in grammar.h): see docs/structured-output.md for what is
 * supported, and schema_private.h for how it is done. */
#ifndef EL_CONSTRAINT_SCHEMA_H
#define EL_CONSTRAINT_SCHEMA_H

#include "constraint/grammar.h"

/* As el_schema_parse, but an object of which properties are named may have others where nothing says otherwise, as JSON
 * Schema has it. Models are better off without: they go on naming things. */
el_expr el_schema_parse_open(el_grammar *g, const char *text, size_t len);

#endif
