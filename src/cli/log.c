#include "cli/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "cli/cli.h"
#include "server/json_out.h"

static const char *name_of(el_log_level level) {
  return level == EL_LOG_DEBUG ? "debug" : level == EL_LOG_INFO ? "info" : level == EL_LOG_WARN ? "warning" : "error";
}

static bool write_json(el_buf *b, el_log_level level, const char *line) {
  struct timespec now;
  struct tm t;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &t);
  return el_buf_printf(
             b, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ\",\"level\":\"%s\",\"message\":", t.tm_year + 1900,
             t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, now.tv_nsec / 1000000, name_of(level)) &&
         el_json_cstring(b, line) && el_buf_append(b, "}\n", 2);
}

static void write_line(void *log, el_log_level level, const char *line) {
  const el_cli_log *l = log;
  el_buf b = {0};
  bool ok = atomic_load(&l->json)
                ? write_json(&b, level, line)
                : el_buf_printf(&b, level == EL_LOG_WARN ? "edgelora: warning: %s\n" : "edgelora: %s\n", line);
  if (ok) fwrite(b.data, 1, b.len, stderr); /* without memory there is no line */
  el_buf_free(&b);
}

void el_cli_log_line(void *log, el_log_level level, const char *line) {
  if (el_cli_logs(log, level)) write_line(log, level, line);
}

static void say(const el_cli_log *log, el_log_fn fn, el_log_level level, const char *fmt, va_list ap) {
  const el_log sink = {fn, (void *)log};
  char line[1024];
  vsnprintf(line, sizeof line, fmt, ap);
  el_logf(&sink, level, "%s", line); /* which has no control characters then */
}

void el_cli_logf(const el_cli_log *log, el_log_level level, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  say(log, el_cli_log_line, level, fmt, ap);
  va_end(ap);
}

void el_cli_log_tell(const el_cli_log *log, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  say(log, write_line, EL_LOG_INFO, fmt, ap);
  va_end(ap);
}

int el_cli_log_failed(const el_cli_log *log, const el_error *err) {
  el_cli_logf(log, EL_LOG_ERROR, "%s", err->message);
  return EL_EXIT_FAILED;
}
