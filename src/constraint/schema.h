/* JSON Schema -> grammar, drafts 7 to 2020-12 (el_schema_parse in grammar.h): see docs/structured-output.md for what is
 * supported, and schema_private.h for how it is done. */
#ifndef EL_CONSTRAINT_SCHEMA_H
#define EL_CONSTRAINT_SCHEMA_H

#include "constraint/grammar.h"

/* Like el_schema_parse, but an object with named properties may have others unless the schema forbids
 * them, as JSON Schema says. Models do better without them: they tend to add names without end. */
el_expr el_schema_parse_open(el_grammar *g, const char *text, size_t len);

#endif
