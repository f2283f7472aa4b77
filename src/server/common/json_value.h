/* Converts JSON to values of the public header (el_value). */
#ifndef EL_SERVER_JSON_VALUE_H
#define EL_SERVER_JSON_VALUE_H

#include <jansson.h>

#include "edgelora.h"

/* More than anybody nests, and within what a chat template can process. */
enum { EL_MAX_VALUE_DEPTH = 100 };

typedef enum el_convert { EL_CONVERTED, EL_CONVERT_DEEP, EL_CONVERT_NO_MEMORY } el_convert;

/* Strings are not copied, so `j` must outlive *out. Free *out with el_json_value_free, also after a failure. */
el_convert el_json_value(const json_t *j, el_value *out);
void el_json_value_free(el_value *v);

#endif
