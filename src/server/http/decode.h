/* Content-Encoding: bodies that clients send compressed. */
#ifndef EL_SERVER_DECODE_H
#define EL_SERVER_DECODE_H

#include "base/buf.h"
#include "server/common/errors.h"

typedef enum el_coding {
  EL_CODING_NONE,
  EL_CODING_GZIP,
  EL_CODING_DEFLATE,
  EL_CODING_ZSTD,
  EL_CODING_UNKNOWN
} el_coding;

/* What is taken, as an Accept-Encoding header says it. */
#define EL_CODINGS "gzip, deflate, zstd"

/* Of a Content-Encoding header's value. Several codings on top of each other are unknown: a client has no reason for
 * them, and each would multiply what a bomb costs. */
el_coding el_coding_get(const char *value);

typedef enum el_decoded { EL_DECODED, EL_DECODED_TOO_LONG, EL_DECODED_FAILED } el_decoded;

/* Appends what `in` says to `out`, up to a total of `limit` bytes: no more is decoded, however much there would be. Of
 * EL_DECODED_FAILED *e says why. Beside `out` it needs 64 KiB, for zstd a window of 8 MiB or `limit` at most. */
el_decoded el_decode(el_coding coding, const char *in, size_t len, size_t limit, el_buf *out, el_api_error *e);

#endif
