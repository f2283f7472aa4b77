/* From the options that most commands share to an open engine with its adapters. */
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
  el_cli_log log; /* its level: when neither is given */

  el_engine *engine;
  int signal_fd; /* while the model loads, a signal ends the program, but */
  bool hung_up;  /* SIGHUP, which is told here */
  /* Seconds: when loading began, when its progress was last shown, and told to the service manager; 0: not yet. */
  double load_began, load_shown, load_told;
} el_cli_engine;

/* Nothing chosen yet; warnings and errors are logged. */
el_cli_engine el_cli_engine_default(void);

enum { EL_CLI_MODEL_OPTIONS = 4, EL_CLI_ROUTER_OPTIONS = 3, EL_CLI_ENGINE_OPTIONS = 17 };
/* -m, --adapter, --adapters, and -a into *adapter unless that is NULL. */
el_cli_group el_cli_model_group(el_cli_engine *e, const char **adapter, el_cli_option storage[EL_CLI_MODEL_OPTIONS]);
/* --router and how it chooses. */
el_cli_group el_cli_router_group(el_cli_engine *e, el_cli_option storage[EL_CLI_ROUTER_OPTIONS]);
enum { EL_CLI_WITH_CTX = 1, EL_CLI_WITH_SLOTS = 2 };
/* Threads, instruction set, sizes, how much is logged. */
el_cli_group el_cli_engine_group(el_cli_engine *e, int with, el_cli_option storage[EL_CLI_ENGINE_OPTIONS]);

/* The model's path: `given`, or that of the default model in the cache. Says so when there is none. The caller's, to be
 * released with free. */
char *el_cli_model_path(const char *given);

/* What of NAME=PATH is the path; NULL: it is not that, which has been said. */
const char *el_cli_adapter_path(const char *spec);

/* What options amount to, and the log, before anything is opened. Returns -1, or the exit status of a mistake that has
 * been said. */
int el_cli_engine_prepare(el_cli_engine *e);
/* Opens the engine and adds the adapters. Returns -1, or the exit status of a failure that has been said. */
int el_cli_engine_open(el_cli_engine *e);
/* Says so when the model's file has no chat template, and chats are written as ChatML. */
void el_cli_tell_template(const el_cli_engine *e);
/* Whether this name asks for the router's choice: it is "auto", and neither the base nor an adapter is called that. */
bool el_cli_is_auto(const el_engine *e, const char *name);
/* Closes the engine and releases what the options took. */
void el_cli_engine_close(el_cli_engine *e);

#endif
