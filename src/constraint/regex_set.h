/* Sets of characters in regular expressions: classes, escapes, and their form in a JSON string. */
#ifndef EL_CONSTRAINT_REGEX_SET_H
#define EL_CONSTRAINT_REGEX_SET_H

#include "constraint/reader.h"

/* Reads an escape whose backslash has been read, and returns its character. EL_READ_END: a fault; or,
 * with *set, one of \d \D \w \W \s \S, whose ranges have been added to `ranges`. */
uint32_t el_regex_escape(el_reader *r, bool in_set, el_range_list *ranges, bool *set);
/* Reads a set whose opening bracket has been read. False: a fault. */
bool el_regex_set(el_reader *r, el_range_list *ranges, bool *negated);
/* One character of the set, as text; with `json`, as it is written in a JSON string. */
el_expr el_regex_chars(el_grammar *g, const el_range_list *ranges, bool negated, bool json);

#endif
