/* JSON as values of the public header. */
#ifndef EL_SERVER_JSON_VALUE_H
#define EL_SERVER_JSON_VALUE_H

#include <jansson.h>

#include "edgelora.h"

/* Deeper than what anybody nests, and no deeper than what a chat template can take. */
enum { EL_MAX_VALUE_DEPTH = 100 };

typedef enum el_convert { EL_CONVERTED, EL_CONVERT_DEEP, EL_CONVERT_NO_MEMORY } el_convert;

/* Strings are not copied: `j` must outlive *out. Free with el_json_value_free, whatever comes of it. */
el_convert el_json_value(const json_t *j, el_value *out);
void el_json_value_free(el_value *v);

#endif
