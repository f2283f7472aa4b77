/* Grammars for arguments that are not JSON: for forms that write parameters between marks, as
 * Python does, or with marks around strings. */
#ifndef EL_ANSWER_ARGUMENTS_H
#define EL_ANSWER_ARGUMENTS_H

#include "answer/form.h"
#include "answer/tools.h"
#include "base/buf.h"

/* Whether a call's arguments are JSON in this form. */
bool el_writes_json(const el_form *f);
/* Appends GBNF for a tool's arguments in another form. by_schema: its parameters in their order,
 * the required ones and no others, each with a value by its schema. If the schema is more than a
 * list of parameters, or without by_schema: any parameters with any values. False: out of
 * memory. */
bool el_put_arguments_grammar(el_buf *b, const el_form *f, const el_tool *tool, bool by_schema);

#endif
