#include "server/server.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json_guard.h"
#include "base/wait.h"
#include "server/endpoints/endpoints.h"

/* Open files that are reserved beside connections: for adapters and folders that are read, and for the HTTP thread. */
#define SPARE_FILES 24

/* Time after a drain in which the answers of cancelled requests are sent. */
#define LAST_WORDS_MS 2000

el_server_options el_server_options_default(void) {
  return (el_server_options){.host = "127.0.0.1",
                             .port = 8080,
                             .max_body_bytes = (size_t)8 << 20,
                             .max_connections = 4096,
                             .max_choices = 128,
                             .receive_timeout_ms = 30000,
                             .idle_timeout_ms = 60000};
}

static el_status check_server_options(const el_server_options *o, el_error *err) {
  if (!o->host || !*o->host) return el_fail(err, EL_ERR_INVALID, "server: host is empty");
  if (o->port < 0 || o->port > 65535)
    return el_fail(err, EL_ERR_INVALID, "server: port %d is not between 0 and 65535", o->port);
  if (!o->max_body_bytes || o->max_body_bytes > (size_t)1 << 30)
    return el_fail(err, EL_ERR_INVALID, "server: a body limit of %zu bytes is not between 1 and 1 GiB",
                   o->max_body_bytes);
  if (o->max_connections < 1 || o->max_connections > EL_MAX_CONNECTIONS)
    return el_fail(err, EL_ERR_INVALID, "server: %d connections is not between 1 and %d", o->max_connections,
                   EL_MAX_CONNECTIONS);
  if (o->max_choices < 1 || o->max_choices > 65536)
    return el_fail(err, EL_ERR_INVALID, "server: %d choices is not between 1 and 65536", o->max_choices);
  if (o->receive_timeout_ms < 1 || o->idle_timeout_ms < 1)
    return el_fail(err, EL_ERR_INVALID, "server: a timeout is not positive");
  return EL_OK;
}

static size_t open_files(void) {
  size_t n = 0;
  DIR *d = opendir("/proc/self/fd");
  if (!d) return SPARE_FILES;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

/* Reduces max_connections so that clients cannot use up the open files that are needed to read adapters. */
static el_status fit_connections(el_server *s, el_error *err) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == RLIM_INFINITY) return EL_OK;
  size_t limit = (size_t)r.rlim_cur, taken = open_files() + SPARE_FILES;
  if (limit <= taken)
    return el_fail(err, EL_ERR_IO,
                   "server: %zu files may be open (ulimit -n), which leaves none for connections; %zu are the least",
                   limit, taken + 1);
  if (limit - taken >= (size_t)s->options.max_connections) return EL_OK;
  el_logf(&s->log, EL_LOG_WARN, "%zu connections at once instead of %d: %zu files may be open (ulimit -n)",
          limit - taken, s->options.max_connections, limit);
  s->options.max_connections = (int)(limit - taken);
  return EL_OK;
}

static bool start_threads(el_server *s) {
  s->has_admin = el_readers_start(s) && !pthread_create(&s->admin_thread, NULL, el_admin_main, s);
  s->has_watcher = s->has_admin && !pthread_create(&s->watcher, NULL, el_watch_main, s);
  return s->has_watcher;
}

/* Copies a list into one block: the pointers, then the strings. False: out of memory; *out is NULL. */
static bool copy_list(const char *const *list, size_t n, const char *const **out) {
  size_t bytes = n * sizeof *list;
  for (size_t i = 0; i < n; i++) bytes += strlen(list[i]) + 1;
  const char **copy = malloc(bytes + 1);
  *out = copy;
  if (!copy) return false;
  char *text = (char *)(copy + n);
  for (size_t i = 0; i < n; i++) {
    copy[i] = strcpy(text, list[i]);
    text += strlen(text) + 1;
  }
  return true;
}

static el_status load_template_variables(el_server *s, const char *text, el_error *err) {
  json_error_t why;
  bool no_memory;
  s->template_json = el_json_load(text, strlen(text), JSON_REJECT_DUPLICATES, &why, &no_memory);
  if (!s->template_json && no_memory) return el_fail(err, EL_ERR_NO_MEMORY, "server: out of memory");
  if (!json_is_object(s->template_json))
    return el_fail(err, EL_ERR_INVALID, "chat-template-kwargs: it is not a JSON object%s%s",
                   s->template_json ? "" : ": ", s->template_json ? "" : why.text);
  switch (el_json_value(s->template_json, &s->template_variables)) {
    case EL_CONVERTED: return EL_OK;
    case EL_CONVERT_NO_MEMORY: return el_fail(err, EL_ERR_NO_MEMORY, "server: out of memory");
    case EL_CONVERT_DEEP: break;
  }
  return el_fail(err, EL_ERR_INVALID, "chat-template-kwargs: it is nested deeper than %d", EL_MAX_VALUE_DEPTH);
}

