/* Logging: a sink that is passed along, never a global. */
#ifndef EL_BASE_LOG_H
#define EL_BASE_LOG_H

#include "edgelora.h"

typedef struct el_log {
  el_log_fn fn; /* NULL: silent */
  void *user;
} el_log;

/* One line, whatever the names in it hold: a control character becomes a question mark. */
void el_logf(const el_log *log, el_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Something that cannot be, found where requests, files or the time of things have a say: it is logged as "bug: ...",
 * and the caller goes on without whom it concerns. With EDGELORA_ABORT_ON_BUG in the environment, as tests have it, the
 * process ends here instead. What only our own code decides is asserted. */
void el_bug(const el_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
