#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) {
  if (!log || !log->fn) return;
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  log->fn(log->user, level, line);
}
