/* What a command says while it runs, on standard error: lines of text, or of JSON.
 *
 * Text: "edgelora: ...", as all else that commands say. JSON: an object a line with "time", "level" and "message", for
 * programs that collect logs. Level and form may change at any time; a line is written in one piece. */
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
/* Whatever the level; it is no error. */
void el_cli_log_tell(const el_cli_log *log, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool el_cli_logs(const el_cli_log *log, el_log_level level) {
  return level >= atomic_load(&log->level);
}
/* The line of a request; in JSON each of its parts has a name of its own. log: el_cli_log. */
struct el_server_request;
void el_cli_log_request(void *log, const struct el_server_request *r);
/* As el_cli_failed, for a command whose log may be JSON. Returns EL_EXIT_FAILED. */
int el_cli_log_failed(const el_cli_log *log, const el_error *err);

#endif
