/* Writes JSON text straight into a buffer. Answers are built token by token, so no tree is made of them. */
#ifndef EL_BASE_JSON_OUT_H
#define EL_BASE_JSON_OUT_H

#include "base/buf.h"

/* A string with its quotes. Bytes that are not UTF-8 become U+FFFD, one for each broken sequence. False:
 * out of memory, and the buffer may hold part of it. */
bool el_json_string(el_buf *b, const char *s, size_t len);
/* Like el_json_string for a NUL-terminated string; NULL becomes null. */
bool el_json_cstring(el_buf *b, const char *s);
/* A number. JSON has no infinities and no NaN: they become -9999, as OpenAI writes an impossible
 * log-probability. */
bool el_json_float(el_buf *b, double v);

#endif
