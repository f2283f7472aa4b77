/* Values of a URL's query, as clients write them. */
#ifndef EL_SERVER_QUERY_H
#define EL_SERVER_QUERY_H

#include "server/common/errors.h"

/* text NULL: it is not there, and *out stays. False: *e. */
bool el_query_number(const char *name, const char *text, size_t least, size_t most, size_t *out, el_api_error *e);

/* The place in names[n] of what is asked for. text NULL: *out stays. False: *e, which lists them. */
bool el_query_word(const char *name, const char *text, const char *const *names, size_t n, size_t *out,
                   el_api_error *e);

#endif
