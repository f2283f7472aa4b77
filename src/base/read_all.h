/* What a small file holds, whole. */
#ifndef EL_BASE_READ_ALL_H
#define EL_BASE_READ_ALL_H

#include "base/buf.h"
#include "edgelora.h"

/* Appends all that fd gives, `max` bytes of *out in all at most. what and path are for messages, which begin with
 * "WHAT: PATH: "; what may be NULL. EL_ERR_IO, EL_ERR_INVALID, EL_ERR_NO_MEMORY. */
el_status el_read_all(int fd, const char *what, const char *path, size_t max, el_buf *out, el_error *err);

#endif
