/* What the files of `edgelora serve` share: its options, from the command line and from a configuration file. */
#ifndef EL_CLI_SERVE_H
#define EL_CLI_SERVE_H

#include <assert.h>

#include "cli/config/config.h"
#include "cli/open.h"
#include "server/server.h"

enum {
  EL_SERVE_OWN_OPTIONS = 2,     /* options that a configuration file cannot have */
  EL_SERVE_SERVER_OPTIONS = 48, /* room for the rows of serve_options.c */
  EL_SERVE_GROUPS = 5
};

typedef struct el_serve_table {
  el_cli_option own[EL_SERVE_OWN_OPTIONS], model[EL_CLI_MODEL_OPTIONS], router[EL_CLI_ROUTER_OPTIONS],
      server[EL_SERVE_SERVER_OPTIONS], engine[EL_CLI_ENGINE_OPTIONS];
  el_cli_group groups[EL_SERVE_GROUPS];
} el_serve_table;

typedef struct el_serve_options {
  el_cli_engine common;
  const char *host, *api_keys, *default_adapter, *template_variables;
  int port, max_connections, delay_seconds, drain_seconds, receive_seconds, idle_seconds, max_body_mib;
  el_cli_list allowed, pinned, cors_origins, aliases;
  bool examples, locked, share_prefixes, strict, verbose_answers, no_slots, no_metrics, lora_info;
  const char *log_format, *tls_cert, *tls_key;
  bool had_terminal; /* when the program started */

  bool check;         /* --check: check and exit */
  const char *config; /* path of the configuration file; NULL: none */
  el_config file;     /* its content at the start, into which options point */
  el_config latest;   /* its content at the last SIGHUP, into which api_keys points */
  el_serve_table table;
  el_cli_given given; /* on the command line */
} el_serve_options;

el_serve_options el_serve_options_default(void);
/* The groups that a configuration file may have. */
const el_cli_group *el_serve_file_groups(const el_serve_table *t, size_t *n);
/* Reads the command line and the configuration file. Returns -1, or the exit status. */
int el_serve_options_read(el_serve_options *o, const el_cli_command *self, int argc, char **argv);
/* The server's options without the folders from which clients may load adapters. */
el_server_options el_serve_server_options(const el_serve_options *o);
/* serve_check.c: --check. Returns the exit status. */
int el_serve_check(el_serve_options *o, const el_server_options *server);

/* serve_reload.c: what SIGHUP does. */
void el_serve_reload(el_serve_options *o, el_server *server);
/* Whether the process has a controlling terminal. If it had one and has none any more, a SIGHUP means that the terminal
 * was closed. */
bool el_serve_has_terminal(void);

void el_serve_options_free(el_serve_options *o);

#endif
