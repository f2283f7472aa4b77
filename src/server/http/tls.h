/* The certificate and the private key for encrypted connections. GnuTLS checks them here, so that errors name
 * the file. libmicrohttpd then gets their text. */
#ifndef EL_SERVER_TLS_H
#define EL_SERVER_TLS_H

#include "base/buf.h"
#include "base/log.h"

typedef struct el_tls {
  el_buf cert, key; /* PEM, NUL-terminated; empty: connections are not encrypted */
} el_tls;

/* Both paths or neither (NULL). Warns if others than the file's owner can read the key, and if the certificate
 * is not valid now. EL_ERR_UNSUPPORTED: libmicrohttpd was built without TLS. */
el_status el_tls_read(const char *cert_path, const char *key_path, const el_log *log, el_tls *out, el_error *err);
void el_tls_free(el_tls *t);

#endif
