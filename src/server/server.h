/* The HTTP server: OpenAI's completions API over one engine. See README.md in this folder for its threads.
 *
 * It uses the engine through include/edgelora.h alone. It installs no signal handlers and never exits the process: the
 * command line waits for a signal, then calls el_server_drain and el_server_stop, and only then closes the engine. */
#ifndef EL_SERVER_SERVER_H
#define EL_SERVER_SERVER_H

#include "edgelora.h"

typedef struct el_server el_server;

/* A request that is over, as the log has it. All is valid during the call alone. */
typedef struct el_server_request {
  const char *line; /* all of this as a line of text */
  const char *id;   /* x-request-id */
  const char *what; /* "POST /v1/completions": printable ASCII, its end may be missing */
  int status;
  size_t bytes; /* of the answer */
  bool cut_off; /* it was not sent to its end */
  double total_ms;
  const char *key;      /* its name, or else its number among the keys of the file, from 1; NULL: without one */
  const char *adapter;  /* any text; the base's name; NULL: it asks for none, or none was chosen */
  bool has_generations; /* that have ended; the rest, up to first_token_ms, are theirs */
  long prompt_tokens, completion_tokens, cached_tokens;
  double queue_ms;                                 /* waiting for a slot, an adapter that had to be read included */
  double load_ms;                                  /* of it: for that adapter; 0: it was in memory */
  double first_token_ms;                           /* since the request began; negative: there was none */
  const char *trace_id, *span_id, *parent_span_id; /* hexadecimal; NULL: it came without a traceparent */
} el_server_request;

enum { EL_MAX_CONNECTIONS = 65536 };

typedef struct el_server_options {
  el_engine *engine; /* required; must outlive the server */
  const char *host;  /* an address or a name; default "127.0.0.1"; "0.0.0.0" or "::" for every interface */
  int port;          /* default 8080; 0: any free port, see el_server_url */

  size_t max_body_bytes; /* a longer request body is a 413; default 8 MiB */
  /* Open at once; the system's backlog holds the others; default 4096. Where fewer than an eighth are free, those that
   * wait longest for their clients are shut. */
  int max_connections;
  int max_choices; /* prompts × n of one request; default 128 */
  /* From a request's first line (a connection's first request: from its opening) to the last byte of its body, however
   * slowly it trickles; default 30 s. */
  int receive_timeout_ms;
  /* Silence between requests, or a client that takes nothing of its answer; whole seconds, rounded up; default 60 s.
   * Neither limit touches a generation that runs or waits for a slot. */
  int idle_timeout_ms;
  /* Web origins ("https://chat.example") whose pages may call the server from a browser, or "*", beside those of this
   * machine and of the server's own address. See origin.c. */
  const char *const *cors_origins;
  size_t n_cors_origins;

  /* Further names of the base: an adapter of the same name, or alias, comes first. */
  const char *const *aliases;
  size_t n_aliases;

  /* Clients may load adapters from what is inside of these folders, and unload what comes from there. None: they may
   * neither load nor unload. Only needed while the server starts. */
  const char *const *allowed_folders;
  size_t n_allowed_folders;
  bool adapters_locked; /* nor may they set scales for all requests */

  /* Who answers requests that name no model, where the key may name it: an adapter, or "auto". NULL: the base. */
  const char *default_adapter;

  /* Files of PEM: a certificate, with those that it is signed by behind it, and its key. Connections are encrypted
   * then. NULL, both: they are plain. Only needed while the server starts. */
  const char *tls_cert, *tls_key;

  bool has_router; /* the engine has one: "auto" is listed among the models */

  /* A file of keys, see keys.h: all but GET /health then needs one of them, as "Authorization: Bearer KEY". NULL:
   * whoever reaches the server may call. Only needed while the server starts. */
  const char *api_keys;

  /* Requests of all keys find each other's prefixes in the prefix cache: faster where many begin alike, but
   * cached_tokens and the time to the first token then tell one key what another has asked. Default: each key has its
   * own. */
  bool share_prefixes;

  /* A JSON object: variables that chat templates get unless a request's chat_template_kwargs say otherwise, such as
   * {"enable_thinking": false}. NULL: none, as with transformers. Only needed while the server starts. */
  const char *template_variables;

  bool verbose_answers; /* answers of OpenAI's form have llama-server's beside them, as with "verbose" in a request */
  /* GET /metrics lists adapters in memory and those that requests wait for, in a label as Kubernetes' inference gateway
   * wants it: each change is a new series for whoever stores what it reads. */
  bool lora_info;
  bool no_slots, no_metrics; /* GET /slots, GET /metrics are not there: 501 */

  bool strict; /* fields that are not known are errors; default: they are logged, once a name, and ignored */

  el_log_fn log; /* NULL: silent. One line a request at EL_LOG_INFO. May be called from any thread. */
  void *log_user;
  /* In the place of that line, with log_user; NULL: the line. */
  void (*log_request)(void *log_user, const el_server_request *request);
} el_server_options;

/* Defaults for everything but engine. */
el_server_options el_server_options_default(void);

/* Whether el_server_start would go well as far as files and the address' name say; options->engine may be NULL, and
 * nothing listens. *n_keys: of the file of keys; 0: there is none. */
el_status el_server_check(const el_server_options *options, size_t *n_keys, el_error *err);

/* Listens and answers from threads of its own; returns at once. Strings are copied. EL_ERR_IO: the address is taken or
 * may not be bound. */
el_status el_server_start(const el_server_options *options, el_server **out, el_error *err);

/* Reads a file of keys, the first one or another: from here on requests need one of its keys. What runs goes on, with
 * the key that it came with. A key that is there as it was before keeps what it has: its part of the prefix cache, its
 * stored answers, what it has used of its limits; its patterns and limits are the new ones. Any error leaves the keys
 * as they were. From any thread. */
el_status el_server_reload_keys(el_server *s, const char *path, el_error *err);

/* Where a person on this machine reaches it, such as "http://127.0.0.1:8080" or "http://[::1]:8080". The server's. */
const char *el_server_url(const el_server *s);

/* Tells whoever spreads requests over several servers that this one is about to end: GET /ready is a 503 from now on,
 * and each connection is closed behind its next answer. Everything is served as before, so that what is on its way here
 * is not lost. */
void el_server_leave(el_server *s);

/* Takes no new connections, answers 503 to new requests on open ones, and waits until those that run are answered, at
 * most timeout_ms; then cancels the rest, whose answers end in an error. Returns whether all finished by themselves.
 * Call it once, from any thread but an event callback's. */
bool el_server_drain(el_server *s, int timeout_ms);

/* Cancels what still runs, closes every connection, stops the threads, frees all. NULL is allowed. */
void el_server_stop(el_server *s);

#endif
