#include "base/printer.h"

#include <stdarg.h>
#include <stdio.h>

void el_print(el_printer *p, const char *fmt, ...) {
  if (p->stopped || p->failed) return;
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  p->line.len = 0;
  p->failed = n < 0 || !el_buf_reserve(&p->line, (size_t)n);
  if (!p->failed) vsnprintf(p->line.data, (size_t)n + 1, fmt, again);
  va_end(again);
  if (!p->failed) p->stopped = !p->write(p->user, p->line.data, (size_t)n);
}
