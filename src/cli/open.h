/* The options that most commands share, and how they become an open engine with its adapters. */
#ifndef EL_CLI_OPEN_H
#define EL_CLI_OPEN_H

#include "cli/log.h"
#include "cli/options.h"

typedef struct el_cli_engine {
  const char *model; /* NULL: the default model in the cache */
  el_cli_list adapters, adapter_dirs;
  el_engine_options options;
  bool verbose, quiet, no_prefix_cache;
  const char *speculate;
  el_cli_log log; /* its level is the default for when neither verbose nor quiet is given */

  el_engine *engine;
  int signal_fd; /* while the model loads, a signal ends the program, except */
  bool hung_up;  /* SIGHUP, which sets this */
  /* In seconds: when loading began, when its progress was last shown, and last sent to the service manager; 0: not
   * yet. */
  double load_began, load_shown, load_told;
} el_cli_engine;

/* No model and no adapters; warnings and errors are logged. */
el_cli_engine el_cli_engine_default(void);

enum { EL_CLI_MODEL_OPTIONS = 4, EL_CLI_ROUTER_OPTIONS = 3, EL_CLI_ENGINE_OPTIONS = 17 };
/* -m, --adapter, --adapters, and -a into *adapter unless that is NULL. */
el_cli_group el_cli_model_group(el_cli_engine *e, const char **adapter, el_cli_option storage[EL_CLI_MODEL_OPTIONS]);
/* --router and the options of its decisions. */
el_cli_group el_cli_router_group(el_cli_engine *e, el_cli_option storage[EL_CLI_ROUTER_OPTIONS]);
enum { EL_CLI_WITH_CTX = 1, EL_CLI_WITH_SLOTS = 2 };
/* Threads, instruction set, memory, and how much is logged. */
el_cli_group el_cli_engine_group(el_cli_engine *e, int with, el_cli_option storage[EL_CLI_ENGINE_OPTIONS]);

/* The path of the model: `given`, or the default model in the cache. The caller frees it. NULL: there is none; a
 * message was printed. */
char *el_cli_model_path(const char *given);

/* The path in NAME=PATH; NULL: `spec` has another form, and a message was printed. */
const char *el_cli_adapter_path(const char *spec);

/* Checks options and prepares the log, before anything is opened. Returns -1, or the exit status after a mistake, whose
 * message was printed. */
int el_cli_engine_prepare(el_cli_engine *e);
/* Opens the engine and adds the adapters. Returns -1, or the exit status after a failure, whose message was printed. */
int el_cli_engine_open(el_cli_engine *e);
/* Prints a note if the model's file has no chat template, so that chats are written as ChatML. */
void el_cli_tell_template(const el_cli_engine *e);
/* Whether this name asks for the router's decision: it is "auto", and neither the base nor an adapter has that name. */
bool el_cli_is_auto(el_engine *e, const char *name);
/* Closes the engine and frees what the options hold. */
void el_cli_engine_close(el_cli_engine *e);

#endif