el_status el_server_check(const el_server_options *options, size_t *n_keys, el_error *err) {
  const el_log log = {options->log, options->log_user};
  el_server scratch = {0};
  el_api_keys *keys = NULL;
  el_status status = check_server_options(options, err);
  if (!status) status = el_allowed_init(&scratch.allowed, options->allowed_folders, options->n_allowed_folders, err);
  if (!status && options->api_keys) status = el_api_keys_load(options->api_keys, NULL, &log, &keys, err);
  if (!status && options->template_variables)
    status = load_template_variables(&scratch, options->template_variables, err);
  if (!status) status = el_tls_read(options->tls_cert, options->tls_key, &log, &scratch.tls, err);
  if (!status) status = el_listen_check(options->host, options->port, err);
  *n_keys = keys ? keys->n : 0;
  el_api_keys_release(keys);
  el_allowed_free(&scratch.allowed);
  el_tls_free(&scratch.tls);
  el_json_value_free(&scratch.template_variables);
  json_decref(scratch.template_json);
  return status;
}

el_status el_server_start(const el_server_options *options, el_server **out, el_error *err) {
  if (!options->engine) return el_fail(err, EL_ERR_INVALID, "server: no engine");
  el_status status = check_server_options(options, err);
  if (status) return status;
  el_server *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "server: out of memory");
  pthread_mutex_init(&s->mutex, NULL);
  pthread_mutex_init(&s->reload_mutex, NULL);
  el_tally_init(&s->tally);
  el_scales_init(&s->scales);
  el_stored_init(&s->stored);
  el_formats_init(&s->formats);
  bool conds = el_cond_init(&s->changed) && el_cond_init(&s->watch) && el_cond_init(&s->admin.changed);
  for (int i = 0; i < EL_N_LANES; i++) conds = el_cond_init(&s->readers.lanes[i].changed) && conds;
  s->listen_fd = -1;
  s->options = *options;
  s->routes = el_routes(&s->n_routes);
  s->options.cors_origins = s->options.aliases = NULL;
  s->options.host = strdup(options->host);
  bool lists = copy_list(options->cors_origins, options->n_cors_origins, &s->options.cors_origins) &&
               copy_list(options->aliases, options->n_aliases, &s->options.aliases);
  s->options.default_adapter = options->default_adapter ? strdup(options->default_adapter) : NULL;
  s->log = (el_log){options->log, options->log_user};
  s->started = (int64_t)time(NULL);
  el_unknown_open(&s->unknown);
  el_engine_info(options->engine, &s->model);
  status = fit_connections(s, err);
  s->watch_fds = calloc((size_t)s->options.max_connections, sizeof *s->watch_fds);
  s->watched = calloc((size_t)s->options.max_connections, sizeof *s->watched);

  if (!status && (!conds || !s->options.host || !lists || (options->default_adapter && !s->options.default_adapter) ||
                  !s->watch_fds || !s->watched))
    status = el_fail(err, EL_ERR_NO_MEMORY, "server: out of memory");
  if (!status) status = el_allowed_init(&s->allowed, options->allowed_folders, options->n_allowed_folders, err);
  if (!status && options->api_keys) status = el_server_reload_keys(s, options->api_keys, err);
  if (!status && options->template_variables) status = load_template_variables(s, options->template_variables, err);
  if (!status) status = el_tls_read(options->tls_cert, options->tls_key, &s->log, &s->tls, err);
  if (!status) status = el_listen(s, err);
  if (!status && !start_threads(s))
    status = el_fail(err, EL_ERR_IO, "server: cannot start a thread: %s", strerror(errno));
  if (!status && !(s->daemon = el_http_start(s)))
    status = el_fail(err, EL_ERR_IO, "server: cannot start the HTTP thread (libmicrohttpd %s)", MHD_get_version());
  if (status) {
    el_server_stop(s);
    return status;
  }
  *out = s;
  return EL_OK;
}

el_status el_server_reload_keys(el_server *s, const char *path, el_error *err) {
  if (!path) return el_fail(err, EL_ERR_INVALID, "api keys: no file is given");
  el_api_keys *keys = NULL;
  pthread_mutex_lock(&s->reload_mutex);
  el_status status = el_api_keys_load(path, s->keys, &s->log, &keys, err); /* nobody else writes s->keys */
  if (!status) {
    pthread_mutex_lock(&s->mutex);
    el_api_keys *before = s->keys;
    s->keys = keys;
    pthread_mutex_unlock(&s->mutex);
    atomic_store(&s->asks_for_key, true);
    el_api_keys_release(before);
  }
  pthread_mutex_unlock(&s->reload_mutex);
  return status;
}

