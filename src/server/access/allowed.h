/* The folders from which clients may load adapters.
 *
 * Paths are compared with the folders that the operator named, after all links and ".." are resolved.
 * An answer never tells whether something exists outside of these folders. Whoever may write inside
 * them is trusted, as with watched folders. */
#ifndef EL_SERVER_ALLOWED_H
#define EL_SERVER_ALLOWED_H

#include "server/common/errors.h"

typedef struct el_allowed {
  char **roots; /* resolved, without a final slash, except for "/" itself */
  size_t n;
} el_allowed;

/* EL_ERR_IO: a folder does not exist. */
el_status el_allowed_init(el_allowed *a, const char *const *folders, size_t n, el_error *err);
void el_allowed_free(el_allowed *a);

/* Whether clients may load or unload anything; false: *e. */
bool el_allowed_any(const el_allowed *a, el_api_error *e);

/* The real path of what a client named: an absolute path, or a relative one, which is looked for in
 * each allowed folder in turn. The caller frees it. NULL: *e says why, with status 403 or 404. */
char *el_allowed_resolve(const el_allowed *a, const char *path, el_api_error *e);

/* Whether the path of a registered adapter lies in an allowed folder, perhaps as a link. */
bool el_allowed_has(const el_allowed *a, const char *path);

#endif
