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

#include "cli/examples.h"
#include "cli/open.h"
#include "cli/signals.h"
#include "server/server.h"

typedef struct serve_options {
  el_cli_engine common;
  const char *host, *api_keys, *default_adapter, *template_variables;
  int port, max_connections, delay_seconds, drain_seconds, receive_seconds, idle_seconds, max_body_mib;
  el_cli_list allowed, pinned, cors_origins, aliases;
  bool examples, locked, share_prefixes, strict, verbose_answers, no_slots, no_metrics;
} serve_options;

/* Draining waits in a thread of its own, so that a second signal is seen meanwhile. It is there from the start: when
 * the end comes there may be no memory for one. */
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

static bool drain_prepare(drain *d, const serve_options *o) {
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

/* Lets running requests end, at most that long. A further signal ends the program at once. */
static void drain_server(drain *d, el_server *server, int signal_fd) {
  d->server = server;
  eventfd_write(d->begin_fd, DRAIN);
  for (;;) {
    struct pollfd fds[2] = {{.fd = d->done_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    int signal = el_cli_signal_take(signal_fd, 0);
    if (signal) _exit(EL_EXIT_SIGNAL_BASE + signal);
    if (fds[0].revents) break;
  }
  drain_end(d);
  if (!d->complete) el_cli_error("some requests did not end within %d s and were cancelled", d->timeout_ms / 1000);
}

/* As many open files as the system lets us have: connections are open files. */
static void raise_file_limit(void) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= r.rlim_max) return;
  r.rlim_cur = r.rlim_max;
  setrlimit(RLIMIT_NOFILE, &r);
}

/* What requests to "auto" get. */
static void tell_router(const serve_options *o) {
  el_stats stats;
  if (!o->common.options.router_path || o->common.level > EL_LOG_INFO) return;
  el_engine_stats(o->common.engine, &stats);
  fprintf(stderr, "edgelora: router %s: %s\n", o->common.options.router_path,
          el_cli_is_auto(o->common.engine, "auto")
              ? "answers to the model name 'auto'"
              : "answers to POST /v1/route alone, as something else is called 'auto'");
  fprintf(stderr, "edgelora: router: it knows %llu of %llu adapters\n", (unsigned long long)stats.adapters_in_router,
          (unsigned long long)stats.adapters);
}

static int serve(serve_options *o, const el_server_options *options) {
  el_server *server = NULL;
  el_error err;
  drain d;
  if (!drain_prepare(&d, o)) return EL_EXIT_FAILED;
  if (el_server_start(options, &server, &err)) {
    drain_end(&d);
    return el_cli_failed(&err);
  }
  tell_router(o);
  el_cli_tell_template(&o->common);
  /* Scripts wait for this line. */
  fprintf(stderr, "listening on %s\n", el_server_url(server));
  int with = (options->has_router ? EL_CLI_WITH_ROUTER : 0) | (options->api_keys ? EL_CLI_WITH_KEY : 0);
  if (o->examples) el_cli_print_examples(stderr, o->common.engine, el_server_url(server), with);
  while (el_cli_signal_take(o->common.signal_fd, -1) == 0) {
  }
  if (o->common.level <= EL_LOG_INFO) fprintf(stderr, "edgelora: ending; a second signal ends it at once\n");
  drain_server(&d, server, o->common.signal_fd);
  el_server_stop(server);
  return EL_EXIT_OK;
}

/* Whether the default adapter is there. One that comes later would answer later: whoever starts the server is to know.
 */
static bool has_default(const serve_options *o) {
  const char *name = o->default_adapter;
  const el_held_adapter *held;
  el_error err;
  if (!name || (o->common.options.router_path && el_cli_is_auto(o->common.engine, name))) return true;
  if (el_adapter_hold(o->common.engine, name, &held, &err)) {
    el_cli_error("--default-adapter: %s", err.message);
    return false;
  }
  el_adapter_release(o->common.engine, held);
  return true;
}

static bool pin(const serve_options *o) {
  el_error err;
  for (size_t i = 0; i < o->pinned.n; i++) {
    if (!el_adapter_pin(o->common.engine, o->pinned.items[i], true, &err)) continue;
    el_cli_error("--pin: %s", err.message);
    return false;
  }
  return true;
}

/* Where clients may load adapters from; an array to be freed. False: out of memory, which has been said. */
static bool allow(const serve_options *o, el_server_options *server) {
  const el_cli_list *lists[] = {&o->common.adapter_dirs, &o->allowed};
  const char **all = calloc(lists[0]->n + lists[1]->n + 1, sizeof *all);
  if (!all) return el_cli_no_memory(), false;
  for (int l = 0; l < 2 && !o->locked; l++)
    for (size_t i = 0; i < lists[l]->n; i++) all[server->n_allowed_folders++] = lists[l]->items[i];
  server->allowed_folders = all;
  return true;
}

static int run(const el_cli_command *self, int argc, char **argv) {
  el_server_options server = el_server_options_default();
  serve_options o = {.common = el_cli_engine_default(),
                     .host = server.host,
                     .port = server.port,
                     .max_connections = server.max_connections,
                     .max_body_mib = (int)(server.max_body_bytes >> 20),
                     .receive_seconds = server.receive_timeout_ms / 1000,
                     .idle_seconds = server.idle_timeout_ms / 1000,
                     .drain_seconds = 30,
                     .examples = isatty(STDERR_FILENO)};
  o.common.level = EL_LOG_INFO;
  const el_cli_option http[] = {
      {0, "host", "ADDRESS", EL_CLI_TEXT, &o.host, 0, 0,
       "where to listen; default 127.0.0.1, 0.0.0.0 or :: for every interface"},
      {0, "port", "N", EL_CLI_INT, &o.port, 0, 65535, "default 8080; 0: any free one"},
      {0, "max-connections", "N", EL_CLI_INT, &o.max_connections, 1, 65536,
       "open at once; when few are left, those that wait longest for their clients are shut; default 4096"},
      {0, "max-body", "MIB", EL_CLI_INT, &o.max_body_mib, 1, 1024, "longest request body in MiB; default 8"},
      {0, "receive-timeout", "SECONDS", EL_CLI_INT, &o.receive_seconds, 1, 86400,
       "how long a request may take to arrive; default 30"},
      {0, "idle-timeout", "SECONDS", EL_CLI_INT, &o.idle_seconds, 1, 86400,
       "silence between requests, or of a client that takes nothing of its answer; default 60"},
      {0, "cors-origin", "ORIGIN", EL_CLI_TEXTS, &o.cors_origins, 0, 0,
       "a web origin whose pages may call the server too, or *; may be repeated; default: pages of localhost, of "
       "desktop "
       "applications and of the server's own address"},
      {0, "api-keys", "FILE", EL_CLI_TEXT, &o.api_keys, 0, 0,
       "who may call: a key a line, and behind it, with commas between, the adapters that it may name, such as "
       "'KEY sql,acme/*'; default: whoever reaches the server"},
      {0, "share-prefixes", NULL, EL_CLI_FLAG, &o.share_prefixes, 0, 0,
       "keys find each other's prefixes in the prefix cache, and can tell by it what others have asked; default: each "
       "key its own"},
      {0, "strict", NULL, EL_CLI_FLAG, &o.strict, 0, 0,
       "fields of requests that are not known are errors; default: they are logged, once a name, and ignored"},
      {0, "verbose-answers", NULL, EL_CLI_FLAG, &o.verbose_answers, 0, 0,
       "chats and completions have llama-server's answer, with the prompt, beside OpenAI's (__verbose)"},
      {0, "no-slots", NULL, EL_CLI_FLAG, &o.no_slots, 0, 0, "GET /slots is a 501"},
      {0, "no-metrics", NULL, EL_CLI_FLAG, &o.no_metrics, 0, 0, "GET /metrics is a 501"},
      {0, "drain-delay", "SECONDS", EL_CLI_INT, &o.delay_seconds, 0, 86400,
       "after SIGTERM or Ctrl-C, GET /ready is a 503 for so long before new requests are refused, so that balancers "
       "hear "
       "of it; default 0"},
      {0, "drain-timeout", "SECONDS", EL_CLI_INT, &o.drain_seconds, 0, 86400,
       "after SIGTERM or Ctrl-C, running requests may take this long; default 30"},
      {0, "allow-adapters-from", "DIR", EL_CLI_TEXTS, &o.allowed, 0, 0,
       "clients may have adapters inside of DIR loaded, as from the folders of --adapters; may be repeated"},
      {0, "lock-adapters", NULL, EL_CLI_FLAG, &o.locked, 0, 0, "clients may neither load nor unload adapters"},
      {0, "queue", "N", EL_CLI_INT, &o.common.options.max_queue, 1, 1 << 20,
       "requests that wait for a slot, further ones are refused with 503; default 1024"},
      {0, "model-name", "NAME", EL_CLI_TEXT, &o.common.options.model_name, 0, 0,
       "what requests call the base model; default: the file's, without .gguf"},
      {0, "alias", "NAME", EL_CLI_TEXTS, &o.aliases, 0, 0, "a further name of the base model; may be repeated"},
      {0, "default-adapter", "NAME", EL_CLI_TEXT, &o.default_adapter, 0, 0,
       "who answers requests that name no model, where their key may name it: an adapter, or auto; default: the base"},
      {0, "pin", "NAME", EL_CLI_TEXTS, &o.pinned, 0, 0,
       "an adapter that is loaded at the start and stays in memory; may be repeated"},
      {0, "preset", "FILE", EL_CLI_TEXT, &o.common.options.preset_path, 0, 0,
       "the base model's own preset: system prompt, sampling and so on, as adapters have in edgelora.json"},
      {0, "chat-template", "FILE", EL_CLI_TEXT, &o.common.options.chat_template_path, 0, 0,
       "a chat template (Jinja) to use instead of the model's own"},
      {0, "chat-template-kwargs", "JSON", EL_CLI_TEXT, &o.template_variables, 0, 0,
       "variables for chat templates, such as {\"enable_thinking\": false}; those of a request come first"},
      {0, "examples", NULL, EL_CLI_FLAG, &o.examples, 0, 0,
       "print a curl line for each adapter; default: on a terminal"},
  };
  el_cli_option model[EL_CLI_MODEL_OPTIONS], router[EL_CLI_ROUTER_OPTIONS], engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      el_cli_model_group(&o.common, NULL, model),
      el_cli_router_group(&o.common, router),
      {"Server", http, sizeof http / sizeof *http},
      el_cli_engine_group(&o.common, EL_CLI_WITH_CTX | EL_CLI_WITH_SLOTS, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code < 0) {
    raise_file_limit();
    signal(SIGPIPE, SIG_IGN); /* a client that went away is the server's to notice */
    o.common.signal_fd = el_cli_signals_open();
    code = o.common.signal_fd < 0 ? EL_EXIT_FAILED : el_cli_engine_open(&o.common);
    if (o.common.signal_fd < 0) el_cli_error("signals: %s", strerror(errno));
  }
  if (code < 0) {
    server.engine = o.common.engine;
    server.host = o.host;
    server.port = o.port;
    server.max_connections = o.max_connections;
    server.max_body_bytes = (size_t)o.max_body_mib << 20;
    server.receive_timeout_ms = o.receive_seconds * 1000;
    server.idle_timeout_ms = o.idle_seconds * 1000;
    server.cors_origins = o.cors_origins.items;
    server.n_cors_origins = o.cors_origins.n;
    server.aliases = o.aliases.items;
    server.n_aliases = o.aliases.n;
    server.adapters_locked = o.locked;
    server.api_keys = o.api_keys;
    server.default_adapter = o.default_adapter;
    server.share_prefixes = o.share_prefixes;
    server.strict = o.strict;
    server.verbose_answers = o.verbose_answers;
    server.no_slots = o.no_slots;
    server.no_metrics = o.no_metrics;
    server.template_variables = o.template_variables;
    server.has_router = o.common.options.router_path != NULL;
    server.log = o.common.options.log;
    server.log_user = o.common.options.log_user;
    code = has_default(&o) && pin(&o) && allow(&o, &server) ? serve(&o, &server) : EL_EXIT_FAILED;
    free((void *)server.allowed_folders);
  }
  if (o.common.signal_fd >= 0) close(o.common.signal_fd);
  el_cli_engine_close(&o.common);
  el_cli_list_free(&o.allowed);
  el_cli_list_free(&o.cors_origins);
  el_cli_list_free(&o.aliases);
  el_cli_list_free(&o.pinned);
  return code;
}

const el_cli_command el_cmd_serve = {
    .name = "serve",
    .summary = "serve the model and its adapters over HTTP, as OpenAI's API",
    .usage = "[-m MODEL] [--adapter NAME=PATH]... [--adapters DIR]... [--port N] [options]",
    .about =
        "Answers /v1/completions, /v1/chat/completions and /v1/models; docs/api.md has the rest. A request's\n"
        "\"model\" names an adapter, or the base model, or with a router is \"auto\": it chooses. Says 'listening on\n"
        "URL' on standard error when it is ready.\n"
        "SIGTERM or Ctrl-C: takes no new requests, lets the running ones end, and exits 0.",
    .examples =
        "  edgelora serve --adapters adapters\n"
        "  edgelora serve --adapters adapters --router router.gguf --api-keys keys\n"
        "  edgelora serve -m model.gguf --adapter sql=adapters/sql --adapter shell=adapters/shell --port 9000\n"
        "  edgelora serve --host 0.0.0.0 --slots 32 --ctx-size 2048",
    .run = run};
