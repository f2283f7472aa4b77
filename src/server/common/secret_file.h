/* Reads files that only the server's user should be able to read, and files that belong to them. */
#ifndef EL_SERVER_SECRET_FILE_H
#define EL_SERVER_SECRET_FILE_H

#include "base/buf.h"
#include "base/log.h"

/* Appends a whole file of at most `max` bytes to *out. what: the beginning of each message, before the
 * path. flags: further flags for open(2). Warns when others than the file's owner can read it; log NULL:
 * the file is not secret. */
el_status el_secret_file_read(const char *what, const char *path, int flags, size_t max, const el_log *log, el_buf *out,
                              el_error *err);

#endif
