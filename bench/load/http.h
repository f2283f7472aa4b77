/* Reads answers of HTTP/1.1 in whatever pieces they arrive. It is strict: what has two meanings is refused. Nothing
 * that a server sends makes it use more memory. */
#ifndef EL_BENCH_LOAD_HTTP_H
#define EL_BENCH_LOAD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  EL_HTTP_MAX_LINE = 8192, /* of a head, of a chunk's size */
  EL_HTTP_MAX_HEAD = 65536
};

typedef enum el_http_state {
  EL_HTTP_START,  /* the status line has not been read */
  EL_HTTP_FIELDS, /* of the head */
  EL_HTTP_LENGTH, /* a body of known length */
  EL_HTTP_CLOSE,  /* a body that ends with the connection */
  EL_HTTP_CHUNK_SIZE,
  EL_HTTP_CHUNK,
  EL_HTTP_CHUNK_END, /* the line end after a chunk */
  EL_HTTP_TRAILER,
  EL_HTTP_DONE,
  EL_HTTP_BAD
} el_http_state;

typedef struct el_http {
  el_http_state state;
  int status;      /* 0: not known yet */
  bool keep_alive; /* the connection may be used again */
  bool chunked, has_length;
  uint64_t left;   /* of the body, or of the chunk */
  const char *why; /* of EL_HTTP_BAD */
  size_t head, n_line;
  char line[EL_HTTP_MAX_LINE];
} el_http;

void el_http_reset(el_http *h);
/* Reads up to the end of the data, of the answer, or of a piece of body, which is then body[0...body_len - 1], within
 * data. Returns how much was read: not all of it, then call again with the rest. */
size_t el_http_read(el_http *h, const char *data, size_t len, const char **body, size_t *body_len);
/* The connection ended: may be the answer's end, too. */
void el_http_end(el_http *h);

#endif
