/* The bytes of a regular file: all of them read into memory, or parts of it read where they are wanted.
 *
 * Nothing is mapped. A mapping shows what others do to a file: when it is truncated, touching what is gone raises
 * SIGBUS, which ends the process (a library has no right to a handler), and bytes that were checked may be others
 * afterwards. What is read is ours, and a file that has become shorter is an error like any other. Replacing a file by
 * rename is always safe. */
#ifndef EL_BASE_FILE_H
#define EL_BASE_FILE_H

#include "edgelora.h"

typedef struct el_file {
  unsigned char *data; /* never NULL when size is not 0 */
  size_t size;
  bool borrowed; /* the memory is a buffer's */
} el_file;

/* Both ways refuse what is not a regular file (a FIFO would block, a device has no end) and follow symbolic links. This
 * one also refuses more than max_size bytes, and a file that changes its size while it is read. */
el_status el_file_read(const char *path, size_t max_size, el_file *out, el_error *err);
void el_file_close(el_file *f);

/* Memory for files that are read one after the other: it grows to the largest and is kept, so that reading another one
 * takes no new pages from the system. */
typedef struct el_file_buffer {
  unsigned char *data;
  size_t size;
} el_file_buffer;
/* As el_file_read; *out has the buffer's memory until the next call. `buffer` NULL: as el_file_read. */
el_status el_file_read_into(const char *path, size_t max_size, el_file_buffer *buffer, el_file *out, el_error *err);
void el_file_buffer_free(el_file_buffer *b);

/* A file that is read in parts, by any thread. */
typedef struct el_source {
  int fd;
  size_t size; /* when it was opened */
  int64_t mtime_ns;
} el_source;

el_status el_source_open(const char *path, el_source *out, el_error *err);
/* n bytes from `at` on; fewer than that are an error. `path` is for messages. */
el_status el_source_read(const el_source *s, const char *path, size_t at, void *out, size_t n, el_error *err);
/* An error if the file has been written to since it was opened: what was read may be half of one and half of another.
 */
el_status el_source_unchanged(const el_source *s, const char *path, el_error *err);
/* Asks the system to have n bytes from `at` on in memory soon: a wish. */
void el_source_will_read(const el_source *s, size_t at, size_t n);
void el_source_close(el_source *s);

/* dir/name, the caller's to free; NULL: out of memory. */
char *el_path_join(const char *dir, const char *name);

#endif
