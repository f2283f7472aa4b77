/* Which folders clients may have adapters loaded from.
 *
 * Paths are compared after all links and ".." in them have been resolved, and only with folders that the operator
 * named. An answer never tells whether something exists outside of these. Whoever may write inside of them is
 * trusted, as with the folders that are watched. */
#ifndef EL_SERVER_ALLOWED_H
#define EL_SERVER_ALLOWED_H

#include "server/common/errors.h"

typedef struct el_allowed {
  char **roots; /* resolved, without a slash at the end but for "/" itself */
  size_t n;
} el_allowed;

/* EL_ERR_IO: a folder is not there. */
el_status el_allowed_init(el_allowed *a, const char *const *folders, size_t n, el_error *err);
void el_allowed_free(el_allowed *a);

/* Whether clients may load or unload anything; false: *e. */
bool el_allowed_any(const el_allowed *a, el_api_error *e);

/* The real path of what a client named: an absolute path, or one to be looked for in each allowed folder in turn. The
 * caller's. NULL: *e says why, 403 or 404. */
char *el_allowed_resolve(const el_allowed *a, const char *path, el_api_error *e);

/* Whether an adapter that is already offered, from this path, lies in an allowed folder (as a link, perhaps). */
bool el_allowed_has(const el_allowed *a, const char *path);

#endif
