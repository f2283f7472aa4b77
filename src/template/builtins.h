/* What a template can call by name: filters, tests, methods and functions. */
#ifndef EL_TEMPLATE_BUILTINS_H
#define EL_TEMPLATE_BUILTINS_H

#include "template/eval.h"
#include "template/unicode.h"

/* NULL: there is none. */
const el_function *el_filter_find(el_str name);
const el_function *el_test_find(el_str name);
/* The method of a value of this kind. A method that would change the value exists, but fails. */
const el_function *el_method_find(el_rendering *r, el_val of, const el_text *name);
const el_function *el_function_find(el_str name);

/* The tables of the files that define them; each ends with a NULL name. */
extern const el_function el_text_filters[], el_list_filters[], el_number_filters[], el_tests[], el_string_methods[];

const el_function *el_find(const el_function *table, el_str name);
el_val el_apply_filter(el_rendering *r, const el_node *n, el_val self, const el_arguments *a);
bool el_apply_test(el_rendering *r, el_str name, const el_function *test, el_val self, const el_arguments *a);

/* Shared by filters and methods. */
const el_text *el_strip(el_rendering *r, const el_text *s, const el_text *chars, bool left, bool right);
const el_text *el_change_case(el_rendering *r, const el_text *s, el_case to);
const el_text *el_capitalize(el_rendering *r, const el_text *s);
const el_text *el_replace(el_rendering *r, const el_text *s, const el_text *old, const el_text *with, int64_t most);
el_list *el_split_lines(el_rendering *r, const el_text *s, bool keep_ends);
/* str.center(), which has its own rule for the side of an odd fill character. */
const el_text *el_center(el_rendering *r, const el_text *s, int64_t width, const el_text *fill);
/* The attribute "a.b.0" of a value; path missing: the value itself. What is undefined on the way
 * becomes `otherwise`, unless that is missing. */
el_val el_get_path(el_rendering *r, el_val of, el_val path, el_val otherwise);
const el_text *el_pad(el_rendering *r, const el_text *s, int64_t width, char align, const el_text *fill);

#endif
