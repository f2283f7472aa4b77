#include "format/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* Opens a regular file; *fd is the caller's. */
static el_status open_regular(const char *path, int *fd, size_t *size, el_error *err) {
  int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f < 0) return el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  struct stat st;
  el_status status = EL_OK;
  if (fstat(f, &st) != 0)
    status = el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  else if (S_ISDIR(st.st_mode))
    status = el_fail(err, EL_ERR_IO, "%s: is a directory, not a file", path);
  else if (!S_ISREG(st.st_mode))
    status = el_fail(err, EL_ERR_IO, "%s: not a regular file", path);
  else if ((uint64_t)st.st_size > SIZE_MAX / 2)
    status = el_fail(err, EL_ERR_IO, "%s: too large to map", path);
  if (status) {
    close(f);
    return status;
  }
  *fd = f;
  *size = (size_t)st.st_size;
  return EL_OK;
}

el_status el_file_map(const char *path, el_file *out, el_error *err) {
  int fd = -1;
  size_t size = 0;
  el_status status = open_regular(path, &fd, &size, err);
  if (status) return status;
  el_file f = {.size = size, .mapped = true};
  if (size) { /* an empty mapping is not possible, nor needed */
    f.data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (f.data == MAP_FAILED) status = el_fail(err, EL_ERR_IO, "%s: mmap: %s", path, strerror(errno));
  }
  close(fd);
  if (status) return status;
  *out = f;
  return EL_OK;
}

/* Room for n bytes; NULL: out of memory. */
static unsigned char *buffer_room(el_file_buffer *b, size_t n) {
  if (n > b->size) {
    free(b->data); /* what is in it is of no use any more */
    b->size = 0;
    if ((b->data = malloc(n))) b->size = n;
  }
  return b->data;
}

void el_file_buffer_free(el_file_buffer *b) {
  free(b->data);
  *b = (el_file_buffer){0};
}

el_status el_file_read(const char *path, size_t max_size, el_file *out, el_error *err) {
  return el_file_read_into(path, max_size, NULL, out, err);
}

el_status el_file_read_into(const char *path, size_t max_size, el_file_buffer *buffer, el_file *out, el_error *err) {
  int fd = -1;
  size_t size = 0;
  el_status status = open_regular(path, &fd, &size, err);
  if (status) return status;
  el_file f = {.size = size, .borrowed = buffer};
  if (size > max_size)
    status = el_fail(err, EL_ERR_FORMAT, "%s: %zu bytes, the limit is %zu", path, size, max_size);
  else if (!(f.data = buffer ? buffer_room(buffer, size + 1) : malloc(size + 1)))
    status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for its %zu bytes", path, size);
  size_t have = 0;
  while (!status && have <= size) { /* one byte more than it has: a file that grew shows itself */
    ssize_t n = read(fd, f.data + have, size + 1 - have);
    if (n == 0) break;
    if (n > 0)
      have += (size_t)n;
    else if (errno != EINTR)
      status = el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  }
  if (!status && have != size) status = el_fail(err, EL_ERR_IO, "%s: changed while it was read", path);
  close(fd);
  if (status) {
    if (!buffer) free(f.data);
    return status;
  }
  *out = f;
  return EL_OK;
}

void el_file_close(el_file *f) {
  if (f->borrowed) {
    *f = (el_file){0};
    return;
  }
  if (!f->mapped)
    free(f->data);
  else if (f->data)
    munmap(f->data, f->size);
  *f = (el_file){0};
}
