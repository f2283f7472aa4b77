#include "server/common/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json_out.h"

bool el_api_fail(el_api_error *e, int status, const char *code, const char *param, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  e->status = status;
  e->code = code;
  e->n_ctx = e->n_prompt = 0;
  e->type = NULL;
  e->retry_s = 0;
  snprintf(e->param, sizeof e->param, "%s", param ? param : "");
  vsnprintf(e->message, sizeof e->message, fmt, ap);
  va_end(ap);
  return false;
}

/* The name in a body of a field of el_request, if the two differ. */
static const char *param_of(const el_error *err) {
  static const struct {
    const char *field, *param;
  } names[] = {{"adapter.by", "model"}, {"candidates", "edgelora.candidates"}};
  for (size_t i = 0; err->field && i < sizeof names / sizeof *names; i++)
    if (!strcmp(err->field, names[i].field)) return names[i].param;
  return NULL;
}

/* Fails with the engine's message, or with what a limited key may see of it. */
static bool fail_with(el_api_error *e, int status, const char *code, const el_error *err, const char *model,
                      bool limited) {
  const char *param = param_of(err);
  if (!limited || !err->detail) return el_api_fail(e, status, code, param, "%s", err->message);
  const char *detail = err->message + err->detail;
  return *detail ? el_api_fail(e, status, code, param, "'%.255s': %s", model, detail)
                 : el_api_fail(e, status, code, param, "'%.255s' cannot be used; the server's log says why.", model);
}

bool el_api_fail_engine(el_api_error *e, const el_error *err, const char *model, bool limited) {
  switch (err->code) {
    case EL_ERR_INVALID: return fail_with(e, 400, "invalid_value", err, model, limited);
    case EL_ERR_UNSUPPORTED: return fail_with(e, 400, "unsupported_value", err, model, limited);
    /* A broken file stays broken, so this is not a server error, which clients would try again. */
    case EL_ERR_FORMAT: return fail_with(e, 400, "invalid_adapter", err, model, limited);
    /* The same holds for an adapter that is larger than the memory for adapters. */
    case EL_ERR_TOO_LARGE: return fail_with(e, 400, "adapter_too_large", err, model, limited);
    /* Errors that may go away without a change to the request or to the adapter's files. */
    case EL_ERR_IO: return fail_with(e, 503, "adapter_unreadable", err, model, limited);
    case EL_ERR_NO_MEMORY: return fail_with(e, 503, "no_memory", err, model, limited);
    case EL_ERR_TOO_LONG: return fail_with(e, 400, "context_length_exceeded", err, model, limited);
    case EL_ERR_NOT_FOUND:
      if (param_of(err)) return fail_with(e, 404, "model_not_found", err, model, limited);
      return el_api_fail(e, 404, "model_not_found", "model",
                         "The model '%.255s' does not exist; GET /v1/models lists those that do.", model);
    case EL_ERR_BUSY:
      return el_api_fail(e, 503, "overloaded", NULL,
                         "The server has as many requests waiting as it takes; try again later.");
    case EL_ERR_CLOSED: return el_api_fail(e, 503, "shutting_down", NULL, "The server is shutting down.");
    default: return fail_with(e, 500, el_status_name(err->code), err, model, limited);
  }
}

bool el_api_error_write_context(const el_api_error *e, el_buf *out) {
  return !e->n_ctx || el_buf_printf(out, ",\"n_prompt_tokens\":%zu,\"n_ctx\":%zu", e->n_prompt, e->n_ctx);
}

/* Clients of llama-server recognise an exceeded context by `type`, those of OpenAI by `code`. */
static const char *error_type_of(const el_api_error *e) {
  if (e->type) return e->type;
  if (e->n_ctx) return "exceed_context_size_error";
  return e->status >= 500 ? "server_error" : "invalid_request_error";
}

bool el_api_error_write(const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "{\"error\":{\"message\":") && el_json_cstring(out, e->message) &&
         el_buf_printf(out, ",\"type\":\"%s\",\"param\":", error_type_of(e)) &&
         el_json_cstring(out, e->param[0] ? e->param : NULL) && el_buf_printf(out, ",\"code\":") &&
         el_json_cstring(out, e->code) && el_api_error_write_context(e, out) && el_buf_printf(out, "}}");
}
