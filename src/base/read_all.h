/* Reads a small file as a whole. */
#ifndef EL_BASE_READ_ALL_H
#define EL_BASE_READ_ALL_H

#include "base/buf.h"
#include "edgelora.h"

/* Appends everything that fd gives; *out may have at most `max` bytes in all. what and path are for
 * messages, which begin with "WHAT: PATH: "; what may be NULL. Fails with EL_ERR_IO, EL_ERR_INVALID
 * or EL_ERR_NO_MEMORY. */
el_status el_read_all(int fd, const char *what, const char *path, size_t max, el_buf *out, el_error *err);

#endif
