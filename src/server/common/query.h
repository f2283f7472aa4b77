/* Parses values of a URL's query. */
#ifndef EL_SERVER_QUERY_H
#define EL_SERVER_QUERY_H

#include "server/common/errors.h"

/* A number from `least` to `most`. text NULL: the value is not there, and *out does not change. False: *e. */
bool el_query_number(const char *name, const char *text, size_t least, size_t most, size_t *out, el_api_error *e);

/* One of names[n]; *out is its index. text NULL: *out does not change. False: *e, which lists the names. */
bool el_query_word(const char *name, const char *text, const char *const *names, size_t n, size_t *out,
                   el_api_error *e);

#endif
