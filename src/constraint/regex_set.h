/* Sets of characters in regular expressions: classes, escapes, and how they stand in a JSON string. */
#ifndef EL_CONSTRAINT_REGEX_SET_H
#define EL_CONSTRAINT_REGEX_SET_H

#include "constraint/reader.h"

/* The character of an escape, of which the backslash has been read; EL_READ_END: a fault, or, with *set, one of \d \D
 * \w \W \s \S, whose ranges have been added. */
uint32_t el_regex_escape(el_reader *r, bool in_set, el_range_list *ranges, bool *set);
/* A set, of which the bracket has been read; false: a fault. */
bool el_regex_set(el_reader *r, el_range_list *ranges, bool *negated);
/* One character of the set, as text, or as JSON has it in a string. */
el_expr el_regex_chars(el_grammar *g, const el_range_list *ranges, bool negated, bool json);

#endif
