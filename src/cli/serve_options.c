#include "cli/serve.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

el_serve_options el_serve_options_default(void) {
  const el_server_options server = el_server_options_default();
  el_serve_options o = {.common = el_cli_engine_default(),
                        .host = server.host,
                        .port = server.port,
                        .max_connections = server.max_connections,
                        .max_body_mib = (int)(server.max_body_bytes >> 20),
                        .receive_seconds = server.receive_timeout_ms / 1000,
                        .idle_seconds = server.idle_timeout_ms / 1000,
                        .drain_seconds = 30,
                        .examples = isatty(STDERR_FILENO)};
  o.common.log.level = EL_LOG_INFO;
  return o;
}

static el_cli_group server_group(el_serve_options *o, el_cli_option storage[EL_SERVE_SERVER_OPTIONS]) {
  const el_cli_option rows[] = {
      {0, "host", "ADDRESS", EL_CLI_TEXT, &o->host, 0, 0,
       "address to listen on; 0.0.0.0 or :: for all interfaces; default 127.0.0.1"},
      {0, "port", "N", EL_CLI_INT, &o->port, 0, 65535, "port to listen on; 0: any free port; default 8080"},
      {0, "max-connections", "N", EL_CLI_INT, &o->max_connections, 1, EL_MAX_CONNECTIONS,
       "connections open at once; when few are left, those that have waited longest for their clients are closed; "
       "default 4096"},
      {0, "max-body", "MIB", EL_CLI_INT, &o->max_body_mib, 1, 1024, "longest request body in MiB; default 8"},
      {0, "receive-timeout", "SECONDS", EL_CLI_INT, &o->receive_seconds, 1, 86400,
       "time in which a request must arrive; default 30"},
      {0, "idle-timeout", "SECONDS", EL_CLI_INT, &o->idle_seconds, 1, 86400,
       "time after which a silent connection is closed: between requests, or when the client does not read its answer; "
       "default 60"},
      {0, "cors-origin", "ORIGIN", EL_CLI_TEXTS, &o->cors_origins, 0, 0,
       "a further web origin whose pages may call the server, or *; may be repeated; default: pages of localhost, of "
       "desktop applications and of the server's own address"},
      {0, "tls-cert", "FILE", EL_CLI_PATH, &o->tls_cert, 0, 0,
       "a certificate (PEM), followed by those that sign it; makes connections HTTPS; default: HTTP"},
      {0, "tls-key", "FILE", EL_CLI_PATH, &o->tls_key, 0, 0,
       "the certificate's private key (PEM); only the server's user should be able to read it"},
      {0, "api-keys", "FILE", EL_CLI_PATH, &o->api_keys, 0, 0,
       "API keys: one per line, each followed by the adapters that it may use, separated by commas, such as 'KEY "
       "sql,acme/*'; default: everyone who can reach the server may call"},
      {0, "share-prefixes", NULL, EL_CLI_FLAG, &o->share_prefixes, 0, 0,
       "all keys share the prefix cache, so a key can find out what others have asked; default: each key has its own "
       "prefixes"},
      {0, "strict", NULL, EL_CLI_FLAG, &o->strict, 0, 0,
       "unknown fields in requests are errors; default: each name is logged once and ignored"},
      {0, "verbose-answers", NULL, EL_CLI_FLAG, &o->verbose_answers, 0, 0,
       "answers to chats and completions also contain llama-server's form, with the prompt, in __verbose"},
      {0, "no-slots", NULL, EL_CLI_FLAG, &o->no_slots, 0, 0, "GET /slots answers 501"},
      {0, "no-metrics", NULL, EL_CLI_FLAG, &o->no_metrics, 0, 0, "GET /metrics answers 501"},
      {0, "lora-info", NULL, EL_CLI_FLAG, &o->lora_info, 0, 0,
       "GET /metrics lists the adapters in memory, as Kubernetes' inference gateway needs it; each change makes a new "
       "series in a monitoring system"},
      {0, "drain-delay", "SECONDS", EL_CLI_INT, &o->delay_seconds, 0, 86400,
       "after SIGTERM or Ctrl-C, GET /ready answers 503 for this long before new requests are refused, so that load "
       "balancers notice; default 0"},
      {0, "drain-timeout", "SECONDS", EL_CLI_INT, &o->drain_seconds, 0, 86400,
       "after SIGTERM or Ctrl-C, running requests may take this long; default 30"},
      {0, "allow-adapters-from", "DIR", EL_CLI_PATHS, &o->allowed, 0, 0,
       "clients may load adapters from inside DIR, as from the folders of --adapters; may be repeated"},
      {0, "lock-adapters", NULL, EL_CLI_FLAG, &o->locked, 0, 0, "clients may neither load nor unload adapters"},
      {0, "queue", "N", EL_CLI_INT, &o->common.options.max_queue, 0, EL_MAX_QUEUE,
       "requests that may wait for a slot; further ones are refused with 503; default 1024"},
      {0, "model-name", "NAME", EL_CLI_TEXT, &o->common.options.model_name, 0, 0,
       "the base model's name in requests; default: the file's name without .gguf"},
      {0, "alias", "NAME", EL_CLI_TEXTS, &o->aliases, 0, 0, "a further name of the base model; may be repeated"},
      {0, "default-adapter", "NAME", EL_CLI_TEXT, &o->default_adapter, 0, 0,
       "the model for requests that name none, if their key allows it: an adapter, or auto; default: the base"},
      {0, "pin", "NAME", EL_CLI_TEXTS, &o->pinned, 0, 0,
       "load this adapter at the start and keep it in memory; may be repeated"},
      {0, "preset", "FILE", EL_CLI_PATH, &o->common.options.preset_path, 0, 0,
       "a preset for the base model: system prompt, sampling and so on, as adapters have in edgelora.json"},
      {0, "chat-template", "FILE", EL_CLI_PATH, &o->common.options.chat_template_path, 0, 0,
       "a chat template (Jinja) to use instead of the model's own"},
      {0, "chat-template-kwargs", "JSON", EL_CLI_TEXT, &o->template_variables, 0, 0,
       "variables for chat templates, such as {\"enable_thinking\": false}; those in a request override them"},
      {0, "log-format", "text|json", EL_CLI_CHOICE, &o->log_format, 0, 0,
       "format of log lines: text, or json, one object per line; default text"},
      {0, "examples", NULL, EL_CLI_FLAG, &o->examples, 0, 0,
       "print a curl line for each adapter; default: on a terminal"},
  };
  static_assert(sizeof rows / sizeof *rows <= EL_SERVE_SERVER_OPTIONS, "there is room for each");
  memcpy(storage, rows, sizeof rows);
  return (el_cli_group){"Server", storage, sizeof rows / sizeof *rows};
}

