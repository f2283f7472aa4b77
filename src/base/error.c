#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Fills in "before: " and the rest; the rest alone is the detail. before NULL: only the rest. What
 * does not fit is cut off. */
static void fill_error(el_error *err, el_status code, const char *before, const char *fmt, va_list ap) {
  if (!err) return;
  *err->message = 0;
  if (before) snprintf(err->message, sizeof err->message, "%s: ", before);
  err->code = code;
  err->field = NULL;
  err->detail = strlen(err->message);
  vsnprintf(err->message + err->detail, sizeof err->message - err->detail, fmt, ap);
}

el_status el_fail(el_error *err, el_status code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fill_error(err, code, NULL, fmt, ap);
  va_end(ap);
  return code;
}

el_status el_fail_about(el_error *err, el_status code, const char *subject, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fill_error(err, code, subject, fmt, ap);
  va_end(ap);
  return code;
}

el_status el_fail_field(el_error *err, el_status code, const char *field, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fill_error(err, code, NULL, fmt, ap);
  va_end(ap);
  if (err) err->field = field;
  return code;
}

el_status el_fail_prefix(el_error *err, const char *fmt, ...) {
  assert(err); /* the callee filled it in: a caller that passes errors on always has one */
  char old[sizeof err->message];
  memcpy(old, err->message, sizeof old);
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
  va_end(ap);
  if (n >= 0 && (size_t)n + 3 < sizeof err->message) {
    size_t room = sizeof err->message - (size_t)n - 3; /* after the separator and the NUL: what does
                                                        * not fit is cut off */
    snprintf(err->message + n, room + 3, ": %.*s", (int)room, old);
  }
  size_t len = strlen(err->message);
  err->detail += n < 0 ? len : (size_t)n + 2;
  if (err->detail > len) err->detail = len;
  return err->code;
}

el_status el_fail_hidden(el_error *err) {
  if (!err->detail) err->detail = strlen(err->message);
  return err->code;
}

const char *el_status_name(el_status status) {
  switch (status) {
    case EL_OK: return "ok";
    case EL_ERR_INVALID: return "invalid";
    case EL_ERR_IO: return "io";
    case EL_ERR_FORMAT: return "format";
    case EL_ERR_UNSUPPORTED: return "unsupported";
    case EL_ERR_NO_MEMORY: return "no_memory";
    case EL_ERR_NOT_FOUND: return "not_found";
    case EL_ERR_EXISTS: return "exists";
    case EL_ERR_BUSY: return "busy";
    case EL_ERR_TOO_LONG: return "too_long";
    case EL_ERR_CLOSED: return "closed";
    case EL_ERR_CONFLICT: return "conflict";
    case EL_ERR_TOO_LARGE: return "too_large";
  }
  return "unknown";
}
