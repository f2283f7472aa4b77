/* Files that only the server's user should be able to read, and what stands beside them. */
#ifndef EL_SERVER_SECRET_FILE_H
#define EL_SERVER_SECRET_FILE_H

#include "base/buf.h"
#include "base/log.h"

/* Appends all of a file to *out. what: begins each message, before the path. flags: of open(2), beside those that
 * reading takes. Warns when others than the file's owner can read it; log NULL: it is no secret. */
el_status el_secret_file_read(const char *what, const char *path, int flags, size_t max, const el_log *log, el_buf *out,
                              el_error *err);

#endif
