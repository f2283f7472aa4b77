/* Serves the fake engine: server_fake [NAME=VALUE]... Prints where it listens to stderr, reads the keys anew on SIGHUP,
 * drains on SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_engine.h"
#include "server/server.h"

typedef struct setting {
  const char *name;
  int *number;
} setting;

static bool set(const setting *all, size_t n, const char *arg) {
  size_t len = strcspn(arg, "=");
  for (size_t i = 0; i < n; i++) {
    if (strlen(all[i].name) != len || strncmp(all[i].name, arg, len) || !arg[len]) continue;
    *all[i].number = atoi(arg + len + 1);
    return true;
  }
  fprintf(stderr, "server_fake: unknown setting '%s'\n", arg);
  return false;
}

static void print_line(void *user, el_log_level level, const char *line) {
  fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv) {
  fake_options fake = {.n_slots = 4, .max_queue = 1000, .ctx_size = 100000};
  el_server_options options = el_server_options_default();
  options.port = 0;
  options.log = print_line;
  const char *allowed, *cors[4];
  int strict = 0, lora_info = 0, step_us = 200, max_body = (int)options.max_body_bytes, drain_ms = 5000, delay_ms = 0;
  const setting settings[] = {
      {"slots", &fake.n_slots},
      {"queue", &fake.max_queue},
      {"ctx", &fake.ctx_size},
      {"more", &fake.n_more},
      {"resident", &fake.n_resident},
      {"lora_info", &lora_info},
      {"router", &fake.router},
      {"choice_steps", &fake.choice_steps},
      {"step_us", &step_us},
      {"max_body", &max_body},
      {"strict", &strict},
      {"drain_ms", &drain_ms},
      {"delay_ms", &delay_ms},
      {"max_connections", &options.max_connections},
      {"receive_timeout_ms", &options.receive_timeout_ms},
      {"idle_timeout_ms", &options.idle_timeout_ms},
  };
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "cors", 4) && strchr(argv[i], '=')) {
      if (options.n_cors_origins == sizeof cors / sizeof *cors) return 2;
      cors[options.n_cors_origins++] = strchr(argv[i], '=') + 1; /* cors=, cors2=, ... */
      options.cors_origins = cors;
    } else if (!strncmp(argv[i], "host=", 5)) {
      options.host = argv[i] + 5;
    } else if (!strncmp(argv[i], "keys=", 5)) {
      options.api_keys = argv[i] + 5;
    } else if (!strncmp(argv[i], "allow=", 6)) {
      allowed = argv[i] + 6;
      options.allowed_folders = &allowed;
      options.n_allowed_folders = 1;
    } else if (!set(settings, sizeof settings / sizeof *settings, argv[i])) {
      return 2;
    }
  }
  fake.step_us = step_us;
  options.has_router = fake.router;
  options.strict = strict;
  options.lora_info = lora_info;
  options.max_body_bytes = (size_t)max_body;

  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before any thread is started, which inherits it */

  el_error err;
  el_server *server;
  options.engine = fake_engine_open(&fake);
  if (!options.engine) return 1;
  if (el_server_start(&options, &server, &err)) {
    fprintf(stderr, "server_fake: %s\n", err.message);
    el_engine_close(options.engine);
    return 1;
  }
  fprintf(stderr, "listening on %s\n", el_server_url(server));
  int sig;
  while (sigwait(&ends, &sig) || sig == SIGHUP)
    fprintf(stderr, "keys: %s\n", el_server_reload_keys(server, options.api_keys, &err) ? err.message : "read anew");
  el_server_leave(server);
  const struct timespec delay = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000L};
  if (delay_ms) sigtimedwait(&ends, NULL, &delay); /* a second signal ends it */
  bool all = el_server_drain(server, drain_ms);
  el_server_stop(server);
  el_engine_close(options.engine);
  fprintf(stderr, "drained: %s\n", all ? "all" : "some were cut off");
  return 0;
}
