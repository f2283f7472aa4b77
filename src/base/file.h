/* Reads regular files: whole files into memory, or ranges where they are needed.
 *
 * Nothing is mapped. A mapping shows what others do to a file: after a truncation, touching what is
 * gone raises SIGBUS, which ends the process (a library has no right to install a handler), and
 * bytes that were checked may change afterwards. What has been read belongs to the caller, and a
 * file that has become shorter is an error like any other. Replacing a file by rename is always
 * safe. */
#ifndef EL_BASE_FILE_H
#define EL_BASE_FILE_H

#include "edgelora.h"

typedef struct el_file {
  unsigned char *data; /* never NULL unless size is 0 */
  size_t size;
  bool borrowed; /* the memory belongs to a buffer */
} el_file;

/* Reads a whole file. Refuses what is not a regular file (a FIFO would block, a device has no end),
 * files of more than max_size bytes, and files whose size changes while they are read. Symbolic
 * links are followed. el_source_open refuses the same kinds of files. */
el_status el_file_read(const char *path, size_t max_size, el_file *out, el_error *err);
void el_file_close(el_file *f);

/* Memory for files that are read one after the other. It grows to the largest and is kept, so that
 * reading another file takes no new pages from the system. */
typedef struct el_file_buffer {
  unsigned char *data;
  size_t size;
} el_file_buffer;
/* As el_file_read, but *out uses the buffer's memory, until the next call. buffer NULL: exactly as
 * el_file_read. */
el_status el_file_read_into(const char *path, size_t max_size, el_file_buffer *buffer, el_file *out, el_error *err);
void el_file_buffer_free(el_file_buffer *b);

/* A file of which any thread may read ranges. */
typedef struct el_source {
  int fd;
  size_t size; /* when the file was opened */
  int64_t mtime_ns;
} el_source;

el_status el_source_open(const char *path, el_source *out, el_error *err);
/* Reads n bytes at offset `at`; fewer bytes are an error. `path` is for messages. */
el_status el_source_read(const el_source *s, const char *path, size_t at, void *out, size_t n, el_error *err);
/* Fails if the file has been written to since it was opened: what was read may be half old and half
 * new. */
el_status el_source_unchanged(const el_source *s, const char *path, el_error *err);
/* Asks the system to read n bytes at offset `at` into memory soon; this is only a hint. */
void el_source_will_read(const el_source *s, size_t at, size_t n);
void el_source_close(el_source *s);

/* Writes all n bytes. False: errno says why not. */
bool el_write_all(int fd, const void *data, size_t n);

/* dir/name, which the caller frees. NULL: out of memory. */
char *el_path_join(const char *dir, const char *name);

#endif
