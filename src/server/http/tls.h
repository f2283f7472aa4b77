/* The certificate and the key that connections are encrypted with: read and checked here, by GnuTLS, so that what is
 * wrong with them is said with the file's name; libmicrohttpd is then given their text. */
#ifndef EL_SERVER_TLS_H
#define EL_SERVER_TLS_H

#include "base/buf.h"
#include "base/log.h"

typedef struct el_tls {
  el_buf cert, key; /* PEM, NUL-terminated; empty: connections are plain */
} el_tls;

/* Both paths, or neither (NULL). Warns of a key that others than the file's owner can read, and of a certificate that
 * is not valid now. EL_ERR_UNSUPPORTED: libmicrohttpd was built without TLS. */
el_status el_tls_read(const char *cert_path, const char *key_path, const el_log *log, el_tls *out, el_error *err);
void el_tls_free(el_tls *t);

#endif
