#include "base/read_all.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

el_status el_read_all(int fd, const char *what, const char *path, size_t max, el_buf *out, el_error *err) {
  const char *subject = what ? what : "", *colon = what ? ": " : "";
  el_status status = EL_OK;
  char block[4096];
  for (ssize_t got = 1; !status && got;) {
    got = read(fd, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      status = el_fail(err, EL_ERR_IO, "%s%s%s: %s", subject, colon, path, strerror(errno));
    else if (!el_buf_append(out, block, (size_t)got))
      status = el_fail(err, EL_ERR_NO_MEMORY, "%s%s%s: out of memory", subject, colon, path);
    else if (out->len > max)
      status = el_fail(err, EL_ERR_INVALID, "%s%s%s: is larger than %zu bytes", subject, colon, path, max);
  }
  explicit_bzero(block, sizeof block); /* the content may be a key */
  return status;
}
