#include "server/http/tls.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "server/common/secret_file.h"

/* A chain of certificates has some kilobytes. */
#define MAX_FILE_BYTES ((size_t)1 << 20)

/* log NULL: the file is not secret. O_NONBLOCK, as a FIFO without a writer would block the start. */
static el_status read_tls_file(const char *option, const char *path, const el_log *log, el_buf *out, el_error *err) {
  el_status status = el_secret_file_read(option, path, O_NONBLOCK, MAX_FILE_BYTES, log, out, err);
  if (!status && memchr(out->data, 0, out->len))
    status = el_fail(err, EL_ERR_FORMAT, "%s: %s: has a NUL character, so it is no PEM", option, path);
  return status;
}

static el_status fail_gnutls(const char *option, const char *path, int rc, el_error *err) {
  return el_fail(err, EL_ERR_FORMAT, "%s: %s: %s", option, path, gnutls_strerror(rc));
}

static void tell_validity(const char *path, gnutls_x509_crt_t cert, const el_log *log) {
  const time_t now = time(NULL);
  if (gnutls_x509_crt_get_expiration_time(cert) < now)
    el_logf(log, EL_LOG_WARN, "tls-cert: %s: the certificate has expired", path);
  else if (gnutls_x509_crt_get_activation_time(cert) > now)
    el_logf(log, EL_LOG_WARN, "tls-cert: %s: the certificate is not valid yet", path);
}

static el_status check_tls_cert(const el_tls *t, const char *path, const el_log *log, el_error *err) {
  gnutls_datum_t text = {(unsigned char *)t->cert.data, (unsigned)t->cert.len};
  gnutls_x509_crt_t *chain;
  unsigned n = 0;
  int rc = gnutls_x509_crt_list_import2(&chain, &n, &text, GNUTLS_X509_FMT_PEM, 0);
  if (rc < 0) return fail_gnutls("tls-cert", path, rc, err);
  if (n) tell_validity(path, chain[0], log);
  for (unsigned i = 0; i < n; i++) gnutls_x509_crt_deinit(chain[i]);
  gnutls_free(chain);
  return EL_OK;
}

static el_status check_tls_key(const el_tls *t, const char *path, el_error *err) {
  gnutls_datum_t text = {(unsigned char *)t->key.data, (unsigned)t->key.len};
  gnutls_x509_privkey_t key;
  int rc = gnutls_x509_privkey_init(&key);
  if (rc < 0) return fail_gnutls("tls-key", path, rc, err);
  rc = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
  gnutls_x509_privkey_deinit(key);
  return rc < 0 ? fail_gnutls("tls-key", path, rc, err) : EL_OK;
}

static el_status check_tls_pair(const el_tls *t, const char *cert_path, const char *key_path, el_error *err) {
  const gnutls_datum_t cert = {(unsigned char *)t->cert.data, (unsigned)t->cert.len},
                       key = {(unsigned char *)t->key.data, (unsigned)t->key.len};
  gnutls_certificate_credentials_t pair;
  int rc = gnutls_certificate_allocate_credentials(&pair);
  if (rc < 0) return fail_gnutls("tls-key", key_path, rc, err);
  rc = gnutls_certificate_set_x509_key_mem(pair, &cert, &key, GNUTLS_X509_FMT_PEM);
  gnutls_certificate_free_credentials(pair);
  return rc < 0 ? el_fail(err, EL_ERR_INVALID, "tls-key: %s: is not the key of %s: %s", key_path, cert_path,
                          gnutls_strerror(rc))
                : EL_OK;
}

el_status el_tls_read(const char *cert_path, const char *key_path, const el_log *log, el_tls *out, el_error *err) {
  *out = (el_tls){0};
  if (!cert_path && !key_path) return EL_OK;
  if (!cert_path || !key_path)
    return el_fail(err, EL_ERR_INVALID, "%s: %s is missing: TLS takes a certificate and its key",
                   cert_path ? "tls-cert" : "tls-key", cert_path ? "tls-key" : "tls-cert");
  if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
    return el_fail(err, EL_ERR_UNSUPPORTED, "tls-cert: libmicrohttpd %s was built without TLS", MHD_get_version());
  el_status status = read_tls_file("tls-cert", cert_path, NULL, &out->cert, err);
  if (!status) status = read_tls_file("tls-key", key_path, log, &out->key, err);
  if (!status) status = check_tls_cert(out, cert_path, log, err);
  if (!status) status = check_tls_key(out, key_path, err);
  if (!status) status = check_tls_pair(out, cert_path, key_path, err);
  if (status) el_tls_free(out);
  return status;
}

void el_tls_free(el_tls *t) {
  if (t->key.data) explicit_bzero(t->key.data, t->key.cap);
  el_buf_free(&t->cert);
  el_buf_free(&t->key);
}
