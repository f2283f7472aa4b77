/* Logging: a sink that is passed along, never a global. */
#ifndef EL_BASE_LOG_H
#define EL_BASE_LOG_H

#include "edgelora.h"

typedef struct el_log {
  el_log_fn fn; /* NULL: silent */
  void *user;
} el_log;

void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
