/* Sources of constraints: their limits, and how they become grammars. */
#ifndef EL_CONSTRAINT_SOURCE_H
#define EL_CONSTRAINT_SOURCE_H

#include "constraint/grammar.h"

/* Checks the limits of the public header and that what its type requires is there. */
el_status el_source_check(const el_constraint_source *source, const el_tokenizer *t, el_error *err);
/* Appends to a grammar as the front ends of grammar.h do. The source must have been checked. */
el_expr el_source_parse(el_grammar *g, const el_constraint_source *source);

#endif
