/* The log of a command, on standard error: lines of text, or of JSON.
 *
 * Text lines begin with "edgelora: ", as all messages of commands do. JSON is one object per line with "time",
 * "level" and "message", for programs that collect logs. Level and format may change at any time. A line is written
 * in one piece. */
#ifndef EL_CLI_LOG_H
#define EL_CLI_LOG_H

#include <stdatomic.h>

#include "edgelora.h"

typedef struct el_cli_log {
  _Atomic el_log_level level; /* lines below it are not written */
  atomic_bool json;
} el_cli_log;

/* An el_log_fn; log: el_cli_log. */
void el_cli_log_line(void *log, el_log_level level, const char *line);
void el_cli_logf(const el_cli_log *log, el_log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Logs at any level; the message is not an error. */
void el_cli_log_tell(const el_cli_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool el_cli_logs(const el_cli_log *log, el_log_level level) {
  return level >= atomic_load(&log->level);
}
/* Logs a request; in JSON each of its figures has a name. log: el_cli_log. */
struct el_server_request;
void el_cli_log_request(void *log, const struct el_server_request *r);
/* Like el_cli_failed, for a command whose log may be JSON. Returns EL_EXIT_FAILED. */
int el_cli_log_failed(const el_cli_log *log, const el_error *err);

#endif