/* Fills the table of options; *o is their target and must stay where it is. */
static void fill_serve_table(el_serve_table *t, el_serve_options *o) {
  t->own[0] = (el_cli_option){
      0,
      "config",
      "FILE",
      EL_CLI_PATH,
      &o->config,
      0,
      0,
      "a YAML file with any of the options below by their long names, such as 'slots: 32'; options that may be "
      "repeated are lists there; relative paths start at the file's folder; the command line overrides the file"};
  t->own[1] = (el_cli_option){
      0,         "check",
      NULL,      EL_CLI_FLAG,
      &o->check, 0,
      0,         "check options, files and address, print the memory plan, and exit; no weights are read"};
  const el_cli_group groups[EL_SERVE_GROUPS] = {
      {"Configuration", t->own, EL_SERVE_OWN_OPTIONS},
      el_cli_model_group(&o->common, NULL, t->model),
      el_cli_router_group(&o->common, t->router),
      server_group(o, t->server),
      el_cli_engine_group(&o->common, EL_CLI_WITH_CTX | EL_CLI_WITH_SLOTS, t->engine),
  };
  memcpy(t->groups, groups, sizeof groups);
}

const el_cli_group *el_serve_file_groups(const el_serve_table *t, size_t *n) {
  *n = EL_SERVE_GROUPS - 1;
  return t->groups + 1;
}

/* If -v or -q is on the command line, both count as given, so that the file's setting does not apply beside it. */
static void give_both(el_serve_options *o) {
  size_t n;
  const el_cli_group *groups = el_serve_file_groups(&o->table, &n);
  const el_cli_option *verbose = el_cli_find(groups, n, "verbose", strlen("verbose"));
  const el_cli_option *quiet = el_cli_find(groups, n, "quiet", strlen("quiet"));
  el_cli_given *given = &o->given;
  if (!el_cli_is_given(given, verbose) && !el_cli_is_given(given, quiet)) return;
  given->list[given->n++] = verbose;
  given->list[given->n++] = quiet;
}

static int read_config_file(el_serve_options *o) {
  give_both(o);
  size_t n;
  const el_cli_group *groups = el_serve_file_groups(&o->table, &n);
  el_error err;
  el_status status = el_config_read(o->config, &o->file, &err);
  if (!status) status = el_config_check(&o->file, groups, n, &err);
  if (!status) status = el_config_apply(&o->file, groups, n, &o->given, &err);
  if (!status) return -1;
  el_cli_failed(&err);
  return status == EL_ERR_INVALID ? EL_EXIT_USAGE : EL_EXIT_FAILED;
}

int el_serve_options_read(el_serve_options *o, const el_cli_command *self, int argc, char **argv) {
  fill_serve_table(&o->table, o);
  int code = el_cli_parse_noting(self, o->table.groups, EL_SERVE_GROUPS, argc, argv, NULL, &o->given);
  if (code < 0 && o->config) code = read_config_file(o);
  o->common.log.json = o->log_format && !strcmp(o->log_format, "json");
  return code;
}

el_server_options el_serve_server_options(const el_serve_options *o) {
  el_server_options server = el_server_options_default();
  server.engine = o->common.engine;
  server.host = o->host;
  server.port = o->port;
  server.max_connections = o->max_connections;
  server.max_body_bytes = (size_t)o->max_body_mib << 20;
  server.receive_timeout_ms = o->receive_seconds * 1000;
  server.idle_timeout_ms = o->idle_seconds * 1000;
  server.cors_origins = o->cors_origins.items;
  server.n_cors_origins = o->cors_origins.n;
  server.aliases = o->aliases.items;
  server.n_aliases = o->aliases.n;
  server.adapters_locked = o->locked;
  server.api_keys = o->api_keys;
  server.tls_cert = o->tls_cert;
  server.tls_key = o->tls_key;
  server.default_adapter = o->default_adapter;
  server.share_prefixes = o->share_prefixes;
  server.strict = o->strict;
  server.verbose_answers = o->verbose_answers;
  server.no_slots = o->no_slots;
  server.no_metrics = o->no_metrics;
  server.lora_info = o->lora_info;
  server.template_variables = o->template_variables;
  server.has_router = o->common.options.router_path != NULL;
  server.log = o->common.options.log;
  server.log_user = o->common.options.log_user;
  server.log_request = el_cli_log_request;
  return server;
}

void el_serve_options_free(el_serve_options *o) {
  el_cli_list_free(&o->allowed);
  el_cli_list_free(&o->cors_origins);
  el_cli_list_free(&o->aliases);
  el_cli_list_free(&o->pinned);
  el_config_free(&o->file);
  el_config_free(&o->latest);
}