const char *el_server_url(const el_server *s) {
  return s->url;
}

/* ---------------------------------------------------------------- the end */

/* Refuses new connections from now on. The descriptor stays open until the HTTP thread, which may still use it, has
 * ended. */
static void stop_listening(el_server *s) {
  if (s->listen_fd < 0) return;
  if (s->daemon) MHD_quiesce_daemon(s->daemon);
  shutdown(s->listen_fd, SHUT_RDWR);
}

/* Waits until *count is 0, at most until `until`; returns whether it is. The server's mutex is held. */
static bool wait_zero(el_server *s, const size_t *count, uint64_t until) {
  while (*count)
    if (!el_cond_wait(&s->changed, &s->mutex, until)) break;
  return !*count;
}

/* A reference to a request whose client still waits for generations; NULL: none is left. */
static el_exchange *next_running(el_server *s) {
  el_exchange *found = NULL;
  pthread_mutex_lock(&s->mutex);
  for (el_conn *c = s->connections; c && !found; c = c->next) {
    el_exchange *x = c->exchange;
    if (!x) continue;
    pthread_mutex_lock(&x->mutex);
    if (!x->gone && !x->failed) found = x;
    pthread_mutex_unlock(&x->mutex);
  }
  if (found) el_exchange_retain(found);
  pthread_mutex_unlock(&s->mutex);
  return found;
}

static void fail_running(el_server *s) {
  el_api_error e;
  el_api_fail(&e, 503, "shutting_down", NULL,
              "The server is shutting down and did not wait for the end of this request.");
  for (el_exchange *x; (x = next_running(s)); el_exchange_release(x)) el_exchange_fail(x, &e);
}

void el_server_leave(el_server *s) {
  atomic_store(&s->leaving, true);
}

bool el_server_drain(el_server *s, int timeout_ms) {
  el_server_leave(s);
  atomic_store(&s->draining, true);
  stop_listening(s);
  uint64_t until = el_deadline_in(timeout_ms > 0 ? timeout_ms : 0);
  pthread_mutex_lock(&s->mutex);
  bool all = wait_zero(s, &s->n_requests, until);
  pthread_mutex_unlock(&s->mutex);
  if (all) return true;
  fail_running(s);
  until = el_deadline_in(LAST_WORDS_MS);
  pthread_mutex_lock(&s->mutex);
  wait_zero(s, &s->n_requests, until);
  pthread_mutex_unlock(&s->mutex);
  return false;
}

void el_server_stop(el_server *s) {
  if (!s) return;
  atomic_store(&s->draining, true);
  stop_listening(s);
  pthread_mutex_lock(&s->mutex);
  s->stopping = true; /* from now on no request is handed to a reader */
  /* libmicrohttpd cannot close a suspended connection. el_exchange_leave resumes it, and it is not suspended again. */
  for (el_conn *c = s->connections; c; c = c->next)
    if (c->exchange || c->refused) el_exchange_leave(c->exchange ? c->exchange : c->refused);
  pthread_cond_broadcast(&s->watch);
  el_readers_wake(s);
  pthread_cond_broadcast(&s->admin.changed);
  pthread_mutex_unlock(&s->mutex);
  if (s->has_watcher) pthread_join(s->watcher, NULL);
  el_readers_join(s);
  if (s->has_admin) pthread_join(s->admin_thread, NULL);
  if (s->daemon) MHD_stop_daemon(s->daemon);
  if (s->listen_fd >= 0) close(s->listen_fd);

  pthread_mutex_lock(&s->mutex);
  while (s->n_exchanges) pthread_cond_wait(&s->changed, &s->mutex); /* the engine's last events */
  pthread_mutex_unlock(&s->mutex);
  pthread_cond_destroy(&s->changed);
  pthread_cond_destroy(&s->watch);
  for (int i = 0; i < EL_N_LANES; i++) pthread_cond_destroy(&s->readers.lanes[i].changed);
  pthread_cond_destroy(&s->admin.changed);
  pthread_mutex_destroy(&s->mutex);
  pthread_mutex_destroy(&s->reload_mutex);
  free((char *)s->options.host);
  free((void *)s->options.cors_origins);
  free((void *)s->options.aliases);
  free((char *)s->options.default_adapter);
  el_allowed_free(&s->allowed);
  el_tls_free(&s->tls);
  el_api_keys_release(s->keys);
  el_tally_free(&s->tally);
  el_unknown_close(&s->unknown);
  el_scales_free(&s->scales);
  el_stored_free(&s->stored);
  el_formats_free(&s->formats);
  el_json_value_free(&s->template_variables);
  json_decref(s->template_json);
  free(s->watch_fds);
  free(s->watched);
  free(s);
}
