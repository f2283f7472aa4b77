#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Lines contain names of files, and names from files. None of them may begin a new line or
 * control a terminal. This covers the control characters of ASCII and those of Unicode (U+0080 to
 * U+009F). */
static void clean(char *line) {
  for (unsigned char *p = (unsigned char *)line; *p; p++) {
    bool beyond = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
    if (*p < 0x20 || *p == 0x7f || beyond) *p = '?';
    if (beyond) *++p = '?';
  }
}

void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) {
  if (!log || !log->fn) return;
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  clean(line);
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
