#include "cli/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json_out.h"
#include "base/log.h"
#include "cli/cli.h"
#include "server/server.h"

static const char *level_name(el_log_level level) {
  return level == EL_LOG_DEBUG ? "debug" : level == EL_LOG_INFO ? "info" : level == EL_LOG_WARN ? "warning" : "error";
}

/* Up to the message's end. */
static bool begin_json(el_buf *b, el_log_level level, const char *line) {
  struct timespec now;
  struct tm t;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &t);
  return el_buf_printf(
             b, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\",\"level\":\"%s\",\"message\":", t.tm_year + 1900,
             t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, now.tv_nsec / 1000000, level_name(level)) &&
         el_json_cstring(b, line);
}

static bool write_json_line(el_buf *b, el_log_level level, const char *line) {
  return begin_json(b, level, line) && el_buf_append(b, "}\n", 2);
}

static bool write_text_value(el_buf *b, const char *name, const char *value) {
  return !value || (el_buf_printf(b, ",\"%s\":", name) && el_json_cstring(b, value));
}

static bool write_request_log(el_buf *b, const el_server_request *r) {
  const char *space = strchr(r->what, ' ');
  if (!space) space = r->what;
  bool ok = begin_json(b, EL_LOG_INFO, r->line) && write_text_value(b, "request_id", r->id) &&
            el_buf_printf(b, ",\"method\":") && el_json_string(b, r->what, (size_t)(space - r->what)) &&
            write_text_value(b, "path", space + 1) &&
            el_buf_printf(b, ",\"status\":%d,\"bytes\":%zu,\"cut_off\":%s,\"total_ms\":%.3f", r->status, r->bytes,
                          r->cut_off ? "true" : "false", r->total_ms) &&
            write_text_value(b, "key", r->key) && write_text_value(b, "adapter", r->adapter);
  if (ok && r->has_generations)
    ok = el_buf_printf(
        b, ",\"prompt_tokens\":%ld,\"completion_tokens\":%ld,\"cached_tokens\":%ld,\"queue_ms\":%.3f,\"load_ms\":%.3f",
        r->prompt_tokens, r->completion_tokens, r->cached_tokens, r->queue_ms, r->load_ms);
  if (ok && r->has_generations && r->first_token_ms >= 0)
    ok = el_buf_printf(b, ",\"first_token_ms\":%.3f", r->first_token_ms);
  return ok && write_text_value(b, "trace_id", r->trace_id) && write_text_value(b, "span_id", r->span_id) &&
         write_text_value(b, "parent_span_id", r->parent_span_id) && el_buf_append(b, "}\n", 2);
}

void el_cli_log_request(void *log, const el_server_request *r) {
  const el_cli_log *l = log;
  if (!el_cli_logs(l, EL_LOG_INFO)) return;
  if (!atomic_load(&l->json)) {
    el_cli_logf(l, EL_LOG_INFO, "%s", r->line);
    return;
  }
  el_buf b = {0};
  if (write_request_log(&b, r)) fwrite(b.data, 1, b.len, stderr);
  el_buf_free(&b);
}

static void write_log_line(void *log, el_log_level level, const char *line) {
  const el_cli_log *l = log;
  el_buf b = {0};
  bool ok = atomic_load(&l->json)
                ? write_json_line(&b, level, line)
                : el_buf_printf(&b, "%s: %s%s\n", el_cli_program_name(), level == EL_LOG_WARN ? "warning: " : "", line);
  if (ok) fwrite(b.data, 1, b.len, stderr); /* without memory there is no line */
  el_buf_free(&b);
}

void el_cli_log_line(void *log, el_log_level level, const char *line) {
  if (el_cli_logs(log, level)) write_log_line(log, level, line);
}

static void log_formatted(const el_cli_log *log, el_log_fn fn, el_log_level level, const char *fmt, va_list ap) {
  const el_log sink = {fn, (void *)log};
  char line[1024];
  vsnprintf(line, sizeof line, fmt, ap);
  el_logf(&sink, level, "%s", line); /* which has no control characters then */
}

void el_cli_logf(const el_cli_log *log, el_log_level level, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  log_formatted(log, el_cli_log_line, level, fmt, ap);
  va_end(ap);
}

void el_cli_log_tell(const el_cli_log *log, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  log_formatted(log, write_log_line, EL_LOG_INFO, fmt, ap);
  va_end(ap);
}

int el_cli_log_failed(const el_cli_log *log, const el_error *err) {
  el_cli_logf(log, EL_LOG_ERROR, "%s", err->message);
  return EL_EXIT_FAILED;
}
