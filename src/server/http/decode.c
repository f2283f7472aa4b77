#include "server/http/decode.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

/* Decoded at once. */
#define PIECE ((size_t)64 << 10)
/* The largest window of a zstd frame, as a power of two: RFC 8878 asks every decoder to support it. */
#define MIN_WINDOW_LOG 23
#define MAX_WINDOW_LOG 30

static const struct {
  const char *name;
  el_coding coding;
} NAMES[] = {{"", EL_CODING_NONE},       {"identity", EL_CODING_NONE},   {"gzip", EL_CODING_GZIP},
             {"x-gzip", EL_CODING_GZIP}, {"deflate", EL_CODING_DEFLATE}, {"zstd", EL_CODING_ZSTD}};

el_coding el_coding_get(const char *value) {
  value += strspn(value, " \t");
  size_t len = strlen(value);
  while (len && strchr(" \t", value[len - 1])) len--;
  for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
    if (strlen(NAMES[i].name) == len && !strncasecmp(value, NAMES[i].name, len)) return NAMES[i].coding;
  return EL_CODING_UNKNOWN;
}

static el_decoded fail_decode(el_api_error *e, const char *coding, const char *why) {
  el_api_fail(e, 400, "invalid_encoding", NULL, "The body is not valid %s: %s.", coding, why);
  return EL_DECODED_FAILED;
}

static el_decoded fail_decode_memory(el_api_error *e) {
  el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  return EL_DECODED_FAILED;
}

static const char ENDS_EARLY[] = "it ends in the middle";

/* Makes room for the next piece, up to one byte beyond the limit, which shows that there is more. 0: out of memory. */
static size_t grow_decoded(el_buf *out, size_t limit) {
  size_t n = limit - out->len + 1;
  if (n > PIECE) n = PIECE;
  return el_buf_reserve(out, n) ? n : 0;
}

/* ------------------------------------------------------------------- zlib */

/* "deflate" means the zlib format (RFC 9110), but some clients send raw deflate. */
static int window_bits(el_coding coding, const unsigned char *in, size_t len) {
  if (coding == EL_CODING_GZIP) return MAX_WBITS + 16;
  bool zlib = len >= 2 && (in[0] & 15) == Z_DEFLATED && (in[0] << 8 | in[1]) % 31 == 0;
  return zlib ? MAX_WBITS : -MAX_WBITS;
}

/* Whether another gzip member follows; all members together are one text. */
static bool begins_member(const z_stream *z) {
  return z->avail_in >= 2 && z->next_in[0] == 0x1f && z->next_in[1] == 0x8b;
}

static el_decoded inflate_all(z_stream *z, el_coding coding, size_t limit, el_buf *out, el_api_error *e) {
  const char *name = coding == EL_CODING_GZIP ? "gzip" : "deflate";
  for (;;) {
    size_t room = grow_decoded(out, limit);
    if (!room) return fail_decode_memory(e);
    z->next_out = (unsigned char *)out->data + out->len;
    z->avail_out = (uInt)room;
    int rc = inflate(z, Z_NO_FLUSH);
    out->len += room - z->avail_out;
    if (out->len > limit) return EL_DECODED_TOO_LONG;
    if (rc == Z_STREAM_END) {
      if (!z->avail_in) return EL_DECODED;
      if (coding != EL_CODING_GZIP || !begins_member(z)) return fail_decode(e, name, "something follows its end");
      if (inflateReset(z) != Z_OK) return fail_decode_memory(e);
    } else if (rc == Z_MEM_ERROR) {
      return fail_decode_memory(e);
    } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
      return fail_decode(e, name, z->msg ? z->msg : "it needs a dictionary");
    } else if (!z->avail_in && z->avail_out) {
      return fail_decode(e, name, ENDS_EARLY);
    }
  }
}

static el_decoded decode_zlib(el_coding coding, const char *in, size_t len, size_t limit, el_buf *out,
                              el_api_error *e) {
  /* zlib only reads what next_in points to, whatever its type says. */
  z_stream z = {.next_in = (unsigned char *)in, .avail_in = (uInt)len};
  if (inflateInit2(&z, window_bits(coding, (const unsigned char *)in, len)) != Z_OK) return fail_decode_memory(e);
  el_decoded result = inflate_all(&z, coding, limit, out, e);
  inflateEnd(&z);
  return result;
}

/* ------------------------------------------------------------------- zstd */

static int window_log(size_t limit) {
  int log = MIN_WINDOW_LOG;
  while (log < MAX_WINDOW_LOG && (size_t)1 << log < limit) log++;
  return log;
}

static el_decoded decode_frames(ZSTD_DCtx *d, ZSTD_inBuffer *in, size_t limit, el_buf *out, el_api_error *e) {
  for (;;) {
    size_t room = grow_decoded(out, limit), read = in->pos;
    if (!room) return fail_decode_memory(e);
    ZSTD_outBuffer piece = {.dst = out->data + out->len, .size = room};
    size_t rc = ZSTD_decompressStream(d, &piece, in);
    out->len += piece.pos;
    if (out->len > limit) return EL_DECODED_TOO_LONG;
    if (ZSTD_isError(rc)) return fail_decode(e, "zstd", ZSTD_getErrorName(rc));
    bool all_read = in->pos == in->size, moved = piece.pos || in->pos > read;
    if (!rc && all_read) return EL_DECODED;
    if (!moved || (all_read && piece.pos < room)) return fail_decode(e, "zstd", ENDS_EARLY);
  }
}

static el_decoded decode_zstd(const char *in, size_t len, size_t limit, el_buf *out, el_api_error *e) {
  ZSTD_DCtx *d = ZSTD_createDCtx();
  ZSTD_inBuffer all = {.src = in, .size = len};
  if (!d || ZSTD_isError(ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, window_log(limit)))) {
    ZSTD_freeDCtx(d);
    return fail_decode_memory(e);
  }
  el_decoded result = decode_frames(d, &all, limit, out, e);
  ZSTD_freeDCtx(d);
  return result;
}

el_decoded el_decode(el_coding coding, const char *in, size_t len, size_t limit, el_buf *out, el_api_error *e) {
  if (!len) return EL_DECODED;
  el_decoded result =
      coding == EL_CODING_ZSTD ? decode_zstd(in, len, limit, out, e) : decode_zlib(coding, in, len, limit, out, e);
  if (out->data) out->data[out->len] = 0;
  return result;
}
