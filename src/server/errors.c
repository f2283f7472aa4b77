#include "server/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/json_out.h"

bool el_api_fail(el_api_error *e, int status, const char *code, const char *param, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  e->status = status;
  e->code = code;
  snprintf(e->param, sizeof e->param, "%s", param ? param : "");
  vsnprintf(e->message, sizeof e->message, fmt, ap);
  va_end(ap);
  return false;
}

bool el_api_fail_engine(el_api_error *e, const el_error *err, const char *model) {
  switch (err->code) {
    case EL_ERR_INVALID: return el_api_fail(e, 400, "invalid_value", NULL, "%s", err->message);
    case EL_ERR_UNSUPPORTED: return el_api_fail(e, 400, "unsupported_value", NULL, "%s", err->message);
    case EL_ERR_TOO_LONG: return el_api_fail(e, 400, "context_length_exceeded", NULL, "%s", err->message);
    case EL_ERR_NOT_FOUND:
      return el_api_fail(e, 404, "model_not_found", "model",
                         "The model '%.255s' does not exist; GET /v1/models lists those that do.", model);
    case EL_ERR_BUSY:
      return el_api_fail(e, 503, "overloaded", NULL,
                         "The server has as many requests waiting as it takes; try again later.");
    case EL_ERR_CLOSED: return el_api_fail(e, 503, "shutting_down", NULL, "The server is shutting down.");
    default: return el_api_fail(e, 500, el_status_name(err->code), NULL, "%s", err->message);
  }
}

bool el_api_error_write(const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "{\"error\":{\"message\":") && el_json_cstring(out, e->message) &&
         el_buf_printf(out,
                       ",\"type\":\"%s\",\"param\":", e->status >= 500 ? "server_error" : "invalid_request_error") &&
         el_json_cstring(out, e->param[0] ? e->param : NULL) && el_buf_printf(out, ",\"code\":") &&
         el_json_cstring(out, e->code) && el_buf_printf(out, "}}");
}
