#include "server/common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/read_all.h"

el_status el_secret_file_read(const char *what, const char *path, int flags, size_t max, const el_log *log, el_buf *out,
                              el_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
  struct stat st;
  el_status status = EL_OK;
  if (fd < 0 || fstat(fd, &st)) status = el_fail(err, EL_ERR_IO, "%s: %s: %s", what, path, strerror(errno));
  if (!status && log && S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)))
    el_logf(log, EL_LOG_WARN, "%s: %s can be read by others than its owner (mode %03o)", what, path,
            (unsigned)st.st_mode & 0777);
  if (!status) status = el_read_all(fd, what, path, max, out, err);
  if (fd >= 0) close(fd);
  return status;
}
