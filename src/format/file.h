/* The bytes of a regular file: mapped, or read into memory.
 *
 * A mapping costs no memory of our own, but it shows what others do to the file: if it is truncated while mapped,
 * touching what is gone raises SIGBUS and ends the process, and checked bytes may change afterwards. Replacing a file
 * by rename is always safe. So a model, whose file the operator keeps still while it loads, is mapped; adapters, which
 * come and go while others are being served, are read. */
#ifndef EL_FORMAT_FILE_H
#define EL_FORMAT_FILE_H

#include "edgelora.h"

typedef struct el_file {
  unsigned char *data; /* never NULL when size is not 0 */
  size_t size;
  bool mapped, borrowed; /* borrowed: the memory is a buffer's */
} el_file;

/* Both refuse what is not a regular file (a FIFO would block, a device has no size) and follow symbolic links. */
el_status el_file_map(const char *path, el_file *out, el_error *err);
/* Refuses more than max_size bytes, and a file that changes its size while it is read. */
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

#endif
