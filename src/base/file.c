#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/priority.h"

/* Bytes that are read at a time; from the page cache this takes some tens of microseconds. */
enum { PIECE = 256 << 10 };

static int64_t ns_of_timespec(struct timespec t) {
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Opens a regular file. The type is asked of the open file: by then the name may mean another
 * file. */
el_status el_source_open(const char *path, el_source *out, el_error *err) {
  int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f < 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  struct stat st;
  el_status status = EL_OK;
  if (fstat(f, &st) != 0)
    status = el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  else if (S_ISDIR(st.st_mode))
    status = el_fail_about(err, EL_ERR_IO, path, "is a directory, not a file");
  else if (!S_ISREG(st.st_mode))
    status = el_fail_about(err, EL_ERR_IO, path, "not a regular file");
  else if ((uint64_t)st.st_size > SIZE_MAX / 2)
    status = el_fail_about(err, EL_ERR_IO, path, "too large");
  if (status) {
    close(f);
    return status;
  }
  *out = (el_source){.fd = f, .size = (size_t)st.st_size, .mtime_ns = ns_of_timespec(st.st_mtim)};
  return EL_OK;
}

el_status el_source_read(const el_source *s, const char *path, size_t at, void *out, size_t n, el_error *err) {
  for (size_t have = 0; have < n;) {
    const size_t left = n - have;
    ssize_t got = pread(s->fd, (char *)out + have, left < PIECE ? left : PIECE, (off_t)(at + have));
    el_thread_breathe();
    if (got > 0)
      have += (size_t)got;
    else if (got == 0)
      return el_fail_about(err, EL_ERR_IO, path, "was truncated while it was read: it ends at byte %zu, it had %zu",
                           at + have, s->size);
    else if (errno != EINTR)
      return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  }
  return EL_OK;
}

el_status el_source_unchanged(const el_source *s, const char *path, el_error *err) {
  struct stat st;
  if (fstat(s->fd, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  if ((size_t)st.st_size == s->size && ns_of_timespec(st.st_mtim) == s->mtime_ns) return EL_OK;
  return el_fail_about(err, EL_ERR_IO, path, "was written to while it was read");
}

void el_source_will_read(const el_source *s, size_t at, size_t n) {
  if (at < s->size) posix_fadvise(s->fd, (off_t)at, (off_t)(n < s->size - at ? n : s->size - at), POSIX_FADV_WILLNEED);
}

void el_source_close(el_source *s) {
  close(s->fd);
  s->fd = -1;
}

/* Makes room for n bytes. NULL: out of memory. */
static unsigned char *buffer_room(el_file_buffer *b, size_t n) {
  if (n > b->size) {
    free(b->data); /* its content is not needed any more */
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
  el_source source;
  el_status status = el_source_open(path, &source, err);
  if (status) return status;
  size_t size = source.size;
  el_file f = {.size = size, .borrowed = buffer};
  if (size > max_size)
    status = el_fail_about(err, EL_ERR_FORMAT, path, "%zu bytes, the limit is %zu", size, max_size);
  else if (!(f.data = buffer ? buffer_room(buffer, size + 1) : malloc(size + 1)))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "no memory for its %zu bytes", size);
  size_t have = 0;
  while (!status && have <= size) { /* one byte more than the size: a file that grew is noticed */
    const size_t left = size + 1 - have;
    ssize_t n = read(source.fd, f.data + have, left < PIECE ? left : PIECE);
    el_thread_breathe();
    if (n == 0) break;
    if (n > 0)
      have += (size_t)n;
    else if (errno != EINTR)
      status = el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  }
  if (!status && have != size) status = el_fail_about(err, EL_ERR_IO, path, "changed while it was read");
  el_source_close(&source);
  if (status) {
    if (!buffer) free(f.data);
    return status;
  }
  *out = f;
  return EL_OK;
}

void el_file_close(el_file *f) {
  if (!f->borrowed) free(f->data);
  *f = (el_file){0};
}

char *el_path_join(const char *dir, const char *name) {
  el_buf b = {0};
  const size_t len = strlen(dir);
  if (el_buf_printf(&b, "%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/", name)) return b.data;
  el_buf_free(&b);
  return NULL;
}

bool el_write_all(int fd, const void *data, size_t n) {
  for (const char *p = data; n;) {
    ssize_t written = write(fd, p, n);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    p += written;
    n -= (size_t)written;
  }
  return true;
}
