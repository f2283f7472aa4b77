/* Logging: a sink that is passed along, never a global one. */
#ifndef EL_BASE_LOG_H
#define EL_BASE_LOG_H

#include "edgelora.h"

typedef struct el_log {
  el_log_fn fn; /* NULL: silent */
  void *user;
} el_log;

/* Logs one line, whatever the names in it contain: control characters become question marks. */
void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Reports what should be impossible, in places where requests, files or timing have an influence.
 * It is logged as "bug: ...", and the caller goes on without the request or file concerned. With
 * EDGELORA_ABORT_ON_BUG in the environment, as in tests, the process ends here instead. What
 * depends on our own code alone is asserted. */
void el_bug(const el_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
