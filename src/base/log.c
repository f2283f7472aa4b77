#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) {
  if (!log || !log->fn) return;
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  log->fn(log->user, level, line);
}

void el_bug(const el_log *log, const char *fmt, ...) {
  char what[768];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  el_logf(log, EL_LOG_ERROR, "bug: %s", what);
  if (!getenv("EDGELORA_ABORT_ON_BUG")) return;
  fprintf(stderr, "bug: %s\n", what);
  abort();
}
