/* A growing byte buffer. Functions that append return false if memory is exhausted, and then leave
 * the buffer unchanged. */
#ifndef EL_BASE_BUF_H
#define EL_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

typedef struct el_buf {
  char *data; /* NUL-terminated after the first append; NULL before */
  size_t len, cap;
} el_buf;

bool el_buf_reserve(el_buf *b, size_t extra);
bool el_buf_append(el_buf *b, const void *data, size_t len);
bool el_buf_printf(el_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Removes the first n bytes. */
void el_buf_consume(el_buf *b, size_t n);
void el_buf_free(el_buf *b);

#endif
