/* Content-Encoding: decodes compressed request bodies. */
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

/* The supported codings, for an Accept-Encoding header. */
#define EL_CODINGS "gzip, deflate, zstd"

/* The coding in a Content-Encoding header. Several codings at once are unknown: clients have no reason for
 * them, and each one would multiply the cost of a decompression bomb. */
el_coding el_coding_get(const char *value);

typedef enum el_decoded { EL_DECODED, EL_DECODED_TOO_LONG, EL_DECODED_FAILED } el_decoded;

/* Decodes `in` and appends it to `out`, which may grow to `limit` bytes; no more is decoded. *e says why for
 * EL_DECODED_FAILED. Beside `out` it needs 64 KiB, for zstd a window of at most 8 MiB or `limit`. */
el_decoded el_decode(el_coding coding, const char *in, size_t len, size_t limit, el_buf *out, el_api_error *e);

#endif
