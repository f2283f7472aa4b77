/* edgelora serve: the HTTP server, until a signal ends it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/alive.h"
#include "cli/curl_lines.h"
#include "cli/notify.h"
#include "cli/serve.h"
#include "cli/signals.h"

/* Draining waits in a thread of its own, so that a second signal is noticed. The thread is made at the start, as there
 * may be no memory for one at the end. */
typedef struct drain {
  el_server *server;
  int delay_ms, timeout_ms, begin_fd, done_fd;
  bool complete;
  pthread_t thread;
} drain;

enum { DRAIN = 1, LEAVE }; /* what begin_fd says */

static void *drain_thread(void *arg) {
  drain *d = arg;
  eventfd_t what = LEAVE;
  while (eventfd_read(d->begin_fd, &what) && errno == EINTR) {
  }
  if (what == DRAIN) {
    el_server_leave(d->server);
    poll(NULL, 0, d->delay_ms);
    d->complete = el_server_drain(d->server, d->timeout_ms);
  }
  eventfd_write(d->done_fd, 1);
  return NULL;
}

static bool drain_prepare(drain *d, const el_serve_options *o) {
  *d = (drain){.delay_ms = o->delay_seconds * 1000,
               .timeout_ms = o->drain_seconds * 1000,
               .begin_fd = eventfd(0, EFD_CLOEXEC),
               .done_fd = eventfd(0, EFD_CLOEXEC)};
  int failed = d->begin_fd < 0 || d->done_fd < 0 ? errno : pthread_create(&d->thread, NULL, drain_thread, d);
  if (!failed) return true;
  el_cli_error("cannot start the thread that will end the server: %s", strerror(failed));
  if (d->begin_fd >= 0) close(d->begin_fd);
  if (d->done_fd >= 0) close(d->done_fd);
  return false;
}

static void drain_end(drain *d) {
  eventfd_write(d->begin_fd, LEAVE); /* nobody reads it after a drain */
  pthread_join(d->thread, NULL);
  close(d->begin_fd);
  close(d->done_fd);
}

/* Lets running requests end, within the time for a drain. A further signal ends the program at once. */
static void drain_server(drain *d, el_server *server, const el_serve_options *o) {
  const int signal_fd = o->common.signal_fd;
  d->server = server;
  eventfd_write(d->begin_fd, DRAIN);
  for (;;) {
    struct pollfd fds[2] = {{.fd = d->done_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    int signal = el_cli_signal_take(signal_fd, 0);
    if (signal && signal != SIGHUP) _exit(EL_EXIT_SIGNAL_BASE + signal);
    if (fds[0].revents) break;
  }
  drain_end(d);
  if (!d->complete)
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "some requests did not end within %d s and were cancelled",
                d->timeout_ms / 1000);
}

/* Raises the limit of open files as far as the system allows, as connections are open files. */
static void raise_file_limit(void) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= r.rlim_max) return;
  r.rlim_cur = r.rlim_max;
  setrlimit(RLIMIT_NOFILE, &r);
}

/* What requests to "auto" get. */
static void tell_router(const el_serve_options *o) {
  el_stats stats;
  const el_cli_log *log = &o->common.log;
  if (!o->common.options.router_path) return;
  el_engine_stats(o->common.engine, &stats);
  el_cli_logf(log, EL_LOG_INFO, "router %s: %s", o->common.options.router_path,
              el_cli_is_auto(o->common.engine, "auto")
                  ? "answers to the model name 'auto'"
                  : "answers to POST /v1/route alone, as something else is called 'auto'");
  el_cli_logf(log, EL_LOG_INFO, "router: it knows %llu of %llu adapters", (unsigned long long)stats.adapters_in_router,
              (unsigned long long)stats.adapters);
}

/* Tells the service manager, if there is one, which then starts what depends on us. */
static void tell_ready(const el_serve_options *o, const el_server *server) {
  el_model_info model;
  el_stats stats;
  el_engine_info(o->common.engine, &model);
  el_engine_stats(o->common.engine, &stats);
  int why = el_cli_notify("READY=1\nSTATUS=serving %s with %llu adapters on %s", model.name,
                          (unsigned long long)stats.adapters, el_server_url(server));
  if (why)
    el_cli_logf(&o->common.log, EL_LOG_WARN, "NOTIFY_SOCKET: the service manager does not hear: %s", strerror(why));
}

/* Waits for a signal that ends the program. SIGHUP does so if the terminal was closed. */
static void wait_for_end(el_serve_options *o, el_server *server) {
  int signal = o->common.hung_up ? SIGHUP : 0;
  for (;; signal = el_cli_signal_take(o->common.signal_fd, -1)) {
    if (signal == SIGHUP && (!o->had_terminal || el_serve_has_terminal())) {
      el_cli_notify_reloading();
      el_serve_reload(o, server);
      tell_ready(o, server);
    } else if (signal) {
      return;
    }
  }
}

