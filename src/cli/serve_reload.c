/* SIGHUP: reloads what may change while requests run, and names what may not. Each piece is independent: if one has an
 * error, it stays as it was, and the others are reloaded all the same. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve.h"

/* Keys of a file that are heeded. */
static const char *const reloaded[] = {"api-keys", "log-format", "quiet", "verbose"};

static bool is_given_on_line(const el_serve_options *o, const char *key) {
  size_t n;
  const el_cli_group *groups = el_serve_file_groups(&o->table, &n);
  return el_cli_is_given(&o->given, el_cli_find(groups, n, key, strlen(key)));
}

/* The file's value of an option; NULL: the option is on the command line, or the file does not have it. */
static const el_config_value *value_of(const el_config *file, const el_serve_options *o, const char *key) {
  if (is_given_on_line(o, key)) return NULL;
  const el_config_entry *entry = el_config_find(file, key);
  return entry ? entry->values : NULL;
}

static bool is_on(const el_config_value *flag) {
  return flag && !strcmp(flag->text, "true");
}

/* Settings of the log on the command line stay. What the file does not have gets its default. */
static void take_log(el_serve_options *o, const el_config *file) {
  el_cli_log *log = &o->common.log;
  const el_config_value *format = value_of(file, o, "log-format");
  if (!is_given_on_line(o, "log-format")) atomic_store(&log->json, format && !strcmp(format->text, "json"));
  if (is_given_on_line(o, "quiet")) return; /* then verbose is, too */
  atomic_store(&log->level, is_on(value_of(file, o, "quiet"))     ? EL_LOG_ERROR
                            : is_on(value_of(file, o, "verbose")) ? EL_LOG_DEBUG
                                                                  : EL_LOG_INFO);
}

static void reload_file(el_serve_options *o) {
  const el_cli_log *log = &o->common.log;
  size_t n;
  const el_cli_group *groups = el_serve_file_groups(&o->table, &n);
  el_config now;
  el_error err;
  el_status status = el_config_read(o->config, &now, &err);
  if (!status) status = el_config_check(&now, groups, n, &err);
  if (status) {
    el_cli_logf(log, EL_LOG_ERROR, "SIGHUP: %s; nothing of the file is changed", err.message);
    el_config_free(&now);
    return;
  }
  take_log(o, &now);
  /* If the line with the keys was removed, the server keeps requiring keys, so that a lost line does not open it to
   * everybody. */
  const el_config_value *keys = value_of(&now, o, "api-keys");
  bool opens = o->api_keys && !keys && !is_given_on_line(o, "api-keys");
  char changes[512];
  el_config_changes(&o->file, &now, groups, n, &o->given, reloaded, sizeof reloaded / sizeof *reloaded, changes,
                    sizeof changes);
  if (opens) strncat(changes, *changes ? ", api-keys" : "api-keys", sizeof changes - strlen(changes) - 1);
  if (*changes)
    el_cli_logf(log, EL_LOG_WARN, "SIGHUP: what %s says of these changes at the next start: %s", o->config, changes);
  if (!keys) {
    el_config_free(&now);
    return;
  }
  o->api_keys = keys->text;
  el_config_free(&o->latest); /* which had the path until now */
  o->latest = now;
}

static void reload_keys(el_serve_options *o, el_server *server) {
  el_error err;
  if (!o->api_keys) return;
  if (el_server_reload_keys(server, o->api_keys, &err))
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "SIGHUP: %s; the keys stay as they were", err.message);
  else
    el_cli_logf(&o->common.log, EL_LOG_INFO, "SIGHUP: keys of %s", o->api_keys);
}

static void rescan_adapters_now(el_serve_options *o) {
  el_rescan_result r;
  el_error err;
  if (el_adapter_rescan(o->common.engine, &r, &err))
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "SIGHUP: %s", err.message);
  else
    el_cli_logf(&o->common.log, EL_LOG_INFO, "SIGHUP: adapters: %zu added, %zu changed, %zu removed, %zu failed",
                r.n_added, r.n_changed, r.n_removed, r.n_failed);
}

void el_serve_reload(el_serve_options *o, el_server *server) {
  if (o->config) reload_file(o);
  reload_keys(o, server);
  rescan_adapters_now(o);
  el_cli_logf(&o->common.log, EL_LOG_INFO, "SIGHUP: done");
}

bool el_serve_has_terminal(void) {
  int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}