static int serve_requests(el_serve_options *o, const el_server_options *options) {
  el_server *server = NULL;
  el_error err;
  drain d;
  el_cli_alive alive;
  if (!drain_prepare(&d, o)) return EL_EXIT_FAILED;
  if (!el_cli_alive_start(&alive, o->common.engine)) {
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "cannot start the thread that gives the watchdog signs of life: %s",
                strerror(errno));
    drain_end(&d);
    return EL_EXIT_FAILED;
  }
  if (el_server_start(options, &server, &err)) {
    el_cli_alive_stop(&alive);
    drain_end(&d);
    return el_cli_log_failed(&o->common.log, &err);
  }
  tell_router(o);
  el_cli_tell_template(&o->common);
  /* Scripts wait for this line. */
  if (o->common.log.json)
    el_cli_log_tell(&o->common.log, "listening on %s", el_server_url(server));
  else
    fprintf(stderr, "listening on %s\n", el_server_url(server));
  int with = (options->has_router ? EL_CLI_WITH_ROUTER : 0) | (options->api_keys ? EL_CLI_WITH_KEY : 0);
  if (o->examples) el_cli_print_curl_lines(stderr, o->common.engine, el_server_url(server), with);
  tell_ready(o, server);
  wait_for_end(o, server);
  el_cli_notify("STOPPING=1\nSTATUS=waiting up to %d s for running requests", o->delay_seconds + o->drain_seconds);
  el_cli_logf(&o->common.log, EL_LOG_INFO, "ending; a second signal ends it at once");
  drain_server(&d, server, o);
  el_server_stop(server);
  el_cli_alive_stop(&alive);
  return EL_EXIT_OK;
}

/* Whether the default adapter exists. If it were added later, requests would fail until then, so this is an error at
 * the start. */
static bool has_default(const el_serve_options *o) {
  const char *name = o->default_adapter;
  const el_held_adapter *held;
  el_error err;
  if (!name || (o->common.options.router_path && el_cli_is_auto(o->common.engine, name))) return true;
  if (el_adapter_hold(o->common.engine, name, &held, &err)) {
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "--default-adapter: %s", err.message);
    return false;
  }
  el_adapter_release(o->common.engine, held);
  return true;
}

static bool pin_adapters(const el_serve_options *o) {
  el_error err;
  for (size_t i = 0; i < o->pinned.n; i++) {
    if (!el_adapter_pin(o->common.engine, o->pinned.items[i], true, &err)) continue;
    el_cli_logf(&o->common.log, EL_LOG_ERROR, "--pin: %s", err.message);
    return false;
  }
  return true;
}

/* Sets the folders from which clients may load adapters; the array must be freed. False: out of memory; a message was
 * printed. */
static bool allow_folders(const el_serve_options *o, el_server_options *server) {
  const el_cli_list *lists[] = {&o->common.adapter_dirs, &o->allowed};
  const char **all = calloc(lists[0]->n + lists[1]->n + 1, sizeof *all);
  if (!all) return el_cli_no_memory(), false;
  for (int l = 0; l < 2 && !o->locked; l++)
    for (size_t i = 0; i < lists[l]->n; i++) all[server->n_allowed_folders++] = lists[l]->items[i];
  server->allowed_folders = all;
  return true;
}

/* With the engine's options as they are. */
static int check_serve(el_serve_options *o) {
  int code = el_cli_engine_prepare(&o->common);
  if (code >= 0) return code;
  el_server_options server = el_serve_server_options(o);
  code = allow_folders(o, &server) ? el_serve_check(o, &server) : EL_EXIT_FAILED;
  free((void *)server.allowed_folders);
  return code;
}

static int run_serve(const el_cli_command *self, int argc, char **argv) {
  el_serve_options o = el_serve_options_default();
  int code = el_serve_options_read(&o, self, argc, argv);
  if (code < 0 && o.check) code = check_serve(&o);
  if (code < 0) {
    raise_file_limit();
    signal(SIGPIPE, SIG_IGN); /* the server itself notices clients that are gone */
    o.common.signal_fd = el_cli_signals_open_with_hangup();
    o.had_terminal = el_serve_has_terminal();
    code = o.common.signal_fd < 0 ? EL_EXIT_FAILED : el_cli_engine_open(&o.common);
    if (o.common.signal_fd < 0) el_cli_error("signals: %s", strerror(errno));
  }
  if (code < 0) {
    el_server_options server = el_serve_server_options(&o);
    code = has_default(&o) && pin_adapters(&o) && allow_folders(&o, &server) ? serve_requests(&o, &server)
                                                                             : EL_EXIT_FAILED;
    free((void *)server.allowed_folders);
  }
  if (o.common.signal_fd >= 0) close(o.common.signal_fd);
  el_cli_engine_close(&o.common);
  el_serve_options_free(&o);
  return code;
}

const el_cli_command el_cmd_serve = {
    .name = "serve",
    .summary = "serve the model and its adapters over HTTP, as OpenAI's API",
    .usage = "[--config FILE] [-m MODEL] [--adapter NAME=PATH]... [--adapters DIR]... [--port N] [options]",
    .about =
        "Answers /v1/completions, /v1/chat/completions, /v1/models and more; docs/api.md lists all endpoints.\n"
        "The \"model\" of a request is an adapter, the base model, or \"auto\" to let the router choose.\n"
        "Prints 'listening on URL' on standard error when it is ready.\n"
        "On SIGTERM or Ctrl-C it accepts no new requests, lets the running ones end, and exits 0. On SIGHUP it\n"
        "reloads --config, --api-keys and the folders of adapters.",
    .examples =
        "  edgelora serve --adapters adapters\n"
        "  edgelora serve --adapters adapters --router router.gguf --api-keys keys\n"
        "  edgelora serve -m model.gguf --adapter sql=adapters/sql --adapter shell=adapters/shell --port 9000\n"
        "  edgelora serve --host 0.0.0.0 --slots 32 --ctx-size 2048\n"
        "  edgelora serve --config /etc/edgelora/edgelora.yaml --port 9000",
    .run = run_serve};
